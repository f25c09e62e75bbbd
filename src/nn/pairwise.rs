//! The products of all pairs of several vectors, summed up: the second-order term of a factorization machine.

use ndarray::{Array2, ArrayRef2, ArrayView2, Axis};

use super::InputGrad;
use super::buffer::{clear, resize};

/// The values that [`pairwise`] keeps for [`pairwise_backward`]. Make it by `Default::default()`, and pass the same cache to both.
#[derive(Debug, Default)]
pub struct PairwiseCache {
    /// `Σ_f v_f`, `[rows, width]`.
    sum: Array2<f32>,
    /// `Σ_f v_f²`, `[rows, width]`.
    squares: Array2<f32>,
}

/// The sum of the inner products of all pairs of vectors, in each row separately: `y = Σ_{f<g} ⟨v_f, v_g⟩`, where `v_1, v_2, …` are the
/// vectors of the row, and f and g go over all pairs of them. It is the second-order term of a factorization machine, where a vector is the
/// embedding of a field (Rendle, "Factorization Machines", ICDM 2010, section III.B).
///
/// `parts` yields one matrix for each vector, `[rows, width]`: its line i is the vector of row i. `y`, `[rows, 1]`, gets the result. `cache`
/// keeps the sum of the vectors for [`pairwise_backward`].
///
/// With one vector only, y is 0. The time is linear in the number of vectors, because the function computes
/// `y = ½·Σ_c [(Σ_f v_fc)² − Σ_f v_fc²]`, where `v_fc` is value c of vector f.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{InputGrad, PairwiseCache, pairwise, pairwise_backward};
///
/// let parts = [array![[1.0, 2.0]], array![[3.0, -1.0]], array![[0.5, 4.0]]];
/// let (mut cache, mut y, mut dv) = (PairwiseCache::default(), Array2::zeros((1, 1)), Array2::zeros((1, 2)));
/// pairwise(parts.iter().map(|part| part.view()), &mut cache, &mut y);
/// assert_eq!(y, array![[(3.0 - 2.0) + (0.5 + 8.0) + (1.5 - 4.0)]]);
/// pairwise_backward(&parts[0], &array![[10.0]], &cache, InputGrad::overwrite(&mut dv));
/// assert_eq!(dv, array![[35.0, 30.0]]); // 10 times the sum of the others
/// ```
///
/// # Panics
/// If `parts` is empty, if its matrices differ in shape, or if `y` is not `[rows, 1]`.
pub fn pairwise<'a>(
    parts: impl IntoIterator<Item = ArrayView2<'a, f32>>,
    cache: &mut PairwiseCache,
    y: &mut ArrayRef2<f32>,
) {
    let PairwiseCache { sum, squares } = cache;
    let mut parts = parts.into_iter();
    let first = parts.next().expect("at least one vector");
    resize(sum, first.nrows(), first.ncols());
    resize(squares, first.nrows(), first.ncols());
    sum.assign(&first);
    squares.zip_mut_with(&first, |q, &v| *q = v * v);
    for part in parts {
        assert_eq!(part.dim(), sum.dim(), "all vectors have one shape");
        *sum += &part;
        squares.zip_mut_with(&part, |q, &v| *q += v * v);
    }
    assert_eq!(y.dim(), (sum.nrows(), 1), "one value for each row");
    for ((sum, squares), y) in sum.rows().into_iter().zip(squares.rows()).zip(y) {
        // In f64: the two nearly cancel where one vector is much longer than the others.
        let terms = sum.iter().zip(squares).map(|(&s, &q)| f64::from(s) * f64::from(s) - f64::from(q));
        *y = (0.5 * terms.sum::<f64>()) as f32;
    }
}

/// The backward pass of [`pairwise`] for one of its vectors. Call it once for each vector.
///
/// `v`, `[rows, width]`, is the matrix of this vector in the forward pass, `dy`, `[rows, 1]`, the gradient of `y`, and `cache` that of the
/// forward pass. The gradient of the vector is `dy` times the sum of all other vectors, `dv = dy·(Σ_f v_f − v)`. It goes to `dv`;
/// [`InputGrad`] says whether it overwrites the matrix or is added to it.
///
/// # Panics
/// If `v` or `dy` has another shape than in the forward pass.
pub fn pairwise_backward(v: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, cache: &PairwiseCache, dv: InputGrad<'_>) {
    let PairwiseCache { sum, .. } = cache;
    assert_eq!((v.dim(), dy.dim()), (sum.dim(), (sum.nrows(), 1)), "the shapes of the forward pass");
    let InputGrad { mut dx, add } = dv;
    if !add {
        clear(&mut dx);
    }
    for (((mut dv, v), sum), &dy) in dx.rows_mut().into_iter().zip(v.rows()).zip(sum.axis_iter(Axis(0))).zip(dy) {
        dv.iter_mut().zip(v).zip(sum).for_each(|((dv, &v), &s)| *dv += dy * (s - v));
    }
}

//! Attention of a query over the values of a field.

use ndarray::{Array2, ArrayRef2};

use super::add_scaled;
use crate::math::dot_f32;
use crate::nn::InputGrad;
use crate::nn::buffer::resize;
use crate::nn::softmax::{softmax_rows, softmax_rows_backward};

/// The values that [`attend`] keeps for [`attend_backward`]. Make it by `Default::default()`, and pass the same cache to both.
#[derive(Debug, Default)]
pub struct AttendCache {
    /// The number of values of each row.
    counts: Vec<usize>,
    /// `q`, `[rows, width]`.
    q: Array2<f32>,
    /// α, `[rows, len]`; 0 for values that a row does not have.
    weights: Array2<f32>,
    dweights: Array2<f32>,
    /// The gradient of the queries `q`, `[rows, width]`: one query for each row. Each call of [`attend_backward`] overwrites it.
    pub dq: Array2<f32>,
}

/// Attention of one query over a list of vectors, in each row separately; for example of the candidate item over the items that the user
/// clicked before. It is scaled dot-product attention (Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.1):
///
/// `y = Σ_m α_m·v_m` with `α_m = softmax_m(⟨q, v_m⟩ / √width)`
///
/// Here q is the query of a row, `v_1, v_2, …` are the vectors of the same row, m is the position of a vector in the row, `α_m` is its
/// weight, and `width` is the number of values of a vector. The weights of a row sum to 1.
///
/// The arguments:
///
/// - `q`, `[rows, width]`: the query of each row.
/// - `v`, `[rows, len·width]`: the vectors of each row, one after the other. Each row has `len` places for vectors.
/// - `filled`, `[rows, 1]`: how much of the `len` places is filled, from 0 to 1. The first `filled·len` places of the row, rounded to a whole
///   number, hold vectors; the function ignores the other places. A number below 0 and NaN count as 0, a number above 1 counts as 1.
/// - `cache`: keeps the weights and the queries for [`attend_backward`].
/// - `y`, `[rows, width]`: gets the result. If a row has no vectors, its result is 0.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{AttendCache, attend};
///
/// // Three rows, each with place for three vectors of two values. The rows have 2, 1 and 0 vectors.
/// let v = array![[1.0, 0.0, 0.0, 1.0, 5.0, 5.0], [7.0, 8.0, 0.0, 0.0, 0.0, 0.0], [0.0; 6]];
/// let (q, filled) = (Array2::zeros((3, 2)), array![[2.0 / 3.0], [1.0 / 3.0], [0.0]]);
/// let mut y = Array2::zeros((3, 2));
/// attend(&q, &v, &filled, &mut AttendCache::default(), &mut y);
/// // A query of 0 gives all vectors of a row the same weight.
/// assert_eq!(y, array![[0.5, 0.5], [7.0, 8.0], [0.0, 0.0]]);
/// ```
///
/// # Panics
/// If an argument has another shape, if `width` or `len` is 0, or if a row of `v` or `y` is not contiguous in memory.
pub fn attend(
    q: &ArrayRef2<f32>,
    v: &ArrayRef2<f32>,
    filled: &ArrayRef2<f32>,
    cache: &mut AttendCache,
    y: &mut ArrayRef2<f32>,
) {
    let (rows, width) = q.dim();
    let len = v.ncols() / width;
    assert_eq!((y.dim(), v.dim()), (q.dim(), (rows, len * width)), "a query and {len} vectors of {width} values a row");
    assert_eq!(filled.dim(), (rows, 1), "a share of vectors that are there for each row");
    let AttendCache { counts, q: kept, weights, .. } = cache;
    resize(kept, rows, width);
    kept.assign(q);
    counts.clear();
    counts.extend(filled.iter().map(|&filled| ((filled * len as f32).round() as usize).min(len)));
    resize(weights, rows, len);
    let scale = scale(width);
    for (((mut weights, q), v), &count) in weights.rows_mut().into_iter().zip(kept.rows()).zip(v.rows()).zip(&*counts) {
        let (q, v) = (q.to_slice().expect(LINES), v.to_slice().expect(LINES));
        for (m, (weight, v)) in weights.iter_mut().zip(v.chunks_exact(width)).enumerate() {
            // In a row without any, all are 0 afterwards.
            *weight = if m < count || count == 0 { scale * dot_f32::<8>(q, v) } else { f32::NEG_INFINITY };
        }
    }
    softmax_rows(weights.as_slice_mut().expect(LINES), len);
    for (((mut weights, mut y), v), &count) in
        weights.rows_mut().into_iter().zip(y.rows_mut()).zip(v.rows()).zip(&*counts)
    {
        if count == 0 {
            weights.fill(0.0);
        }
        let (y, v) = (y.as_slice_mut().expect(LINES), v.to_slice().expect(LINES));
        y.fill(0.0);
        for (&weight, v) in weights.iter().zip(v.chunks_exact(width)).take(count) {
            add_scaled(y, weight, v);
        }
    }
}

/// The backward pass of [`attend`]. `v` is the argument of the forward pass, `dy` is the gradient of `y`, and `cache` is that of the forward
/// pass. In each row, for the vector at position m:
///
/// - The gradient of its weight is `dα_m = ⟨dy, v_m⟩`, and that of its score is `ds_m = α_m·(dα_m − Σ_n α_n·dα_n) / √width`, where n goes
///   over all vectors of the row.
/// - The gradient of the vector is `dv_m = α_m·dy + ds_m·q`. It goes to `dv`; [`InputGrad`] says whether it overwrites the matrix or is added
///   to it. Places without a vector get the gradient 0.
/// - The gradient of the query is `dq = Σ_m ds_m·v_m`. It overwrites [`AttendCache::dq`].
///
/// # Panics
/// If `v`, `dy` or `dv` has another shape than `v`, `y` and `v` of the forward pass, or if one of their rows is not contiguous in memory.
pub fn attend_backward(v: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, cache: &mut AttendCache, dv: InputGrad<'_>) {
    let mut dv = dv.for_adding();
    let AttendCache { counts, q, weights, dweights, dq } = cache;
    let ((rows, width), len) = (q.dim(), weights.ncols());
    assert_eq!(
        (v.dim(), dv.dim(), dy.dim()),
        ((rows, len * width), v.dim(), q.dim()),
        "the shapes of the forward pass"
    );
    resize(dweights, rows, len);
    for ((mut dweights, v), dy) in dweights.rows_mut().into_iter().zip(v.rows()).zip(dy.rows()) {
        let (v, dy) = (v.to_slice().expect(LINES), dy.to_slice().expect(LINES));
        dweights.iter_mut().zip(v.chunks_exact(width)).for_each(|(dweight, v)| *dweight = dot_f32::<8>(dy, v));
    }
    softmax_rows_backward(weights.as_slice().expect(LINES), dweights.as_slice_mut().expect(LINES), len);
    resize(dq, rows, width);
    dq.fill(0.0);
    let scale = scale(width);
    for (i, mut dv) in dv.rows_mut().into_iter().enumerate() {
        let dv = dv.as_slice_mut().expect(LINES);
        let (q, dy, v) = (q.row(i), dy.row(i), v.row(i));
        let (q, dy, v) = (q.to_slice().expect(LINES), dy.to_slice().expect(LINES), v.to_slice().expect(LINES));
        let mut dq = dq.row_mut(i);
        let dq = dq.as_slice_mut().expect(LINES);
        for (m, (dv, v)) in dv.chunks_exact_mut(width).zip(v.chunks_exact(width)).take(counts[i]).enumerate() {
            let ds = scale * dweights[[i, m]];
            add_scaled(dv, weights[[i, m]], dy);
            add_scaled(dv, ds, q);
            add_scaled(dq, ds, v);
        }
    }
}

fn scale(width: usize) -> f32 {
    1.0 / (width as f32).sqrt()
}

const LINES: &str = "rows are contiguous";

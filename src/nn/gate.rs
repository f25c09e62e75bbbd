//! The softmax gate, and the mixture of experts that it weights.

use ndarray::{Array2, ArrayRef1, ArrayRef2, ArrayView2, s};

use super::buffer::resize;
use super::matmul::{Operand, Output, matmul, matmul_grad, product};
use super::softmax::{softmax_rows, softmax_rows_backward};
use super::{Decay, Init, InitRng, InputGrad};
use crate::math::dot_f32;
use crate::parallel::{self, join};
use crate::simd::widest;

/// A softmax gate. For every row x, it computes one weight for each expert: `w = softmax(x·W)`, where W is a learned matrix. The weights of a
/// row sum to 1. There is no bias and no normalisation (Tang et al. 2020, section 4.1, equation 3). An *expert* is a stack of layers that
/// several branches can read. The function [`mix`] sums the experts' outputs by these weights.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Gate, GateCache, InputGrad, Params as _, mix, mix_backward};
///
/// // One input value and two experts; W is 0, so that both weights are ½.
/// let gate = Gate { weight: array![[0.0, 0.0]] };
/// let (x, experts) = (array![[1.0]], [array![[2.0]], array![[4.0]]]);
/// let (mut cache, mut y) = (GateCache::default(), Array2::zeros((1, 1)));
/// gate.forward(&x, &mut cache);
/// mix(&cache, experts.iter().map(|expert| expert.view()), &mut y);
/// assert_eq!((cache.weights(), y), (&array![[0.5, 0.5]], array![[3.0]]));
///
/// let (mut grad, mut ds, mut dx) = (gate.zeros_like(), Array2::zeros((1, 1)), Array2::zeros((1, 1)));
/// for (i, expert) in experts.iter().enumerate() {
///     mix_backward(&mut cache, i, expert, &array![[1.0]], InputGrad::overwrite(&mut ds));
///     assert_eq!(ds, array![[0.5]]);
/// }
/// gate.backward(&x, &mut cache, &mut grad, &mut dx);
/// assert_eq!(grad.weight, array![[-0.5, 0.5]]); // w_i·(dw_i − 3): dw = [2, 4] has the mean 3
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The learned matrix W of `w = softmax(x·W)`, `[in, experts]`: one column for each expert.
    pub weight: Array2<f32>,
}

crate::params!(Gate { weight: Decay::Towards(0.0) });

/// The values that the forward pass of [`Gate`] keeps: the weights of the experts. [`mix`], [`mix_backward`] and the backward pass of the
/// gate read them. Make it by `Default::default()`, and pass the same cache to all of these.
#[derive(Debug, Default)]
pub struct GateCache {
    /// The weights of the experts, `[rows, experts]`.
    pub(crate) weights: Array2<f32>,
    /// Their gradient: [`mix_backward`] writes it, [`Gate::backward`] reads it.
    pub(crate) dweights: Array2<f32>,
}

impl Gate {
    /// A gate that reads rows of `input` values and computes weights for `experts` experts. `rng` gives the initial values of its matrix,
    /// which follow [`Init::Xavier`].
    pub fn new(input: usize, experts: usize, rng: &mut InitRng) -> Self {
        Self { weight: Init::Xavier.weight(input, experts, rng) }
    }

    /// The forward pass: computes `w = softmax(x·W)` for each row of `x`, `[rows, in]`, and keeps it in `cache`. Read it by
    /// [`GateCache::weights`].
    ///
    /// # Panics
    /// If `x` does not have `in` columns, the number of rows of [`Gate::weight`].
    pub fn forward(&self, x: &ArrayRef2<f32>, cache: &mut GateCache) {
        resize(&mut cache.weights, x.nrows(), self.weight.ncols());
        matmul(x, &self.weight, &mut cache.weights);
        cache.weigh();
    }

    /// The backward pass. `x` is the input of the forward pass. `cache` must hold the gradient `dw` of the weights: call [`mix_backward`]
    /// for every expert first.
    ///
    /// The gradient of the softmax's input is `dz = w ⊙ (dw − Σ_j w_j·dw_j)`, where j goes over all experts. The method adds `dW += xᵀ·dz`
    /// to `grad` and writes the gradient of the rows, `dx = dz·Wᵀ`.
    ///
    /// # Panics
    /// If `x` or `dx` has another shape than `x` of the forward pass.
    pub fn backward(&self, x: &ArrayRef2<f32>, cache: &mut GateCache, grad: &mut Self, dx: &mut ArrayRef2<f32>) {
        self.backward_into(x, cache, grad, InputGrad::overwrite(dx));
    }

    /// [`Gate::backward`], which may add to `dx`.
    pub(crate) fn backward_into(&self, x: &ArrayRef2<f32>, cache: &mut GateCache, grad: &mut Self, dx: InputGrad<'_>) {
        let GateCache { weights, dweights } = cache;
        let (w, dw) = (weights.as_slice().expect(CONTIGUOUS), dweights.as_slice_mut().expect(CONTIGUOUS));
        softmax_rows_backward(w, dw, self.weight.ncols());
        let dweights = &*dweights;
        join(
            || matmul_grad(x, dweights, &mut grad.weight),
            || product(dweights.view(), Operand::One(self.weight.t()), Output::to(dx)),
        );
    }
}

impl GateCache {
    /// `w = softmax(z)` of scores that were computed elsewhere.
    pub(crate) fn take(&mut self, scores: &ArrayRef2<f32>) {
        resize(&mut self.weights, scores.nrows(), scores.ncols());
        self.weights.assign(scores);
        self.weigh();
    }

    fn weigh(&mut self) {
        let experts = self.weights.ncols();
        softmax_rows(self.weights.as_slice_mut().expect(CONTIGUOUS), experts);
    }

    /// Gives the gradient the shape of the weights.
    pub(crate) fn fit_gradient(&mut self) {
        resize(&mut self.dweights, self.weights.nrows(), self.weights.ncols());
    }

    /// The weights of the experts, `[rows, experts]`: one column for each expert. Every row sums to 1.
    pub fn weights(&self) -> &Array2<f32> {
        &self.weights
    }
}

/// The number of rows of a mixture that are computed at a time: few enough to stay in cache while expert after expert is read.
const AT_ONCE: usize = 32;

/// The mixture of the experts, `y = Σ_i w_i ⊙ s_i`: row by row, `y` is the sum of the experts' outputs `s_i`, each times the weight `w_i`
/// that the gate gives expert i in this row.
///
/// `cache` is that of [`Gate::forward`]. `experts` yields the outputs `s_i` in the order of the gate's columns. Each output and `y` are
/// `[rows, width]`.
///
/// # Panics
/// If `experts` is empty, if it does not yield one output for each column of the gate, or if an output and `y` differ in shape.
#[expect(clippy::needless_pass_by_value, reason = "iterators are passed by value")]
pub fn mix<'a>(
    cache: &GateCache,
    experts: impl Iterator<Item = ArrayView2<'a, f32>> + Clone + Sync,
    y: &mut ArrayRef2<f32>,
) {
    let count = experts.clone().count();
    assert!(count > 0 && count == cache.weights.ncols(), "an expert for each gate weight, and at least one");
    assert!(experts.clone().all(|s| s.dim() == y.dim()), "experts and mixture have one shape");
    parallel::wide_blocks(
        y.nrows(),
        AT_ONCE,
        (0..y.nrows(), y.view_mut()),
        #[inline(always)]
        |(rows, mut y)| {
            for (i, s) in experts.clone().enumerate() {
                let s = s.slice(s![rows.clone(), ..]);
                for ((mut y, s), row) in y.rows_mut().into_iter().zip(s.rows()).zip(rows.clone()) {
                    let w = cache.weights[[row, i]];
                    let y = y.as_slice_mut().expect(CONTIGUOUS);
                    let values = y.iter_mut().zip(s.to_slice().expect(CONTIGUOUS));
                    if i == 0 {
                        values.for_each(|(y, &s)| *y = w * s);
                    } else {
                        values.for_each(|(y, &s)| *y += w * s);
                    }
                }
            }
        },
    );
}

/// The backward pass of [`mix`] for one expert i. `expert` is its position i, from 0, and `s` is its output in the forward pass. `dy` is
/// the gradient of the mixture.
///
/// The gradient of the expert's output, `ds = w_i ⊙ dy`, goes to `ds`; [`InputGrad`] says whether it overwrites the matrix or is added to
/// it. The gradient of the expert's weight, `dw_i = ⟨dy, s⟩` for each row, is kept in `cache`.
///
/// Call it for every expert before [`Gate::backward`].
///
/// # Panics
/// If the gate has no expert at the position `expert`, or if `s`, `dy` and `ds` differ in shape.
pub fn mix_backward(cache: &mut GateCache, expert: usize, s: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, ds: InputGrad<'_>) {
    cache.fit_gradient();
    let GateCache { weights, dweights } = cache;
    mix_backward_rows(&weights.column(expert), s, dy, None, ds, &mut dweights.column_mut(expert));
}

/// [`mix_backward`] for some rows: `w` and `dw` are the expert's weights in them. `rectified: Some(scale)`: `s` is the output of a ReLU
/// with this scale ([`PostAffine::rectifies`](super::PostAffine::rectifies)); `ds` then receives the gradient before the ReLU.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn mix_backward_rows(
    w: &ArrayRef1<f32>,
    s: &ArrayRef2<f32>,
    dy: &ArrayRef2<f32>,
    rectified: Option<f32>,
    ds: InputGrad<'_>,
    dw: &mut ArrayRef1<f32>,
) {
    assert_eq!((s.dim(), s.dim()), (dy.dim(), ds.dx.dim()), "one gradient for each value of an expert");
    assert_eq!((w.len(), dw.len()), (s.nrows(), s.nrows()), "one gate weight for each row");
    widest(
        (ds, dw),
        #[inline(always)]
        |(InputGrad { dx: mut ds, add }, dw)| {
            let rows = s.rows().into_iter().zip(dy.rows()).zip(ds.rows_mut()).zip(dw).zip(w);
            for ((((s, g), mut ds), dw), &w) in rows {
                let (s, g) = (s.to_slice().expect(CONTIGUOUS), g.to_slice().expect(CONTIGUOUS));
                let ds = ds.as_slice_mut().expect(CONTIGUOUS);
                *dw = dot_f32::<16>(s, g);
                match rectified {
                    None => ds.iter_mut().zip(g).for_each(|(ds, &g)| *ds = if add { *ds + w * g } else { w * g }),
                    Some(scale) => {
                        let w = w * scale;
                        ds.iter_mut().zip(g).zip(s).for_each(|((ds, &g), &s)| {
                            let d = w * g;
                            let d = if s > 0.0 { d } else { 0.0 };
                            *ds = if add { *ds + d } else { d };
                        });
                    }
                }
            }
        },
    );
}

const CONTIGUOUS: &str = "weights and outputs are contiguous";

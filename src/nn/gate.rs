//! The softmax gate, and the mixture of experts that it weights.

use ndarray::{Array2, ArrayRef1, ArrayRef2, ArrayView2, s};

use super::buffer::resize;
use super::matmul::{Operand, Output, matmul, matmul_grad, product};
use super::softmax::{softmax_rows, softmax_rows_backward};
use super::{Decay, Init, InitRng, InputGrad};
use crate::math::dot_f32;
use crate::parallel::{self, join};
use crate::simd::widest;

/// A softmax gate: gives each row a weight for each expert, `w = softmax(x·W)`, so that the weights of a row sum to 1. It is linear,
/// without bias and without normalisation (Tang et al. 2020, section 4.1, equation 3). [`mix`] sums the experts' outputs by these weights.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Gate, GateCache, InputGrad, Params as _, mix, mix_backward};
///
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
/// assert_eq!(grad.weight, array![[-0.5, 0.5]]); // w ⊙ (dw − 3) with dw = [2, 4]
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `W`, `[in, experts]`: one column for each expert.
    pub weight: Array2<f32>,
}

crate::params!(Gate { weight: Decay::Towards(0.0) });

/// The values that the forward pass of [`Gate`] keeps for its backward pass; [`mix`] and [`mix_backward`] read the weights of the experts
/// here.
#[derive(Debug, Default)]
pub struct GateCache {
    /// The weights of the experts, `[rows, experts]`.
    pub(crate) weights: Array2<f32>,
    /// Their gradient: [`mix_backward`] writes it, [`Gate::backward`] reads it.
    pub(crate) dweights: Array2<f32>,
}

impl Gate {
    /// A gate over `experts` experts that reads rows of `input` values. Its weight is drawn by [`Init::Xavier`].
    pub fn new(input: usize, experts: usize, rng: &mut InitRng) -> Self {
        Self { weight: Init::Xavier.weight(input, experts, rng) }
    }

    /// Writes `w = softmax(x·W)`, row by row, into the cache ([`GateCache::weights`]): `x` is `[rows, in]`.
    ///
    /// # Panics
    /// If a row of `x` does not have `in` values.
    pub fn forward(&self, x: &ArrayRef2<f32>, cache: &mut GateCache) {
        resize(&mut cache.weights, x.nrows(), self.weight.ncols());
        matmul(x, &self.weight, &mut cache.weights);
        cache.weigh();
    }

    /// The backward pass. It reads `dw`, the gradient of the weights, from the cache: call [`mix_backward`] for every expert first. With
    /// `dz = w ⊙ (dw − Σ_j w_j dw_j)`, where j goes over the experts of a row: `dW += xᵀ·dz`, `dx = dz·Wᵀ`.
    ///
    /// # Panics
    /// If `x` or `dx` is not `[rows, in]`, with the rows of the forward pass.
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

    /// The weights of the experts, `[rows, experts]`; every row sums to 1.
    pub fn weights(&self) -> &Array2<f32> {
        &self.weights
    }
}

/// The number of rows of a mixture that are computed at a time: few enough to stay in cache while expert after expert is read.
const AT_ONCE: usize = 32;

/// The mixture of the experts, `y = Σ_i w_i ⊙ s_i`: each row of `y` is the sum of that row of all experts' outputs `s_i`, times the gate's
/// weight `w_i` for the row. `experts` gives the outputs, `[rows, width]` each, in the order of the gate's columns; `cache` is that of
/// [`Gate::forward`].
///
/// # Panics
/// If `experts` is empty, if it does not have one output for each column of the gate, or if an output and `y` differ in shape.
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

/// The backward pass of [`mix`] for one expert: the one at position `expert` (i), from 0, whose output was `s`.
///
/// `dy` is the gradient of the mixture. For each row, `ds` receives `w_i·dy`, the gradient of the expert's output (it is overwritten or
/// added to, as [`InputGrad`] says), and the cache keeps `dw_i = ⟨dy, s⟩`, the gradient of the expert's weight.
///
/// Call it for every expert before [`Gate::backward`].
///
/// # Panics
/// If the gate has no expert at this position, or if `s`, `dy` and `ds` differ in shape.
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

//! The softmax gate, and the mixture it weighs.

use ndarray::{Array2, ArrayRef2, ArrayView2, Axis};

use super::buffer::resize;
use super::matmul::{matmul, matmul_grad, matmul_transposed};
use super::softmax::{softmax, softmax_backward};
use super::{Decay, Draws, Init};

/// `w = softmax(x·W)`: linear, without bias and without normalisation (Tang et al. 2020, section 4.1, equation 3).
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `W`, `[in, experts]`.
    pub weight: Array2<f32>,
}

crate::params!(Gate { weight: Decay::To(0.0) });

/// What a [`Gate`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct GateCache {
    /// The weights of the experts, `[rows, experts]`.
    pub(crate) weights: Array2<f32>,
    /// Their gradient: [`mix_backward`] writes it, [`Gate::backward`] takes it on to the scores.
    pub(crate) dweights: Array2<f32>,
}

impl Gate {
    /// A gate over `experts` experts for a selector of `input` values, drawn by Xavier's rule.
    pub fn new(input: usize, experts: usize, draws: &mut Draws) -> Self {
        Self { weight: Init::Xavier.weight(input, experts, draws) }
    }

    /// `w = softmax(x·W)` into the cache, row by row: `x` is `[rows, in]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(&self, x: &ArrayRef2<f32>, cache: &mut GateCache) {
        resize(&mut cache.weights, x.nrows(), self.weight.ncols());
        matmul(x, &self.weight, &mut cache.weights);
        for mut row in cache.weights.axis_iter_mut(Axis(0)) {
            softmax(&mut row);
        }
    }

    /// From `dw` in the cache: `dz = w ⊙ (dw − Σ_j w_j dw_j)`, `dW += xᵀ·dz`, `dx = dz·Wᵀ`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn backward(&self, x: &ArrayRef2<f32>, cache: &mut GateCache, grad: &mut Self, dx: &mut ArrayRef2<f32>) {
        let GateCache { weights, dweights } = cache;
        for (w, mut dw) in weights.rows().into_iter().zip(dweights.rows_mut()) {
            softmax_backward(&w, &mut dw);
        }
        matmul_grad(x, dweights, 1.0, &mut grad.weight);
        matmul_transposed(dweights, &self.weight, dx);
    }
}

impl GateCache {
    /// The weights of the experts, `[rows, experts]`; every row sums to 1.
    pub fn weights(&self) -> &Array2<f32> {
        &self.weights
    }
}

/// `y = Σ_i w_i ⊙ s_i`: the experts' outputs `s_i`, `[rows, width]`, weighed by the gate, in the gate's order.
///
/// # Panics
/// If there are not as many experts as gate weights or the shapes do not fit.
pub fn mix<'a>(cache: &GateCache, experts: impl Iterator<Item = ArrayView2<'a, f32>>, y: &mut ArrayRef2<f32>) {
    y.fill(0.0);
    let mut weights = cache.weights.columns().into_iter();
    for s in experts {
        let w = weights.next().expect("one gate weight for each expert");
        assert_eq!(s.dim(), y.dim(), "experts and mixture have one shape");
        for ((mut y, s), &w) in y.rows_mut().into_iter().zip(s.rows()).zip(&w) {
            y.scaled_add(w, &s);
        }
    }
    assert!(weights.next().is_none(), "one expert for each gate weight");
}

/// One expert's share of the mixture's backward pass, `g = dy`: `dw_i = ⟨g, s_i⟩` into the cache, `ds_i += w_i·g`.
///
/// Call it for every expert before [`Gate::backward`].
///
/// # Panics
/// If the shapes do not fit.
pub fn mix_backward(
    cache: &mut GateCache,
    expert: usize,
    s: &ArrayRef2<f32>,
    dy: &ArrayRef2<f32>,
    ds: &mut ArrayRef2<f32>,
) {
    resize(&mut cache.dweights, cache.weights.nrows(), cache.weights.ncols());
    let mut dw = cache.dweights.column_mut(expert);
    let w = cache.weights.column(expert);
    assert_eq!((s.dim(), s.dim()), (dy.dim(), ds.dim()), "one gradient for each value of an expert");
    let rows = s.rows().into_iter().zip(dy.rows()).zip(ds.rows_mut()).zip(&mut dw).zip(&w);
    for ((((s, g), mut ds), dw), &w) in rows {
        *dw = s.dot(&g);
        ds.scaled_add(w, &g);
    }
}

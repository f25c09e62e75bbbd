//! Tokens weighed by somebody's query.

use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2};

use super::AttentionSettings;
use super::slices::{add_scaled, dot};
use crate::nn::buffer::resize;
use crate::nn::matmul::{matmul, matmul_grad, matmul_transposed};
use crate::nn::softmax::{softmax_rows, softmax_rows_backward};
use crate::nn::{Decay, Draws, Init};

/// Weighs the tokens of a row by a query and adds them to themselves: `y_m = x_m + α_m·x_m`,
/// `α = softmax_m(⟨q, x_m·K⟩ / √query width)`: general attention, its weights laid on the tokens and not summed over
/// (Zhao et al., "Multiple Relational Attention Network", KDD 2019, section 3.4).
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// `K`, `[token width, query width]`.
    pub key: Array2<f32>,
    scale: f32,
}

crate::params!(Alignment { key: Decay::To(0.0) });

/// What an [`Alignment`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct AlignmentCache {
    /// `K·q / √query width`, `[1, token width]`, and its gradient.
    direction: Array2<f32>,
    ddirection: Array2<f32>,
    /// α, `[rows, tokens]`.
    weights: Array2<f32>,
    /// Of one row.
    dweights: Array2<f32>,
}

impl Alignment {
    /// For tokens of `input` values, and queries as wide as an attention of these settings; drawn by Xavier's rule.
    pub fn new(input: usize, settings: AttentionSettings, draws: &mut Draws) -> Self {
        let width = settings.width();
        Self { key: Init::Xavier.weight(input, width, draws), scale: settings.scale(width) }
    }

    /// `K·q / √query width`, `[token width]`: what every token is multiplied by for its score.
    pub(crate) fn direction(&self, query: &ArrayRef1<f32>) -> Array1<f32> {
        self.key.dot(query) * self.scale
    }

    /// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨q, x_m·K⟩ / √query width)`: `query` is `[1, query width]`, `x` and `y` are
    /// `[rows·tokens, token width]`.
    ///
    /// # Panics
    /// If the shapes do not fit or one of `x`, `y` is not in standard layout.
    pub fn forward(
        &self,
        query: &ArrayRef2<f32>,
        x: &ArrayRef2<f32>,
        tokens: usize,
        cache: &mut AlignmentCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let width = self.key.nrows();
        assert_eq!((x.ncols(), x.dim()), (width, y.dim()), "tokens are {width} wide, and one is given for each");
        assert_eq!(x.nrows() % tokens, 0, "every row has {tokens} tokens");
        let AlignmentCache { direction, weights, .. } = cache;
        resize(direction, 1, width);
        matmul_transposed(query, &self.key, direction);
        *direction *= self.scale;
        resize(weights, x.nrows() / tokens, tokens);
        align(direction.as_slice().expect(LINES), x, weights, y);
    }

    /// With `p = K·q/√query width`: `dα_m = ⟨dy_m, x_m⟩`, `ds = α ⊙ (dα − Σ_m α_m dα_m)`, `dp = Σ ds_m x_m`; `dK += dp·qᵀ/√`,
    /// `dq = Kᵀ·dp/√`, and **added** into `dx`, since several queries read the same tokens, `dx_m += (1 + α_m)·dy_m + ds_m·p`.
    ///
    /// # Panics
    /// If the shapes do not fit or one of `x`, `dy`, `dx` is not in standard layout.
    #[expect(clippy::too_many_arguments, reason = "both inputs have a gradient")]
    pub fn backward(
        &self,
        query: &ArrayRef2<f32>,
        x: &ArrayRef2<f32>,
        tokens: usize,
        dy: &ArrayRef2<f32>,
        cache: &mut AlignmentCache,
        grad: &mut Self,
        dquery: &mut ArrayRef2<f32>,
        dx: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((x.dim(), x.dim()), (dy.dim(), dx.dim()), "one gradient for each value");
        let width = self.key.nrows();
        let AlignmentCache { direction, ddirection, weights, dweights } = cache;
        resize(ddirection, 1, width);
        ddirection.fill(0.0);
        resize(dweights, 1, tokens);
        let dweights = dweights.as_slice_mut().expect(LINES);
        let (direction, of_direction) = (direction.as_slice().expect(LINES), ddirection.as_slice_mut().expect(LINES));
        let (x, dy) = (x.as_slice().expect(LINES), dy.as_slice().expect(LINES));
        let dx = dx.as_slice_mut().expect(LINES);
        let size = tokens * width;
        let weights = weights.as_slice().expect(LINES).chunks_exact(tokens);
        let rows = x.chunks_exact(size).zip(dy.chunks_exact(size)).zip(dx.chunks_exact_mut(size));
        for (weights, ((x, dy), dx)) in weights.zip(rows) {
            for ((dweight, x), dy) in dweights.iter_mut().zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
                *dweight = dot(dy, x);
            }
            softmax_rows_backward(weights, dweights, tokens);
            for (m, (&weight, &ds)) in weights.iter().zip(&*dweights).enumerate() {
                let token = m * width..(m + 1) * width;
                let dx = &mut dx[token.clone()];
                add_scaled(dx, 1.0 + weight, &dy[token.clone()]);
                add_scaled(dx, ds, direction);
                add_scaled(of_direction, ds, &x[token]);
            }
        }
        *ddirection *= self.scale;
        matmul_grad(ddirection, query, &mut grad.key);
        matmul(ddirection, &self.key, dquery);
    }
}

/// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨direction, x_m⟩)`: tokens stand one below the other, or side by side. `weights` is for α,
/// `[rows, tokens]`.
pub(crate) fn align(direction: &[f32], x: &ArrayRef2<f32>, weights: &mut Array2<f32>, y: &mut ArrayRef2<f32>) {
    let (width, tokens) = (direction.len(), weights.ncols());
    let (x, y) = (x.as_slice().expect(LINES), y.as_slice_mut().expect(LINES));
    let rows = x.chunks_exact(tokens * width).zip(y.chunks_exact_mut(tokens * width));
    for (mut weights, (x, y)) in weights.rows_mut().into_iter().zip(rows) {
        for (weight, x) in weights.iter_mut().zip(x.chunks_exact(width)) {
            *weight = dot(x, direction);
        }
        softmax_rows(weights.as_slice_mut().expect(LINES), tokens);
        for ((y, x), &weight) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(&weights) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (1.0 + weight) * x);
        }
    }
}

const LINES: &str = "tokens stand one below the other";

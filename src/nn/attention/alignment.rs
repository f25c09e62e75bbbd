//! Tokens weighted by a query from outside of the row.

use ndarray::{Array2, ArrayRef2};

use super::AttentionSettings;
use super::add_scaled;
use crate::math::dot_f32;
use crate::nn::buffer::resize;
use crate::nn::matmul::{matmul, matmul_grad, matmul_transposed};
use crate::nn::softmax::{softmax_rows, softmax_rows_backward};
use crate::nn::{Decay, Init, InitRng, InputGrad};

/// Weights the tokens of a row by a query. Tokens are vectors `x_1, …, x_M` of equal width; the query q is a vector that comes from outside
/// of the row. The output keeps every token and adds it once more, times its weight `α_m`:
///
/// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨q, x_m·K⟩ / √w)`, where K is a learned matrix and w the width of the query.
///
/// This layer computes the direction `p = q·Kᵀ / √w` of a query, so that the score of a token is `⟨p, x_m⟩`. The function [`align`] then
/// weights the tokens by p. (Zhao et al., "Multiple Relational Attention Network", KDD 2019, section 3.4.)
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{AlignCache, Alignment, AttentionSettings, InitRng, align};
///
/// // One head of width 1: queries of one value. Tokens of 2 values.
/// let settings = AttentionSettings { heads: 1, head_width: 1, scaled: true };
/// let mut layer = Alignment::new(2, settings, &mut InitRng::new(1));
/// layer.key = array![[1.0], [0.0]];
/// let mut p = Array2::zeros((1, 2));
/// layer.forward(&array![[3.0]], &mut p);
/// assert_eq!(p, array![[3.0, 0.0]]);
/// // Two tokens of two values, with the same score: each has the weight ½.
/// let (x, mut y) = (array![[1.0, 2.0, 1.0, 4.0]], Array2::zeros((1, 4)));
/// align(p.as_slice().unwrap(), &x, &mut AlignCache::default(), &mut y);
/// assert_eq!(y, array![[1.5, 3.0, 1.5, 6.0]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// The learned matrix K, `[token width, query width]`. It maps a query q to its direction `p = q·Kᵀ / √w`, where w is the query width.
    pub key: Array2<f32>,
    scale: f32,
}

crate::params!(Alignment { key: Decay::Towards(0.0) });

/// The values that [`align`] keeps for [`align_backward`]. Make it by `Default::default()`, and pass the same cache to both.
#[derive(Debug, Default)]
pub struct AlignCache {
    /// α, `[rows, tokens]`.
    weights: Array2<f32>,
    /// Of one row.
    dweights: Array2<f32>,
}

impl Alignment {
    /// A layer for tokens of `input` values and queries of [`AttentionSettings::width`] values, as `settings` say. `rng` gives the initial
    /// values of K, which follow [`Init::Xavier`]. If [`AttentionSettings::scaled`] is false, the directions are not divided by `√w`, the
    /// root of the query width.
    pub fn new(input: usize, settings: AttentionSettings, rng: &mut InitRng) -> Self {
        let width = settings.width();
        Self { key: Init::Xavier.weight(input, width, rng), scale: settings.scale(width) }
    }

    /// The forward pass, `p = q·Kᵀ / √w`, where w is the query width: computes the direction p of each query q. The score of a token `x_m`
    /// is then `⟨p, x_m⟩`. `q` is `[queries, query width]` and `p` is `[queries, token width]`.
    ///
    /// # Panics
    /// If `q` or `p` has another shape.
    pub fn forward(&self, q: &ArrayRef2<f32>, p: &mut ArrayRef2<f32>) {
        matmul_transposed(q, &self.key, p);
        *p *= self.scale;
    }

    /// The backward pass. `q` is the input of the forward pass and `dp` the gradient of the directions. Adds `dK += dpᵀ·q / √w` to `grad`
    /// and writes `dq = dp·K / √w`, where w is the query width. It overwrites `dp`: do not read it afterwards.
    ///
    /// # Panics
    /// If `q`, `dp` or `dq` has another shape than `q`, `p` and `q` of the forward pass.
    pub fn backward(&self, q: &ArrayRef2<f32>, dp: &mut ArrayRef2<f32>, grad: &mut Self, dq: &mut ArrayRef2<f32>) {
        *dp *= self.scale;
        matmul_grad(dp, q, &mut grad.key);
        matmul(dp, &self.key, dq);
    }
}

/// Weights each token of a row: `y_m = x_m + α_m·x_m` with `α_m = softmax_m(⟨p, x_m⟩)`. `x_m` and `y_m` are the input and the output of token
/// m, and p is a direction that [`Alignment::forward`] computes. The softmax is over the tokens of one row.
///
/// `p` is one direction for all rows. `x` and `y` are `[rows, tokens·width]`, where `width`, the width of a token, is the length of `p`.
/// `cache` keeps the weights `α_m` for [`align_backward`].
///
/// # Panics
/// If `p` is empty, if `x` and `y` differ in shape, if their number of columns is not a multiple of the length of `p`, or if `x` or `y` is
/// not in standard layout (row-major and contiguous).
pub fn align(p: &[f32], x: &ArrayRef2<f32>, cache: &mut AlignCache, y: &mut ArrayRef2<f32>) {
    let (width, tokens) = (p.len(), x.ncols() / p.len());
    assert_eq!((x.ncols(), x.dim()), (tokens * width, y.dim()), "tokens are {width} wide, and one is given for each");
    let weights = &mut cache.weights;
    resize(weights, x.nrows(), tokens);
    let (x, y) = (x.as_slice().expect(LINES), y.as_slice_mut().expect(LINES));
    let rows = x.chunks_exact(tokens * width).zip(y.chunks_exact_mut(tokens * width));
    for (mut weights, (x, y)) in weights.rows_mut().into_iter().zip(rows) {
        for (weight, x) in weights.iter_mut().zip(x.chunks_exact(width)) {
            *weight = dot_f32::<8>(x, p);
        }
        softmax_rows(weights.as_slice_mut().expect(LINES), tokens);
        for ((y, x), &weight) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(&weights) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (1.0 + weight) * x);
        }
    }
}

/// The backward pass of [`align`]. `p`, `x` and `cache` are those of the forward pass, and `dy` is the gradient of its output.
///
/// In each row, the gradient of the weight of token m is `dα_m = ⟨dy_m, x_m⟩`, and that of its score is `ds_m = α_m·(dα_m − Σ_n α_n·dα_n)`,
/// where n goes over all tokens of the row. From these it computes:
///
/// - `dp`, the gradient of p: the sum of `ds_m·x_m` over all tokens of all rows. It overwrites `dp`.
/// - `dx_m = (1 + α_m)·dy_m + ds_m·p`, the gradient of token m. It goes to `dx`; [`InputGrad`] says whether it overwrites the matrix or is
///   added to it.
///
/// # Panics
/// If `x`, `dy` and `dx` do not have the shape of the forward pass, or if one of them is not in standard layout (row-major and contiguous).
pub fn align_backward(
    p: &[f32],
    x: &ArrayRef2<f32>,
    dy: &ArrayRef2<f32>,
    cache: &mut AlignCache,
    dp: &mut [f32],
    dx: InputGrad<'_>,
) {
    let InputGrad { mut dx, add } = dx;
    assert_eq!((x.dim(), x.dim()), (dy.dim(), dx.dim()), "one gradient for each value");
    let AlignCache { weights, dweights } = cache;
    let (width, tokens) = (p.len(), x.ncols() / p.len());
    resize(dweights, 1, tokens);
    let dweights = dweights.as_slice_mut().expect(LINES);
    dp.fill(0.0);
    let (x, dy, dx) = (x.as_slice().expect(LINES), dy.as_slice().expect(LINES), dx.as_slice_mut().expect(LINES));
    let size = tokens * width;
    let weights = weights.as_slice().expect(LINES).chunks_exact(tokens);
    let rows = x.chunks_exact(size).zip(dy.chunks_exact(size)).zip(dx.chunks_exact_mut(size));
    for (weights, ((x, dy), dx)) in weights.zip(rows) {
        for ((dweight, x), dy) in dweights.iter_mut().zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
            *dweight = dot_f32::<8>(dy, x);
        }
        softmax_rows_backward(weights, dweights, tokens);
        for (m, (&weight, &ds)) in weights.iter().zip(&*dweights).enumerate() {
            let token = m * width..(m + 1) * width;
            let dx = &mut dx[token.clone()];
            for ((dx, &dy), &p) in dx.iter_mut().zip(&dy[token.clone()]).zip(p) {
                let before = if add { *dx } else { 0.0 };
                *dx = before + (1.0 + weight) * dy + ds * p;
            }
            add_scaled(dp, ds, &x[token]);
        }
    }
}

const LINES: &str = "the tokens of a row are contiguous";

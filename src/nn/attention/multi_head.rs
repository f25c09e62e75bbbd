//! Multi-head self-attention.

use ndarray::{Array2, ArrayRef2, s};
use rayon::prelude::*;

use super::AttentionMask;
use super::add_scaled;
use crate::math::dot_f32;
use crate::nn::buffer::resize;
use crate::nn::matmul::{matmul, matmul_grad, matmul_transposed};
use crate::nn::softmax::{softmax_rows, softmax_rows_backward};
use crate::nn::{Decay, HiddenSettings, Init, InitRng, Mode, PostAffine, PostAffineCache, Size};
use crate::parallel::in_pool;

/// The number of lists of tokens in a block, if blocks run in parallel.
const LISTS: usize = 64;

/// The sizes of a [`MultiHeadAttention`] layer, and whether its scores are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionSettings {
    /// The number of heads, at least 1; default 2. A head is one attention with matrices of its own; the outputs of all heads are put side by
    /// side.
    pub heads: usize,
    /// The number of values that one head computes for each token, at least 1; default 16. A head's queries and keys have this width too.
    pub head_width: usize,
    /// If true (the default), an attention score is divided by the square root of the width of the two vectors whose inner product it is:
    /// `head_width` in [`MultiHeadAttention`], `heads · head_width` in [`Alignment`](super::Alignment). If false, it is not divided.
    pub scaled: bool,
}

impl Default for AttentionSettings {
    fn default() -> Self {
        Self { heads: 2, head_width: 16, scaled: true }
    }
}

impl AttentionSettings {
    /// The number of values that all heads together compute for each token: `heads · head_width`.
    pub fn width(self) -> usize {
        self.heads * self.head_width
    }

    /// The factor of a score that sums `terms` products.
    pub(crate) fn scale(self, terms: usize) -> f32 {
        if self.scaled { 1.0 / (terms as f32).sqrt() } else { 1.0 }
    }
}

/// Self-attention with several heads and a residual, followed by normalisation, activation and dropout:
///
/// ```text
///   y_m = dropout(φ(norm(z_m)))        z_m = [head_1, …, head_H] + x_m·W_R
///   head_h = Σ_n α_mn · x_n·V_h        α_mn = softmax_n( ⟨x_m·Q_h, x_n·K_h⟩ / √head_width )
/// ```
///
/// `x_m` and `y_m` are the input and the output of token m, and n goes over the tokens that token m attends to ([`AttentionMask`]). Each
/// head h of the H heads has three learned matrices: `Q_h` for queries, `K_h` for keys and `V_h` for values. The weights `α_mn` are
/// different for each head. The learned matrix `W_R` is the residual, and φ is the activation. There are no biases.
///
/// Without a normalisation and with ReLU as φ, this is the interacting layer of Song et al., "AutoInt", CIKM 2019, section 4.4, with one
/// exception: AutoInt does not divide by the root ([`AttentionSettings::scaled`]). The division is that of Vaswani et al., "Attention Is
/// All You Need", 2017, section 3.2.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{AttentionMask, AttentionSettings, HiddenSettings, Infer, InitRng};
/// use starple::nn::{MultiHeadAttention, MultiHeadAttentionCache};
///
/// // One head of width 1, for tokens of one value; φ is the default, ReLU.
/// let settings = AttentionSettings { heads: 1, head_width: 1, scaled: true };
/// let mut layer = MultiHeadAttention::new(1, settings, HiddenSettings::default(), &mut InitRng::new(1));
/// layer.projection = array![[0.0, 0.0, 1.0, 10.0]]; // Q and K are 0, so that all weights are ½; V is 1 and W_R is 10.
/// let (tokens, mut y) = (array![[1.0], [3.0]], Array2::zeros((2, 1)));
/// let cache = &mut MultiHeadAttentionCache::default();
/// layer.forward(&tokens, AttentionMask::all(2), Infer.into(), cache, &mut y);
/// assert_eq!(y, array![[12.0], [32.0]]); // ½·1 + ½·3 = 2, plus the residual 10·x
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiHeadAttention {
    /// The learned matrices of queries, keys, values and residual side by side, `[Q, K, V, W_R]`: `[in, 4·width]`. Each of Q, K and V has
    /// `width` columns: `head_width` for the first head, then `head_width` for the second, and so on. `W_R` has `width` columns too.
    pub projection: Array2<f32>,
    /// The part after the sum of heads and residual: normalisation, activation and dropout.
    pub post: PostAffine,
    settings: AttentionSettings,
}

crate::params!(MultiHeadAttention { projection: Decay::Towards(0.0), post });

/// The values that the forward pass of [`MultiHeadAttention`] keeps for its backward pass. Make it by `Default::default()`, and pass the
/// same cache to both passes.
#[derive(Debug, Default)]
pub struct MultiHeadAttentionCache {
    /// `x·[Q, K, V, W_R]`, `[rows·tokens, 4·width]`, and its gradient.
    projected: Array2<f32>,
    dprojected: Array2<f32>,
    /// α, `[rows, heads·tokens·tokens]`.
    weights: Array2<f32>,
    /// Those of one token, `[rows, tokens]`: one line for each row, so that rows may run in parallel.
    dweights: Array2<f32>,
    z: Array2<f32>,
    dz: Array2<f32>,
    post: PostAffineCache,
}

impl MultiHeadAttention {
    /// A layer for tokens of `input` values. `style` selects the normalisation, the activation and the dropout after the sum of heads and
    /// residual.
    ///
    /// `rng` gives the initial values. Q and K follow [`Init::Xavier`]. V and `W_R` follow [`HiddenSettings::init`] of `style`, because the
    /// activation reads the sum of their products.
    ///
    /// # Panics
    /// If `heads` or `head_width` in `settings` is 0, or if the dropout of `style` is not in 0 ≤ dropout < 1.
    pub fn new(input: usize, settings: AttentionSettings, style: HiddenSettings, rng: &mut InitRng) -> Self {
        let width = settings.width();
        assert!(width > 0, "at least one head of at least one value, found {settings:?}");
        let mut projection = Array2::zeros((input, 4 * width));
        for (part, init) in [Init::Xavier, Init::Xavier, style.init, style.init].into_iter().enumerate() {
            let weight = init.weight(input, width, rng);
            projection.slice_mut(s![.., part * width..(part + 1) * width]).assign(&weight);
        }
        let post = PostAffine::new(width, style.norm, style.activation, style.dropout, rng);
        Self { projection, post, settings }
    }

    /// The size of what [`MultiHeadAttention::new`] makes for heads of `width` values together.
    pub(crate) fn size(input: f64, width: f64, style: HiddenSettings) -> Size {
        Size::tensor(input * 4.0 * width) + PostAffine::size(width, style.norm, style.activation)
    }

    /// About the number of values that a training step keeps for a row of this number of tokens.
    pub(crate) fn row(tokens: f64, heads: f64, width: f64, style: HiddenSettings) -> f64 {
        tokens * (8.0 * width + PostAffine::row(width, style) + 2.0 * width + 1.0) + heads * tokens * tokens
    }

    /// The number of values of an output token: [`AttentionSettings::width`].
    pub fn width(&self) -> usize {
        self.settings.width()
    }

    /// Its sizes.
    #[cfg(feature = "onnx")]
    pub(crate) fn settings(&self) -> AttentionSettings {
        self.settings
    }

    /// The forward pass: computes the output tokens `y` of the input tokens `x`, as in the formulas of [`MultiHeadAttention`].
    ///
    /// `x` is `[rows·tokens, in]` and `y` is `[rows·tokens, width]`: one line for each token, and the tokens of one row one after the other.
    /// `mask` says how many tokens a row has and which of them attend to which. `mode` is for the normalisation and the dropout. `cache`
    /// keeps values for the backward pass.
    ///
    /// # Panics
    /// If `x` or `y` has another shape, or if the number of lines of `x` is not a multiple of the number of tokens in `mask`.
    pub fn forward(
        &self,
        x: &ArrayRef2<f32>,
        mask: AttentionMask,
        mode: Mode<'_>,
        cache: &mut MultiHeadAttentionCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let (lines, width) = (x.nrows(), self.width());
        assert_eq!(lines % mask.tokens, 0, "every row has {} tokens", mask.tokens);
        let MultiHeadAttentionCache { projected, weights, z, post, .. } = cache;
        resize(projected, lines, 4 * width);
        matmul(x, &self.projection, projected);
        let lists = self.lists(mask);
        resize(weights, lines / mask.tokens, lists.weights());
        resize(z, lines, width);
        let (of_projected, of_weights, of_z) = (lists.projected(), lists.weights(), lists.values());
        let (projected, weights, sums) = (flat(projected), flat_mut(weights), flat_mut(z));
        if in_pool() {
            let blocks = projected
                .par_chunks(LISTS * of_projected)
                .zip(weights.par_chunks_mut(LISTS * of_weights))
                .zip(sums.par_chunks_mut(LISTS * of_z));
            blocks.for_each(|((projected, weights), z)| lists.forward(projected, weights, z));
        } else {
            lists.forward(projected, weights, sums);
        }
        self.post.forward(z, mode, post, y);
    }

    /// The backward pass. `x`, `mask` and `cache` are those of the forward pass, and `dy` is the gradient of its output. Adds the gradient of
    /// the parameters to `grad` and overwrites `dx` by the gradient of the input tokens. It also overwrites `dy`: do not read it afterwards.
    ///
    /// The formulas for one head: q, k and v are the products of a token with `Q_h`, `K_h` and `V_h`, r is its product with `W_R`, s is the
    /// score from which the softmax computes α, and g is the gradient of `z_m` in the columns of the head. m and n number the tokens of a
    /// row.
    ///
    /// - values, weights and scores: `dv_n += α_mn·g`, `dα_mn = ⟨g, v_n⟩`, `ds_mn = α_mn·(dα_mn − Σ_l α_ml·dα_ml) / √head_width`
    /// - queries and keys: `dq_m = Σ_n ds_mn·k_n`, `dk_n += ds_mn·q_m`
    /// - residual: `dr = dz`
    /// - parameters and input: `d[Q, K, V, W_R] += xᵀ·[dq, dk, dv, dr]`, `dx = [dq, dk, dv, dr]·[Q, K, V, W_R]ᵀ`
    ///
    /// # Panics
    /// If `x`, `dy` or `dx` has another shape than `x`, `y` and `x` of the forward pass.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        mask: AttentionMask,
        dy: &mut ArrayRef2<f32>,
        cache: &mut MultiHeadAttentionCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let MultiHeadAttentionCache { projected, dprojected, weights, dweights, z, dz, post } = cache;
        resize(dz, z.nrows(), z.ncols());
        self.post.backward(z, dy, post, &mut grad.post, dz);
        resize(dprojected, projected.nrows(), projected.ncols());
        resize(dweights, weights.nrows(), mask.tokens);
        let lists = self.lists(mask);
        let (of_projected, of_weights, of_z) = (lists.projected(), lists.weights(), lists.values());
        let (projected, weights, dz) = (flat(projected), flat(weights), flat(dz));
        let (gradients, dweights) = (flat_mut(dprojected), flat_mut(dweights));
        if in_pool() {
            let blocks = projected
                .par_chunks(LISTS * of_projected)
                .zip(weights.par_chunks(LISTS * of_weights))
                .zip(dz.par_chunks(LISTS * of_z))
                .zip(gradients.par_chunks_mut(LISTS * of_projected))
                .zip(dweights.par_chunks_mut(LISTS * mask.tokens));
            blocks.for_each(|((((projected, weights), dz), dprojected), dweights)| {
                lists.backward(projected, weights, dz, dprojected, dweights);
            });
        } else {
            lists.backward(projected, weights, dz, gradients, dweights);
        }
        matmul_grad(x, dprojected, &mut grad.projection);
        matmul_transposed(dprojected, &self.projection, dx);
    }

    fn lists(&self, mask: AttentionMask) -> Lists {
        let AttentionSettings { heads, head_width, .. } = self.settings;
        Lists { mask, heads, head_width, scale: self.settings.scale(head_width) }
    }
}

/// The products inside lists of tokens, whose lines have queries, keys, values and residuals.
#[derive(Clone, Copy)]
struct Lists {
    mask: AttentionMask,
    heads: usize,
    head_width: usize,
    scale: f32,
}

impl Lists {
    fn width(self) -> usize {
        self.heads * self.head_width
    }

    /// The number of values of a list in a matrix of tokens.
    fn values(self) -> usize {
        self.mask.tokens * self.width()
    }

    fn projected(self) -> usize {
        4 * self.values()
    }

    fn weights(self) -> usize {
        self.heads * self.mask.tokens * self.mask.tokens
    }

    /// The position of a head in a token's line; `part` is 0 for queries, 1 for keys, 2 for values.
    fn at(self, token: usize, part: usize, head: usize) -> usize {
        (4 * token + part) * self.width() + head * self.head_width
    }

    fn forward(self, projected: &[f32], weights: &mut [f32], z: &mut [f32]) {
        let (tokens, width) = (self.mask.tokens, self.head_width);
        let lists = projected.chunks_exact(self.projected()).zip(weights.chunks_exact_mut(self.weights()));
        for ((line, weights), z) in lists.zip(z.chunks_exact_mut(self.values())) {
            for (z, token) in z.chunks_exact_mut(self.width()).zip(line.chunks_exact(4 * self.width())) {
                z.copy_from_slice(&token[3 * self.width()..]);
            }
            for (i, weights) in weights.chunks_exact_mut(tokens).enumerate() {
                let (head, m) = (i / tokens, i % tokens);
                let q = &line[self.at(m, 0, head)..][..width];
                for (n, weight) in weights.iter_mut().enumerate() {
                    let k = &line[self.at(n, 1, head)..][..width];
                    *weight = if self.mask.attends(m, n) { self.scale * dot_f32::<8>(q, k) } else { f32::NEG_INFINITY };
                }
            }
            softmax_rows(weights, tokens);
            for (i, weights) in weights.chunks_exact(tokens).enumerate() {
                let (head, m) = (i / tokens, i % tokens);
                let z = &mut z[m * self.width() + head * width..][..width];
                for (n, &weight) in weights.iter().enumerate() {
                    add_scaled(z, weight, &line[self.at(n, 2, head)..][..width]);
                }
            }
        }
    }

    fn backward(self, projected: &[f32], weights: &[f32], dz: &[f32], dprojected: &mut [f32], dweights: &mut [f32]) {
        let (tokens, width) = (self.mask.tokens, self.head_width);
        let lists = projected.chunks_exact(self.projected()).zip(weights.chunks_exact(self.weights()));
        let gradients = dprojected.chunks_exact_mut(self.projected()).zip(dz.chunks_exact(self.values()));
        for (((line, weights), (dline, dz)), dweights) in lists.zip(gradients).zip(dweights.chunks_exact_mut(tokens)) {
            for (token, dz) in dline.chunks_exact_mut(4 * self.width()).zip(dz.chunks_exact(self.width())) {
                let (learned, residual) = token.split_at_mut(3 * self.width());
                learned.fill(0.0);
                residual.copy_from_slice(dz);
            }
            for (i, weights) in weights.chunks_exact(tokens).enumerate() {
                let (head, m) = (i / tokens, i % tokens);
                let g = &dz[m * self.width() + head * width..][..width];
                for (n, (dweight, &weight)) in dweights.iter_mut().zip(weights).enumerate() {
                    let v = self.at(n, 2, head);
                    *dweight = dot_f32::<8>(g, &line[v..][..width]);
                    add_scaled(&mut dline[v..][..width], weight, g);
                }
                softmax_rows_backward(weights, dweights, tokens);
                let q = self.at(m, 0, head);
                for (n, &dweight) in dweights.iter().enumerate() {
                    let (k, ds) = (self.at(n, 1, head), self.scale * dweight);
                    add_scaled(&mut dline[q..][..width], ds, &line[k..][..width]);
                    add_scaled(&mut dline[k..][..width], ds, &line[q..][..width]);
                }
            }
        }
    }
}

fn flat(buffer: &Array2<f32>) -> &[f32] {
    buffer.as_slice().expect("buffers are in standard layout")
}

fn flat_mut(buffer: &mut Array2<f32>) -> &mut [f32] {
    buffer.as_slice_mut().expect("buffers are in standard layout")
}

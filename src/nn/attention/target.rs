//! Attention of a target over the events of a history: the activation unit of the Deep Interest Network.

mod backward;
mod kernel;
mod served;
mod settings;

use ndarray::{Array2, ArrayRef2, Zip, s};

use self::kernel::{Small, Start};
pub(crate) use self::served::{ServedCache, ServedHistory};
pub use self::settings::{EventWeights, TargetAttentionSettings, TargetAttentionSettingsBuilder};
use crate::math::exp;
use crate::nn::buffer::resize;
use crate::nn::linear::values;
use crate::nn::matmul::{Operand, Output, PostOp, product};
use crate::nn::{HiddenSettings, InitRng, Linear, Mlp, MlpCache, Mode, Size};
use crate::parallel::{Cut, Lines, wide_blocks};
use crate::simd::has_fma;

/// Attention of a target over the events of a history, such as a candidate item over the items that a user clicked: the *local activation
/// unit* of the Deep Interest Network (Zhou et al., KDD 2018, section 4.3). For each row, it computes one vector p, a weighted sum of the
/// row's events:
///
/// ```text
///   s_t = mlp([q, k_t, q − k_t, q ⊙ k_t])      w_t = s_t, or softmax_t(s_t / √D)      p = Σ_t w_t·k_t
/// ```
///
/// - `q` is the query: the embedding of the row's target.
/// - `k_t`, the key, is the embedding of the row's event t. Query and keys have the same number of values, `D`. A row can have any number of
///   events.
/// - `mlp` is a small net that computes one score `s_t` for each event. It reads four vectors side by side; ⊙ is the elementwise product.
/// - `w_t` is the weight of the event. The setting [`EventWeights`] selects one of the two formulas.
///
/// The order of the events has no effect, and an event that occurs twice counts twice. For a row without events, `p` is 0 and the gradient of
/// its query is 0.
///
/// With raw weights (`w_t = s_t`), the bias of the last layer of the net starts at 1. So p is near the sum of the events before training.
///
/// The first layer of the net costs about a quarter of a product with all `4D` values: the layer multiplies the part of its weight for
/// `q ⊙ k_t` by q once per row, and the parts that read `q` alone are computed once per row, not once per event.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetAttention {
    /// The net that scores an event. Its input is `[q, k_t, q − k_t, q ⊙ k_t]`, `4·D` values, and its output is the score `s_t`.
    pub mlp: Mlp,
    weights: EventWeights,
}

crate::params!(TargetAttention { mlp });

/// The values that the forward pass of [`TargetAttention`] keeps for its backward pass. Make it by `Default::default()`, and pass the same
/// cache to both passes.
#[derive(Debug, Default)]
pub struct TargetAttentionCache {
    /// `W_a + W_c` and `W_b − W_c`, `[D, width]`.
    of_query: Array2<f32>,
    of_key: Array2<f32>,
    /// `q·(W_a + W_c) + b`, `[rows, width]`.
    base: Array2<f32>,
    /// The weights `M` of one row in each block of rows; in the backward pass also their transpose and gradient.
    scratch: Vec<f32>,
    mlp: MlpCache,
    scores: Array2<f32>,
    /// By event.
    weights: Vec<f32>,
    dscores: Array2<f32>,
    /// `Σ_t dz_t`, `[rows, width]`.
    sums: Array2<f32>,
    /// The gradients of `W_b − W_c` and `W_d` by the rows of each block.
    partial: Vec<f32>,
    dquery: Array2<f32>,
}

/// The rows that one thread takes at a time.
const BLOCK: usize = 32;

const LINES: &str = "queries, keys and their gradients are in standard layout";

/// Values of the events of some rows, cut between rows; `offsets` has one entry more than there are rows.
pub(crate) struct Ragged<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) offsets: &'a [u32],
    pub(crate) width: usize,
}

impl Cut for Ragged<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let Self { values, offsets, width } = self;
        let (first, rest) = values.split_at_mut((offsets[at] - offsets[0]) as usize * width);
        (Self { values: first, offsets: &offsets[..=at], width }, Self { values: rest, offsets: &offsets[at..], width })
    }
}

impl Ragged<'_> {
    /// By row, the number of its first event and what its events have.
    #[inline(always)]
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = (usize, &mut [f32])> {
        let (width, mut rest) = (self.width, &mut *self.values);
        self.offsets.windows(2).map(move |ends| {
            let count = (ends[1] - ends[0]) as usize * width;
            let (own, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            (ends[0] as usize, own)
        })
    }
}

/// A buffer of `len` values for each block of rows.
struct PerBlock<'a>(&'a mut [f32], usize);

impl Cut for PerBlock<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.0.split_at_mut(at.div_ceil(BLOCK) * self.1);
        (Self(first, self.1), Self(rest, self.1))
    }
}

/// The weights `M = W_b − W_c + diag(q)·W_d` of a row with this query.
#[inline(always)]
fn row_weights(of_key: &[f32], of_product: &[f32], q: &[f32], width: usize, m: &mut [f32]) {
    let lines = m.chunks_exact_mut(width).zip(of_key.chunks_exact(width)).zip(of_product.chunks_exact(width));
    for (((m, of_key), of_product), &q) in lines.zip(q) {
        for ((m, &of_key), &of_product) in m.iter_mut().zip(of_key).zip(of_product) {
            *m = of_key + q * of_product;
        }
    }
}

impl TargetAttention {
    /// A layer for queries and keys of `dim` values. `settings` describe the net that scores an event and the use of its scores. `rng` gives
    /// the initial values of the net.
    pub fn new(dim: usize, settings: &TargetAttentionSettings, rng: &mut InitRng) -> Self {
        let mut mlp = Mlp::new(4 * dim, settings.hidden(), Some(1), style(settings), rng);
        if let (EventWeights::Raw, Some(last)) = (settings.weights(), mlp.layers.last_mut()) {
            last.bias.fill(1.0);
        }
        Self { mlp, weights: settings.weights() }
    }

    /// The size of what [`TargetAttention::new`] makes.
    pub(crate) fn size(dim: f64, settings: &TargetAttentionSettings) -> Size {
        Mlp::size(4.0 * dim, settings.hidden(), Some(1), style(settings))
    }

    /// About the number of values that a training step keeps for an event, its key and the gradient of the key included.
    pub(crate) fn event(dim: f64, settings: &TargetAttentionSettings) -> f64 {
        2.0 * dim + 3.0 + Mlp::row(settings.hidden(), Some(1), style(settings))
    }

    /// How the scores of a row's events become their weights: the setting that [`TargetAttention::new`] got.
    pub fn weights(&self) -> EventWeights {
        self.weights
    }

    /// The number of values of a query and of a key: D in the formulas of [`TargetAttention`].
    pub fn dim(&self) -> usize {
        self.mlp.layers[0].weight.nrows() / 4
    }

    /// The forward pass: computes `p = Σ_t w_t·k_t` for each row, by the formulas of [`TargetAttention`].
    ///
    /// - `q` and `p` are `[rows, D]`: the query and the result of each row.
    /// - `k` is `[events, D]`: the keys of all rows, first those of row 0, then those of row 1, and so on.
    /// - `offsets` has `rows + 1` numbers, which do not fall. The events of row i are the lines from `offsets[i] − offsets[0]` to before
    ///   `offsets[i + 1] − offsets[0]` of `k`. If both are equal, the row has no events.
    /// - `mode` matters only for the activation Dice: it says whether it uses the statistics of the batch.
    /// - `cache` keeps values for the backward pass.
    ///
    /// # Panics
    /// If `q`, `k` or `p` has another shape or is not in standard layout (row-major and contiguous), if `offsets` does not have `rows + 1`
    /// numbers, or if its last number minus its first is not the number of lines of `k`.
    pub fn forward(
        &self,
        q: &ArrayRef2<f32>,
        k: &ArrayRef2<f32>,
        offsets: &[u32],
        mode: Mode<'_>,
        cache: &mut TargetAttentionCache,
        p: &mut ArrayRef2<f32>,
    ) {
        self.check(q, k, offsets);
        assert_eq!(p.dim(), q.dim(), "as many pooled values as a query has");
        if k.nrows() == 0 {
            p.fill(0.0);
            return;
        }
        let first = &self.mlp.layers[0];
        let TargetAttentionCache { of_query, of_key, base, scratch, mlp, scores, weights, .. } = cache;
        split(first, of_query, of_key);
        resize(base, q.nrows(), of_query.ncols());
        product(q.view(), Operand::One(of_query.view()), Output::set(base).post_op(PostOp::Bias(values(&first.bias))));
        resize(scores, k.nrows(), 1);
        let first_layer = |first: &Linear, rectify: bool, z: &mut ArrayRef2<f32>| {
            first_layer(first, of_key, base, [q, k], offsets, scratch, rectify, z);
        };
        self.mlp.forward_after(first_layer, mode.of_no_row(), mlp, scores);
        weights.clear();
        weights.extend_from_slice(scores.as_slice().expect(LINES));
        self.pool(k, offsets, weights, p);
    }

    /// Makes weights of the scores, and adds up the events.
    fn pool(&self, k: &ArrayRef2<f32>, offsets: &[u32], weights: &mut [f32], p: &mut ArrayRef2<f32>) {
        let (rows, dim) = p.dim();
        let (k, first) = (k.as_slice().expect(LINES), offsets[0] as usize);
        let softmax = self.scale();
        let data = (Ragged { values: weights, offsets, width: 1 }, Lines(p.as_slice_mut().expect(LINES), dim));
        wide_blocks(
            rows,
            BLOCK,
            data,
            #[inline(always)]
            |(mut weights, Lines(p, _))| {
                for ((start, weights), p) in weights.rows().zip(p.chunks_exact_mut(dim)) {
                    if let Some(scale) = softmax {
                        soften(weights, scale);
                    }
                    p.fill(0.0);
                    for (&w, k) in weights.iter().zip(k[(start - first) * dim..].chunks_exact(dim)) {
                        p.iter_mut().zip(k).for_each(|(p, &k)| *p += w * k);
                    }
                }
            },
        );
    }

    /// The factor of the scores in the softmax, if there is one.
    fn scale(&self) -> Option<f32> {
        (self.weights == EventWeights::Softmax).then(|| 1.0 / (self.dim() as f32).sqrt())
    }

    fn check(&self, q: &ArrayRef2<f32>, k: &ArrayRef2<f32>, offsets: &[u32]) {
        let dim = self.dim();
        assert_eq!((q.ncols(), k.ncols()), (dim, dim), "queries and keys of {dim} values");
        assert_eq!(offsets.len(), q.nrows() + 1, "an offset for each row, and the end");
        let events = offsets[q.nrows()].checked_sub(offsets[0]);
        assert_eq!(events.map(|events| events as usize), Some(k.nrows()), "a key for each event");
    }
}

fn style(settings: &TargetAttentionSettings) -> HiddenSettings {
    HiddenSettings { activation: settings.activation(), ..HiddenSettings::default() }
}

/// `softmax(scale·z)`, in place; of no values, none.
#[inline(always)]
fn soften(z: &mut [f32], scale: f32) {
    let top = z.iter().fold(f32::NEG_INFINITY, |top, &z| if z > top { z } else { top });
    let mut sum = 0.0;
    for z in &mut *z {
        *z = exp(scale * (*z - top));
        sum += *z;
    }
    for z in z {
        *z /= sum;
    }
}

/// `W_a + W_c` and `W_b − W_c`.
fn split(first: &Linear, of_query: &mut Array2<f32>, of_key: &mut Array2<f32>) {
    let [a, b, c, _] = parts(first);
    resize(of_query, a.nrows(), a.ncols());
    resize(of_key, a.nrows(), a.ncols());
    Zip::from(of_query).and(&a).and(&c).for_each(|sum, &a, &c| *sum = a + c);
    Zip::from(of_key).and(&b).and(&c).for_each(|difference, &b, &c| *difference = b - c);
}

/// `W_a`, `W_b`, `W_c` and `W_d`.
fn parts(first: &Linear) -> [ndarray::ArrayView2<'_, f32>; 4] {
    let dim = first.weight.nrows() / 4;
    [0, 1, 2, 3].map(|part| first.weight.slice(s![part * dim..(part + 1) * dim, ..]))
}

/// The values of `W_d`.
fn of_product(first: &Linear) -> &[f32] {
    let all = values(&first.weight);
    &all[all.len() / 4 * 3..]
}

/// `z_t = k_t·M + base`, followed by a ReLU if `rectify`.
#[expect(clippy::too_many_arguments, reason = "the parts of the layer")]
fn first_layer(
    first: &Linear,
    of_key: &Array2<f32>,
    base: &Array2<f32>,
    [q, k]: [&ArrayRef2<f32>; 2],
    offsets: &[u32],
    scratch: &mut Vec<f32>,
    rectify: bool,
    z: &mut ArrayRef2<f32>,
) {
    let (rows, dim, width) = (q.nrows(), q.ncols(), base.ncols());
    let len = dim * width;
    scratch.resize(rows.div_ceil(BLOCK) * len, 0.0);
    let data =
        (0..rows, Ragged { values: z.as_slice_mut().expect(LINES), offsets, width }, PerBlock(&mut scratch[..], len));
    if has_fma() {
        first_rows::<true>(first, of_key, base, [q, k], offsets[0] as usize, rectify, data);
    } else {
        first_rows::<false>(first, of_key, base, [q, k], offsets[0] as usize, rectify, data);
    }
}

fn first_rows<const FUSED: bool>(
    first: &Linear,
    of_key: &Array2<f32>,
    base: &Array2<f32>,
    [q, k]: [&ArrayRef2<f32>; 2],
    start: usize,
    rectify: bool,
    data: (std::ops::Range<usize>, Ragged<'_>, PerBlock<'_>),
) {
    let (dim, width) = (q.ncols(), base.ncols());
    let (of_key, base) = (values(of_key), values(base));
    let (q, k) = (q.as_slice().expect(LINES), k.as_slice().expect(LINES));
    let of_product = of_product(first);
    wide_blocks(
        data.0.len(),
        BLOCK,
        data,
        #[inline(always)]
        |(rows, mut z, PerBlock(m, _))| {
            for (row, (event, z)) in rows.zip(z.rows()) {
                if z.is_empty() {
                    continue;
                }
                row_weights(of_key, of_product, &q[row * dim..][..dim], width, m);
                let keys = Small { values: &k[(event - start) * dim..], line: dim, column: 1 };
                kernel::product::<FUSED>(keys, dim, m, Start::Line(&base[row * width..][..width]), z, width);
                if rectify {
                    // Not `max`, which would turn NaN into 0 and hide a net that has diverged.
                    for z in z {
                        *z = if *z < 0.0 { 0.0 } else { *z };
                    }
                }
            }
        },
    );
}

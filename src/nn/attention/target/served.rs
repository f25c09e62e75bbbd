//! Attention of many targets over one history, for serving.

use ndarray::{Array2, ArrayRef2};

use super::{LINES, TargetAttention, parts, soften};
use crate::nn::buffer::resize;
use crate::nn::matmul::{Operand, Output, Panels, PostOp, Right, product, product_with};
use crate::nn::{Linear, MlpCache, Mode};

/// A history that many targets share, and all that does not depend on the target.
///
/// For a fixed history, the first layer of all its `n` events is one affine map of the query: `z_t = q·(W_a + W_c + diag(k_t)·W_d) +
/// k_t·(W_b − W_c) + b`, `n·width` outputs.
#[derive(Debug, Default)]
pub(crate) struct ServedHistory {
    /// `[n, D]`
    pub(crate) keys: Array2<f32>,
    weight: Array2<f32>,
    panels: Panels,
    bias: Vec<f32>,
}

/// What [`ServedHistory::pool`] keeps from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct ServedCache {
    mlp: MlpCache,
    scores: Array2<f32>,
}

impl ServedHistory {
    /// Prepares the history whose events are [`keys`](ServedHistory::keys).
    pub(crate) fn prepare(&mut self, attention: &TargetAttention) {
        let Self { keys, weight, panels, bias } = self;
        let first = &attention.mlp.layers[0];
        let ([a, b, c, d], (events, dim), width) = (parts(first), keys.dim(), first.bias.len());
        bias.clear();
        if events == 0 {
            return;
        }
        resize(weight, dim, events * width);
        for (t, key) in keys.rows().into_iter().enumerate() {
            bias.extend(first.bias.iter());
            let own = &mut bias[t * width..];
            for (i, &k) in key.iter().enumerate() {
                own.iter_mut().zip(b.row(i)).zip(c.row(i)).for_each(|((z, b), c)| *z += k * (b - c));
            }
        }
        for (i, mut line) in weight.rows_mut().into_iter().enumerate() {
            let line = line.as_slice_mut().expect(LINES);
            let (a, c, d) = (a.row(i), c.row(i), d.row(i));
            for (line, key) in line.chunks_exact_mut(width).zip(keys.rows()) {
                let k = key[i];
                for (((w, a), c), d) in line.iter_mut().zip(a).zip(c).zip(d) {
                    *w = a + c + k * d;
                }
            }
        }
        panels.pack(Operand::One(weight.view()));
    }

    /// [`TargetAttention::forward`] in inference, for queries that share this history.
    pub(crate) fn pool(
        &self,
        attention: &TargetAttention,
        q: &ArrayRef2<f32>,
        cache: &mut ServedCache,
        p: &mut ArrayRef2<f32>,
    ) {
        let (rows, events, width) = (q.nrows(), self.keys.nrows(), attention.mlp.layers[0].bias.len());
        if events == 0 || rows == 0 {
            p.fill(0.0);
            return;
        }
        let ServedCache { mlp, scores } = cache;
        resize(scores, rows * events, 1);
        let first = |_: &Linear, rectify: bool, z: &mut ArrayRef2<f32>| {
            let mut z = z.view_mut().into_shape_with_order((rows, events * width)).expect(LINES);
            let post_op = PostOp::bias(&self.bias, rectify);
            product_with(q.view(), Right::packed(&self.panels), Output::set(&mut z).post_op(post_op));
        };
        attention.mlp.forward_after(first, Mode::Infer, mlp, scores);
        if let Some(scale) = attention.scale() {
            let scores = scores.as_slice_mut().expect(LINES);
            scores.chunks_exact_mut(events).for_each(|row| soften(row, scale));
        }
        let weights = scores.view().into_shape_with_order((rows, events)).expect(LINES);
        product(weights, Operand::One(self.keys.view()), Output::set(p));
    }
}

//! Attention over the tokens of a row.

use ndarray::{Array1, Array2, Axis};

use super::proto::FLOAT;
use super::{Attribute, Graph, Tensor};
use crate::nn::{MultiHeadAttention, Tokens};

/// Attention in inference. Tokens of a row are concatenated, `[rows, tokens·width]`.
impl Graph<'_> {
    /// `t = [e_1, …, e_F, x_1·v_1 + b_1, …]` for embedded rows x, `[rows, fields·width + numbers]`.
    pub(super) fn tokens(&mut self, x: Tensor, tokens: &Tokens) -> Tensor {
        let Some(numbers) = &tokens.numbers else { return x };
        let (count, embedded) = (numbers.weight.nrows(), tokens.fields() * tokens.width());
        let own = self.columns(x, embedded..embedded + count);
        let own = self.unsqueeze(own, 2);
        let own = self.scale_and_shift(own, &numbers.weight, &numbers.bias);
        let own = self.side_by_side(own, count * tokens.width());
        if embedded == 0 {
            return own;
        }
        let embeddings = self.columns(x, 0..embedded);
        self.concat(&[embeddings, own], 1)
    }

    /// `y_m = φ(norm([Σ_n α_mn·x_n·V_h]_h + x_m·W_R))`, `α_mn = softmax_n(⟨x_m·Q_h, x_n·K_h⟩ / √head_width)`, for x of `[rows, size]`.
    /// Every token attends to every token.
    pub(super) fn attention(&mut self, x: Tensor, attention: &MultiHeadAttention, size: usize) -> Tensor {
        let settings = attention.settings();
        let (token, width) = (attention.projection.nrows(), settings.width());
        let x = self.one_by_one(x, size, token);
        let projection = self.constant(&attention.projection);
        let projected = self.matmul(x, projection);
        let [queries, keys, values, residual] =
            [0, 1, 2, 3].map(|part| self.columns(projected, part * width..(part + 1) * width));
        let mut by_head = |part, order: &[i64]| {
            let heads = self.reshape(part, &[0, 0, settings.heads as i64, settings.head_width as i64]);
            self.transpose(heads, order)
        };
        let (queries, keys) = (by_head(queries, &[0, 2, 1, 3]), by_head(keys, &[0, 2, 3, 1]));
        let values = by_head(values, &[0, 2, 1, 3]);
        let scores = self.matmul(queries, keys);
        let scores = self.scale(scores, settings.scale(settings.head_width));
        let weights = self.softmax(scores, -1);
        let heads = self.matmul(weights, values);
        let heads = self.transpose(heads, &[0, 2, 1, 3]);
        let heads = self.reshape(heads, &[0, 0, width as i64]);
        let z = self.add(heads, residual);
        let y = self.hidden(z, &attention.post);
        self.side_by_side(y, size / token * width)
    }

    /// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨direction, x_m⟩)`, for x of `[rows, size]`.
    pub(super) fn align(&mut self, x: Tensor, direction: &Array1<f32>, size: usize) -> Tensor {
        let x = self.one_by_one(x, size, direction.len());
        let direction = self.constant(&direction.view().insert_axis(Axis(1)));
        let scores = self.matmul(x, direction);
        let weights = self.softmax(scores, 1);
        let one = self.number(1.0);
        let factors = self.add(weights, one);
        let y = self.mul(x, factors);
        self.side_by_side(y, size)
    }

    /// `y = Σ_m α_m·v_m` with `α = softmax_m(⟨q, v_m⟩ / √width)`, over the first `filled·len` of the `len = size / width` vectors of a row,
    /// `[rows, size]`.
    pub(super) fn attend(&mut self, q: Tensor, v: Tensor, filled: Tensor, width: usize, size: usize) -> Tensor {
        /// Added to the score of an absent vector: its exponential becomes 0 in f32.
        const OUT: f32 = -1e9;
        let len = size / width;
        let v = self.one_by_one(v, size, width);
        let q = self.unsqueeze(q, 2);
        let scores = self.matmul(v, q);
        let scores = self.scale(scores, 1.0 / (width as f32).sqrt());
        // 1 for a vector that is present, 0 for an absent one. filled·len is an integer up to rounding.
        let places = self.constant(&Array2::from_shape_fn((len, 1), |(m, _)| m as f32 + 0.5));
        let filled = self.scale(filled, len as f32);
        let filled = self.unsqueeze(filled, 2);
        let there = self.node("Less", &[places, filled], &[]);
        let there = self.node("Cast", &[there], &[("to", Attribute::Int(FLOAT.into()))]);
        let out = self.number(OUT);
        let absent = self.mul(there, out);
        let absent = self.node("Sub", &[out, absent], &[]);
        let scores = self.add(scores, absent);
        let weights = self.softmax(scores, 1);
        let weights = self.mul(weights, there);
        let weighed = self.mul(v, weights);
        let axis = self.integers(&[1]);
        self.node("ReduceSum", &[weighed, axis], &[("keepdims", Attribute::Int(0))])
    }

    /// Reshapes `[rows, tokens·width]` to `[rows, tokens, width]`.
    fn one_by_one(&mut self, x: Tensor, size: usize, width: usize) -> Tensor {
        self.reshape(x, &[0, (size / width) as i64, width as i64])
    }

    /// Reshapes `[rows, tokens, width]` to `[rows, tokens·width]`.
    fn side_by_side(&mut self, x: Tensor, size: usize) -> Tensor {
        self.reshape(x, &[0, size as i64])
    }
}

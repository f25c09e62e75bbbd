//! Attention over the tokens of a row, `[rows, tokens, width]`.

use ndarray::{ArrayRef1, Axis};

use super::{Graph, Value};
use crate::nn::{Alignment, MultiHeadAttention, Tokens};

/// Attention in inference: tokens are `[rows, tokens, width]`.
impl Graph<'_> {
    /// `t = [e_1, …, e_F, x_1·v_1 + b_1, …]` of embedded rows `[rows, fields·width + numbers]`.
    pub fn tokens(&mut self, x: Value, tokens: &Tokens) -> Value {
        let (fields, width) = (tokens.fields(), tokens.width());
        let embedded = fields * width;
        let mut parts = Vec::new();
        if fields > 0 {
            let embeddings = self.columns(x, 0..embedded);
            parts.push(self.reshape(embeddings, &[0, fields as i64, width as i64]));
        }
        if let Some(numbers) = &tokens.numbers {
            let own = self.columns(x, embedded..embedded + numbers.weight.nrows());
            let own = self.unsqueeze(own, 2);
            parts.push(self.affine(own, &numbers.weight, &numbers.bias));
        }
        self.concat(&parts, 1)
    }

    /// `y_m = φ(norm([Σ_n α_mn·x_n·V_h]_h + x_m·W_R))`, `α_mn = softmax_n(⟨x_m·Q_h, x_n·K_h⟩ / √head_width)`: every token sees every other.
    pub fn attention(&mut self, x: Value, attention: &MultiHeadAttention) -> Value {
        let settings = attention.settings();
        let width = settings.width();
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
        let side_by_side = self.reshape(heads, &[0, 0, width as i64]);
        let z = self.add(side_by_side, residual);
        self.hidden(z, &attention.post)
    }

    /// `y_m = x_m + α_m·x_m`, `α = softmax_m(⟨q, x_m·K⟩ / √query width)`, for a query that is the same in all rows.
    pub fn alignment(&mut self, query: &ArrayRef1<f32>, x: Value, alignment: &Alignment) -> Value {
        let direction = self.constant(&alignment.direction(query).insert_axis(Axis(1)));
        let scores = self.matmul(x, direction);
        let weights = self.softmax(scores, 1);
        let one = self.number(1.0);
        let factors = self.add(weights, one);
        self.mul(x, factors)
    }
}

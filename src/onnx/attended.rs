//! Attention of a target over the events of a history.

use ndarray::{Array2, s};

use super::{Attribute, Graph, Tensor};
use crate::nn::{EventWeights, TargetAttention};

/// What is added to the scores of events that a row does not have: their weight in a softmax is 0.
const NONE: f32 = 1e30;

impl Graph<'_> {
    /// `p = Σ_t w_t·k_t`, `[rows, D]`, of queries `[rows, D]` and keys `[rows, length, D]`; `there`, `[rows, length, 1]`, is 1 for events that
    /// a row has and 0 for others.
    pub(super) fn attend_target(
        &mut self,
        query: Tensor,
        keys: Tensor,
        there: Tensor,
        layer: &TargetAttention,
    ) -> Tensor {
        let (mlp, dim) = (&layer.mlp, layer.dim());
        let weight = &mlp.layers[0].weight;
        let [a, b, c, d] = [0, 1, 2, 3].map(|part| weight.slice(s![part * dim..(part + 1) * dim, ..]));
        let query = self.unsqueeze(query, 1);
        let products = self.mul(query, keys);
        let parts = [(query, &a + &c), (keys, &b - &c), (products, d.to_owned())];
        let parts = parts.map(|(x, weight): (Tensor, Array2<f32>)| {
            let weight = self.constant(&weight);
            self.matmul(x, weight)
        });
        let bias = self.constant(&mlp.layers[0].bias);
        let of_pair = self.add(parts[1], parts[2]);
        let of_row = self.add(parts[0], bias);
        let mut z = self.add(of_pair, of_row);
        for (i, hidden) in mlp.hidden.iter().enumerate() {
            let h = self.hidden(z, hidden);
            let next = &mlp.layers[i + 1];
            let (weight, bias) = (self.constant(&next.weight), self.constant(&next.bias));
            z = self.matmul(h, weight);
            z = self.add(z, bias);
        }
        let weights = match layer.weights() {
            EventWeights::Raw => self.mul(z, there),
            EventWeights::Softmax => {
                let scores = self.scale(z, 1.0 / (dim as f32).sqrt());
                let one = self.number(1.0);
                let missing = self.node("Sub", &[there, one], &[]);
                let missing = self.scale(missing, NONE);
                let scores = self.add(scores, missing);
                let weights = self.softmax(scores, 1);
                self.mul(weights, there)
            }
        };
        let weighed = self.mul(keys, weights);
        let axis = self.integers(&[1]);
        self.node("ReduceSum", &[weighed, axis], &[("keepdims", Attribute::Int(0))])
    }
}

//! Combinations of weights: `W*_d` and `b*_d` are computed once for a segment, and its rows take `y = x·W*_d + b*_d`.

use ndarray::{Array1, Array2, ArrayRef2};

use super::layer::{SegmentBack, StarSegment};
use crate::nn::Linear;
use crate::nn::buffer::resize;
use crate::nn::linear::{values, values_mut};
use crate::nn::matmul::{Operand, Output, PostOp, matmul, product};
use crate::nn::sums::add_sums;

/// The gradients of one segment's combined weights.
#[derive(Debug, Default)]
pub(super) struct DWeights {
    /// `dW*_d`; [`Weights::take_apart`] may overwrite it.
    pub(super) weight: Array2<f32>,
    /// `db*_d`.
    pub(super) bias: Array1<f32>,
    /// The factor that low rank multiplies with, less 1.
    pub(super) factor: Array2<f32>,
}

/// A domain's own parameters in a combination of weights.
pub(super) trait Weights {
    /// Writes `W*_d` and `b*_d`, in the shapes of the shared layer.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>);

    /// The gradients of the domain's own parameters and of the shared `W`, from `dW*_d` and `db*_d`. That of the shared `b` is `db*_d` in
    /// all combinations; the caller adds it.
    fn take_apart(&self, shared: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>);

    /// The layer as one map: `W*_d` and `b*_d`.
    fn combined(&self, shared: &Linear) -> Linear {
        let mut combined = shared.clone();
        self.combine(shared, &mut combined.weight, &mut combined.bias);
        combined
    }

    /// `y = x·W*_d + b*_d`, followed by a ReLU if `rectify`.
    fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut StarSegment,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let StarSegment { weight, bias, .. } = cache;
        let (input, output) = shared.weight.dim();
        resize(weight, input, output);
        bias.clone_from(&shared.bias);
        self.combine(shared, weight, bias);
        product(x.view(), Operand::One(weight.view()), Output::set(y).post_op(PostOp::bias(values(bias), rectify)));
    }

    /// `dW*_d = xᵀ·dy` and `db*_d = Σ dy`, then [`Weights::take_apart`]; `dx = dy·(W*_d)ᵀ`.
    fn backward(&self, back: SegmentBack<'_, '_>, grad: &mut Self) {
        let SegmentBack { shared, x, dy, cache, scratch, dshared, dx } = back;
        let (input, output) = shared.weight.dim();
        let d = &mut scratch.weights;
        resize(&mut d.weight, input, output);
        matmul(&x.t(), &dy, &mut d.weight);
        d.sum_bias(&dy, dshared);
        self.take_apart(shared, d, grad, &mut dshared.weight);
        if let Some(mut dx) = dx {
            product(dy, Operand::One(cache.weight.t()), dx.next());
        }
    }
}

impl DWeights {
    /// `db*_d = Σ dy`, which is also added to the gradient of the shared `b`.
    pub(super) fn sum_bias(&mut self, dy: &ArrayRef2<f32>, dshared: &mut Linear) {
        self.bias.clone_from(&dshared.bias);
        self.bias.fill(0.0);
        add_sums(dy, values_mut(&mut self.bias));
        dshared.bias += &self.bias;
    }
}

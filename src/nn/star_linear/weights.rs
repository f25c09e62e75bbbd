//! Combinations of weights: `W*_d` and `b*_d` are formed once for a segment, and its rows take `y = x·W*_d + b*_d`.

use ndarray::{Array1, Array2, ArrayRef2};

use super::layer::{SegmentBack, SegmentCache};
use crate::nn::Linear;
use crate::nn::buffer::resize;
use crate::nn::linear::{values, values_mut};
use crate::nn::matmul::{Operand, Output, PostOp, matmul, product};
use crate::nn::sums::add_sums;

/// The gradients of one segment's combined weights.
#[derive(Debug, Default)]
pub(super) struct DWeights {
    /// `dW*_d`; the code that takes it apart may overwrite it.
    pub(super) weight: Array2<f32>,
    /// `db*_d`.
    pub(super) bias: Array1<f32>,
    /// The factor that low rank multiplies with, less 1.
    pub(super) factor: Array2<f32>,
}

/// What a domain owns where weights are combined.
pub(super) trait Weights {
    /// Writes `W*_d` and `b*_d`, in the shapes of the shared layer.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>);

    /// From `dW*_d` and `db*_d` to what the domain owns and to the shared `W`. The shared `b` is not its business: everywhere
    /// `db = db*_d`.
    fn take_apart(&self, shared: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>);

    /// `W*_d` and `b*_d` by themselves.
    fn combined(&self, shared: &Linear) -> Linear {
        let mut combined = shared.clone();
        self.combine(shared, &mut combined.weight, &mut combined.bias);
        combined
    }

    /// `y = x·W*_d + b*_d`, and then a rectifier if there is to be one.
    fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut SegmentCache,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let SegmentCache { weight, bias, .. } = cache;
        let (input, output) = shared.weight.dim();
        resize(weight, input, output);
        bias.clone_from(&shared.bias);
        self.combine(shared, weight, bias);
        product(x.view(), Operand::One(weight.view()), Output::set(y).post_op(PostOp::bias(values(bias), rectify)));
    }

    /// `dW*_d = xᵀ·dy` and `db*_d = Σ dy`, taken apart; `dx = dy·(W*_d)ᵀ`.
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
    /// `db*_d = Σ dy`, which is also what the shared `b` gets.
    pub(super) fn sum_bias(&mut self, dy: &ArrayRef2<f32>, dshared: &mut Linear) {
        self.bias.clone_from(&dshared.bias);
        self.bias.fill(0.0);
        add_sums(dy, values_mut(&mut self.bias));
        dshared.bias += &self.bias;
    }
}

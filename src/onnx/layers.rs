//! The layers in inference.

use ndarray::{Array1, Array2, Zip};

use super::{Attribute, Graph, Tensor};
use crate::nn::norm::CONSTANT;
use crate::nn::{Activation, BatchNorm, Dice, LayerNorm, MovingAverage, Norm, PostAffine, Stitch};

/// Layers in inference. The first axis is rows. Operations on columns use the last axis.
impl Graph<'_> {
    /// `y = x·W + b`, for `x` of `[rows, in]`.
    pub(super) fn affine(&mut self, x: Tensor, weight: &Array2<f32>, bias: Option<&Array1<f32>>) -> Tensor {
        let weight = self.constant(weight);
        match bias {
            None => self.matmul(x, weight),
            Some(bias) => {
                let bias = self.constant(bias);
                self.node("Gemm", &[x, weight, bias], &[])
            }
        }
    }

    /// `y = max(z, 0)`.
    pub(super) fn relu(&mut self, z: Tensor) -> Tensor {
        self.node("Relu", &[z], &[])
    }

    /// `y = φ(norm(z))`. Inference has no dropout.
    pub(super) fn hidden(&mut self, z: Tensor, hidden: &PostAffine) -> Tensor {
        let normed = match &hidden.norm {
            None => z,
            Some(Norm::Batch(norm)) => self.batch_norm(z, norm),
            Some(Norm::Layer(norm)) => self.layer_norm(z, norm),
        };
        self.activation(normed, &hidden.activation)
    }

    /// `y = γ ⊙ (z − E)/√(Var + ε) + β`, with the moving averages E and Var.
    fn batch_norm(&mut self, z: Tensor, norm: &BatchNorm) -> Tensor {
        let (mut scale, mut shift) = standardise(&norm.moving, BatchNorm::EPSILON);
        Zip::from(&mut scale).and(&norm.gamma).for_each(|scale, &gamma| *scale *= f64::from(gamma));
        Zip::from(&mut shift)
            .and(&norm.gamma)
            .and(&norm.beta)
            .for_each(|shift, &gamma, &beta| *shift = *shift * f64::from(gamma) + f64::from(beta));
        self.scale_and_shift(z, &rounded(&scale), &rounded(&shift))
    }

    /// `y = γ ⊙ (z − μ)/√(σ² + ε) + β` over the last axis.
    fn layer_norm(&mut self, z: Tensor, norm: &LayerNorm) -> Tensor {
        let (gamma, beta) = (self.constant(&norm.gamma), self.constant(&norm.beta));
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LayerNorm::EPSILON))];
        self.node("LayerNormalization", &[z, gamma, beta], &attributes)
    }

    /// `y = φ(z)`.
    fn activation(&mut self, z: Tensor, activation: &Activation) -> Tensor {
        match activation {
            Activation::Relu => self.relu(z),
            Activation::Prelu(prelu) => {
                let alpha = self.constant(&prelu.alpha);
                self.node("PRelu", &[z, alpha], &[])
            }
            Activation::Dice(dice) => self.dice(z, dice),
            Activation::Gelu => self.gelu(z),
            Activation::Silu => {
                let open = self.sigmoid(z);
                self.mul(z, open)
            }
            Activation::Tanh => self.node("Tanh", &[z], &[]),
            Activation::Identity => z,
        }
    }

    /// `y = z ⊙ (α + (1 − α) ⊙ p)` with `p = σ((z − E)/√(Var + ε))`.
    fn dice(&mut self, z: Tensor, dice: &Dice) -> Tensor {
        let (scale, shift) = standardise(&dice.moving, Dice::EPSILON);
        let standardised = self.scale_and_shift(z, &rounded(&scale), &rounded(&shift));
        let p = self.sigmoid(standardised);
        let rest = dice.alpha.mapv(|alpha| 1.0 - alpha);
        let slope = self.scale_and_shift(p, &rest, &dice.alpha);
        self.mul(z, slope)
    }

    /// `y = ½z·(1 + tanh(√(2/π)·(z + 0.044715 z³)))`. Opset 17 has no operator for it.
    fn gelu(&mut self, z: Tensor) -> Tensor {
        let squared = self.mul(z, z);
        let cubed = self.mul(squared, z);
        let cubed = self.scale(cubed, 0.044_715);
        let inner = self.add(z, cubed);
        let inner = self.scale(inner, (2.0 / std::f32::consts::PI).sqrt());
        let tanh = self.node("Tanh", &[inner], &[]);
        let one = self.number(1.0);
        let open = self.add(tanh, one);
        let half = self.scale(z, 0.5);
        self.mul(half, open)
    }

    /// `y = Σ_i w_i ⊙ s_i`, `[rows, width]`: the outputs `s_i` of experts, `[rows, width]`, weighted by `weights`, `[rows, experts]`.
    pub(super) fn mix(&mut self, weights: Tensor, experts: &[Tensor]) -> Tensor {
        let experts = self.stack(experts);
        let weights = self.unsqueeze(weights, 1);
        let mixed = self.matmul(weights, experts);
        self.squeeze(mixed, 1)
    }

    /// `y_o = Σ_j Σ_i α_{o,(j,i)}·x_{j,i}`. Every `x_j` and y is `[rows, width]` and consists of `unit.blocks()` blocks of columns.
    pub(super) fn stitch(&mut self, unit: &Stitch, inputs: &[Tensor], width: usize) -> Tensor {
        let alpha = self.constant(&unit.alpha);
        let side_by_side = self.concat(inputs, 1);
        let blocks = [0, unit.alpha.ncols() as i64, (width / unit.blocks()) as i64];
        let blocks = self.reshape(side_by_side, &blocks);
        let combined = self.matmul(alpha, blocks);
        self.reshape(combined, &[0, width as i64])
    }
}

/// The scale and shift for which `(z − E)/√(Var + ε) = scale ⊙ z + shift`.
fn standardise(moving: &MovingAverage, epsilon: f32) -> (Array1<f64>, Array1<f64>) {
    let inverse = |var: f32| 1.0 / (f64::from(var) + f64::from(epsilon)).sqrt();
    let scale = moving.var.mapv(|var| if var < CONSTANT { 0.0 } else { inverse(var) });
    let shift = Zip::from(&scale).and(&moving.mean).map_collect(|scale, &mean| -f64::from(mean) * scale);
    (scale, shift)
}

fn rounded(values: &Array1<f64>) -> Array1<f32> {
    values.mapv(|value| value as f32)
}

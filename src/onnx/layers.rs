//! Layers, as they are in inference: each written once, for every net.

use ndarray::{Array1, Zip};

use super::{Attribute, Graph, Value};
use crate::nn::norm::CONSTANT;
use crate::nn::{Activation, BatchNorm, Dice, Gate, Hidden, LayerNorm, Linear, Mlp, Moving, Norm, Stitch};

/// Layers in inference. Rows stand along the first axis; what works on columns works on the last.
impl Graph<'_> {
    /// `y = x·W + b`, for `x` of `[rows, in]`.
    pub fn linear(&mut self, x: Value, layer: &Linear) -> Value {
        let (weight, bias) = (self.constant(&layer.weight), self.constant(&layer.bias));
        self.node("Gemm", &[x, weight, bias], &[])
    }

    /// `y = mlp(x)`.
    pub fn mlp(&mut self, x: Value, mlp: &Mlp) -> Value {
        let mut h = x;
        for (i, layer) in mlp.layers.iter().enumerate() {
            h = self.linear(h, layer);
            if let Some(hidden) = mlp.hidden.get(i) {
                h = self.hidden(h, hidden);
            }
        }
        h
    }

    /// `y = φ(norm(z))`; dropout is nothing in inference.
    pub fn hidden(&mut self, z: Value, hidden: &Hidden) -> Value {
        let normed = match &hidden.norm {
            None => z,
            Some(Norm::Batch(norm)) => self.batch_norm(z, norm),
            Some(Norm::Layer(norm)) => self.layer_norm(z, norm),
        };
        self.activation(normed, &hidden.activation)
    }

    /// `y = γ ⊙ (z − E)/√(Var + ε) + β` with the moving averages.
    pub fn batch_norm(&mut self, z: Value, norm: &BatchNorm) -> Value {
        let (mut scale, mut shift) = standardise(&norm.moving, BatchNorm::EPSILON);
        Zip::from(&mut scale).and(&norm.gamma).for_each(|scale, &gamma| *scale *= f64::from(gamma));
        Zip::from(&mut shift)
            .and(&norm.gamma)
            .and(&norm.beta)
            .for_each(|shift, &gamma, &beta| *shift = *shift * f64::from(gamma) + f64::from(beta));
        self.affine(z, &rounded(&scale), &rounded(&shift))
    }

    /// `y = γ ⊙ (z − μ)/√(σ² + ε) + β` over the last axis.
    pub fn layer_norm(&mut self, z: Value, norm: &LayerNorm) -> Value {
        let (gamma, beta) = (self.constant(&norm.gamma), self.constant(&norm.beta));
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LayerNorm::EPSILON))];
        self.node("LayerNormalization", &[z, gamma, beta], &attributes)
    }

    /// `y = φ(z)`.
    pub fn activation(&mut self, z: Value, activation: &Activation) -> Value {
        match activation {
            Activation::Relu => self.node("Relu", &[z], &[]),
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
    fn dice(&mut self, z: Value, dice: &Dice) -> Value {
        let (scale, shift) = standardise(&dice.moving, Dice::EPSILON);
        let standardised = self.affine(z, &rounded(&scale), &rounded(&shift));
        let p = self.sigmoid(standardised);
        let rest = dice.alpha.mapv(|alpha| 1.0 - alpha);
        let slope = self.affine(p, &rest, &dice.alpha);
        self.mul(z, slope)
    }

    /// `y = ½z·(1 + tanh(√(2/π)·(z + 0.044715 z³)))`: opset 17 has no operator for it.
    fn gelu(&mut self, z: Value) -> Value {
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

    /// A gate's weights `w = softmax(x·W)`, `[rows, experts]`.
    pub fn gate(&mut self, x: Value, gate: &Gate) -> Value {
        let weight = self.constant(&gate.weight);
        let scores = self.matmul(x, weight);
        self.softmax(scores, -1)
    }

    /// `y = Σ_i w_i ⊙ s_i`: experts' outputs `[rows, width]`, weighed by `weights`, `[rows, experts]`.
    pub fn mix(&mut self, weights: Value, experts: &[Value]) -> Value {
        let experts = self.stack(experts);
        let weights = self.unsqueeze(weights, 1);
        let mixed = self.matmul(weights, experts);
        self.squeeze(mixed, 1)
    }

    /// `y_o = Σ_j Σ_i α_{o,(j,i)}·x_{j,i}`: every `x_j` and `y` are `[rows, width]`, cut into as many blocks of columns as the unit has.
    pub fn stitch(&mut self, unit: &Stitch, inputs: &[Value], width: usize) -> Value {
        let alpha = self.constant(&unit.alpha);
        let side_by_side = self.concat(inputs, 1);
        let blocks = [0, unit.alpha.ncols() as i64, (width / unit.blocks()) as i64];
        let blocks = self.reshape(side_by_side, &blocks);
        let combined = self.matmul(alpha, blocks);
        self.reshape(combined, &[0, width as i64])
    }
}

/// `(z − E)/√(Var + ε)` as `scale ⊙ z + shift`.
fn standardise(moving: &Moving, epsilon: f32) -> (Array1<f64>, Array1<f64>) {
    let inverse = |var: f32| 1.0 / (f64::from(var) + f64::from(epsilon)).sqrt();
    let scale = moving.var.mapv(|var| if var < CONSTANT { 0.0 } else { inverse(var) });
    let shift = Zip::from(&scale).and(&moving.mean).map_collect(|scale, &mean| -f64::from(mean) * scale);
    (scale, shift)
}

fn rounded(values: &Array1<f64>) -> Array1<f32> {
    values.mapv(|value| value as f32)
}

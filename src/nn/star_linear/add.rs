//! `W*_d = W + W_d`, `b*_d = b + b_d`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::weights::{DWeights, Weights};
use crate::nn::{Decay, Linear};

/// What one domain owns where weights are added: `W*_d = W + W_d`, `b*_d = b + b_d`, the "add" of Star+. At the start all is
/// 0; weight decay pulls `W_d` to 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Summand {
    /// `W_d`, `[in, out]`.
    pub weight: Array2<f32>,
    /// `b_d`, `[out]`.
    pub bias: Array1<f32>,
}

crate::params!(Summand { weight: Decay::Towards(0.0), bias: Decay::None });

impl Summand {
    /// The summand that changes nothing.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::zeros((input, output)), bias: Array1::zeros(output) }
    }
}

impl Weights for Summand {
    /// `W* = W + W_d`, `b* = b + b_d`.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>) {
        Zip::from(weight).and(&shared.weight).and(&self.weight).for_each(|c, &w, &w_d| *c = w + w_d);
        Zip::from(bias).and(&shared.bias).and(&self.bias).for_each(|c, &b, &b_d| *c = b + b_d);
    }

    /// `dW, dW_d += dW*`, `db_d += db*`.
    fn take_apart(&self, _: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>) {
        Zip::from(dw).and(&mut grad.weight).and(&d.weight).for_each(|dw, dw_d, &g| {
            *dw += g;
            *dw_d += g;
        });
        grad.bias += &d.bias;
    }
}

//! `W*_d = W ⊙ W_d`, `b*_d = b + b_d`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::weights::{DWeights, Weights};
use crate::nn::{Decay, Linear};

/// What one domain owns where weights are multiplied: `W*_d = W ⊙ W_d`, `b*_d = b + b_d` (Sheng et al. 2021, section 3.4,
/// equation 5). At the start `W_d = 1` and `b_d = 0`; weight decay pulls `W_d` to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// `W_d`, `[in, out]`, around 1.
    pub weight: Array2<f32>,
    /// `b_d`, `[out]`, around 0.
    pub bias: Array1<f32>,
}

crate::params!(Factor { weight: Decay::To(1.0), bias: Decay::None });

impl Factor {
    /// The factor that changes nothing.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::ones((input, output)), bias: Array1::zeros(output) }
    }
}

impl Weights for Factor {
    /// `W* = W ⊙ W_d`, `b* = b + b_d`.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>) {
        Zip::from(weight).and(&shared.weight).and(&self.weight).for_each(|c, &w, &w_d| *c = w * w_d);
        Zip::from(bias).and(&shared.bias).and(&self.bias).for_each(|c, &b, &b_d| *c = b + b_d);
    }

    /// `dW += dW* ⊙ W_d`, `dW_d += dW* ⊙ W`, `db_d += db*`.
    fn take_apart(&self, shared: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>) {
        Zip::from(dw).and(&mut grad.weight).and(&d.weight).and(&shared.weight).and(&self.weight).for_each(
            |dw, dw_d, &g, &w, &w_d| {
                *dw += g * w_d;
                *dw_d += g * w;
            },
        );
        grad.bias += &d.bias;
    }
}

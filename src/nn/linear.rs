//! `y = x·W + b`.

use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2, Axis, Zip};

use super::matmul::{matmul, matmul_grad, matmul_transposed};
use super::{Decay, Draws, Init};

/// An affine map with a bias: `y = x·W + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `W`, `[in, out]`.
    pub weight: Array2<f32>,
    /// `b`, `[out]`.
    pub bias: Array1<f32>,
}

crate::params!(Linear { weight: Decay::To(0.0), bias: Decay::None });

impl Linear {
    /// A map from `input` to `output` values; the weight drawn by `init`, the bias 0.
    pub fn new(input: usize, output: usize, init: Init, draws: &mut Draws) -> Self {
        Self { weight: init.weight(input, output, draws), bias: Array1::zeros(output) }
    }

    /// The map that gives 0.
    pub(crate) fn zeros(input: usize, output: usize) -> Self {
        Self { weight: Array2::zeros((input, output)), bias: Array1::zeros(output) }
    }

    /// `y = x·W + b`: `x` is `[rows, in]`, `y` is `[rows, out]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(&self, x: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
        matmul(x, &self.weight, y);
        add_rows(&self.bias, y);
    }

    /// `dW += xᵀ·dy`, `db += Σ dy`, `dx = dy·Wᵀ`. Pass `None` for `dx` when nobody needs it.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn backward(&self, x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, grad: &mut Self, dx: Option<&mut ArrayRef2<f32>>) {
        matmul_grad(x, dy, 1.0, &mut grad.weight);
        add_sums(dy, &mut grad.bias);
        if let Some(dx) = dx {
            matmul_transposed(dy, &self.weight, dx);
        }
    }
}

/// Adds `bias` to every row of `y`.
pub(crate) fn add_rows(bias: &ArrayRef1<f32>, y: &mut ArrayRef2<f32>) {
    for mut row in y.axis_iter_mut(Axis(0)) {
        Zip::from(&mut row).and(bias).for_each(|y, &b| *y += b);
    }
}

/// Adds the column sums of `dy` to `db`.
pub(crate) fn add_sums(dy: &ArrayRef2<f32>, db: &mut ArrayRef1<f32>) {
    for row in dy.axis_iter(Axis(0)) {
        Zip::from(&mut *db).and(&row).for_each(|d, &g| *d += g);
    }
}

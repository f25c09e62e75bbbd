//! Optimizers: they see slices of values beside slices of gradients, and remember by slot.

use crate::nn::{Decay, RowGrad};

/// What turns gradients into steps.
///
/// A *slot* is the position of a tensor in the model's walk. Each slot has its own state and its own step count, so a tensor
/// that is absent from a step (another domain's weights) keeps both.
pub trait Optimizer: Send {
    /// Sets the learning rate of the steps that follow.
    fn set_lr(&mut self, lr: f32);

    /// Moves `values` by `grad`, both of one shape, and pulls them to `decay`'s target as the optimizer's decay asks.
    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &[f32], decay: Decay);

    /// Moves an embedding table (`rows · grad.dim()` values, row-major) by the gradient of the rows that were read.
    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &RowGrad);
}

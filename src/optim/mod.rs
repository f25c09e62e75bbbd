//! Optimizers: they update the values of a tensor by its gradient, and keep a state for each tensor of the model, such as moments. The
//! number of a tensor in the model is called its *slot*.
//!
//! An [`OptimizerConfig`] names an optimizer and its settings, in code or in a file; [`OptimizerConfig::build`] makes the [`Optimizer`].
//! A [`LrSchedule`] changes the learning rate over time, and [`Clip`] bounds gradients before the step.
//!
//! ```
//! use starple::nn::Decay;
//! use starple::optim::{Clock, Optimizer, OptimizerConfig, LrSchedule};
//!
//! let config = OptimizerConfig::adam(0.01)?;
//! let schedule = LrSchedule::default();
//! let mut optimizer = config.build();
//! let mut weight = [1.0_f32, -2.0];
//! for step in 0..1000 {
//!     optimizer.set_lr(config.lr() * schedule.factor(Clock { epoch: 0, step }, &Default::default()));
//!     let mut grad = weight.map(|w| 2.0 * (w - 0.5)); // of (w - 0.5)²
//!     optimizer.dense(0, &mut weight, &mut grad, Decay::Towards(0.0));
//! }
//! assert!(weight.iter().all(|w| (w - 0.5).abs() < 1e-2));
//! # Ok::<(), starple::Error>(())
//! ```

mod adagrad;
mod adam;
mod check;
mod clip;
mod clock;
mod config;
mod row_updates;
mod schedule;
mod sgd;
mod slot_state;
mod slots;
mod split;
mod sweep;
mod weight_decay;

pub use adagrad::{Adagrad, AdagradConfig, AdagradConfigBuilder};
pub use adam::{Adam, AdamConfig, AdamConfigBuilder};
pub use clip::Clip;
pub use clock::Clock;
pub use config::OptimizerConfig;
pub use row_updates::RowUpdates;
pub use schedule::{
    ConstantLr, ConstantLrBuilder, CosineLr, CosineLrBuilder, LrSchedule, PlateauLr, PlateauLrBuilder, PlateauState,
    StepLr, StepLrBuilder,
};
pub use sgd::{Sgd, SgdConfig, SgdConfigBuilder};
pub use slot_state::{SlotShape, SlotState};
pub use split::Split;
use weight_decay::WeightDecay;

use crate::Result;
use crate::nn::{Decay, RowGrad};

/// An optimizer updates the tensors of a model by their gradients. [`Model::apply`](crate::Model::apply) calls it.
///
/// A *slot* is the number of a tensor in its model: its position, from 0, in the order in which the model visits its tensors
/// ([`Model::visit`](crate::Model::visit)). Each slot has its own state, such as moments, and its own step count. If a tensor has no gradient
/// in a step (such as the weights of a domain without rows), its state and its step count do not change. The memory of a slot is allocated at
/// its first step; later steps allocate nothing. A NaN in a gradient makes the values NaN: check the gradient before, for example by the norm
/// that [`Clip::clip`] returns.
///
/// Inside a rayon pool the optimizers of this crate update blocks of a tensor in parallel. The result has the same bits.
pub trait Optimizer: Send {
    /// Sets the learning rate of all steps that follow, until the next call. At first it is the rate of the optimizer's settings.
    ///
    /// # Panics
    /// If `lr` is negative, not finite, or too large for f32.
    fn set_lr(&mut self, lr: f64);

    /// Takes one step for a dense tensor, that is, for any tensor but an embedding table. Updates `values`, the values of the tensor in the
    /// slot `slot`, by its gradient `grad`, and sets `grad` to 0 for the next step. If the optimizer has weight decay, it pulls the values
    /// towards the target that `decay` gives.
    ///
    /// # Panics
    /// If `values` and `grad` have different lengths. If the optimizer keeps a state for the slot, also if `values` had another length in
    /// an earlier step of this slot.
    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay);

    /// Takes one step for an embedding table. `table` has the values of the table in the slot `slot`, row after row, with `grad.dim()`
    /// values in each row. `grad` has the gradients of the rows that the training step read. The method updates `table`, and then removes
    /// all rows from `grad` for the next step.
    ///
    /// Weight decay pulls the rows towards 0. The setting [`RowUpdates`] says what happens to rows that were not read.
    ///
    /// # Panics
    /// If the length of `table` is not a multiple of `grad.dim()`, or if `grad` has a row that `table` does not have. If the optimizer
    /// keeps a state for the slot, also if `table` had another length in an earlier step of this slot.
    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad);

    /// The state that the optimizer keeps for the slot `slot`, for example to save it. `None` if the slot has not had a step yet, or if the
    /// optimizer keeps no state (SGD without momentum).
    fn state(&self, slot: usize) -> Option<SlotState<'_>>;

    /// Replaces the state of the slot `slot` by `state`, which was saved with [`Optimizer::state`]. `shape` is the kind and size of the
    /// tensor in the slot. The next step of the slot is then bit for bit the step that the saved optimizer would have taken.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) in these cases. The slot then keeps its old state, and the message lists everything
    /// that is wrong with `state`:
    ///
    /// * `state` lacks a list of values that this optimizer keeps, has a list that it does not keep, or has one list twice.
    /// * A list does not have the length that a tensor of the given `shape` needs.
    /// * A sum or average of squared gradients (`sum` or `second_moment`) has a negative value.
    /// * [`SlotState::steps`] is above 2⁴⁸.
    /// * This optimizer is SGD without momentum, which keeps no state; it accepts no `state`.
    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()>;
}

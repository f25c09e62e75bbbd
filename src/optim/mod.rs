//! Optimizers: they update slices of values by slices of gradients, and keep a state for each tensor of the model (*slot*).
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

/// An optimizer: updates parameters by their gradients.
///
/// A *slot* is one tensor of the model: its position, from 0, in the order in which the model visits its tensors
/// ([`Model::visit`](crate::Model::visit)). Each slot has its own state and its own step count. A tensor without a gradient in a step (such
/// as the weights of a domain without rows) keeps both. The memory of a slot is allocated at its first step; later steps allocate nothing.
///
/// Inside a rayon pool the optimizers of this crate update blocks of a tensor in parallel, with the same result.
pub trait Optimizer: Send {
    /// Sets the learning rate of the steps that follow.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    fn set_lr(&mut self, lr: f64);

    /// One step of a dense tensor: updates `values` by their gradient `grad`, and sets `grad` to zero for the next step. The optimizer's
    /// weight decay pulls the values towards the target that `decay` names.
    ///
    /// # Panics
    /// If `values` and `grad` have different lengths, or if `values` had another length in an earlier step of this slot.
    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay);

    /// One step of an embedding table: updates `table` (rows of `grad.dim()` values, row-major) by the gradient of the rows that were read,
    /// and removes all rows from `grad` for the next step.
    ///
    /// Weight decay pulls the rows towards 0. [`RowUpdates`] sets what happens to rows that were not read.
    ///
    /// # Panics
    /// If `table` is not a whole number of rows, if `grad` has a row that `table` does not have, or if `table` had another size in an
    /// earlier step of this slot.
    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad);

    /// The state of this slot, to save it; `None` before the slot's first step, or if the optimizer keeps no state.
    fn state(&self, slot: usize) -> Option<SlotState<'_>>;

    /// Replaces the state of this slot by a saved one ([`Optimizer::state`]). `shape` is the size of the slot's tensor.
    ///
    /// The next step is then bit for bit the step that the saved optimizer would have taken.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if the state is from another optimizer or from a tensor of another size. The message
    /// lists every list of values that is missing, unknown or of the wrong length. The slot then keeps its old state.
    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()>;
}

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
/// ([`Model::visit`](crate::Model::visit)). Each slot has its own state and its own step count. A tensor without a gradient in a step (such
/// as the weights of a domain without rows) keeps both. The memory of a slot is allocated at its first step; later steps allocate nothing.
///
/// Inside a rayon pool the optimizers of this crate update blocks of a tensor in parallel, with the same result.
pub trait Optimizer: Send {
    /// Sets the learning rate of all steps that follow, until the next call. At first it is the rate of the optimizer's settings.
    ///
    /// # Panics
    /// If `lr` is negative, not finite, or too large for f32.
    fn set_lr(&mut self, lr: f64);

    /// Takes one step of a dense tensor, that is, of any tensor but an embedding table. Updates `values`, the tensor in `slot`, by its
    /// gradient `grad`, and sets `grad` to 0 for the next step. The optimizer's weight decay pulls the values towards the target that
    /// `decay` names.
    ///
    /// # Panics
    /// If `values` and `grad` have different lengths. If the optimizer keeps a state for this slot, also if `values` had another length in
    /// an earlier step of the slot.
    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay);

    /// Takes one step of an embedding table. Updates `table`, the table in `slot` as rows of `grad.dim()` values one after the other, by
    /// the gradient of the rows that were read, and removes all rows from `grad` for the next step.
    ///
    /// Weight decay pulls the rows towards 0. [`RowUpdates`] sets what happens to rows that were not read.
    ///
    /// # Panics
    /// If the length of `table` is not a multiple of `grad.dim()`, or if `grad` has a row that `table` does not have. If the optimizer
    /// keeps a state for this slot, also if `table` had another length in an earlier step of the slot.
    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad);

    /// The state of this slot, to be saved. `None` before the first step of the slot, or if the optimizer keeps no state (SGD without
    /// momentum).
    fn state(&self, slot: usize) -> Option<SlotState<'_>>;

    /// Replaces the state of this slot by a saved one ([`Optimizer::state`]). `shape` is the kind and size of the tensor in the slot. The
    /// next step is then bit for bit the step that the saved optimizer would have taken.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) in these cases; the slot then keeps its old state, and the message lists all that is
    /// wrong:
    ///
    /// * a list of values that the optimizer keeps is missing, unknown, listed twice, or not of the length that `shape` asks for;
    /// * a sum or average of squares has a negative value;
    /// * the step count is above 2⁴⁸;
    /// * the optimizer keeps no state (SGD without momentum).
    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()>;
}

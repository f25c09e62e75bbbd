//! Optimizers: they update slices of values by slices of gradients, and keep state by slot.
//!
//! An [`OptimizerConfig`] says which optimizer and with what settings, in code or in a file; its
//! [`build`](OptimizerConfig::build) makes the [`Optimizer`]. A [`LrSchedule`] scales the learning rate over time, and
//! [`Clip`] bounds gradients before the step.
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
/// A *slot* is the position of a tensor in the model's walk. Each slot has its own state and its own step count, so a tensor
/// that is absent from a step (another domain's weights) keeps both. A slot's memory is taken at its first step; later
/// steps allocate nothing.
///
/// Inside a rayon pool the optimizers of this crate update blocks of a tensor in parallel, with the same result.
pub trait Optimizer: Send {
    /// Sets the learning rate of the steps that follow.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    fn set_lr(&mut self, lr: f64);

    /// Moves `values` by `grad`, both of one shape, and pulls them to `decay`'s target as the optimizer's weight decay
    /// asks. Sets `grad` to zero in the same pass, for the next step: another pass would read it from memory again.
    ///
    /// # Panics
    /// If the two differ in length, or in length from what the slot held before.
    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay);

    /// Moves an embedding table (`rows · grad.dim()` values, row-major) by the gradient of the rows that were read. Leaves
    /// `grad` without rows.
    ///
    /// Weight decay pulls table rows to 0. What happens to rows that were not read is [`RowUpdates`]' choice.
    ///
    /// # Panics
    /// If the table is not a whole number of rows, lacks a row of the gradient, or differs in size from what the slot
    /// held before.
    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad);

    /// What the slot remembers, to be saved; `None` before its first step, or when the optimizer keeps no state.
    fn state(&self, slot: usize) -> Option<SlotState<'_>>;

    /// Replaces the state of a slot of this shape by a saved one.
    ///
    /// The next step is then, bit for bit, the one that the optimizer that was saved would take.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) when the state is another optimizer's or another shape's: the
    /// message lists every missing, unknown and mis-sized tensor, and the slot is left as it was.
    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()>;
}

//! What a user hangs into the training loop.

use std::ops::ControlFlow;
use std::path::Path;

use super::{EpochReport, FitReport};
use crate::Error;

/// Called by the [`Trainer`](super::Trainer) as it goes; every method does nothing unless it is overridden.
///
/// A method that returns [`ControlFlow::Break`] ends the training there; the model has the best weights so far, or those
/// of the last step where no epoch was evaluated yet or there are no validation rows.
pub trait Callback: Send {
    /// An epoch begins, with `batches` batches to come; the first is 0, of `epochs` at most.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        let _ = (epoch, epochs, batches);
    }

    /// The run goes on from the checkpoint `from`, after `steps` steps.
    fn resumed(&mut self, from: &Path, steps: u64) {
        let _ = (from, steps);
    }

    /// A checkpoint is damaged, as `error` says, which names it. It was set aside, and the run goes on from one before it.
    fn checkpoint_damaged(&mut self, error: &Error) {
        let _ = error;
    }

    /// A step is done.
    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// The run is over, for whatever reason.
    fn run_done(&mut self, report: &FitReport) {
        let _ = report;
    }

    /// An epoch and its evaluation are done.
    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// A step that was just done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDone {
    /// Its number, counted from 0 over the whole run.
    pub step: u64,
    /// How many rows its batch had.
    pub rows: usize,
    /// The loss before the step, with what the model adds by itself.
    pub loss: f64,
    /// The learning rate.
    pub lr: f64,
}

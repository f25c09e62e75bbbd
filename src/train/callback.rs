//! Hooks of the training loop.

use std::ops::ControlFlow;
use std::path::Path;

use super::{EpochReport, FitReport};
use crate::Error;

/// Called by the [`Trainer`](super::Trainer) during a run. By default every method does nothing.
///
/// A method that returns [`ControlFlow::Break`] ends the run. The model then has the best weights so far; without validation rows, or
/// before the first evaluation, it has the weights of the last step.
pub trait Callback: Send {
    /// An epoch begins: number `epoch`, from 0, of at most `epochs`. `batches` of its batches are still to come.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        let _ = (epoch, epochs, batches);
    }

    /// The run resumes from the checkpoint `from`, after `steps` steps.
    fn resumed(&mut self, from: &Path, steps: u64) {
        let _ = (from, steps);
    }

    /// A checkpoint is damaged; `error` names it. It was renamed, and the run resumes from an earlier one.
    fn checkpoint_damaged(&mut self, error: &Error) {
        let _ = error;
    }

    /// A step is done.
    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// The run has ended, for any reason.
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
    /// The rows of its batch.
    pub rows: usize,
    /// The loss before the step, including the model's own penalty.
    pub loss: f64,
    /// The learning rate.
    pub lr: f64,
}

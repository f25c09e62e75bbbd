//! Hooks of the training loop.

use std::ops::ControlFlow;
use std::path::Path;

use super::{EpochReport, FitReport};
use crate::Error;

/// Code of your own that a [`Trainer`](super::Trainer) calls at certain points of a run ([`Trainer::callback`](super::Trainer::callback)).
/// The default of every method does nothing.
///
/// If a method returns [`ControlFlow::Break`], the run ends with [`StopReason::Callback`](super::StopReason::Callback); the callbacks after
/// this one are still called. The model then has the weights of the best epoch so far. If there are no validation rows, or no epoch was
/// evaluated yet, it has the weights of the last step.
pub trait Callback: Send {
    /// Called before the first step of an epoch. `epoch` is the number of the epoch, counted from 0; `epochs` is the largest number of
    /// epochs of the run ([`TrainConfig::epochs`](super::TrainConfig::epochs)). `batches` is the number of steps that this epoch still
    /// needs: if a run resumes in the middle of an epoch, only the steps that are left.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        let _ = (epoch, epochs, batches);
    }

    /// Called when a run continues from a checkpoint ([`Trainer::resume`](super::Trainer::resume)), before its first step. `from` is the
    /// path of the checkpoint; `steps` is the number of steps that the run had done when it was saved.
    fn resumed(&mut self, from: &Path, steps: u64) {
        let _ = (from, steps);
    }

    /// Called once for each damaged checkpoint that [`Trainer::resume`](super::Trainer::resume) skips, when the run continues from an
    /// earlier, undamaged one. `error` has the path of the damaged file and what is wrong with it. The file was renamed to
    /// `step-….safetensors.damaged`.
    fn checkpoint_damaged(&mut self, error: &Error) {
        let _ = error;
    }

    /// Called after each step, when the weights have been updated. [`ControlFlow::Break`] ends the run after this step.
    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// Called once when the run has ended, for any reason except an error. The model already has its final weights.
    fn run_done(&mut self, report: &FitReport) {
        let _ = report;
    }

    /// Called at the end of each epoch: after the evaluation, and after a checkpoint was saved if the run has a folder for checkpoints.
    /// [`ControlFlow::Break`] ends the run after this epoch.
    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// A report of the step that was just done, which [`Callback::step_done`] gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDone {
    /// The number of the step, counted from 0 over all epochs of the run.
    pub step: u64,
    /// The number of rows in the batch of this step.
    pub rows: usize,
    /// The total loss on the batch, computed with the weights before this step. It includes the penalty that the model itself adds
    /// ([`Model::penalize`](crate::Model::penalize)).
    pub loss: f64,
    /// The learning rate of this step: the base rate of [`TrainConfig::optimizer`](super::TrainConfig::optimizer), times the factor of the
    /// schedule. It is not the rate of a separate optimizer for the embedding tables.
    pub lr: f64,
}

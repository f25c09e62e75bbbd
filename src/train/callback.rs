//! Hooks of the training loop.

use std::ops::ControlFlow;
use std::path::Path;

use super::{EpochReport, FitReport};
use crate::Error;

/// Code of your own that a [`Trainer`](super::Trainer) calls at certain points of a training run, for example to log losses or to end the
/// run. Implement the methods that you need, and add a value of your type with [`Trainer::callback`](super::Trainer::callback). The default
/// of every method does nothing and lets the run continue.
///
/// For each epoch the trainer calls [`epoch_started`](Callback::epoch_started), then [`step_done`](Callback::step_done) after each step,
/// then [`epoch_done`](Callback::epoch_done). At the end of the run it calls [`run_done`](Callback::run_done). A run that is
/// [resumed](super::Trainer::resume) begins with [`checkpoint_damaged`](Callback::checkpoint_damaged) and
/// [`resumed`](Callback::resumed). All calls come one after the other, from one thread, while training waits. If a method panics, the panic
/// ends [`Trainer::fit`](super::Trainer::fit).
///
/// If `step_done` or `epoch_done` returns [`ControlFlow::Break`], the run ends with [`StopReason::Callback`](super::StopReason::Callback),
/// after the other callbacks were called too. The model then has the weights of the best epoch so far. If there are no validation rows, or
/// no epoch was evaluated yet, it has the weights of the last step.
pub trait Callback: Send {
    /// Called before the first step of each epoch, and when a run resumes in the middle of an epoch.
    ///
    /// * `epoch` is the number of the epoch, counted from 0.
    /// * `epochs` is the largest number of epochs of the run ([`TrainConfig::epochs`](super::TrainConfig::epochs)); early stopping can end
    ///   the run before.
    /// * `batches` is the number of steps of this epoch. If the run resumes in the middle of the epoch, it is the number of steps that are
    ///   left, which can be 0.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        let _ = (epoch, epochs, batches);
    }

    /// Called once when [`Trainer::resume`](super::Trainer::resume) continues a run from a checkpoint, before the first step. It is not
    /// called if there is no checkpoint and a new run starts. `from` is the path of the checkpoint. `steps` is the number of optimizer steps
    /// that the run had done, over all epochs, when it saved the checkpoint.
    fn resumed(&mut self, from: &Path, steps: u64) {
        let _ = (from, steps);
    }

    /// Called once for each damaged checkpoint that [`Trainer::resume`](super::Trainer::resume) skips because it continues from an earlier,
    /// undamaged one; the call of [`Callback::resumed`] comes after. `error` has the path of the damaged file ([`Error::path`]) and says
    /// what is wrong with it. The file was already renamed: `.damaged` was added to its name. It is not called if all checkpoints are
    /// damaged: `resume` then returns an error.
    fn checkpoint_damaged(&mut self, error: &Error) {
        let _ = error;
    }

    /// Called after each step, when the weights of the model have been updated. `step` has the number, rows, loss and learning rate of the
    /// step. Return [`ControlFlow::Continue`] to go on; [`ControlFlow::Break`] ends the run after this step. If the run has a folder for
    /// checkpoints, it then saves one first. It is not called for a step whose loss is not finite: such a step ends the run.
    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// Called once when the run has ended, for any reason except an error: after the last call of every other method, and after
    /// [`Checkpoints::best`](super::Checkpoints::best) was written if the run has a folder for checkpoints. `report` is the report that
    /// [`Trainer::fit`](super::Trainer::fit) returns.
    fn run_done(&mut self, report: &FitReport) {
        let _ = report;
    }

    /// Called at the end of each epoch: after the evaluation on the validation rows, and after a checkpoint was saved if the run has a folder
    /// for checkpoints. `report` has the losses and metrics of this epoch. Return [`ControlFlow::Continue`] to go on;
    /// [`ControlFlow::Break`] ends the run after this epoch. It is not called for an epoch in which the run ended because a value was not
    /// finite or the loss was too large.
    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// The report of one optimizer step, which [`Callback::step_done`] gets after the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDone {
    /// The number of the step, counted from 0 over all epochs of the run: the first step has number 0, also in the reports of a resumed
    /// run, which continue the count.
    pub step: u64,
    /// The number of rows in the batch of this step.
    pub rows: usize,
    /// The total loss on the batch ([`Loss::total`](crate::loss::Loss::total)), computed with the weights before this step. It includes the
    /// penalty that the model itself adds ([`Model::penalize`](crate::Model::penalize)), but not the penalty of
    /// [`TrainConfig::id_l2`](super::TrainConfig::id_l2).
    pub loss: f64,
    /// The learning rate of this step: the base rate of [`TrainConfig::optimizer`](super::TrainConfig::optimizer), times the factor of
    /// [`TrainConfig::schedule`](super::TrainConfig::schedule). If the embedding tables have a separate optimizer, its rate is another one:
    /// its own base rate, times the same factor.
    pub lr: f64,
}

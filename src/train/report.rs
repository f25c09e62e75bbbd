//! Reports of a training run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::loss::weighting::Learned;
use crate::metrics::Report;

/// The mean log loss above which a run stops, 24·ln 2 = 16.6: labels then have, in the geometric mean, a predicted probability below 2⁻²⁴, the
/// distance between 1 and the next smaller f32. Such predictions are certain and wrong.
pub(super) const HUGE_LOSS: f64 = 24.0 * std::f64::consts::LN_2;

const KEPT: &str = "the last good weights were kept (lower the learning rate, or clip gradients)";

/// The reason why a training run ended ([`FitReport::stop`]). In each variant, "the best epoch" is the best one on the validation rows.
///
/// In a file it is an object with the key `reason`, for example `{"reason": "no_improvement", "waited": 2}`. If you `match` on it, add a
/// wildcard arm (`_ =>`): later versions can add reasons. `to_string()` gives a text for people.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum StopReason {
    /// The run did all its epochs ([`TrainConfig::epochs`](super::TrainConfig::epochs)). The model has the weights of the best epoch; without
    /// validation rows, those of the last epoch.
    #[default]
    Epochs,
    /// Early stopping: the monitored metric did not improve for [`EarlyStop::patience`](super::EarlyStop::patience) epochs in a row. The
    /// model has the weights of the best epoch.
    NoImprovement {
        /// The number of epochs that were done after the best epoch: at least the patience.
        waited: usize,
    },
    /// A loss in a step, or a score in an evaluation, was NaN or infinite. The weights that caused it are discarded: the model has the weights
    /// of the best epoch so far (without validation rows, of the last whole epoch), or its starting weights if no epoch was completed.
    NonFinite {
        /// The number of the step with this loss, counted from 0 over all epochs of the run. If an evaluation found a score that is not finite,
        /// it is the number of steps that the run had done until then.
        step: u64,
        /// The name of the domain of the row with this loss or score. For a row of no known domain
        /// ([`DomainId::SHARED`](crate::data::DomainId::SHARED)) it is [`SHARED_DOMAIN`](crate::metrics::SHARED_DOMAIN).
        domain: String,
        /// The name of the task whose loss or score was not finite. If there are several, it is the first one that the check finds.
        task: String,
    },
    /// A parameter of the model, or a moving average of a normalisation layer, was NaN or infinite, although all losses were finite. This is
    /// checked after each epoch, before a checkpoint is saved, and when a callback ends the run. The model has the weights of the best epoch
    /// so far (without validation rows, of the last whole epoch), or its starting weights if no epoch was completed.
    Diverged {
        /// The number of optimizer steps that the run had done over all epochs.
        step: u64,
        /// The dotted name of the first tensor with such a value, in the order of [`Model::visit`](crate::Model::visit), for example
        /// `embeddings.user`.
        tensor: String,
    },
    /// After an epoch, the mean log loss of a binary task was finite but above 16.6 (24·ln 2). The predictions are then certain and wrong: the
    /// model gives the true labels, in the geometric mean, a probability below 2⁻²⁴.
    ///
    /// With validation rows, it is the log loss of a task on them. Without, it is the training loss of a [unit](crate::loss::Units) of the
    /// objective whose tasks are all binary: the smaller of its mean over the steps of the epoch and its value in the last step. Tasks that
    /// are not binary are not checked. The model has the weights of the best epoch so far (without validation rows, of the last whole epoch),
    /// or its starting weights if no epoch was completed; the epoch with this loss does not count.
    HugeLoss {
        /// The number of optimizer steps that the run had done over all epochs.
        step: u64,
        /// The name of the task whose log loss on the validation rows was too large. Without validation rows, it is the name of a
        /// [unit](crate::loss::Units) of the objective: a task, a domain, or `domain/task`.
        of: String,
        /// The log loss in nats, above 16.6.
        loss: f64,
    },
    /// A method of a [`Callback`](super::Callback) returned [`ControlFlow::Break`](std::ops::ControlFlow::Break). The model has the weights
    /// of the best epoch so far. If there are no validation rows, or no epoch was evaluated yet, it has the weights of the last step. With a
    /// folder for checkpoints, [`Trainer::resume`](super::Trainer::resume) can continue the run.
    Callback,
}

impl StopReason {
    /// Returns true for [`StopReason::Epochs`] and [`StopReason::NoImprovement`]: the run ended as its settings say. Returns false if it
    /// diverged or if a callback ended it.
    pub fn ended_well(&self) -> bool {
        matches!(self, Self::Epochs | Self::NoImprovement { .. })
    }

    /// Returns true for [`StopReason::NonFinite`], [`StopReason::Diverged`] and [`StopReason::HugeLoss`]: a value was NaN or infinite, or the
    /// loss was too large. Returns false for all other reasons.
    pub fn diverged(&self) -> bool {
        matches!(self, Self::NonFinite { .. } | Self::Diverged { .. } | Self::HugeLoss { .. })
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs => write!(f, "all epochs were run"),
            Self::NoImprovement { waited } => write!(f, "no improvement for {waited} epochs"),
            Self::NonFinite { step, domain, task } => {
                write!(f, "a loss that is not finite at step {step}, in domain {domain:?} for task {task:?}; {KEPT}")
            }
            Self::Diverged { step, tensor } => {
                write!(f, "a value of {tensor} that is not finite after {step} steps; {KEPT}")
            }
            Self::HugeLoss { step, of, loss } => {
                write!(f, "a log loss of {loss:.3e} of {of:?} after {step} steps; {KEPT}")
            }
            Self::Callback => write!(f, "a callback ended the run"),
        }
    }
}

/// The mean training loss and the mean weight of one [unit](crate::loss::Units) of the objective (a task, a domain, or a pair of both) in one
/// epoch. It is part of an [`EpochReport`], and [`Step::end_epoch`](super::Step::end_epoch) returns it.
///
/// A step counts for the unit if a row of its batch with a weight above 0 has a label of the unit, and if the weight that the settings of the
/// objective give the unit is above 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// The name of the unit: that of a task or a domain, or `domain/task` for a pair. See [`Units::names`](crate::loss::Units::names).
    pub unit: String,
    /// The mean of the unit's training loss over the steps of the epoch that count ([`UnitReport`]). The loss of a step is the mean over the
    /// labelled rows of its batch ([`Units`](crate::loss::Units)), not multiplied by the weight of the unit. `None` if no step counts.
    pub loss: Option<f64>,
    /// The mean of the weight by which the unit's loss was multiplied, over the same steps. It is the product of the weight that the settings of
    /// the [`Objective`](crate::loss::Objective) give (1 by default) and the factor that its [`Weighting`](crate::loss::Weighting) computes
    /// (1 by default). `None` if no step counts.
    pub weight: Option<f64>,
}

/// What happened in one completed epoch of a training run: losses, learning rate, seconds and validation metrics. [`FitReport::epochs`] has
/// one for each epoch, and [`Callback::epoch_done`](super::Callback::epoch_done) gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The number of the epoch, counted from 0.
    pub epoch: usize,
    /// The mean training loss of the epoch: the mean of [`StepDone::loss`](super::StepDone::loss) over its steps, each weighted by its number of
    /// rows. The loss of a step is computed with the weights before the step and with dropout, so it cannot be compared with the log loss in
    /// `val`. It includes the penalty that the model itself adds ([`Model::penalize`](crate::Model::penalize)).
    pub loss: f64,
    /// The mean training loss and the mean weight of each [unit](crate::loss::Units) of the objective, such as each task, in the order of
    /// [`Units::names`](crate::loss::Units::names).
    pub units: Vec<UnitReport>,
    /// What the objective's [`Weighting`](crate::loss::Weighting) had learned at the end of the epoch, such as the weights of GradNorm.
    /// [`Learned::Nothing`] for the default weighting.
    pub weighting: Learned,
    /// The learning rate of the last step of the epoch: the base rate of [`TrainConfig::optimizer`](super::TrainConfig::optimizer), times the
    /// factor of the schedule.
    pub lr: f64,
    /// The seconds from the start of the epoch to its last step: the steps, building batches, callbacks, and checkpoints that are saved
    /// between steps. If the run was resumed in the middle of the epoch, it is the sum for both parts of the epoch.
    pub train_seconds: f64,
    /// The seconds between the last step and the end of the evaluation: they are spent on normalisation statistics
    /// ([`recompute_statistics`](super::recompute_statistics)) and on the metrics on the validation rows.
    pub evaluate_seconds: f64,
    /// The metrics on the validation rows after the epoch, as [`evaluate`](super::evaluate()) computes them; `None` if the run has no
    /// validation rows.
    pub val: Option<Report>,
    /// The value of the monitored metric ([`EarlyStop::monitor`](super::EarlyStop::monitor)) on the validation rows; `None` if the run has
    /// no validation rows.
    pub monitored: Option<f64>,
    /// Whether this epoch is the best so far: the first epoch, or an epoch whose monitored metric is better than that of the best epoch before
    /// by more than [`EarlyStop::min_delta`](super::EarlyStop::min_delta). Always false if the run has no validation rows.
    pub best: bool,
}

/// What happened in a training run: why it ended, a report of each epoch, and the numbers of steps, rows and seconds.
/// [`Trainer::fit`](super::Trainer::fit) returns it. For a [resumed](super::Trainer::resume) run, all fields are for the whole run, with the
/// part before the interruption.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitReport {
    /// The reason why the run ended.
    pub stop: StopReason,
    /// The report of each completed epoch, in order: `epochs[0]` is the first epoch. An epoch that was not completed, because the run stopped
    /// in it or its loss was too large, has no report.
    pub epochs: Vec<EpochReport>,
    /// The number of the best epoch by the monitored metric ([`EarlyStop`](super::EarlyStop)), counted from 0: its index in `epochs`. Without
    /// validation rows, it is the last completed epoch. `None` if no epoch was completed: the model then has its starting weights if the run
    /// diverged, and the weights of the last step if a callback ended the run.
    pub best_epoch: Option<usize>,
    /// The number of optimizer steps that the run did, over all epochs, those of an epoch that was not completed included.
    pub steps: u64,
    /// The number of rows in the batches of all steps of the run. In each completed epoch every training row counts once; if the objective
    /// [samples negatives](crate::loss::Objective), every row that the epoch keeps.
    pub rows: u64,
    /// The sum of [`EpochReport::train_seconds`] over the epochs of the run, plus the seconds of an epoch that was not completed.
    pub train_seconds: f64,
    /// The sum of [`EpochReport::evaluate_seconds`] over the completed epochs of the run: the time for normalisation statistics and for metrics
    /// on the validation rows.
    pub evaluate_seconds: f64,
}

impl FitReport {
    /// Returns the number of training rows per second: [`FitReport::rows`] divided by [`FitReport::train_seconds`]. It is 0 if no time was
    /// spent, for example in the default report.
    pub fn rows_per_second(&self) -> f64 {
        if self.train_seconds > 0.0 { self.rows as f64 / self.train_seconds } else { 0.0 }
    }

    /// Returns true if the run ended as its settings say ([`StopReason::ended_well`]: all epochs or early stopping) and has a best epoch.
    /// Returns false if it diverged or if a callback ended it.
    pub fn ended_well(&self) -> bool {
        self.stop.ended_well() && self.best_epoch.is_some()
    }

    /// Returns the metrics of the best epoch on the validation rows. `None` if there were no validation rows or no epoch was completed.
    pub fn val(&self) -> Option<&Report> {
        self.epochs.get(self.best_epoch?)?.val.as_ref()
    }
}

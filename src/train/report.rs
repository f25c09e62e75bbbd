//! Reports of a training run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::loss::weighting::Learned;
use crate::metrics::Report;

/// The mean log loss above which a run stops, 24·ln 2 = 16.6: labels then have, in the geometric mean, a predicted probability below 2⁻²⁴, the
/// distance between 1 and the next smaller f32. Such predictions are certain and wrong.
pub(super) const HUGE_LOSS: f64 = 24.0 * std::f64::consts::LN_2;

const KEPT: &str = "the last good weights were kept (lower the learning rate, or clip gradients)";

/// Why a training run ended. It is part of the [`FitReport`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum StopReason {
    /// The run did all its epochs ([`TrainConfig::epochs`](super::TrainConfig::epochs)).
    #[default]
    Epochs,
    /// Early stopping: the monitored metric did not improve for [`EarlyStop::patience`](super::EarlyStop::patience) epochs in a row. The
    /// model has the weights of the best epoch.
    NoImprovement {
        /// The number of epochs that were done after the best epoch.
        waited: usize,
    },
    /// A loss in a step, or a score in an evaluation, was not a finite number. The model has the weights of the best epoch so far (without
    /// validation rows, of the last whole epoch), or its starting weights if no epoch was completed.
    NonFinite {
        /// The number of the step with this loss, counted from 0 over all epochs of the run. If an evaluation found the value, it is the
        /// number of steps done until then.
        step: u64,
        /// The name of the domain of the row with this loss or score. For a row of no known domain
        /// ([`DomainId::SHARED`](crate::data::DomainId::SHARED)) it is [`SHARED_DOMAIN`](crate::metrics::SHARED_DOMAIN).
        domain: String,
        /// The name of the task whose loss or score was not finite.
        task: String,
    },
    /// A parameter or moving average was not a finite number, although all losses were finite. This is checked after each epoch, before a
    /// checkpoint is saved, and when a callback ends the run. The model has the weights of the best epoch so far (without validation rows,
    /// of the last whole epoch), or its starting weights if no epoch was completed.
    Diverged {
        /// The number of steps that were done in the whole run.
        step: u64,
        /// The dotted name of the first tensor with such a value, in the order of [`Model::visit`](crate::Model::visit).
        tensor: String,
    },
    /// After an epoch, the log loss of a task or [unit](crate::loss::Units) was finite but above 16.6 (24·ln 2). The model then gives the
    /// true labels, in the geometric mean, a probability below 2⁻²⁴, the distance between 1 and the next smaller f32: its predictions are
    /// certain and wrong.
    ///
    /// The loss is that of the validation rows; without them, the smaller of the mean loss of the epoch and the loss of the last step. The
    /// model has the weights of the best epoch so far (without validation rows, of the last whole epoch), or its starting weights if no
    /// epoch was completed.
    HugeLoss {
        /// The number of steps that were done in the whole run.
        step: u64,
        /// The name of the task whose log loss on the validation rows was too large. Without validation rows it is the name of a
        /// [unit](crate::loss::Units) of the objective: of a task, a domain, or a pair of both.
        of: String,
        /// The log loss, above 16.6.
        loss: f64,
    },
    /// A method of a [`Callback`](super::Callback) returned [`ControlFlow::Break`](std::ops::ControlFlow::Break). The model has the weights
    /// of the best epoch so far. If there are no validation rows, or no epoch was evaluated yet, it has the weights of the last step.
    Callback,
}

impl StopReason {
    /// True for [`StopReason::Epochs`] and [`StopReason::NoImprovement`]: the run ended as its settings say. False if it diverged or a
    /// callback ended it.
    pub fn ended_well(&self) -> bool {
        matches!(self, Self::Epochs | Self::NoImprovement { .. })
    }

    /// True for [`StopReason::NonFinite`], [`StopReason::Diverged`] and [`StopReason::HugeLoss`]: a value was not finite, or the loss was
    /// too large.
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

/// The loss and the weight of one [unit](crate::loss::Units) of the objective (a task, a domain, or a pair of both) in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// The name of the unit: that of a task or a domain, or `domain/task` for a pair. See [`Units::names`](crate::loss::Units::names).
    pub unit: String,
    /// The mean of the unit's loss `L_k`, without its weight, over the steps of the epoch that count: those in which the unit had labels
    /// and the objective's weight for it was above 0. `None` if there was no such step.
    pub loss: Option<f64>,
    /// The mean of the unit's weight `ω_k·v_k` over the same steps: `ω_k` is the weight that the objective gives, `v_k` the factor of its
    /// [`Weighting`](crate::loss::Weighting). `None` if there was no such step.
    pub weight: Option<f64>,
}

/// What happened in one epoch of a training run: losses, learning rate, seconds and validation metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The number of the epoch, counted from 0.
    pub epoch: usize,
    /// The mean training loss of the epoch: the mean over its batches, weighted by their numbers of rows. It includes the penalty that the
    /// model itself adds ([`Model::penalize`](crate::Model::penalize)).
    pub loss: f64,
    /// The loss and weight of each unit of the objective, in the order of [`Units::names`](crate::loss::Units::names).
    pub units: Vec<UnitReport>,
    /// What the objective's [`Weighting`](crate::loss::Weighting) had learned at the end of the epoch.
    pub weighting: Learned,
    /// The learning rate of the last step of the epoch.
    pub lr: f64,
    /// The seconds that the steps of the epoch took, including the time for building batches.
    pub train_seconds: f64,
    /// The seconds between the last step and the end of the evaluation: for normalisation statistics
    /// ([`recompute_statistics`](super::recompute_statistics)) and for the metrics on the validation rows.
    pub evaluate_seconds: f64,
    /// The metrics on the validation rows after the epoch; `None` if the run has no validation rows.
    pub val: Option<Report>,
    /// The value of the monitored metric ([`EarlyStop::monitor`](super::EarlyStop::monitor)) on the validation rows; `None` if the run has
    /// no validation rows.
    pub monitored: Option<f64>,
    /// Whether this epoch was better than all before it, by more than [`EarlyStop::min_delta`](super::EarlyStop::min_delta). False if the
    /// run has no validation rows.
    pub best: bool,
}

/// What happened in a training run. [`Trainer::fit`](super::Trainer::fit) returns it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitReport {
    /// The reason why the run ended.
    pub stop: StopReason,
    /// The report of each completed epoch, in order. An epoch in which the run stopped is not part of it.
    pub epochs: Vec<EpochReport>,
    /// The number of the best epoch, counted from 0: its index in `epochs`. Without validation rows, it is the last completed epoch. `None`
    /// if no epoch was completed: the model then has its starting weights if the run diverged, and the weights of the last step if a
    /// callback ended the run.
    pub best_epoch: Option<usize>,
    /// The number of optimizer steps in the whole run.
    pub steps: u64,
    /// The number of rows in all steps of the run: in each completed epoch every training row counts once.
    pub rows: u64,
    /// The seconds that all steps of the run took, including the time for building batches.
    pub train_seconds: f64,
    /// The seconds that the run spent on normalisation statistics and on evaluations after its epochs.
    pub evaluate_seconds: f64,
}

impl FitReport {
    /// The number of training rows per second: [`FitReport::rows`] divided by [`FitReport::train_seconds`]. 0 if no time was spent.
    pub fn rows_per_second(&self) -> f64 {
        if self.train_seconds > 0.0 { self.rows as f64 / self.train_seconds } else { 0.0 }
    }

    /// Whether the run ended as its settings say ([`StopReason::ended_well`]) and has a best epoch.
    pub fn ended_well(&self) -> bool {
        self.stop.ended_well() && self.best_epoch.is_some()
    }

    /// The metrics of the best epoch on the validation rows. `None` if there were no validation rows or no epoch was completed.
    pub fn val(&self) -> Option<&Report> {
        self.epochs.get(self.best_epoch?)?.val.as_ref()
    }
}

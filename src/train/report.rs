//! Reports of a training run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::loss::weighting::Learned;
use crate::metrics::Report;

/// The mean log loss above which a run stops, 24·ln 2 = 16.6: labels then have, in the geometric mean, a predicted probability below 2⁻²⁴, the
/// distance between 1 and the next smaller f32. Such predictions are certain and wrong.
pub(super) const HUGE_LOSS: f64 = 24.0 * std::f64::consts::LN_2;

const KEPT: &str = "the last good weights were kept (lower the learning rate, or clip gradients)";

/// Why a training run ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs were run.
    #[default]
    Epochs,
    /// The monitored value did not improve for `patience` epochs.
    NoImprovement {
        /// The number of epochs since the best one.
        waited: usize,
    },
    /// A loss or a score was not a finite number. The model has the weights of the best epoch before, or the weights the run
    /// started with.
    NonFinite {
        /// The step, counted from 0 over the whole run. If the evaluation found the value: the number of steps done.
        step: u64,
        /// The name of the row's domain; for a row of [`DomainId::SHARED`](crate::data::DomainId::SHARED), the name that reports use for
        /// the shared path.
        domain: String,
        /// The name of the task whose loss or score was not finite.
        task: String,
    },
    /// A parameter or moving average was not finite, although all losses were. This is checked after each epoch, before a checkpoint, and
    /// when a callback ends the run. The model has the weights as for [`StopReason::NonFinite`].
    Diverged {
        /// The number of steps done.
        step: u64,
        /// The name of the tensor.
        tensor: String,
    },
    /// After an epoch, the log loss was finite and above 24·ln 2 = 16.6: labels have, in the geometric mean, a predicted probability below
    /// 2⁻²⁴, the distance between 1 and the next smaller f32. Such predictions are certain and wrong. The loss is that of the validation rows; without
    /// them, the smaller of the epoch's mean and the last step's. The model has the weights as for [`StopReason::NonFinite`].
    HugeLoss {
        /// The number of steps done.
        step: u64,
        /// The name of the task whose loss on the validation rows was too large; without validation rows, of the objective's unit
        /// ([`Units`](crate::loss::Units)).
        of: String,
        /// The log loss.
        loss: f64,
    },
    /// A callback ended the run.
    Callback,
}

impl StopReason {
    /// Whether the run ended by itself: after all epochs, or by early stop. False if it diverged or a callback ended it.
    pub fn ended_well(&self) -> bool {
        matches!(self, Self::Epochs | Self::NoImprovement { .. })
    }

    /// Whether the run diverged: a value was not finite, or the loss too large.
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
            Self::Callback => write!(f, "a callback stopped it"),
        }
    }
}

/// One unit of the objective (a task, a domain, or both) over an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// The name of the unit, as [`Units::names`](crate::loss::Units::names) has it.
    pub unit: String,
    /// The mean of the unit's losses `L_k` over the steps in which it had labels and a given weight above 0; `None` if there was no such step.
    pub loss: Option<f64>,
    /// The mean of the unit's weights `ω_k·v_k` (the objective's weight times the learned one) over the same steps.
    pub weight: Option<f64>,
}

/// One epoch of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The number of the epoch, from 0.
    pub epoch: usize,
    /// The mean loss of its batches, weighted by their rows, including the model's own penalty
    /// ([`Model::penalize`](crate::Model::penalize)).
    pub loss: f64,
    /// Loss and weight of each unit of the objective.
    pub units: Vec<UnitReport>,
    /// What the objective's weighting had learned at the end of the epoch.
    pub weighting: Learned,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Seconds spent on steps.
    pub train_seconds: f64,
    /// Seconds spent after the steps: on normalisation statistics ([`recompute_statistics`](super::recompute_statistics)) and on the evaluation.
    pub evaluate_seconds: f64,
    /// The metrics on the validation rows, if there are any.
    pub val: Option<Report>,
    /// The value of [`EarlyStop::monitor`](super::EarlyStop::monitor) on the validation rows; `None` without validation rows.
    pub monitored: Option<f64>,
    /// Whether this epoch is better than all before it; false without validation rows.
    pub best: bool,
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitReport {
    /// Why the run ended.
    pub stop: StopReason,
    /// The completed epochs, in order.
    pub epochs: Vec<EpochReport>,
    /// The best epoch, as an index into `epochs`; without validation rows, the last whole epoch. `None` if no epoch was completed: the model then
    /// has its starting weights if the run diverged, and the weights of the last step if a callback ended it.
    pub best_epoch: Option<usize>,
    /// The number of steps of the whole run.
    pub steps: u64,
    /// Rows trained on; a row counts once for each epoch.
    pub rows: u64,
    /// Seconds spent on steps.
    pub train_seconds: f64,
    /// Seconds spent on evaluating after each epoch.
    pub evaluate_seconds: f64,
}

impl FitReport {
    /// Rows trained on per second; a row counts once for each epoch. 0 if no time was spent.
    pub fn rows_per_second(&self) -> f64 {
        if self.train_seconds > 0.0 { self.rows as f64 / self.train_seconds } else { 0.0 }
    }

    /// Whether the run [ended well](StopReason::ended_well) and has a best epoch.
    pub fn ended_well(&self) -> bool {
        self.stop.ended_well() && self.best_epoch.is_some()
    }

    /// The validation metrics of the best epoch.
    pub fn val(&self) -> Option<&Report> {
        self.epochs.get(self.best_epoch?)?.val.as_ref()
    }
}

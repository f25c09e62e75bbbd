//! What a training run says of itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::loss::weighting::Learned;
use crate::metrics::Report;

/// The mean log loss above which weights are worthless, 24·ln 2 = 16.6: on average, what happened has a probability below the distance
/// between 1 and the f32 before it, so that the prediction is certain, and wrong.
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
    /// The monitored value did not get better for as many epochs as patience allows.
    NoImprovement {
        /// Epochs since the best one.
        waited: usize,
    },
    /// A loss or a score was not a finite number. The weights are those of the best epoch before, or those the run
    /// started with.
    NonFinite {
        /// The step, counted from 0 over the whole run, or the first step that was not run when it showed in the
        /// evaluation.
        step: u64,
        /// The domain of the row.
        domain: String,
        /// The task.
        task: String,
    },
    /// After an epoch, or where a callback ended it, a parameter or moving average was not finite though no loss had shown it. The weights are kept as for
    /// [`StopReason::NonFinite`].
    Diverged {
        /// How many steps had been done.
        step: u64,
        /// The tensor's name.
        tensor: String,
    },
    /// After an epoch, the log loss was finite and above 24·ln 2 = 16.6: on average, what happened has a probability below the smallest
    /// distance between an f32 and 1, so that the model is certain, and wrong. It is that of the validation rows, or without them that of
    /// the epoch's steps and of its last one. The weights are kept as for [`StopReason::NonFinite`].
    HugeLoss {
        /// How many steps had been done.
        step: u64,
        /// The task; without validation rows the unit of the objective.
        of: String,
        /// The log loss.
        loss: f64,
    },
    /// A callback asked for it.
    Callback,
}

impl StopReason {
    /// Whether the run came to its end: all epochs, or no improvement for as long as patience allows. False if it diverged or a callback
    /// ended it.
    pub fn ended_well(&self) -> bool {
        matches!(self, Self::Epochs | Self::NoImprovement { .. })
    }

    /// Whether the weights went bad: something was not finite, or the loss beyond reason.
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
    /// Its name.
    pub unit: String,
    /// The mean of its losses `L_k` over the steps in which it took part: had labels, and a given weight above 0. `None`
    /// when there were none.
    pub loss: Option<f64>,
    /// The mean of its weights `ω_k·v_k` over the same steps.
    pub weight: Option<f64>,
}

/// One epoch of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Its number, from 0.
    pub epoch: usize,
    /// The mean of its batches' losses, weighed by rows; with what the model adds by itself ([`Model::penalize`](crate::Model::penalize)).
    pub loss: f64,
    /// Loss and weight of each unit of the objective.
    pub units: Vec<UnitReport>,
    /// What the objective's weighting has learned by the end of it.
    pub weighting: Learned,
    /// The learning rate of its last step.
    pub lr: f64,
    /// Seconds spent on steps, and on the evaluation after them.
    pub train_seconds: f64,
    /// See `train_seconds`.
    pub evaluate_seconds: f64,
    /// The metrics on the validation rows, where there are any.
    pub val: Option<Report>,
    /// The monitored value.
    pub monitored: Option<f64>,
    /// Whether it is the best so far; false without validation rows.
    pub best: bool,
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitReport {
    /// Why it ended.
    pub stop: StopReason,
    /// Its epochs.
    pub epochs: Vec<EpochReport>,
    /// The epoch whose weights the model has now, or the last whole one, as an index into `epochs`; `None` if there is none: then it has the weights
    /// it started with if the run diverged, and those of the last step if a callback ended it.
    pub best_epoch: Option<usize>,
    /// Steps done.
    pub steps: u64,
    /// Rows trained on, a row counted as often as it was seen.
    pub rows: u64,
    /// Seconds spent on steps.
    pub train_seconds: f64,
    /// Seconds spent on evaluating after each epoch.
    pub evaluate_seconds: f64,
}

impl FitReport {
    /// Rows trained on in a second, a row counted as often as it was seen; 0 if no time was spent.
    pub fn rows_per_second(&self) -> f64 {
        if self.train_seconds > 0.0 { self.rows as f64 / self.train_seconds } else { 0.0 }
    }

    /// Whether the run came to its end and has a best epoch, so that its weights are worth keeping.
    pub fn ended_well(&self) -> bool {
        self.stop.ended_well() && self.best_epoch.is_some()
    }

    /// The validation metrics of the weights the model has now.
    pub fn val(&self) -> Option<&Report> {
        self.epochs.get(self.best_epoch?)?.val.as_ref()
    }
}

//! What a training run says of itself.

use std::fmt;

use serde::Serialize;

use crate::metrics::Report;

/// Why a training run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs were run.
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
    /// A callback asked for it.
    Callback,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs => write!(f, "all epochs were run"),
            Self::NoImprovement { waited } => write!(f, "no improvement for {waited} epochs"),
            Self::NonFinite { step, domain, task } => write!(
                f,
                "a loss that is not finite at step {step}, in domain {domain:?} for task {task:?}; the last good weights \
                 were kept (lower the learning rate, or clip gradients)"
            ),
            Self::Callback => write!(f, "a callback stopped it"),
        }
    }
}

/// One epoch of a training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochReport {
    /// Its number, from 0.
    pub epoch: usize,
    /// The mean of its batches' losses, weighed by rows.
    pub loss: f64,
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
    /// Whether it is the best so far.
    pub best: bool,
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    /// Why it ended.
    pub stop: StopReason,
    /// Its epochs.
    pub epochs: Vec<EpochReport>,
    /// The epoch whose weights the model has now; `None` if they are those it started with.
    pub best_epoch: Option<usize>,
    /// Steps done.
    pub steps: u64,
    /// Rows trained on, a row counted as often as it was seen.
    pub rows: u64,
}

impl FitReport {
    /// Seconds spent on training steps.
    pub fn train_seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.train_seconds).sum()
    }

    /// Seconds spent on evaluating after each epoch.
    pub fn evaluate_seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.evaluate_seconds).sum()
    }

    /// The validation metrics of the weights the model has now.
    pub fn val(&self) -> Option<&Report> {
        self.epochs.get(self.best_epoch?)?.val.as_ref()
    }
}

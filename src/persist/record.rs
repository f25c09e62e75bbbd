//! The record of a training run in a model file.

use serde::{Deserialize, Serialize};

use crate::train::{FitReport, StopReason};
use crate::{Error, ErrorKind, Result};

/// The record of a training run in a model file: above all, whether the run finished.
///
/// ```
/// # fn save(star: starple::Star, fit: starple::train::FitReport) -> starple::Result<()> {
/// use starple::persist::{ModelFile, RunRecord, Saved};
///
/// ModelFile::new(&star).run(RunRecord::new(&fit, 1)).save("star.safetensors")?;
/// let saved = Saved::load("star.safetensors")?;
/// if saved.run().is_some_and(|run| !run.finished) {
///     println!("the run of this model did not finish");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunRecord {
    /// Whether the run [ended well](FitReport::ended_well): it ended by itself, and has a best epoch. Set it to true if a callback of your
    /// own ended the run and you consider it finished.
    pub finished: bool,
    /// Why the run ended; `None` if it had not ended when the file was written.
    pub stop: Option<StopReason>,
    /// The epoch whose weights these are, counted from 1; `None` if no epoch was completed.
    pub best_epoch: Option<usize>,
    /// The number of completed epochs.
    pub epochs: usize,
    /// Steps done.
    pub steps: u64,
    /// Rows trained on; a row counts once for each epoch.
    pub rows: u64,
    /// The seed of batch order and dropout.
    pub seed: u64,
}

impl RunRecord {
    /// The record of a run that has ended. `seed` is its [`TrainConfig::seed`](crate::train::TrainConfig::seed).
    pub fn new(fit: &FitReport, seed: u64) -> Self {
        Self { finished: fit.ended_well(), stop: Some(fit.stop.clone()), ..Self::under_way(fit, seed) }
    }

    /// The record of a run that has not ended.
    pub(crate) fn under_way(fit: &FitReport, seed: u64) -> Self {
        Self {
            finished: false,
            stop: None,
            best_epoch: fit.best_epoch.map(|best| best + 1),
            epochs: fit.epochs.len(),
            steps: fit.steps,
            rows: fit.rows,
            seed,
        }
    }

    /// Checks that the record does not contradict itself.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = if self.finished && self.stop.as_ref().is_some_and(StopReason::diverged) {
            "a run that diverged is said to be finished".into()
        } else if self.best_epoch.is_some_and(|best| best == 0 || best > self.epochs) {
            let (best, epochs) = (self.best_epoch.unwrap_or_default(), self.epochs);
            format!("best_epoch: from 1 to the number of epochs ({epochs}), found {best}")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, format!("the record of the run: {wrong}")))
    }
}

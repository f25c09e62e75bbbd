//! What a model file says of the run that trained its model.

use serde::{Deserialize, Serialize};

use crate::train::{FitReport, StopReason};
use crate::{Error, ErrorKind, Result};

/// What a model file says of the run that trained its model: above all whether that run finished.
///
/// ```
/// # fn save(star: starple::Star, fit: starple::train::FitReport) -> starple::Result<()> {
/// use starple::persist::{ModelFile, RunRecord, Saved};
///
/// ModelFile::new(&star).run(RunRecord::new(&fit, 1)).save("star.safetensors")?;
/// let saved = Saved::load("star.safetensors")?;
/// if saved.run().is_some_and(|run| !run.finished) {
///     println!("this model is of a run that did not finish");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunRecord {
    /// Whether the run [ended well](FitReport::ended_well): it came to its end, and has a best epoch. Set it where a callback of your own
    /// ends a run that you call finished.
    pub finished: bool,
    /// Why the run ended; `None` if it was still under way when the file was written.
    pub stop: Option<StopReason>,
    /// The epoch whose weights these are, counted from 1; `None` if no epoch was completed.
    pub best_epoch: Option<usize>,
    /// How many epochs were completed.
    pub epochs: usize,
    /// Steps done.
    pub steps: u64,
    /// Rows trained on, a row counted as often as it was seen.
    pub rows: u64,
    /// The seed of batch order and dropout.
    pub seed: u64,
}

impl RunRecord {
    /// The record of a run that is over and had this seed ([`TrainConfig::seed`](crate::train::TrainConfig::seed)).
    pub fn new(fit: &FitReport, seed: u64) -> Self {
        Self { finished: fit.ended_well(), stop: Some(fit.stop.clone()), ..Self::under_way(fit, seed) }
    }

    /// The record of a run that is not over.
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

    /// Sees that the record does not contradict itself.
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

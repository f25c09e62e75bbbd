//! The record of a training run in a model file.

use serde::{Deserialize, Serialize};

use crate::train::{FitReport, StopReason};
use crate::{Error, ErrorKind, Result};

/// What a model file says about the training run that made the model: above all, whether the run finished. It is a short form of a
/// [`FitReport`]. [`ModelFile::run`](super::ModelFile::run) saves it, and [`Saved::run`](super::Saved::run) returns it.
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
    /// Whether the run [ended as its settings say](FitReport::ended_well), by all epochs or early stopping. It is false for a run that had not
    /// ended when the file was written, that diverged, or that a callback ended. If a callback of your own ended the run and you consider it
    /// finished, set it to true. Saving or loading a record with `true` for a run that diverged is an error.
    pub finished: bool,
    /// The reason why the run ended. `None` if it had not ended when the file was written: such a file is `best.safetensors` of a run that is
    /// under way or was killed.
    pub stop: Option<StopReason>,
    /// The number of the best epoch, whose weights the file holds, counted from 1 (in a [`FitReport`] it counts from 0): from 1 to `epochs`.
    /// `None` if no epoch was completed.
    pub best_epoch: Option<usize>,
    /// The number of epochs that the run had completed when the file was written.
    pub epochs: usize,
    /// The number of optimizer steps, over all epochs, that the run had done when the file was written.
    pub steps: u64,
    /// The number of rows in the batches of all these steps ([`FitReport::rows`]): in each completed epoch every training row counts once; if
    /// the objective samples negatives, every row that the epoch keeps.
    pub rows: u64,
    /// The seed of the run, which decides the order of rows and the dropout masks ([`TrainConfig::seed`](crate::train::TrainConfig::seed)). It
    /// is not the seed of the initial weights, which is in the settings of the model.
    pub seed: u64,
}

impl RunRecord {
    /// Makes the record of a run that has ended. `fit` is the report that [`Trainer::fit`](crate::train::Trainer::fit) returned. `seed` is
    /// the seed of the run ([`TrainConfig::seed`](crate::train::TrainConfig::seed)), which the report does not have; it is only recorded.
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
            "finished: expected false for a run that diverged, found true".into()
        } else if self.best_epoch.is_some_and(|best| best == 0 || best > self.epochs) {
            let (best, epochs) = (self.best_epoch.unwrap_or_default(), self.epochs);
            format!("best_epoch: from 1 to the number of epochs ({epochs}), found {best}")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, format!("the record of the run: {wrong}")))
    }
}

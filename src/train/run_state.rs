//! How far a run has come, and the check of a state that was read from a checkpoint.

use serde::{Deserialize, Serialize};

use super::{FitReport, TrainConfigBuilder};
use crate::error::Problems;
use crate::loss::weighting::WeightingState;
use crate::optim::PlateauState;
use crate::{ErrorKind, Result};

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunState {
    /// Epochs that are done, evaluation included.
    pub(super) epoch: usize,
    /// Batches of the next one that are done.
    pub(super) batch: usize,
    /// Rows in them, the sum of their losses weighed by rows, and the seconds they took.
    pub(super) rows: usize,
    pub(super) loss: f64,
    pub(super) seconds: f64,
    /// The learning rate of the last step.
    pub(super) lr: f64,
    pub(super) plateau: PlateauState,
    /// The monitored value of the best epoch, with its sign such that larger is better.
    pub(super) goodness: Option<f64>,
    pub(super) report: FitReport,
}

impl RunState {
    /// Records the monitored value of an epoch. Returns whether it is the best so far.
    pub(super) fn judge(&mut self, config: &TrainConfigBuilder, value: f64) -> bool {
        let goodness = config.early_stop.monitor().metric.goodness(value);
        config.schedule.observe(&mut self.plateau, goodness, true);
        let is_best = self.goodness.is_none_or(|best| goodness > best + config.early_stop.min_delta());
        if is_best {
            self.goodness = Some(goodness);
        }
        is_best
    }

    /// Checks that a run with these settings can have this state. `all` rows and `batches` batches are those of an epoch.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] that lists every contradiction.
    pub(super) fn check(
        &self,
        config: &TrainConfigBuilder,
        (all, batches): (usize, usize),
        evaluated: bool,
        weighting: &WeightingState,
    ) -> Result<()> {
        let Self { epoch, batch, rows, loss, seconds, lr, report, .. } = self;
        let mut problems = Problems::default();
        let in_order = report.epochs.iter().enumerate().all(|(number, done)| done.epoch == number);
        problems.require(*epoch == report.epochs.len() && in_order, || {
            format!("epoch: one report for each of {epoch} epochs, found {}", report.epochs.len())
        });
        problems.require(*batch <= batches, || format!("batch: at most {batches}, found {batch}"));
        problems.require(*rows <= all && *rows >= *batch && (*rows == 0) == (*batch == 0), || {
            format!("rows: those of {batch} batches out of {all} rows, found {rows}")
        });
        let seen = (*epoch as u64).checked_mul(all as u64).and_then(|seen| seen.checked_add(*rows as u64));
        // Of sampled negatives, epochs have different numbers.
        let sampled = config.objective.samples_negatives() && seen.is_some_and(|seen| report.rows <= seen);
        problems.require(seen == Some(report.rows) || sampled, || {
            format!("report.rows: {all} for each of {epoch} epochs and {rows}, found {}", report.rows)
        });
        let least = (*epoch as u64).saturating_add(*batch as u64);
        problems.require((least..=report.rows.max(least)).contains(&report.steps), || {
            format!("report.steps: at least {least} and at most one for each row, found {}", report.steps)
        });
        self.check_judgements(config, evaluated, &mut problems);
        problems.require((*lr as f32).is_finite() && *lr >= 0.0, || {
            format!("lr: a finite number of at least 0, found {lr}")
        });
        let times = [*seconds, report.train_seconds, report.evaluate_seconds];
        let times = times.into_iter().chain(report.epochs.iter().flat_map(|e| [e.train_seconds, e.evaluate_seconds]));
        for seconds in times {
            problems.require((0.0..1e12).contains(&seconds), || format!("seconds: from 0 to 1e12, found {seconds}"));
        }
        let losses = report.epochs.iter().map(|done| done.loss).chain([*loss]);
        for loss in losses {
            problems.require(loss.abs() < 1e300, || format!("loss: below 1e300, found {loss}"));
        }
        for sums in &weighting.epoch {
            problems.require(sums.steps <= *batch as u64, || {
                format!("weighting.epoch.steps: at most {batch}, found {}", sums.steps)
            });
            problems.require(sums.loss.abs() < 1e300 && sums.weight.abs() < 1e300, || {
                format!("weighting.epoch: sums below 1e300, found {} and {}", sums.loss, sums.weight)
            });
        }
        problems.into_error(ErrorKind::Corrupt, "the state of the run")
    }

    /// Checks that the best epoch and the plateau follow from the monitored values.
    fn check_judgements(&self, config: &TrainConfigBuilder, evaluated: bool, problems: &mut Problems) {
        let (mut again, mut best) = (Self::default(), None);
        for done in &self.report.epochs {
            let is_best = done.monitored.is_some_and(|value| again.judge(config, value));
            problems.require(done.monitored.is_some() == evaluated && done.best == is_best, || {
                format!("report.epochs: best {is_best} in epoch {}, found {}", done.epoch, done.best)
            });
            if is_best || !evaluated {
                best = Some(done.epoch);
            }
        }
        // JSON has no infinity: it is written as null.
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        again.plateau.best = finite(again.plateau.best);
        problems.require(self.report.best_epoch == best, || {
            format!("report.best_epoch: expected {best:?}, found {:?}", self.report.best_epoch)
        });
        problems.require(self.goodness == finite(again.goodness), || {
            format!("goodness: expected {:?}, found {:?}", again.goodness, self.goodness)
        });
        problems.require(self.plateau == again.plateau, || {
            format!("plateau: expected {:?}, found {:?}", again.plateau, self.plateau)
        });
    }
}

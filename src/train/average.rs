//! Averages of weights over steps or epochs.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::model::{Gradient, Model};
use crate::nn::{Leaf, LeafMut, Pair, Params as _, Path};

/// Which average of the model's parameters ("weights") over steps or epochs a training run evaluates and keeps, if any: the setting
/// [`TrainConfig::average`](super::TrainConfig::average). The average does not influence training: each step starts from the weights of the
/// step before.
///
/// As soon as the average has started, the run evaluates the average after each epoch instead of the weights. So early stopping, the best
/// epoch and the model at the end of the run use the average. Exception: if a callback ends the run and there is no best epoch on validation
/// rows, the model has the weights of the last step, not averaged.
///
/// The means and variances that normalisation layers use in inference are not part of this average. They are computed anew for the averaged
/// weights, from [`TrainConfig::statistics_rows`](super::TrainConfig::statistics_rows) rows; if this number is 0, they are those of the
/// training steps.
///
/// The average needs as much memory as one more model. In a run file: `average = { ema = { decay = 0.999 } }`, `{ swa = { after_epochs = 2
/// } }` or `"off"`. `build` of the settings returns an error for an invalid number.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// No average (the default).
    #[default]
    Off,
    /// The exponential moving average of the weights over the steps: `a_t = decay·a_{t−1} + (1 − decay)·w_t`, where `w_t` are the weights
    /// after step t and `a_t` is the average after step t. It starts with `a_0` = the weights after `after_epochs` epochs, which are the
    /// initial weights if `after_epochs` is 0.
    ///
    /// The time of a step does not depend on the size of the embedding tables: the average of a table row is computed when a step reads the
    /// row, and at the end of each epoch. Exception: with [`RowUpdates::Exact`](crate::optim::RowUpdates::Exact), which changes all rows in
    /// every step, every step averages all rows. The result is that of the equation in both cases.
    Ema {
        /// The factor `decay` of the equation, above 0 and below 1. Roughly the last `1/(1 − decay)` steps count: 1000 steps for 0.999.
        decay: f64,
        /// The number of epochs before the average starts: from 0 to [`TrainConfig::epochs`](crate::train::TrainConfig::epochs) − 1; in
        /// files the default is 0. These epochs evaluate the weights themselves, and one of them can be the best epoch.
        #[serde(default)]
        after_epochs: usize,
    },
    /// Stochastic weight averaging (Izmailov et al., UAI 2018): after epoch n, the plain mean of the weights at the ends of the epochs
    /// `after_epochs + 1` to n, counted from 1. So after epoch `after_epochs + 1` the average equals the weights.
    Swa {
        /// The number of epochs at the start that are not in the mean: from 1 to [`TrainConfig::epochs`](crate::train::TrainConfig::epochs)
        /// − 1; it has no default. These epochs evaluate the weights themselves, and one of them can be the best epoch.
        after_epochs: usize,
    },
}

impl Average {
    pub(super) fn check(self, epochs: usize, problems: &mut Problems) {
        let after = match self {
            Self::Off => return,
            Self::Ema { decay, after_epochs } => {
                problems.require(0.0 < decay && decay < 1.0, || {
                    format!("average: ema: decay: expected above 0 and below 1, found {decay}")
                });
                after_epochs
            }
            Self::Swa { after_epochs } => {
                problems.require(after_epochs >= 1, || "average: swa: after_epochs: at least 1, found 0".into());
                after_epochs
            }
        };
        problems.require(after < epochs, || {
            format!("average: after_epochs: below epochs = {epochs}, or there is no average; found {after}")
        });
    }
}

/// The average of a run's weights so far.
#[derive(Debug)]
pub(super) struct Averaged {
    average: Average,
    pub(super) model: Model,
    /// For each row of each table, up to which step of the epoch its average is; empty if all rows are averaged in every step.
    pub(super) up_to: Vec<Vec<u64>>,
}

impl Averaged {
    /// The average at the start of a run; `None` if there is none. `exact`: whether each step changes all table rows.
    pub(super) fn new(average: Average, model: &Model, exact: bool) -> Option<Self> {
        let up_to = match average {
            Average::Off => return None,
            Average::Ema { .. } if !exact => {
                model.embeddings().tables().iter().map(|table| vec![0; table.nrows()]).collect()
            }
            Average::Ema { .. } | Average::Swa { .. } => Vec::new(),
        };
        Some(Self { average, model: model.clone(), up_to })
    }

    /// Whether an evaluation after this epoch is one of the average.
    pub(super) fn counts(&self, epoch: usize) -> bool {
        match self.average {
            Average::Off => false,
            Average::Ema { after_epochs, .. } | Average::Swa { after_epochs } => epoch >= after_epochs,
        }
    }

    /// Before a step changes the rows of `grad`: brings their averages up to date. `batch` steps of the epoch were done.
    pub(super) fn before(&mut self, epoch: usize, batch: usize, model: &Model, grad: &Gradient) {
        let Average::Ema { decay, .. } = self.average else { return };
        if !self.counts(epoch) {
            return;
        }
        let tables = self.model.embeddings_mut().tables_mut().iter_mut();
        let now = tables.zip(&mut self.up_to).zip(model.embeddings().tables()).zip(&grad.tables);
        for (((average, up_to), table), grad) in now {
            let (average, table) = (average.as_slice_mut().expect(LINES), table.as_slice().expect(LINES));
            for &row in grad.rows() {
                catch_up(decay, batch as u64, row as usize, grad.dim(), up_to, average, table);
            }
        }
    }

    /// After a step: averages all values that have no lag.
    pub(super) fn after(&mut self, epoch: usize, model: &mut Model) {
        let Average::Ema { decay, .. } = self.average else { return };
        if !self.counts(epoch) {
            return;
        }
        let share = (1.0 - decay) as f32;
        if self.up_to.is_empty() {
            let tables = self.model.embeddings_mut().tables_mut().iter_mut();
            for (average, table) in tables.zip(model.embeddings().tables()) {
                mix(share, average.as_slice_mut().expect(LINES), table.as_slice().expect(LINES));
            }
        }
        self.model.net_mut().visit_pair(model.net_mut(), &mut Path::starting_at(0), &mut |_, pair| {
            if let Pair::Tensor(average, values, _) = pair {
                mix(share, average, values);
            }
        });
    }

    /// After the last step of an epoch, which had this number of batches: completes the average.
    pub(super) fn end_epoch(&mut self, epoch: usize, batches: usize, model: &Model) {
        match self.average {
            Average::Ema { decay, after_epochs } if epoch >= after_epochs => {
                let tables = self.model.embeddings_mut().tables_mut().iter_mut();
                for ((average, up_to), table) in tables.zip(&mut self.up_to).zip(model.embeddings().tables()) {
                    let dim = table.ncols();
                    let (average, table) = (average.as_slice_mut().expect(LINES), table.as_slice().expect(LINES));
                    for row in 0..up_to.len() {
                        catch_up(decay, batches as u64, row, dim, up_to, average, table);
                    }
                    // The next epoch counts anew.
                    up_to.fill(0);
                }
            }
            Average::Ema { after_epochs, .. } if epoch + 1 == after_epochs => self.model = model.clone(),
            Average::Swa { after_epochs } if epoch >= after_epochs => {
                let share = 1.0 / (epoch - after_epochs + 1) as f32;
                self.walk(model, |average, values| {
                    if let (LeafMut::Tensor(average, ..), Leaf::Tensor(values, ..)) = (average, values) {
                        mix(share, average, values);
                    }
                });
            }
            Average::Off | Average::Ema { .. } | Average::Swa { .. } => {}
        }
        // The statistics of the last weights, for runs that do not compute them anew.
        self.walk(model, |average, values| match (average, values) {
            (LeafMut::Average(average, _), Leaf::Average(values, _)) => average.copy_from_slice(values),
            (LeafMut::Count(average), Leaf::Count(count)) => *average = *count,
            _ => {}
        });
    }

    fn walk(&mut self, model: &Model, mut see: impl FnMut(LeafMut<'_>, Leaf<'_>)) {
        let mut leaves = Vec::new();
        model.visit(|_, leaf| leaves.push(leaf));
        let mut leaves = leaves.into_iter();
        self.model.visit_mut(|_, average| see(average, leaves.next().expect("both walks see the same tensors")));
    }
}

const LINES: &str = "tables are in standard layout";

/// `average ← average + share·(values − average)`.
fn mix(share: f32, average: &mut [f32], values: &[f32]) {
    average.iter_mut().zip(values).for_each(|(average, &value)| *average += share * (value - *average));
}

/// Brings the average of a row up to step `now`: since the last time, the row's weights did not change.
fn catch_up(decay: f64, now: u64, row: usize, dim: usize, up_to: &mut [u64], average: &mut [f32], table: &[f32]) {
    let lag = now - std::mem::replace(&mut up_to[row], now);
    if lag > 0 {
        let share = (1.0 - decay.powi(i32::try_from(lag).unwrap_or(i32::MAX))) as f32;
        let values = row * dim..(row + 1) * dim;
        mix(share, &mut average[values.clone()], &table[values]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Batch, DomainId, Layout, Pooling};
    use crate::loss::Objective;
    use crate::optim::{AdamConfig, Clock, OptimizerConfig, RowUpdates};
    use crate::train::Step;
    use crate::{Star, StarConfig};

    fn values(model: &Model) -> Vec<Vec<f64>> {
        let mut all = Vec::new();
        model.visit(|_, leaf| {
            if let Leaf::Tensor(values, ..) = leaf {
                all.push(values.iter().map(|&value| f64::from(value)).collect());
            }
        });
        all
    }

    /// Trains for 4 epochs of 5 steps, and compares the average after each epoch with one in f64 over all values of all steps.
    fn follows_its_equation(average: Average, updates: RowUpdates) {
        let layout = Layout::new(["a", "b"], ["click"]).field("user", 40).bag("tags", 30, Pooling::Mean);
        let mut model = Star::new(StarConfig::builder(&layout).embedding_dim(3).hidden([5]).build().unwrap());
        let optimizer = AdamConfig::builder().lr(0.05).row_updates(updates).build().unwrap();
        let mut optimizer = OptimizerConfig::Adam(optimizer).build();
        let mut step = Step::new(&model, &Objective::default(), 1).unwrap();
        let mut averaged = Averaged::new(average, &model, updates == RowUpdates::Exact).unwrap();
        let mut expected = values(&model);
        for epoch in 0..4 {
            for batch in 0..5 {
                let number = 5 * epoch + batch;
                // Few rows: most table rows are read in few steps.
                let rows = Batch::builder(&layout, 6)
                    .ids("user", (0..6).map(|i| ((number * 7 + i * i) % 40) as u32).collect())
                    .bag("tags", (0..6).map(|i| vec![((number * 11 + i) % 30) as u32; i % 3]))
                    .domains((0..6).map(|i| DomainId::new(usize::from(i > 2 + number % 4))).collect())
                    .labels("click", (0..6).map(|i| (i % 2) as f32).collect());
                let clock = Clock { epoch: epoch as u64, step: number as u64 };
                let grad = step.gradient(&model, &rows.build().unwrap(), clock).unwrap();
                averaged.before(epoch, batch, &model, grad);
                model.apply(grad, &mut *optimizer);
                averaged.after(epoch, &mut model);
                if let Average::Ema { decay, after_epochs } = average
                    && epoch >= after_epochs
                {
                    let now =
                        expected.iter_mut().flatten().zip(values(&model).into_iter().flatten().collect::<Vec<_>>());
                    now.for_each(|(average, value)| *average = decay * *average + (1.0 - decay) * value);
                }
            }
            averaged.end_epoch(epoch, 5, &model);
            if matches!(average, Average::Ema { after_epochs, .. } if epoch + 1 == after_epochs) {
                expected = values(&model);
            }
            if averaged.counts(epoch) {
                let found = values(&averaged.model);
                for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                    assert!(
                        (found - expected).abs() < 2e-6,
                        "{average:?}, epoch {epoch}: {found}, expected {expected}"
                    );
                }
                assert_ne!(found, values(&model), "the average lags");
            } else {
                assert!(epoch < 2);
            }
        }
    }

    #[test]
    fn averages_follow_their_equations() {
        for updates in [RowUpdates::Lazy, RowUpdates::Exact] {
            follows_its_equation(Average::Ema { decay: 0.9, after_epochs: 0 }, updates);
            follows_its_equation(Average::Ema { decay: 0.6, after_epochs: 2 }, updates);
        }
    }

    #[test]
    fn the_mean_of_epochs_follows_its_equation() {
        let layout = Layout::new(["a"], ["click"]).field("user", 4);
        let start = Star::new(StarConfig::builder(&layout).hidden([3]).build().unwrap());
        let mut averaged = Averaged::new(Average::Swa { after_epochs: 1 }, &start, false).unwrap();
        let mut model = start.clone();
        let mut sum: Vec<Vec<f64>> = Vec::new();
        for epoch in 0..4_usize {
            model.visit_mut(|path, leaf| {
                if let LeafMut::Tensor(values, ..) = leaf {
                    let change = (path.slot() + 1) as f32 * (epoch * epoch) as f32 * 0.1;
                    for value in values.iter_mut() {
                        *value += change;
                    }
                }
            });
            averaged.end_epoch(epoch, 1, &model);
            if epoch == 0 {
                assert!(!averaged.counts(epoch));
                continue;
            }
            if sum.is_empty() {
                sum = values(&model);
            } else {
                sum.iter_mut().flatten().zip(values(&model).iter().flatten()).for_each(|(sum, value)| *sum += value);
            }
            let found = values(&averaged.model);
            for (found, sum) in found.iter().flatten().zip(sum.iter().flatten()) {
                let expected = sum / epoch as f64;
                assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "epoch {epoch}: {found}, {expected}");
            }
        }
    }
}

//! Moving averages of batch statistics.

use ndarray::Array1;
use serde::{Deserialize, Serialize};

use super::{Leaf, LeafMut, Pair, Params, Part, Path};

/// Exponential moving averages of the mean and of the variance of each column, over the batches of a training run. In inference, a
/// normalisation uses them instead of the mean and the variance of the batch.
///
/// Each training step moves an average E towards the statistic e of its batch: `E ← E + r_t·(e − E)` with `r_t = r / (1 − (1 − r)^t)`. e is
/// the mean or the variance of a column over the rows of the batch. If the step has several batches, e is the mean of their statistics, each
/// batch with the same weight. r is the rate, and t is the number of steps so far, this one included. The divisor corrects the bias of an
/// average that starts at 0 (Kingma & Ba 2015, section 3): after one step the average equals the statistic of that step, and after five steps
/// it is a weighted mean of five.
///
/// The variances are unbiased: for n rows, the sum of squared distances from the mean is divided by `n − 1`.
///
/// The *gradient* of a layer has this type too. There it does not hold averages over steps, but the statistics of the batches of one step:
/// `mean` and `var` are means over these batches, and `steps` is the number of batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MovingAverage {
    /// The moving average of the column means: one value for each column, 0 before the first step. In a gradient: the column means of the
    /// step's batches, averaged over the batches.
    pub mean: Array1<f32>,
    /// The moving average of the unbiased column variances: one value for each column, 1 before the first step. In a gradient: the column
    /// variances of the step's batches, averaged over the batches; 0 if there are none.
    pub var: Array1<f32>,
    /// The number of training steps whose statistics the averages contain. In a gradient: the number of the step's batches whose statistics
    /// it contains.
    pub steps: u64,
    rate: f32,
    /// In a gradient, the number of rows that the statistics are from.
    #[serde(skip)]
    rows: u64,
}

impl MovingAverage {
    /// Averages for `width` columns, before the first step. `rate` is the r of the [formula](MovingAverage), 0 < rate ≤ 1; this is not
    /// checked. With a larger rate, the averages follow the batches faster.
    pub fn new(width: usize, rate: f32) -> Self {
        Self { mean: Array1::zeros(width), var: Array1::ones(width), steps: 0, rate, rows: 0 }
    }

    /// Moves the averages towards the statistics of one training step, by the [formula](MovingAverage), and adds 1 to `steps`. `batch` holds
    /// the statistics of the step; it comes from the gradient of the layer. If `batch.steps` is 0, the step had no statistics, and nothing
    /// changes.
    ///
    /// # Panics
    /// If `batch` is for another number of columns.
    pub fn take(&mut self, batch: &Self) {
        if batch.steps == 0 {
            return;
        }
        self.steps += 1;
        let keep = 1.0 - f64::from(self.rate);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = (f64::from(self.rate) / (1.0 - keep.powi(steps))) as f32;
        for (value, batch) in [(&mut self.mean, &batch.mean), (&mut self.var, &batch.var)] {
            value.zip_mut_with(batch, |v, &b| *v += rate * (b - *v));
        }
    }

    /// In a gradient, the number of rows that the statistics are from.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds the statistics of one batch, taken over this many rows, to a gradient.
    pub(crate) fn add(&mut self, mean: &Array1<f32>, var: &Array1<f32>, rows: u64) {
        self.steps += 1;
        self.rows += rows;
        let share = 1.0 / self.steps as f32;
        for (value, batch) in [(&mut self.mean, mean), (&mut self.var, var)] {
            value.zip_mut_with(batch, |v, &b| *v += share * (b - *v));
        }
    }
}

/// Mean and variance of many rows in f64, computed from the statistics of batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct PreciseStatistics {
    rows: f64,
    mean: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl PreciseStatistics {
    /// Adds the statistics that a gradient holds; does nothing when it has none.
    ///
    /// With n and m rows, δ the difference of the means: `mean += δ·m/(n + m)`, `squares += var·(m − 1) + δ²·n·m/(n + m)` (Chan et al.
    /// 1983).
    pub(crate) fn add(&mut self, batch: &MovingAverage) {
        if batch.steps == 0 {
            return;
        }
        self.mean.resize(batch.mean.len(), 0.0);
        self.squares.resize(batch.var.len(), 0.0);
        let (before, new) = (self.rows, batch.rows as f64);
        self.rows += new;
        let columns = self.mean.iter_mut().zip(&mut self.squares).zip(&batch.mean).zip(&batch.var);
        for (((mean, squares), &of_batch), &var) in columns {
            let distance = f64::from(of_batch) - *mean;
            *mean += distance * (new / self.rows);
            *squares += f64::from(var) * (new - 1.0) + distance * distance * (before * new / self.rows);
        }
    }

    /// Replaces the averages by mean and unbiased variance, if there were at least 2 rows.
    pub(crate) fn replace(&self, average: &mut MovingAverage) {
        if self.rows < 2.0 {
            return;
        }
        average.steps = average.steps.max(1);
        average.mean.iter_mut().zip(&self.mean).for_each(|(to, &mean)| *to = mean as f32);
        average.var.iter_mut().zip(&self.squares).for_each(|(to, &squares)| *to = (squares / (self.rows - 1.0)) as f32);
    }
}

impl Params for MovingAverage {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        let slice = |a: &'a Array1<f32>| a.as_slice().expect("an owned vector is contiguous");
        path.within(Part::Field("mean"), |p| see(p, Leaf::Average(slice(&self.mean), self.mean.shape())));
        path.within(Part::Field("var"), |p| see(p, Leaf::Average(slice(&self.var), self.var.shape())));
        path.within(Part::Field("steps"), |p| see(p, Leaf::Count(&self.steps)));
        path.advance();
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        for (field, tensor) in [("mean", &mut self.mean), ("var", &mut self.var)] {
            let shape = [tensor.len()];
            let values = tensor.as_slice_mut().expect("an owned vector is contiguous");
            path.within(Part::Field(field), |path| see(path, LeafMut::Average(values, &shape)));
        }
        path.within(Part::Field("steps"), |path| see(path, LeafMut::Count(&mut self.steps)));
        path.advance();
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        see(path, Pair::Average(self, grad));
        path.advance();
    }

    fn visit_presence(&mut self, _: &mut dyn FnMut(&mut bool)) {}

    fn zero(&mut self) {
        self.mean.fill(0.0);
        self.var.fill(0.0);
        (self.steps, self.rows) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_constant_are_its_averages() {
        let mut average = MovingAverage::new(1, 0.05);
        for step in 1..=5 {
            average.take(&MovingAverage {
                mean: ndarray::arr1(&[3.0]),
                var: ndarray::arr1(&[0.25]),
                steps: 1,
                ..MovingAverage::new(1, 0.05)
            });
            assert!((average.mean[0] - 3.0).abs() < 1e-6 && (average.var[0] - 0.25).abs() < 1e-6, "step {step}");
        }
        assert_eq!(average.steps, 5);
    }

    #[test]
    fn the_average_is_the_debiased_exponential_one() {
        let (rate, values) = (0.3_f64, [1.0_f64, -2.0, 5.0, 0.5]);
        let mut average = MovingAverage::new(1, rate as f32);
        let (mut plain, mut keep) = (0.0, 1.0);
        for value in values {
            plain = (1.0 - rate) * plain + rate * value;
            keep *= 1.0 - rate;
            average.take(&MovingAverage {
                mean: ndarray::arr1(&[value as f32]),
                var: ndarray::arr1(&[1.0]),
                steps: 1,
                ..MovingAverage::new(1, 0.3)
            });
            assert!((f64::from(average.mean[0]) - plain / (1.0 - keep)).abs() < 1e-6);
        }
    }
}

//! Piecewise linear encoding of numbers.

use serde::{Deserialize, Serialize};

use super::quantiles;
use super::runs::{Run, Runs};

/// The knots `b_0 < … < b_T` between which a number is interpolated.
///
/// Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular Deep Learning (NeurIPS 2022), section 3.2. There the knots
/// are quantiles, and the first and last bins are extrapolated. Here a value with more rows than an equal share has knots of its own, and
/// numbers are clamped to `b_0 ..= b_T`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::data) struct Piecewise {
    knots: Vec<f64>,
    /// Whether a fitted row had no value.
    missing: bool,
}

impl Piecewise {
    /// Fits at most `bins` bins with about equal numbers of rows.
    ///
    /// If there are at most `bins + 1` distinct values, each is a knot. Otherwise the knots are the least value, the boundaries of quantile
    /// buckets, and the largest value. A value with more rows than an equal share of the buckets is a knot, and so are the value before it and the
    /// next number above it: so the encoding of no other row depends on it, and the function can jump there.
    pub(in crate::data) fn fit(bins: usize, runs: &Runs) -> Self {
        let missing = runs.missing > 0;
        let runs = &runs.list;
        if runs.len() < 2 {
            // A constant, or nothing: one bin, which starts there.
            let first = runs.first().map_or(0.0, |&(x, _)| x);
            return Self { knots: vec![first, first.next_up()], missing };
        }
        if runs.len() <= bins + 1 {
            return Self { knots: runs.iter().map(|&(x, _)| x).collect(), missing };
        }
        // Each frequent value needs up to two more knots than its bucket.
        let mut buckets = bins;
        loop {
            let knots = knots(runs, buckets);
            let excess = knots.len().saturating_sub(bins + 1);
            if excess == 0 {
                return Self { knots, missing };
            }
            buckets -= excess.div_ceil(2).min(buckets - 1);
        }
    }

    /// The number of bins `T`, at least 1.
    pub(in crate::data) fn bins(&self) -> usize {
        self.knots.len() - 1
    }

    /// The number of rows of the table of an embedding: one for missing values, then one per knot.
    pub(in crate::data) fn rows(&self) -> usize {
        self.knots.len() + 1
    }

    pub(in crate::data) fn missing(&self) -> bool {
        self.missing
    }

    /// The last knot that is not above `x` (the first knot if all are), and how far `x` is from it to the next knot, in 0 ..= 1.
    fn position(&self, x: f64) -> (usize, f32) {
        let next = self.knots.partition_point(|&knot| knot <= x);
        match (next.checked_sub(1), self.knots.get(next)) {
            (None, _) => (0, 0.0),
            (Some(last), None) => (last, 0.0),
            (Some(last), Some(end)) => {
                let start = self.knots[last];
                (last, ((x - start) / (end - start)) as f32)
            }
        }
    }

    /// Writes `e_1, …, e_T` for `x`: 1 for each bin below it, the fraction for its bin, 0 for each bin above it; all are 0 for NaN.
    pub(in crate::data) fn write(&self, x: f64, inputs: &mut [f32]) {
        let (bin, fraction) = if x.is_nan() { (0, 0.0) } else { self.position(x) };
        inputs[..bin].fill(1.0);
        inputs[bin..].fill(0.0);
        if let Some(input) = inputs.get_mut(bin) {
            *input = fraction;
        }
    }

    /// The table row of the last knot that is not above `x`, and the weight of the next row. NaN has row 0 and weight 0.
    pub(in crate::data) fn encode(&self, x: f64) -> (u32, f32) {
        if x.is_nan() {
            return (0, 0.0);
        }
        let (knot, fraction) = self.position(x);
        (1 + knot as u32, fraction)
    }

    pub(in crate::data) fn is_valid(&self) -> bool {
        self.knots.len() >= 2 && self.knots.iter().all(|knot| knot.is_finite()) && self.knots.is_sorted_by(|a, b| a < b)
    }
}

/// The ends of these buckets, and the value before each frequent one. One bucket has two knots. There are more runs than buckets.
fn knots(runs: &[Run], buckets: usize) -> Vec<f64> {
    let mut knots = vec![runs[0].0, runs[runs.len() - 1].0];
    if buckets > 1 {
        let (frequent, others) = quantiles::heavy(runs, buckets);
        knots.extend(quantiles::boundaries(runs, &frequent, others));
        let before = (1..runs.len()).filter(|&run| frequent[run] && !frequent[run - 1]);
        knots.extend(before.map(|run| runs[run - 1].0));
    }
    knots.sort_unstable_by(f64::total_cmp);
    knots.dedup();
    knots
}

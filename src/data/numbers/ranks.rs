//! Numbers by rank: mapped to a normal distribution.

use serde::{Deserialize, Serialize};

use super::normal;
use super::runs::{Run, Runs};

/// How far the interpolation may be from the exact rank-normal value of a fitting row.
const PRECISION: f64 = 0.01;

/// Maps a number to `Φ⁻¹(F(x))`, where `F` is the empirical distribution function of the fitting rows.
///
/// A value that `n` of `N` rows have, after `m` rows with smaller values, has the middle rank `F = (m + n/2)/N`. Not all values are kept:
/// between two kept values with values between them, the result rises by at most [`PRECISION`], and it is interpolated there. Values beyond
/// the least and the largest fitting row get their results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::data) struct Ranks {
    /// The kept values, in ascending order.
    values: Vec<f64>,
    /// What each kept value is mapped to.
    normal: Vec<f64>,
    /// Whether a fitted row had no value. Then there is a second input that marks missing values.
    missing: bool,
}

impl Ranks {
    pub(in crate::data) fn fit(runs: &Runs) -> Self {
        let mut before = 0;
        let mapped = runs.list.iter().map(|&(x, rows): &Run| {
            let middle = before as f64 + rows as f64 / 2.0;
            before += rows;
            (x, normal::quantile(middle / runs.rows as f64))
        });
        let mapped: Vec<(f64, f64)> = mapped.collect();
        let (mut values, mut normal) = (Vec::new(), Vec::new());
        for (i, &(x, z)) in mapped.iter().enumerate() {
            // Kept where leaving it out would make the step from the last kept value to the next value too large.
            let far = match (normal.last(), mapped.get(i + 1)) {
                (Some(last), Some((_, next))) => next - last > PRECISION,
                _ => true,
            };
            if far {
                values.push(x);
                normal.push(z);
            }
        }
        Self { values, normal, missing: runs.missing > 0 }
    }

    pub(in crate::data) fn missing(&self) -> bool {
        self.missing
    }

    /// The input for `x`: 0 for NaN, and where no fitting row had a value.
    pub(in crate::data) fn encode(&self, x: f64) -> f32 {
        let Self { values, normal, .. } = self;
        if x.is_nan() || values.is_empty() {
            return 0.0;
        }
        let next = values.partition_point(|&value| value <= x);
        let z = match (next.checked_sub(1), values.get(next)) {
            (None, _) => normal[0],
            (Some(last), None) => normal[last],
            (Some(last), Some(&end)) => {
                let fraction = (x - values[last]) / (end - values[last]);
                normal[last] + fraction * (normal[next] - normal[last])
            }
        };
        z as f32
    }

    pub(in crate::data) fn is_valid(&self) -> bool {
        let Self { values, normal, .. } = self;
        let ascend = |list: &[f64]| list.iter().all(|x| x.is_finite()) && list.is_sorted_by(|a, b| a < b);
        values.len() == normal.len() && ascend(values) && ascend(normal)
    }
}

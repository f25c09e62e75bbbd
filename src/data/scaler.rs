//! What a number becomes: standardised, or the quantile bucket it falls into.

use serde::{Deserialize, Serialize};

use super::Transform;
use crate::error::{Error, ErrorKind, Result};

/// `(t(x) − mean) / std`, where `t` is the feature's [`Transform`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaler {
    mean: f64,
    std: f64,
    /// Some fitting row had no value, so there is an indicator input.
    missing: bool,
}

impl Scaler {
    /// Mean and standard deviation (of the population) of those `values` that are not NaN.
    ///
    /// A constant column is divided by 1, so that it becomes 0.
    pub(super) fn fit(transform: Transform, values: impl Iterator<Item = f64>) -> Result<Self> {
        let (mut count, mut mean, mut squares, mut missing) = (0.0, 0.0, 0.0, false);
        for x in values {
            if x.is_nan() {
                missing = true;
                continue;
            }
            // Welford: a sum of squares would cancel where the mean is far from 0.
            let t = transformed(transform, x);
            count += 1.0;
            let delta = t - mean;
            mean += delta / count;
            squares += delta * (t - mean);
        }
        if transform == Transform::Unscaled || count == 0.0 {
            return Ok(Self { mean: 0.0, std: 1.0, missing });
        }
        let std = f64::sqrt(squares / count);
        if !(mean.is_finite() && std.is_finite()) {
            return Err(Error::new(ErrorKind::Data, "the values are too large for a mean and a standard deviation")
                .with_help("use Numeric::signed_log"));
        }
        Ok(Self { mean, std: if std > 0.0 { std } else { 1.0 }, missing })
    }

    pub(super) fn missing(&self) -> bool {
        self.missing
    }

    /// The input for `x`: finite, and 0 if `x` is NaN.
    pub(super) fn encode(&self, transform: Transform, x: f64) -> f32 {
        if x.is_nan() {
            return 0.0;
        }
        let scaled = (transformed(transform, x) - self.mean) / self.std;
        scaled.clamp(f32::MIN.into(), f32::MAX.into()) as f32
    }

    pub(super) fn is_valid(&self) -> bool {
        self.mean.is_finite() && self.std.is_finite() && self.std > 0.0
    }
}

fn transformed(transform: Transform, x: f64) -> f64 {
    if transform == Transform::SignedLog { x.signum() * x.abs().ln_1p() } else { x }
}

/// Boundaries between quantile buckets, ascending: bucket `i` is `boundaries[i − 1] <= x < boundaries[i]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Quantiles(Vec<f64>);

impl Quantiles {
    /// `count` buckets of about equally many of those `values` that are not NaN; fewer where values coincide.
    pub(super) fn fit(count: usize, values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.filter(|x| !x.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // More buckets than values would only repeat boundaries.
        let count = count.min(sorted.len().max(1));
        let mut boundaries: Vec<f64> = (1..count).map(|i| sorted[i * sorted.len() / count]).collect();
        // The least value as a boundary would leave the bucket below it empty.
        boundaries.retain(|&boundary| boundary > sorted[0]);
        boundaries.dedup();
        Self(boundaries)
    }

    /// Rows of the embedding table: one for missing values, then one a bucket.
    pub(super) fn rows(&self) -> usize {
        self.0.len() + 2
    }

    /// The id for `x`: 0 if it is NaN, else 1 + its bucket.
    pub(super) fn encode(&self, x: f64) -> u32 {
        if x.is_nan() { 0 } else { 1 + self.0.partition_point(|&boundary| boundary <= x) as u32 }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.0.iter().all(|boundary| boundary.is_finite()) && self.0.is_sorted_by(|a, b| a < b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(transform: Transform, values: &[f64]) -> Scaler {
        Scaler::fit(transform, values.iter().copied()).unwrap()
    }

    #[test]
    fn standard_by_hand() {
        // Mean 5, variance (9 + 1 + 1 + 9) / 4 = 5.
        let scaler = fit(Transform::Standard, &[2.0, 4.0, 6.0, 8.0]);
        assert!((scaler.encode(Transform::Standard, 8.0) - 3.0 / 5.0_f32.sqrt()).abs() < 1e-6);
        assert!((scaler.encode(Transform::Standard, 5.0)).abs() < 1e-6);
        assert_eq!(scaler.encode(Transform::Standard, f64::NAN), 0.0);
        assert!(!scaler.missing());
    }

    #[test]
    fn signed_log_is_odd() {
        let e = std::f64::consts::E - 1.0;
        let scaler = fit(Transform::SignedLog, &[-e, e, f64::NAN]);
        assert!((scaler.encode(Transform::SignedLog, e) - 1.0).abs() < 1e-6);
        assert!((scaler.encode(Transform::SignedLog, -e) + 1.0).abs() < 1e-6);
        assert!(scaler.missing());
    }

    #[test]
    fn constants_missing_and_giants_stay_finite() {
        assert_eq!(fit(Transform::Standard, &[0.1; 7]).encode(Transform::Standard, 0.1), 0.0);
        assert_eq!(fit(Transform::Standard, &[f64::NAN]).encode(Transform::Standard, 3.0), 3.0);
        let unscaled = fit(Transform::Unscaled, &[1.0, 5.0]);
        assert_eq!(unscaled.encode(Transform::Unscaled, 1e300), f32::MAX);
        assert_eq!(unscaled.encode(Transform::Unscaled, 2.5), 2.5);
        let small = fit(Transform::Standard, &[0.0, 1e-300]);
        assert_eq!(small.encode(Transform::Standard, -1e300), f32::MIN);
        let error = Scaler::fit(Transform::Standard, [1e308, -1e308].into_iter()).unwrap_err();
        assert!(error.to_string().contains("too large"));
        fit(Transform::SignedLog, &[1e308, -1e308]);
    }

    #[test]
    fn a_distant_mean_does_not_cancel() {
        let scaler = fit(Transform::Standard, &[1e9, 1e9 + 2.0]);
        assert_eq!(scaler.encode(Transform::Standard, 1e9 + 2.0), 1.0);
    }

    #[test]
    fn quantile_buckets_are_equally_full() {
        let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        let quantiles = Quantiles::fit(4, values.iter().copied());
        assert_eq!(quantiles.0, [25.0, 50.0, 75.0]);
        let mut full = [0; 5];
        for &x in &values {
            full[quantiles.encode(x) as usize] += 1;
        }
        assert_eq!(full, [0, 25, 25, 25, 25]);
        assert_eq!([f64::NAN, -1e9, 24.9, 25.0, 1e9].map(|x| quantiles.encode(x)), [0, 1, 1, 2, 4]);
        assert_eq!(quantiles.rows(), 5);
    }

    #[test]
    fn coinciding_boundaries_are_merged() {
        let quantiles = Quantiles::fit(4, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0].into_iter());
        assert_eq!(quantiles.0, [1.0]);
        assert_eq!(Quantiles::fit(10, [3.0, f64::NAN].into_iter()).rows(), 2);
        assert_eq!(Quantiles::fit(10, [f64::NAN].into_iter()).encode(5.0), 1);
        assert_eq!(Quantiles::fit(10, [2.0, 1.0].into_iter()).0, [2.0]);
    }
}

//! Standardises the values of a numeric feature.

use serde::{Deserialize, Serialize};

use crate::data::Transform;

/// The largest absolute value of a standardised number. A value among n rows is at most √(n − 1) standard deviations from their mean, and a
/// scaler is fitted on fewer than 2³² rows. So only values far outside the fitted rows are clamped, and the net gets no input that would
/// overflow.
const FARTHEST: f64 = 65_536.0;

/// The largest absolute value of a number that is not standardised: its square is still finite in f32.
const FARTHEST_UNSCALED: f64 = 1e18;

/// Computes `(t(x) − mean) / std`, where `t` is the [`Transform`] of the feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::data) struct Scaler {
    mean: f64,
    std: f64,
    /// Whether a fitted row had no value. Then there is a second input that marks missing values.
    missing: bool,
}

impl Scaler {
    /// Fits the mean and the population standard deviation of `values`. NaN does not count.
    ///
    /// A constant column gets the standard deviation 1, so that its values become 0.
    pub(in crate::data) fn fit(transform: Transform, values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares, mut missing) = (0.0, 0.0, 0.0, false);
        for x in values {
            if x.is_nan() {
                missing = true;
                continue;
            }
            // Welford's algorithm: a plain sum of squares loses precision if the mean is far from 0.
            let t = transformed(transform, x);
            count += 1.0;
            let delta = t - mean;
            mean += delta / count;
            squares += delta * (t - mean);
        }
        if transform == Transform::Unscaled || count == 0.0 {
            return Self { mean: 0.0, std: 1.0, missing };
        }
        let std = f64::sqrt(squares / count);
        Self { mean, std: if std > 0.0 { std } else { 1.0 }, missing }
    }

    pub(in crate::data) fn missing(&self) -> bool {
        self.missing
    }

    /// The input for `x`: 0 for NaN, otherwise the standardised value, clamped to the largest absolute value.
    pub(in crate::data) fn encode(&self, transform: Transform, x: f64) -> f32 {
        if x.is_nan() {
            return 0.0;
        }
        let scaled = (transformed(transform, x) - self.mean) / self.std;
        let farthest = if transform == Transform::Unscaled { FARTHEST_UNSCALED } else { FARTHEST };
        scaled.clamp(-farthest, farthest) as f32
    }

    pub(in crate::data) fn is_valid(&self) -> bool {
        self.mean.is_finite() && self.std.is_finite() && self.std > 0.0
    }
}

fn transformed(transform: Transform, x: f64) -> f64 {
    if transform == Transform::SignedLog { x.signum() * x.abs().ln_1p() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(transform: Transform, values: &[f64]) -> Scaler {
        Scaler::fit(transform, values.iter().copied())
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
        assert_eq!(unscaled.encode(Transform::Unscaled, 2.5), 2.5);
        assert_eq!(unscaled.encode(Transform::Unscaled, f32::MIN.into()), -1e18);
        // Values farther from the mean than any of 2^32 rows could be are clamped.
        let small = fit(Transform::Standard, &[0.0, 1e-30]);
        assert_eq!(small.encode(Transform::Standard, -1.0), -65_536.0);
        assert_eq!(small.encode(Transform::Standard, f32::MAX.into()), 65_536.0);
        let giants = fit(Transform::Standard, &[f32::MAX.into(), f32::MIN.into()]);
        assert_eq!(giants.encode(Transform::Standard, f32::MAX.into()), 1.0);
    }

    #[test]
    fn the_farthest_fitted_row_is_not_clamped() {
        let mut values = vec![0.0; 1_000_000];
        values[0] = 1e30;
        let farthest = fit(Transform::Standard, &values).encode(Transform::Standard, 1e30);
        // √(n − 1).
        assert!((farthest - 999_999_f32.sqrt()).abs() < 0.01, "{farthest}");
    }

    #[test]
    fn a_distant_mean_does_not_cancel() {
        let scaler = fit(Transform::Standard, &[1e9, 1e9 + 2.0]);
        assert_eq!(scaler.encode(Transform::Standard, 1e9 + 2.0), 1.0);
    }
}

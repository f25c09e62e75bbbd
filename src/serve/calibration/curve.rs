//! Curves from logits to probabilities.

use serde::{Deserialize, Serialize};

use crate::loss::sigmoid;

/// The bound of [`Curve::logit`]: `σ(±16)` is 1.1e-7 from 0 and 1, about the distance between 1 and the next smaller f32.
const LAST_LOGIT: f64 = 16.0;

/// A function from the logit z of a model to a calibrated probability p. A higher logit never gets a lower probability.
/// [`Calibration::fit`](super::Calibration::fit) fits one for each task and domain, and [`Calibration::curve`](super::Calibration::curve) returns it.
/// σ is the sigmoid, `σ(z) = 1/(1 + exp(−z))`.
///
/// If you write a curve yourself, it is not checked. A curve that is read as part of a [`Calibration`](super::Calibration) is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Curve {
    /// `p = σ(z)`: the probability is not corrected. A task has this curve if the fit had too few rows of all domains together, or if their labels
    /// were all equal. A task that is not binary always has it.
    Identity,
    /// `p = σ(slope·z + intercept)`: two fitted numbers. [`Method::Platt`](super::Method::Platt) fits such a curve.
    Platt {
        /// The factor on the logit: finite and above 0. With an intercept of 0, a slope below 1 moves probabilities towards ½, and a slope above 1
        /// moves them away from ½.
        slope: f64,
        /// The number that is added to `slope·z`: any finite number. A larger intercept makes all probabilities larger.
        intercept: f64,
    },
    /// A line through the points `(logits[i], probabilities[i])`: straight between two points, and constant before the first and after the last one.
    /// It is fitted by [`Method::Isotonic`](super::Method::Isotonic).
    Isotonic {
        /// The logits of the points, at least one: finite, each above the one before.
        logits: Vec<f32>,
        /// The probabilities of the points, one for each logit. Each is from 0 to 1 and not below the one before.
        probabilities: Vec<f64>,
    },
}

impl Curve {
    /// The calibrated probability, from 0 to 1, of a row whose logit, as the model returns it, is `logit`. The logit may be infinite. The result is
    /// NaN if `logit` is NaN.
    ///
    /// # Panics
    /// If an isotonic curve that you wrote yourself has no points, or fewer probabilities than logits.
    pub fn probability(&self, logit: f32) -> f64 {
        let z = f64::from(logit);
        match self {
            Self::Identity => sigmoid(z),
            Self::Platt { slope, intercept } => sigmoid(slope * z + intercept),
            Self::Isotonic { .. } if z.is_nan() => z,
            Self::Isotonic { logits, probabilities } => {
                let above = logits.partition_point(|&knot| knot <= logit);
                let Some(below) = above.checked_sub(1) else { return probabilities[0] };
                let from = probabilities[below];
                let Some(&to) = probabilities.get(above) else { return from };
                let (left, right) = (f64::from(logits[below]), f64::from(logits[above]));
                // Rounding must not lift it above the next point.
                (from + (to - from) * ((z - left) / (right - left))).min(to)
            }
        }
    }

    /// The logit `ln(p/(1 − p))` of the calibrated probability p, for example to compute metrics. p is [`Curve::probability`] of `logit`, which is
    /// the logit of the model. The result of an isotonic curve is limited to the range from −16 to 16, because its probabilities may be 0 or 1. It is
    /// NaN if `logit` is NaN.
    ///
    /// # Panics
    /// If an isotonic curve that you wrote yourself has no points, or fewer probabilities than logits.
    pub fn logit(&self, logit: f32) -> f32 {
        let z = match self {
            Self::Identity => return logit,
            Self::Platt { slope, intercept } => slope * f64::from(logit) + intercept,
            Self::Isotonic { .. } => {
                let p = self.probability(logit);
                (p.ln() - (-p).ln_1p()).clamp(-LAST_LOGIT, LAST_LOGIT)
            }
        };
        z as f32
    }

    /// Whether it is valid: finite, and never falling.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Identity => true,
            Self::Platt { slope, intercept } => slope.is_finite() && *slope > 0.0 && intercept.is_finite(),
            Self::Isotonic { logits, probabilities } => {
                !logits.is_empty()
                    && logits.len() == probabilities.len()
                    && logits.iter().all(|z| z.is_finite())
                    && logits.is_sorted_by(|a, b| a < b)
                    && probabilities.iter().all(|p| (0.0..=1.0).contains(p))
                    && probabilities.is_sorted()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Curve {
        Curve::Isotonic { logits: vec![-1.0, 0.0, 2.0], probabilities: vec![0.0, 0.25, 0.75] }
    }

    #[test]
    fn straight_lines_and_ends_by_hand() {
        let found = [-9.0, -1.0, -0.5, 0.0, 0.5, 2.0, 9.0, f32::INFINITY].map(|z| steps().probability(z));
        assert_eq!(found, [0.0, 0.0, 0.125, 0.25, 0.375, 0.75, 0.75, 0.75]);
        assert!(steps().probability(f32::NAN).is_nan() && steps().logit(f32::NAN).is_nan());
    }

    #[test]
    fn platt_by_hand() {
        let curve = Curve::Platt { slope: 2.0, intercept: 1.0 };
        assert_eq!((curve.probability(-0.5), curve.logit(-0.5)), (0.5, 0.0));
        assert!((curve.probability(0.0) - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-15);
        assert_eq!((Curve::Identity.probability(0.0), Curve::Identity.logit(3.0)), (0.5, 3.0));
    }

    #[test]
    fn logits_are_those_of_the_probabilities() {
        assert!((f64::from(steps().logit(2.0)) - 3.0_f64.ln()).abs() < 1e-6);
        assert_eq!(steps().logit(-3.0), -16.0);
        let ends = Curve::Isotonic { logits: vec![0.0], probabilities: vec![1.0] };
        assert_eq!((ends.logit(0.0), ends.probability(-5.0)), (16.0, 1.0));
    }

    #[test]
    fn what_falls_or_is_not_finite_is_refused() {
        let isotonic = |logits: &[f32], probabilities: &[f64]| {
            Curve::Isotonic { logits: logits.into(), probabilities: probabilities.into() }.is_valid()
        };
        assert!(isotonic(&[0.0, 1.0], &[0.5, 0.5]) && isotonic(&[0.0], &[1.0]));
        assert!(!isotonic(&[], &[]) && !isotonic(&[0.0], &[0.1, 0.2]));
        assert!(!isotonic(&[0.0, 1.0], &[0.5, 0.4]) && !isotonic(&[0.0, 0.0], &[0.1, 0.2]));
        assert!(!isotonic(&[0.0, 1.0], &[0.5, 1.5]) && !isotonic(&[0.0, f32::INFINITY], &[0.1, 0.2]));
        assert!(!isotonic(&[0.0], &[f64::NAN]));
        for (slope, intercept, valid) in
            [(1.0, 0.0, true), (0.0, 0.0, false), (-1.0, 0.0, false), (1.0, f64::NAN, false)]
        {
            assert_eq!(Curve::Platt { slope, intercept }.is_valid(), valid, "{slope} {intercept}");
        }
    }
}

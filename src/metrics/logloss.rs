//! Log loss on logits.

use super::observation::{Observation, labelled};
use crate::math::softplus;

/// The mean log loss (binary cross entropy) of logits z and labels y, in nats (natural logarithms).
///
/// `logloss = −(1/n) Σ (y·ln σ(z) + (1−y)·ln(1−σ(z)))`, the sum over the n rows with a label. It is computed as the mean of
/// `ln(1 + e^z) − y·z` in `f64`, without overflow: the result is finite for all finite logits. The result is `None` if no row has a label.
///
/// `logits` has one logit for each row (not a probability), and `labels` its label: 0, 1, or NaN if it is missing. Rows without a label are
/// skipped. Every labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::logloss;
///
/// assert_eq!(logloss(&[0.0, 0.0], &[0.0, 1.0]), Some(std::f64::consts::LN_2));
/// assert_eq!(logloss(&[-1e4], &[1.0]), Some(1e4));
/// ```
///
/// # Panics
/// If `logits` and `labels` have different lengths, if a label is not 0, 1 or NaN, or if the logit of a row with a label is NaN.
pub fn logloss(logits: &[f32], labels: &[f32]) -> Option<f64> {
    logloss_of(labelled(logits, labels))
}

/// The log loss of these rows, summed in their order: `Σ w·loss / Σ w`.
pub(super) fn logloss_of(rows: impl Iterator<Item = Observation>) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for row in rows {
        let (logit, weight) = (f64::from(row.logit), f64::from(row.weight));
        sum += weight * softplus(if row.positive() { -logit } else { logit });
        weights += weight;
    }
    (weights > 0.0).then(|| sum / weights)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn finite_and_right_at_the_extremes() {
        assert_eq!(logloss(&[1e4], &[1.0]), Some(0.0));
        assert_eq!(logloss(&[1e4], &[0.0]), Some(1e4));
        assert_eq!(logloss(&[-1e4], &[0.0]), Some(0.0));
        // A confident right answer still costs e⁻ᶻ, which 1 + e⁻ᶻ would round away.
        assert_relative_eq!(logloss(&[40.0], &[1.0]).unwrap(), (-40.0_f64).exp(), max_relative = 1e-12);
    }

    #[test]
    fn the_mean_is_over_labelled_rows() {
        let three = 3.0_f32.ln();
        // σ(ln 3) = 3/4; the middle row has no label.
        let value = logloss(&[three, 5.0, three], &[1.0, f32::NAN, 0.0]).unwrap();
        assert_relative_eq!(value, -(0.75_f64.ln() + 0.25_f64.ln()) / 2.0, max_relative = 1e-7);
        assert_eq!(logloss(&[0.0], &[f32::NAN]), None);
    }
}

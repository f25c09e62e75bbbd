//! Whether predicted probabilities mean what they say.

use super::observation::{Observation, labelled};
use crate::loss::sigmoid;

/// The number of bins of equal width into which [`Evaluator::report`](super::Evaluator::report) divides the probabilities from 0 to 1 when
/// it computes the expected calibration error ([`ece`]).
pub const ECE_BINS: usize = 20;

/// PCOC, predicted clicks over observed clicks: the sum of the predicted probabilities of all labelled rows, divided by the number of
/// labels that are 1. A value of 1 is ideal. Above 1, the predicted probabilities are too high on average; below 1, they are too low.
///
/// `PCOC = Σ σ(z_i) / Σ y_i`, where `z_i` is the logit of row i, σ the [`sigmoid`], and `y_i` the label of row i. The result is `None` if
/// no label is 1.
///
/// `logits` has one logit for each row (not a probability), and `labels` its label: 0, 1, or NaN if it is missing. Rows without a label are
/// skipped. Every labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::pcoc;
///
/// assert_eq!(pcoc(&[0.0, 0.0, 0.0, 0.0], &[0.0, 1.0, 0.0, 0.0]), Some(2.0));
/// ```
///
/// # Panics
/// If `logits` and `labels` have different lengths, if a label is not 0, 1 or NaN, or if the logit of a row with a label is NaN.
pub fn pcoc(logits: &[f32], labels: &[f32]) -> Option<f64> {
    pcoc_of(labelled(logits, labels))
}

/// The PCOC of these rows, summed in their order: `Σ w·σ(z) / Σ w·y`.
pub(super) fn pcoc_of(rows: impl Iterator<Item = Observation>) -> Option<f64> {
    let (mut predicted, mut clicks) = (0.0, 0.0);
    for row in rows {
        let weight = f64::from(row.weight);
        predicted += weight * sigmoid(f64::from(row.logit));
        clicks += if row.positive() { weight } else { 0.0 };
    }
    (clicks > 0.0).then(|| predicted / clicks)
}

/// The expected calibration error (ECE): how far predicted click rates are from observed click rates on average. Rows are divided into bins
/// by their predicted probability. 0 is ideal, and 1 is the largest possible value.
///
/// There are B = `bins` bins, numbered from 0. Bin b has the `n_b` labelled rows whose probability is in `b/B <= σ(z) < (b+1)/B` (the last
/// bin includes 1), and `ECE = Σ_b (n_b/n) · |mean of σ(z) in bin b − mean of y in bin b|` (Guo et al., *On
/// Calibration of Modern Neural Networks*, ICML 2017, equation 3), where z is the logit of a row, y its label, and n the number of labelled
/// rows. Empty bins add nothing. The result is `None` if no row has a label. All rows with probabilities below `1/B` are in the first bin;
/// errors inside one bin can cancel out.
///
/// `logits` has one logit for each row (not a probability), and `labels` its label: 0, 1, or NaN if it is missing. `bins` is at least 1;
/// reports use [`ECE_BINS`]. Every labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::{ECE_BINS, ece};
///
/// // Predicted one half, observed one quarter.
/// assert_eq!(ece(&[0.0, 0.0, 0.0, 0.0], &[0.0, 1.0, 0.0, 0.0], ECE_BINS), Some(0.25));
/// ```
///
/// # Panics
/// If `bins` is 0, if `logits` and `labels` have different lengths, if a label is not 0, 1 or NaN, or if the logit of a row with a label is
/// NaN.
pub fn ece(logits: &[f32], labels: &[f32], bins: usize) -> Option<f64> {
    ece_of(labelled(logits, labels), bins)
}

/// The ECE of these rows, summed in their order: `(1/Σ w) Σ_b |Σ_b w·σ(z) − Σ_b w·y|`.
pub(super) fn ece_of(rows: impl Iterator<Item = Observation>, bins: usize) -> Option<f64> {
    assert!(bins > 0, "the ECE needs at least one bin");
    let mut gaps = vec![0.0; bins];
    let mut weights = 0.0;
    for row in rows {
        let (probability, weight) = (sigmoid(f64::from(row.logit)), f64::from(row.weight));
        let bin = ((probability * bins as f64) as usize).min(bins - 1);
        gaps[bin] += weight * (probability - f64::from(u8::from(row.positive())));
        weights += weight;
    }
    (weights > 0.0).then(|| gaps.iter().map(|gap| gap.abs()).sum::<f64>() / weights)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn pcoc_is_a_ratio_of_sums() {
        // σ(±ln 3) = 3/4 and 1/4; the row without a label counts on neither side.
        let three = 3.0_f32.ln();
        let value = pcoc(&[three, -three, three, 9.0], &[1.0, 0.0, 1.0, f32::NAN]).unwrap();
        assert_relative_eq!(value, 1.75 / 2.0, max_relative = 1e-7);
        assert_eq!(pcoc(&[three], &[0.0]), None);
        assert_eq!(pcoc(&[], &[]), None);
    }

    #[test]
    fn gaps_of_opposite_sign_cancel_inside_a_bin_only() {
        let three = 3.0_f32.ln();
        let (logits, labels) = ([-three, three], [1.0, 0.0]);
        assert_relative_eq!(ece(&logits, &labels, 2).unwrap(), 0.75, max_relative = 1e-7);
        assert_relative_eq!(ece(&logits, &labels, 1).unwrap(), 0.0, epsilon = 1e-7);
    }

    #[test]
    fn the_last_bin_includes_one() {
        assert_eq!(ece(&[1e4, -1e4], &[1.0, 0.0], 20), Some(0.0));
        assert_eq!(ece(&[1e4], &[0.0], 20), Some(1.0));
        assert_eq!(ece(&[1.0], &[f32::NAN], 20), None);
    }
}

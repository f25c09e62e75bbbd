//! Area under the ROC curve.

use super::observation::{Observation, labelled};

/// The exact area under the ROC curve: the share of pairs of a positive and a negative row in which the positive has the larger score. A
/// pair with equal scores counts as half.
///
/// `AUC = (Σ_{i positive} Σ_{j negative} [s_i > s_j] + ½ [s_i = s_j]) / (P · N)`, where `s_i` is the score of row i, `[…]` is 1 if the
/// condition holds and otherwise 0, and P and N are the numbers of positives and negatives. It is computed by sorting in O(n log n). The
/// pairs are counted in integers, so the order of the rows does not matter. Logits and probabilities give the same value, unless rounding
/// makes different scores equal.
///
/// `scores` has one logit or probability for each row, and `labels` its label: 1 for a positive row, 0 for a negative one, NaN if the label
/// is missing. Rows without a label are skipped. The result is `None` if there are no positives or no negatives. Every labelled row counts
/// once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::auc;
///
/// assert_eq!(auc(&[0.1, 0.4, 0.4, 0.8], &[0.0, 0.0, 1.0, 1.0]), Some(0.875));
/// assert_eq!(auc(&[0.1, 0.4], &[1.0, 1.0]), None);
/// ```
///
/// # Panics
/// If `scores` and `labels` have different lengths, if a label is not 0, 1 or NaN, or if the score of a row with a label is NaN.
pub fn auc(scores: &[f32], labels: &[f32]) -> Option<f64> {
    let mut rows: Vec<_> = labelled(scores, labels).collect();
    rows.sort_unstable_by(Observation::by_logit);
    auc_of_sorted(&rows)
}

/// The AUC of rows that are sorted by score. A pair of rows counts as much as the product of their weights:
/// `AUC = (Σ_{i positive} Σ_{j negative} w_i·w_j ([s_i > s_j] + ½ [s_i = s_j])) / (Σ_{i positive} w_i · Σ_{j negative} w_j)`.
pub(super) fn auc_of_sorted(rows: &[Observation]) -> Option<f64> {
    if rows.iter().all(|row| row.weight == 1.0) { counted_auc(rows) } else { weighted_auc(rows) }
}

fn weighted_auc(rows: &[Observation]) -> Option<f64> {
    // Twice the weight of the pairs won.
    let mut twice_won = 0.0;
    let (mut positives, mut negatives) = (0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.logit == b.logit) {
        let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
        for row in tied {
            *(if row.positive() { &mut tied_positives } else { &mut tied_negatives }) += f64::from(row.weight);
        }
        twice_won += tied_positives * (2.0 * negatives + tied_negatives);
        positives += tied_positives;
        negatives += tied_negatives;
    }
    let twice_pairs = 2.0 * positives * negatives;
    // Rounding must not take a perfect order past 1.
    (twice_pairs > 0.0).then(|| (twice_won / twice_pairs).min(1.0))
}

fn counted_auc(rows: &[Observation]) -> Option<f64> {
    // Twice the number of pairs won, so that a tie's half is an integer too. 128 bits: P · N passes 2^64 at 4 · 10^9 each.
    let mut twice_won = 0_u128;
    let (mut positives, mut negatives) = (0_u128, 0_u128);
    // `==` rather than the sort's order: -0 and 0 are one score.
    for tied in rows.chunk_by(|a, b| a.logit == b.logit) {
        let tied_positives = tied.iter().filter(|row| row.positive()).count() as u128;
        let tied_negatives = tied.len() as u128 - tied_positives;
        twice_won += tied_positives * (2 * negatives + tied_negatives);
        positives += tied_positives;
        negatives += tied_negatives;
    }
    let twice_pairs = 2 * positives * negatives;
    (twice_pairs > 0).then(|| twice_won as f64 / twice_pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_and_ties() {
        assert_eq!(auc(&[1.0, 2.0], &[0.0, 1.0]), Some(1.0));
        assert_eq!(auc(&[2.0, 1.0], &[0.0, 1.0]), Some(0.0));
        assert_eq!(auc(&[1.0, 1.0, 1.0], &[0.0, 1.0, 0.0]), Some(0.5));
        // Four pairs: 3 > 1, 3 > 2, 2 > 1, 2 = 2.
        assert_eq!(auc(&[3.0, 2.0, 1.0, 2.0], &[1.0, 1.0, 0.0, 0.0]), Some(3.5 / 4.0));
    }

    #[test]
    fn both_zeros_are_one_score() {
        assert_eq!(auc(&[-0.0, 0.0], &[0.0, 1.0]), Some(0.5));
        assert_eq!(auc(&[0.0, -0.0], &[0.0, 1.0]), Some(0.5));
    }

    #[test]
    fn infinite_scores_have_their_place() {
        assert_eq!(auc(&[f32::NEG_INFINITY, 0.0, f32::INFINITY], &[0.0, 1.0, 1.0]), Some(1.0));
    }

    #[test]
    fn undefined_with_one_class_or_none() {
        assert_eq!(auc(&[], &[]), None);
        assert_eq!(auc(&[1.0, 2.0], &[0.0, 0.0]), None);
        assert_eq!(auc(&[1.0, 2.0, 3.0], &[1.0, 1.0, f32::NAN]), None);
    }

    #[test]
    fn a_missing_label_is_no_row() {
        assert_eq!(auc(&[1.0, f32::NAN, 2.0], &[0.0, f32::NAN, 1.0]), Some(1.0));
    }

    #[test]
    #[should_panic(expected = "the score of row 1 is NaN")]
    fn a_nan_score_is_refused() {
        auc(&[1.0, f32::NAN], &[0.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "label 2 of row 0 is none of 0, 1, NaN")]
    fn another_label_is_refused() {
        auc(&[1.0], &[2.0]);
    }
}

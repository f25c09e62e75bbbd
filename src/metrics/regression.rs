//! How far predicted numbers are from the labels, and how well they order them.

use super::observation::Observation;

/// The mean squared error (MSE) of predicted numbers, in squared units of the label: `(1/n) Σ (ŷ_i − y_i)²`, the sum over the n rows with a label. 0
/// is ideal.
///
/// `predictions` has the predicted number ŷ of each row, in units of the label, and `labels` its label y: any number, or NaN if it is missing. Rows
/// without a label are skipped. The result is `None` if no row has a label; it is NaN or infinite if the prediction of a labelled row is. Every
/// labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// # Panics
/// If `predictions` and `labels` have different lengths.
pub fn mse(predictions: &[f32], labels: &[f32]) -> Option<f64> {
    errors_of(pairs(predictions, labels)).map(|errors| errors.mse)
}

/// The mean absolute error (MAE) of predicted numbers, in units of the label: `(1/n) Σ |ŷ_i − y_i|`, the sum over the n rows with a label. 0 is
/// ideal.
///
/// `predictions` has the predicted number ŷ of each row, in units of the label, and `labels` its label y: any number, or NaN if it is missing. Rows
/// without a label are skipped. The result is `None` if no row has a label; it is NaN or infinite if the prediction of a labelled row is. Every
/// labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// # Panics
/// If `predictions` and `labels` have different lengths.
pub fn mae(predictions: &[f32], labels: &[f32]) -> Option<f64> {
    errors_of(pairs(predictions, labels)).map(|errors| errors.mae)
}

/// The share of the labels' variance that the predictions explain (R²): `R² = 1 − Σ (ŷ_i − y_i)² / Σ (y_i − ȳ)²`, the sums over the rows with a
/// label, where ȳ is the mean of their labels. 1 is ideal. 0 is as good as always to predict ȳ; a negative value is worse than that.
///
/// `predictions` has the predicted number ŷ of each row, in units of the label, and `labels` its label y: any number, or NaN if it is missing. Rows
/// without a label are skipped. The result is `None` if no row has a label or if all labels are equal; it is NaN or infinite if the prediction of a
/// labelled row is. Every labelled row counts once; to weight rows, use an [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::r2;
///
/// assert_eq!(r2(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), Some(1.0));
/// assert_eq!(r2(&[2.0, 2.0, 2.0], &[1.0, 2.0, 3.0]), Some(0.0));
/// ```
///
/// # Panics
/// If `predictions` and `labels` have different lengths.
pub fn r2(predictions: &[f32], labels: &[f32]) -> Option<f64> {
    errors_of(pairs(predictions, labels)).and_then(|errors| errors.r2)
}

/// XAUC, the AUC of labels that are numbers: of all pairs of rows with different labels, the share of pairs in which the row with the larger label
/// has the larger score. A pair with equal scores counts as half. It is from 0 to 1, and 1 is ideal.
///
/// `XAUC = Σ ([s_i > s_j] + ½ [s_i = s_j]) / Σ 1`, both sums over all pairs (i, j) of labelled rows with `y_i > y_j`, where `s_i` is the score and
/// `y_i` the label of row i, and `[…]` is 1 if the condition holds and otherwise 0 (Zhan et al., *Deconfounding Duration Bias in Watch-time
/// Prediction*, KDD 2022, section 5.1). For labels of 0 and 1 it equals the [`auc`](super::auc()). It takes O(n log n) time for n rows.
///
/// `scores` has one number for each row: a logit or a prediction, because only the order matters. `labels` has its label: any number, or NaN if it is
/// missing. Rows without a label are skipped. The result is `None` if no two labels differ. Every labelled row counts once; to weight rows, use an
/// [`Evaluator`](super::Evaluator).
///
/// ```
/// use starple::metrics::xauc;
///
/// // Of the three pairs, one has the wrong order.
/// assert_eq!(xauc(&[0.1, 0.4, 0.3], &[1.0, 2.0, 5.0]), Some(2.0 / 3.0));
/// ```
///
/// # Panics
/// If `scores` and `labels` have different lengths, or if the score of a row with a label is NaN.
pub fn xauc(scores: &[f32], labels: &[f32]) -> Option<f64> {
    assert_eq!(scores.len(), labels.len(), "{} scores for {} labels", scores.len(), labels.len());
    let labelled = scores.iter().zip(labels).filter(|(_, label)| !label.is_nan());
    let rows = labelled.map(|(&logit, &label)| {
        assert!(!logit.is_nan(), "the score of a row is NaN");
        Observation { logit, weight: 1.0, group: 0, label }
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by(Observation::by_logit);
    xauc_of_sorted(&rows)
}

/// Prediction, label and weight of the rows that have a label.
fn pairs<'a>(predictions: &'a [f32], labels: &'a [f32]) -> impl Iterator<Item = (f64, f64, f64)> + Clone + 'a {
    assert_eq!(predictions.len(), labels.len(), "{} predictions for {} labels", predictions.len(), labels.len());
    let rows = predictions.iter().zip(labels).filter(|(_, label)| !label.is_nan());
    rows.map(|(&prediction, &label)| (f64::from(prediction), f64::from(label), 1.0))
}

/// The errors of some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Errors {
    pub(super) mse: f64,
    pub(super) mae: f64,
    pub(super) r2: Option<f64>,
    /// `Σ w·ŷ / Σ w·y`.
    pub(super) ratio: Option<f64>,
    /// `2 Σ w·(y·ln(y/ŷ) − (y − ŷ)) / Σ w`: the deviance of a Poisson distribution. It is no number if a label is negative.
    pub(super) deviance: f64,
}

/// The errors of rows of prediction ŷ, label y and weight w, summed in their order; `None` without rows.
pub(super) fn errors_of(rows: impl Iterator<Item = (f64, f64, f64)> + Clone) -> Option<Errors> {
    let (mut weights, mut labels, mut predictions) = (0.0, 0.0, 0.0);
    for (prediction, label, weight) in rows.clone() {
        weights += weight;
        labels += weight * label;
        predictions += weight * prediction;
    }
    if weights <= 0.0 {
        return None;
    }
    let mean = labels / weights;
    let (mut squares, mut distances, mut variance, mut deviance) = (0.0, 0.0, 0.0, 0.0);
    for (prediction, label, weight) in rows {
        let error = prediction - label;
        squares += weight * error * error;
        distances += weight * error.abs();
        variance += weight * (label - mean).powi(2);
        let entropy = if label == 0.0 { 0.0 } else { label * (label / prediction).ln() };
        deviance += weight * (entropy + error);
    }
    // Rounding gives equal labels a variance.
    let spread = variance > 1e-24 * weights * mean * mean;
    Some(Errors {
        mse: squares / weights,
        mae: distances / weights,
        r2: spread.then(|| 1.0 - squares / variance),
        ratio: (labels > 0.0).then(|| predictions / labels),
        deviance: 2.0 * deviance / weights,
    })
}

/// The XAUC of rows that are sorted by score, where a pair of rows counts as much as the product of their weights.
///
/// A tree of sums over the ranks of labels (Fenwick, 1994) has the weights of all rows with lower scores. Sums of whole numbers below 2⁵³
/// are exact.
pub(super) fn xauc_of_sorted(rows: &[Observation]) -> Option<f64> {
    let mut labels: Vec<f32> = rows.iter().map(|row| row.label).collect();
    labels.sort_unstable_by(f32::total_cmp);
    // -0 and 0 are one label.
    labels.dedup_by(|a, b| a == b);
    let rank = |label: f32| labels.partition_point(|&other| other < label);
    let mut tree = vec![0.0; labels.len() + 1];
    let mut by_label = vec![0.0; labels.len()];
    let mut won = 0.0;
    // Of tied rows: those of each label, to be counted and then set back.
    let mut tied_by_label = vec![0.0; labels.len()];
    for tied in rows.chunk_by(|a, b| a.logit == b.logit) {
        let mut sum = 0.0;
        for row in tied {
            let (rank, weight) = (rank(row.label), f64::from(row.weight));
            // The weight of the rows with lower scores and lower labels.
            let (mut lower, mut i) = (0.0, rank);
            while i > 0 {
                lower += tree[i];
                i &= i - 1;
            }
            won += weight * lower;
            // Pairs within the tie of different labels, in the order in which they come.
            won += 0.5 * weight * (sum - tied_by_label[rank]);
            sum += weight;
            tied_by_label[rank] += weight;
        }
        for row in tied {
            let (rank, weight) = (rank(row.label), f64::from(row.weight));
            tied_by_label[rank] = 0.0;
            by_label[rank] += weight;
            let mut i = rank + 1;
            while i < tree.len() {
                tree[i] += weight;
                i += i & i.wrapping_neg();
            }
        }
    }
    let (mut pairs, mut lower) = (0.0, 0.0);
    for weight in &by_label {
        pairs += weight * lower;
        lower += weight;
    }
    (pairs > 0.0).then(|| (won / pairs).min(1.0))
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_by_hand() {
        let (predictions, labels) = ([1.0, 4.0, 9.0, 2.0], [2.0, 4.0, f32::NAN, 6.0]);
        assert_eq!(mse(&predictions, &labels), Some((1.0 + 0.0 + 16.0) / 3.0));
        assert_eq!(mae(&predictions, &labels), Some(5.0 / 3.0));
        // The mean is 4, the squares around it 4 + 0 + 4.
        assert_relative_eq!(r2(&predictions, &labels).unwrap(), 1.0 - 17.0 / 8.0, max_relative = 1e-12);
        assert_eq!((r2(&[1.0, 2.0], &[0.1, 0.1]), mse(&[1.0], &[f32::NAN])), (None, None));
        let rows = [(1.0, 2.0, 1.0), (3.0, 0.0, 2.0)];
        let errors = errors_of(rows.into_iter()).unwrap();
        assert_eq!(errors.ratio, Some(7.0 / 2.0));
        assert_relative_eq!(errors.deviance, 2.0 * (2.0 * 2.0_f64.ln() - 1.0 + 2.0 * 3.0) / 3.0, max_relative = 1e-12);
    }

    #[test]
    fn undefined_without_two_labels() {
        assert_eq!(xauc(&[1.0, 2.0], &[3.0, 3.0]), None);
        assert_eq!(xauc(&[], &[]), None);
        assert_eq!(xauc(&[1.0, 9.0, 2.0], &[-0.0, f32::NAN, 0.0]), None);
    }

    proptest! {
        #[test]
        fn xauc_is_that_of_all_pairs(
            rows in prop::collection::vec((0..6_i32, 0..5_i32, 1..4_u32), 0..40),
            weighted: bool,
        ) {
            let weight = |weight: u32| if weighted { weight as f32 / 2.0 } else { 1.0 };
            let mut sorted: Vec<Observation> = rows
                .iter()
                .map(|&(s, y, w)| Observation { logit: s as f32, weight: weight(w), group: 0, label: y as f32 - 2.0 })
                .collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for a in &sorted {
                for b in sorted.iter().filter(|b| a.label > b.label) {
                    let both = f64::from(a.weight) * f64::from(b.weight);
                    pairs += both;
                    won += both * if a.logit > b.logit { 1.0 } else if a.logit == b.logit { 0.5 } else { 0.0 };
                }
            }
            sorted.sort_unstable_by(Observation::by_logit);
            let found = xauc_of_sorted(&sorted);
            prop_assert_eq!(found.is_some(), pairs > 0.0);
            if let Some(found) = found {
                prop_assert!((found - won / pairs).abs() < 1e-12);
            }
        }

        #[test]
        fn of_zeros_and_ones_it_is_the_auc(rows in prop::collection::vec((-3..4_i32, any::<bool>()), 0..40)) {
            let scores: Vec<f32> = rows.iter().map(|row| row.0 as f32).collect();
            let labels: Vec<f32> = rows.iter().map(|row| f32::from(row.1)).collect();
            prop_assert_eq!(xauc(&scores, &labels), crate::metrics::auc(&scores, &labels));
        }
    }
}

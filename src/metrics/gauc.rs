//! AUC inside groups.

use super::auc::auc_of_sorted;
use super::observation::{Observation, labelled};

/// The mean of the groups' AUCs, each weighted by the number of labelled rows of its group (GAUC). It measures how well rows are ranked *inside* a
/// group, such as a user or a session. It is from 0 to 1, and 1 is ideal.
///
/// `GAUC = Σ_g n_g · AUC_g / Σ_g n_g`, where `AUC_g` is the [`auc`](super::auc()) of group g and `n_g` its number of labelled rows. Groups without
/// positives or without negatives have no AUC and are left out of both sums. The result is `None` if no group has both positives and negatives.
///
/// `scores` has one logit or probability for each row, and `labels` its label: 0, 1, or NaN if it is missing. `groups` has one number for each row,
/// for example the id of its user: rows with equal numbers are one group. Rows without a label are skipped. Every labelled row counts once; to weight
/// rows, use an [`Evaluator`](super::Evaluator).
///
/// It is the measure of Zhu et al., *Optimized Cost per Click in Taobao Display Advertising* (KDD 2017), as used in the *Deep Interest Network* paper
/// (Zhou et al., KDD 2018, "Metrics"), where the groups are users.
///
/// ```
/// use starple::metrics::gauc;
///
/// // Group 7 ranks its three rows right, group 8 its two rows wrong, group 9 has one class.
/// let scores = [0.1, 0.9, 0.2, 0.8, 0.3, 0.5];
/// let labels = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0];
/// assert_eq!(gauc(&scores, &labels, &[7, 7, 7, 8, 8, 9]), Some(3.0 / 5.0));
/// ```
///
/// # Panics
/// If the arguments have different lengths, if a label is not 0, 1 or NaN, or if the score of a row with a label is NaN.
pub fn gauc(scores: &[f32], labels: &[f32], groups: &[u32]) -> Option<f64> {
    assert_eq!(groups.len(), scores.len(), "{} groups for {} scores", groups.len(), scores.len());
    let labelled_groups = groups.iter().zip(labels).filter(|(_, label)| !label.is_nan());
    let mut rows: Vec<_> =
        labelled(scores, labels).zip(labelled_groups).map(|(row, (&group, _))| Observation { group, ..row }).collect();
    gauc_in_place(&mut rows)
}

/// The GAUC of these rows, which it sorts by group: `Σ_g W_g · AUC_g / Σ_g W_g`, with `W_g` the sum of the weights of a group's rows.
pub(super) fn gauc_in_place(rows: &mut [Observation]) -> Option<f64> {
    rows.sort_unstable_by(|a, b| a.group.cmp(&b.group).then_with(|| a.by_logit(b)));
    let (mut weighted, mut impressions) = (0.0, 0.0);
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        if let Some(auc) = auc_of_sorted(group) {
            let weight = group.iter().map(|row| f64::from(row.weight)).sum::<f64>();
            weighted += weight * auc;
            impressions += weight;
        }
    }
    (impressions > 0.0).then(|| weighted / impressions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighs_by_labelled_impressions() {
        // Group 1: AUC 1 on 2 labelled rows (the third has no label); group 2: AUC 1/2 on 4 rows.
        let scores = [0.0, 1.0, 5.0, 0.0, 0.0, 0.0, 0.0];
        let labels = [0.0, 1.0, f32::NAN, 0.0, 1.0, 0.0, 1.0];
        let groups = [1, 1, 1, 2, 2, 2, 2];
        assert_eq!(gauc(&scores, &labels, &groups), Some((2.0 * 1.0 + 4.0 * 0.5) / 6.0));
    }

    #[test]
    fn undefined_when_every_group_has_one_class() {
        assert_eq!(gauc(&[0.0, 1.0], &[0.0, 1.0], &[1, 2]), None);
    }

    #[test]
    fn an_unlabelled_row_in_front_moves_no_group() {
        let labels = [f32::NAN, 0.0, 1.0, 1.0, 0.0];
        assert_eq!(gauc(&[9.0, 0.0, 1.0, 0.0, 1.0], &labels, &[3, 4, 4, 5, 5]), Some(0.5));
    }
}

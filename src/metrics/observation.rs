//! A scored row that has a label: what every metric is computed from.

use std::cmp::Ordering;

/// One labelled row of one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observation {
    pub(super) logit: f32,
    /// How much the row counts: 1 where rows have no weights, never 0.
    pub(super) weight: f32,
    pub(super) group: u32,
    pub(super) label: f32,
}

impl Observation {
    /// The order in which everything is summed, so that no result depends on the order in which rows came.
    pub(super) fn by_logit(&self, other: &Self) -> Ordering {
        let by_label = || self.label.total_cmp(&other.label);
        self.logit.total_cmp(&other.logit).then_with(by_label).then_with(|| self.weight.total_cmp(&other.weight))
    }

    /// Whether the label of a binary task is 1.
    pub(super) fn positive(&self) -> bool {
        self.label == 1.0
    }

    /// The row as if it had no weight.
    pub(super) fn unweighted(self) -> Self {
        Self { weight: 1.0, ..self }
    }
}

/// The rows that have a label, without weights and groups.
///
/// # Panics
/// If the lengths differ, a labelled row's score is NaN, or a label is none of 0, 1, NaN.
pub(super) fn labelled<'a>(scores: &'a [f32], labels: &'a [f32]) -> impl Iterator<Item = Observation> + 'a {
    assert_eq!(scores.len(), labels.len(), "{} scores for {} labels", scores.len(), labels.len());
    scores.iter().zip(labels).enumerate().filter_map(|(row, (&logit, &label))| {
        if label.is_nan() {
            return None;
        }
        assert!(label == 0.0 || label == 1.0, "label {label} of row {row} is none of 0, 1, NaN");
        assert!(!logit.is_nan(), "the score of row {row} is NaN");
        Some(Observation { logit, weight: 1.0, group: 0, label })
    })
}

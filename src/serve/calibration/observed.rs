//! The rows that a curve is fitted on.

/// A row with a label and a weight above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    pub(super) logit: f32,
    pub(super) positive: bool,
    pub(super) weight: f32,
}

impl Observed {
    pub(super) fn weight(&self) -> f64 {
        f64::from(self.weight)
    }

    /// Its weight if it is a click, else 0.
    pub(super) fn clicks(&self) -> f64 {
        if self.positive { self.weight() } else { 0.0 }
    }
}

/// Sorts rows. All sums go in this order, so that no curve depends on the order in which the rows came.
pub(super) fn sort(rows: &mut [Observed]) {
    rows.sort_unstable_by(|a, b| {
        let by_logit = a.logit.total_cmp(&b.logit).then(a.positive.cmp(&b.positive));
        by_logit.then(a.weight.total_cmp(&b.weight))
    });
}

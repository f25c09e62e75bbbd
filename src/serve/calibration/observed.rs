//! What a curve is fitted on.

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

    /// What it adds to the weight of clicks.
    pub(super) fn clicks(&self) -> f64 {
        if self.positive { self.weight() } else { 0.0 }
    }
}

/// Sorts rows into the order in which everything is summed, so that no curve depends on the order in which they came.
pub(super) fn sort(rows: &mut [Observed]) {
    rows.sort_unstable_by(|a, b| {
        let by_logit = a.logit.total_cmp(&b.logit).then(a.positive.cmp(&b.positive));
        by_logit.then(a.weight.total_cmp(&b.weight))
    });
}

//! Notes on the tests, for tables and picture.

use std::collections::BTreeSet;

use super::{Comparison, Gains, Standing, Test};

/// The names of the tests that were used; `None` if there was none.
pub(super) fn test_names<'a>(gains: impl Iterator<Item = &'a Gains>) -> Option<String> {
    let names: BTreeSet<&str> = gains.filter_map(|gains| gains.test).map(Test::name).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(" or "))
}

impl Comparison {
    /// The name of a significant loss: `negative transfer` over a baseline that shares nothing.
    pub(super) fn loss_name(&self) -> &'static str {
        let baseline = self.baseline.as_deref().and_then(|name| self.contender(name));
        if baseline.is_some_and(|baseline| baseline.kind == "single") { "negative transfer" } else { "loss" }
    }

    /// Sentences that list the contenders whose gains are not tested, with the reason.
    pub(super) fn untested<'a>(&self, gains: impl Iterator<Item = (&'a Standing, &'a Gains)>) -> Vec<String> {
        if self.contenders.iter().all(|standing| standing.runs.len() < 2) {
            return vec!["One seed tells no noise from gain: nothing is flagged without at least two.".into()];
        }
        let (mut seeds, mut spread) = (Vec::new(), Vec::new());
        for (standing, gains) in gains.filter(|(_, gains)| gains.test.is_none()) {
            let cells = || gains.tasks.iter().flat_map(|task| &task.domains).filter_map(|(_, gain)| gain.as_ref());
            let why = if cells().all(|gain| gain.difference.seeds < 2) { &mut seeds } else { &mut spread };
            why.push(standing.name.as_str());
        }
        let reasons = [("fewer than two seeds are judged", seeds), ("no seeds differ in their gains", spread)];
        let reasons = reasons.into_iter().filter(|(_, names)| !names.is_empty());
        reasons.map(|(why, names)| format!("Not tested, as {why}: {}.", names.join(", "))).collect()
    }
}

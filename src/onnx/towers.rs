//! The towers on top of a net with branches.

use std::collections::BTreeMap;

use super::{Graph, Value};
use crate::model::Towers;

impl Graph<'_> {
    /// `logits^k = t^k(h^k)` of the branches that answer for a domain, `[rows, tasks]`; the mean over domains for rows of no known one.
    ///
    /// `input(i, k)` is what the tower of the branch at position `k` reads, which is the `i`-th that answers.
    pub fn towers(&mut self, towers: &Towers, domain: Option<usize>, input: impl Fn(usize, usize) -> Value) -> Value {
        let (mut of_all, mut of_one) = (Vec::new(), BTreeMap::<usize, Vec<Value>>::new());
        for (i, (branch, share)) in towers.answering(domain).enumerate() {
            let logits = self.mlp(input(i, branch), &towers.mlps[branch]);
            let logits = self.scale(logits, share);
            match towers.branches()[branch].task() {
                Some(task) => of_one.entry(task).or_default().push(logits),
                None => of_all.push(logits),
            }
        }
        if of_one.is_empty() {
            return self.sum(&of_all);
        }
        let columns: Vec<Value> = of_one.values().map(|logits| self.sum(logits)).collect();
        self.concat(&columns, 1)
    }
}

//! The order in which training rows follow each other.

use rand::seq::SliceRandom as _;

use crate::random::{Purpose, keyed};

/// Rows in an order, in groups of rows that do not count each other.
#[derive(Debug)]
pub(in crate::data) struct Order {
    rows: Vec<u32>,
    /// Where the groups end; empty if each row is one.
    ends: Vec<usize>,
}

impl Order {
    /// A random order.
    pub(in crate::data) fn random(rows: usize, seed: u64) -> Self {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.shuffle(&mut keyed(seed, Purpose::TargetStatistics, 0, 0));
        Self { rows: order, ends: Vec::new() }
    }

    /// By time, the smallest first; rows of one time are a group. No time is NaN.
    pub(in crate::data) fn by_time(times: &[f64]) -> Self {
        let time = |row: u32| times[row as usize];
        let mut rows: Vec<u32> = (0..times.len() as u32).collect();
        rows.sort_by(|&a, &b| time(a).total_cmp(&time(b)));
        let mut ends: Vec<usize> = (1..rows.len()).filter(|&at| time(rows[at - 1]) != time(rows[at])).collect();
        ends.extend((!rows.is_empty()).then_some(rows.len()));
        Self { rows, ends }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &[u32]> {
        let single = if self.ends.is_empty() { self.rows.len() } else { 0 };
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let groups = starts.zip(&self.ends).map(|(start, &end)| &self.rows[start..end]);
        self.rows[..single].chunks(1).chain(groups)
    }
}

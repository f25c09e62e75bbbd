//! Which rows pass which branch.

use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::nn::{Branch, Segment};

/// Some rows that pass one branch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Route {
    /// The branch's position.
    pub(super) branch: usize,
    /// The rows, as a run.
    pub(super) rows: Segment,
    /// What the branch's logits count for in these rows: 1, or less where rows of no known domain take a mean.
    pub(super) share: f32,
}

/// The routes of one batch.
///
/// Below the last level every row passes every branch, since the shared gates read all experts. At the last level and in the
/// towers a row passes only the branches that answer for its domain.
#[derive(Debug, Default)]
pub(super) struct Routes {
    all: Vec<Route>,
    last: Vec<Route>,
    levels: usize,
}

impl Routes {
    /// Lays the routes of a batch of `rows` rows through `levels` levels.
    ///
    /// Rows of no known domain take the mean of the domains among the first `built_with` branches, those the model was
    /// built with: a domain that is added later does not change their scores.
    pub(super) fn lay(
        &mut self,
        rows: usize,
        segments: &[Segment],
        branches: &[Branch],
        built_with: usize,
        levels: usize,
    ) {
        self.levels = levels;
        self.all.clear();
        self.last.clear();
        let whole = Segment { domain: None, start: 0, end: rows };
        self.all.extend((0..branches.len()).map(|branch| Route { branch, rows: whole, share: 1.0 }));
        let domains =
            branches[..built_with].iter().filter_map(|b| b.domain()?.index()).max().map_or(0, |last| last + 1);
        if domains == 0 {
            self.last.extend_from_slice(&self.all);
            return;
        }
        for &rows in segments {
            for (branch, of) in branches.iter().enumerate() {
                let share = match rows.domain {
                    None if branch >= built_with => continue,
                    None => 1.0 / domains as f32,
                    d if d == of.domain().and_then(crate::data::DomainId::index) => 1.0,
                    Some(_) => continue,
                };
                self.last.push(Route { branch, rows, share });
            }
        }
    }

    /// The routes through the own experts of a level.
    pub(super) fn experts(&self, level: usize) -> &[Route] {
        if level + 1 == self.levels { &self.last } else { &self.all }
    }

    /// The routes through the gates of a level: those of the experts, or towers, that read what the gates fuse.
    pub(super) fn gates(&self, level: usize) -> &[Route] {
        if level + 1 == self.levels { &self.last } else { self.experts(level + 1) }
    }

    /// For the `gate`-th gate route of a level: which expert route it reads, and which of that route's rows.
    pub(super) fn read_by(&self, level: usize, gate: usize) -> (usize, Segment) {
        let route = self.gates(level)[gate];
        if level + 1 == self.levels {
            (gate, Segment { domain: None, start: 0, end: route.rows.len() })
        } else {
            (route.branch, route.rows)
        }
    }

    /// The routes through the towers.
    pub(super) fn towers(&self) -> &[Route] {
        &self.last
    }
}

impl Route {
    /// Whether this gate route reads rows of that expert route of the same branch.
    pub(super) fn reads(&self, expert: &Self) -> bool {
        self.rows.start >= expert.rows.start && self.rows.end <= expert.rows.end
    }

    /// This route's rows of a matrix of all rows.
    pub(super) fn of<'a>(&self, x: &'a ndarray::ArrayRef2<f32>) -> ArrayView2<'a, f32> {
        x.slice(s![self.rows.rows(), ..])
    }

    /// The same, to change them.
    pub(super) fn of_mut<'a>(&self, x: &'a mut ndarray::ArrayRef2<f32>) -> ArrayViewMut2<'a, f32> {
        x.slice_mut(s![self.rows.rows(), ..])
    }
}

//! What a net shows of its gates.

use ndarray::ArrayView2;

use crate::data::Layout;
use crate::nn::Branch;

/// One gate in a forward pass: see [`Net::visit_gates`](super::Net::visit_gates).
#[derive(Debug, Clone, Copy)]
pub struct GateView<'a> {
    /// The level of the experts that it mixes, from the input up.
    pub level: usize,
    /// Who reads what it mixes.
    pub reader: GateReader,
    /// What it mixes.
    pub experts: &'a [ExpertId],
    /// The first row of the pass that the weights are of; the others follow it. Rows stand in the order of
    /// [`Cache::segments`](super::Cache::segments).
    pub start: usize,
    /// `[rows, experts]`; every row sums to 1.
    pub weights: ArrayView2<'a, f32>,
}

/// Who reads what a gate mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateReader {
    /// One branch.
    Branch(Branch),
    /// One expert of the level above.
    Expert(usize),
    /// All branches, or the shared experts of the level above.
    Shared,
}

impl GateReader {
    /// The gate's name: `gates.BRANCH`, `gates.I` or `shared_gate`.
    ///
    /// # Panics
    /// If `layout` does not have its branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Branch(branch) => format!("gates.{}", branch.name(layout)),
            Self::Expert(i) => format!("gates.{i}"),
            Self::Shared => "shared_gate".into(),
        }
    }
}

/// An expert of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpertId {
    /// One branch's, and which of them.
    Own(Branch, usize),
    /// One that all branches share.
    Shared(usize),
}

impl ExpertId {
    /// Its name: `own.BRANCH.I` or `shared.I`.
    ///
    /// # Panics
    /// If `layout` does not have its branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Own(branch, i) => format!("own.{}.{i}", branch.name(layout)),
            Self::Shared(i) => format!("shared.{i}"),
        }
    }
}

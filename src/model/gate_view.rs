//! The gate weights of a forward pass.

use ndarray::ArrayView2;

use crate::data::Layout;
use crate::nn::Branch;

/// One softmax gate and its weights in a forward pass; see [`Net::visit_gates`](super::Net::visit_gates).
#[derive(Debug, Clone, Copy)]
pub struct GateView<'a> {
    /// The level of the experts that the gate mixes. Levels count from 0 at the input.
    pub level: usize,
    /// The part of the net that reads the mixture.
    pub reader: GateReader,
    /// The experts that the gate mixes, in the order of the columns of `weights`.
    pub experts: &'a [ExpertId],
    /// The position of the first row of `weights` in the pass. Rows are in the order of [`Cache::segments`](super::Cache::segments).
    pub start: usize,
    /// The softmax weights, `[rows, experts]`; every row sums to 1.
    pub weights: ArrayView2<'a, f32>,
}

/// The part of a net that reads the mixture of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateReader {
    /// A branch: its experts at the next level, or its tower.
    Branch(Branch),
    /// One expert of the next level, by position (ML-MMoE).
    Expert(usize),
    /// All branches (MoE), or the shared experts of the next level (PLE).
    Shared,
}

impl GateReader {
    /// The gate's name: `gates.BRANCH`, `gates.I` or `shared_gate`.
    ///
    /// # Panics
    /// If `layout` does not have the branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Branch(branch) => format!("gates.{}", branch.name(layout)),
            Self::Expert(i) => format!("gates.{i}"),
            Self::Shared => "shared_gate".into(),
        }
    }
}

/// An expert within its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpertId {
    /// An own expert of a branch: the branch, and the expert's position among that branch's experts.
    Own(Branch, usize),
    /// A shared expert, by position.
    Shared(usize),
}

impl ExpertId {
    /// The expert's name: `own.BRANCH.I` or `shared.I`.
    ///
    /// # Panics
    /// If `layout` does not have the branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Own(branch, i) => format!("own.{}.{i}", branch.name(layout)),
            Self::Shared(i) => format!("shared.{i}"),
        }
    }
}

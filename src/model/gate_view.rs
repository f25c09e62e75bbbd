//! The gate weights of a forward pass.

use ndarray::ArrayView2;

use crate::data::Layout;
use crate::nn::Branch;

/// One softmax gate and the weights that it computed in a forward pass. [`Net::visit_gates`](crate::net::Net::visit_gates) gives one
/// `GateView` for each gate of a net.
#[derive(Debug, Clone, Copy)]
pub struct GateView<'a> {
    /// The level of the experts that the gate mixes, counted from 0: level 0 is nearest to the input of the net. In a model with one level
    /// of experts it is always 0.
    pub level: usize,
    /// The part of the net that reads the weighted sum of the experts, for example the tower of a branch.
    pub reader: GateReader,
    /// The experts that the gate mixes, in the order of the columns of `weights`.
    pub experts: &'a [ExpertId],
    /// The position, from 0, that the first row of `weights` has among all rows of the pass. A pass sorts its rows by domain:
    /// [`Cache::segments`](super::Cache::segments) says which positions belong to which domain.
    pub start: usize,
    /// The softmax weights, `[rows, experts]`. Row i of this matrix has the weights for the row at position `start + i` of the pass, which
    /// sum to 1.
    pub weights: ArrayView2<'a, f32>,
}

/// The part of a net that reads the mixture of a gate: the `reader` of a [`GateView`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateReader {
    /// The parts of one branch: its own experts at the next level or, after the last level, its tower.
    Branch(Branch),
    /// One expert of the next level, by its position from 0. Only [`MlMmoe`](super::MlMmoe) has such gates.
    Expert(usize),
    /// The towers of all branches (in [`Moe`](super::Moe)), or the shared experts of the next level (in [`Ple`](super::Ple)).
    Shared,
}

impl GateReader {
    /// The end of the dotted name of the gate in the net. It is `gates.BRANCH` for a branch, where BRANCH is the name of the branch
    /// ([`Branch::name`]); `gates.I` for the expert at position I; and `shared_gate` for [`GateReader::Shared`].
    ///
    /// # Panics
    /// If `self` has a branch, and `layout` does not have the domain or the task of this branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Branch(branch) => format!("gates.{}", branch.name(layout)),
            Self::Expert(i) => format!("gates.{i}"),
            Self::Shared => "shared_gate".into(),
        }
    }
}

/// Identifies an expert among the experts of its level: see [`GateView::experts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpertId {
    /// An expert that one branch owns: the branch, and the position of the expert among the experts of this branch, from 0.
    Own(Branch, usize),
    /// A shared expert, by its position among the shared experts of the level, from 0.
    Shared(usize),
}

impl ExpertId {
    /// The name of the expert: `own.BRANCH.I` for [`ExpertId::Own`] and `shared.I` for [`ExpertId::Shared`]. BRANCH is the name of the
    /// branch ([`Branch::name`]), and I is the position of the expert.
    ///
    /// # Panics
    /// If `self` has a branch, and `layout` does not have the domain or the task of this branch.
    pub fn name(self, layout: &Layout) -> String {
        match self {
            Self::Own(branch, i) => format!("own.{}.{i}", branch.name(layout)),
            Self::Shared(i) => format!("shared.{i}"),
        }
    }
}

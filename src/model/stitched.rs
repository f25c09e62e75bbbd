//! Stacks of layers, one per branch, mixed after every layer: cross-stitch and sluice.

use super::branches::BranchedConfig;
use crate::net::{Builder, Built};
use crate::nn::{Branch, HiddenSettings};

/// The sizes of stitched stacks, and of the towers above them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stacks<'a> {
    /// The widths of a stack's layers.
    pub(super) hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub(super) tower_hidden: &'a [usize],
    /// The number of subspaces of a layer's output.
    pub(super) subspaces: usize,
    /// The initial weight of a unit for its own stack or subspace.
    pub(super) own_weight: f32,
    /// `Some`: towers read a mixture of all layers, and this is its initial weight for the last layer.
    pub(super) last_weight: Option<f32>,
    /// λ of the penalty on subspaces that are not orthogonal.
    pub(super) orthogonality: f32,
    /// The settings of hidden layers.
    pub(super) style: HiddenSettings,
}

/// The unit of `branch` mixes the stacks of the first n branches; this is n. A branch that the model was built with reads all branches of
/// that time. A branch that was added later reads all branches up to the last one of its own domain.
fn reads(branches: &[Branch], built_with: usize, branch: usize) -> usize {
    if branch < built_with {
        return built_with;
    }
    let of = |branch: Branch| branch.domain();
    1 + branches.iter().rposition(|&other| of(other) == of(branches[branch])).expect("it is there itself")
}

impl Stacks<'_> {
    /// One stack of hidden layers per branch. After each layer, one unit per branch combines the outputs of the stacks.
    ///
    /// ```text
    ///   tower k    ŷ^k = t^k(Σ_l β^k_l h^k_l)                 sluice; in cross-stitch t^k(h^k_L)
    ///   unit k     h^k_l[s] = Σ_j Σ_r α^kl_{s,(j,r)} x^j_l[r]   over branches j and subspaces r (one in cross-stitch)
    ///   layer l    x^k_l = φ(h^k_{l−1}·W^k_l + b^k_l)
    ///   input      h^k_0 = x
    /// ```
    ///
    /// Mixing needs the outputs of all stacks. So every row passes every stack and every stack learns from all rows, also if branches are
    /// domains. Only the units of the last layer, β and the towers run only for the rows of their domain. The stack of a domain that is
    /// added later reads all stacks; older stacks do not read it.
    pub(super) fn describe(self, config: &impl BranchedConfig, net: &mut Builder<'_>) -> Built {
        let branches = net.branches(config.branches(), config.built_with())?;
        let mut below = vec![net.row()?; branches.len()];
        let mut layers = Vec::new();
        for (l, &width) in self.hidden.iter().enumerate() {
            let mut own = Vec::new();
            for (&branch, &input) in branches.iter().zip(&below) {
                let name = ("layers", l, "own", branch);
                own.push(net.orthogonal_layer(name, input, width, self.style, self.subspaces, self.orthogonality)?);
            }
            for (k, &branch) in branches.iter().enumerate() {
                let parts = own[..reads(&branches, net.built_with(), k)].to_vec();
                below[k] = net.stitch(("layers", l, "stitch", branch), parts, self.subspaces, k, self.own_weight)?;
                if l + 1 == self.hidden.len() && self.last_weight.is_none() {
                    net.tower(k, below[k], self.tower_hidden, self.style)?;
                }
            }
            layers.push(below.clone());
        }
        let Some(last_weight) = self.last_weight else { return Ok(()) };
        for (k, &branch) in branches.iter().enumerate() {
            let parts = layers.iter().map(|layer| layer[k]).collect();
            let mixed = net.stitch(("skips", branch), parts, 1, layers.len() - 1, last_weight)?;
            net.tower(k, mixed, self.tower_hidden, self.style)?;
        }
        Ok(())
    }
}

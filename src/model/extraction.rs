//! Experts, gates and towers: what PLE, CGC, MMoE and MoE are made of.

use super::branches::BranchedConfig;
use crate::net::{Builder, Built, Value};
use crate::nn::HiddenSettings;

/// The sizes of levels of experts, and of the towers above them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extraction<'a> {
    /// How many levels there are.
    pub(super) levels: usize,
    /// Experts that all branches share, at each level.
    pub(super) shared_experts: usize,
    /// Experts of each branch, at each level.
    pub(super) own_experts: usize,
    /// The widths of an expert's layers.
    pub(super) expert_hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub(super) tower_hidden: &'a [usize],
    /// Whether all branches take one gate.
    pub(super) one_gate: bool,
    /// How hidden layers are made.
    pub(super) style: HiddenSettings,
}

impl Extraction<'_> {
    /// Levels of shared and own experts mixed by softmax gates, and a tower for every branch (Tang et al., "Progressive Layered Extraction",
    /// RecSys 2020, section 4).
    ///
    /// ```text
    ///   tower k      ŷ^k = t^k(h^k)
    ///   level j      h^k ← Σ_i w^k_i E_i   over own experts (which read h^k), then shared ones (which read h^s),
    ///                                      w^k = softmax(h^k·W^k): linear, no bias, no normalisation
    ///                h^s ← Σ_i w^s_i E_i   over all experts of the level; not at the last level, where no expert would read it
    ///   input        h^k = h^s = x
    /// ```
    ///
    /// A shared gate reads the experts of the branches that the model was built with alone: one more term under its softmax would change
    /// the scores of all.
    pub(super) fn describe(self, config: &impl BranchedConfig, net: &mut Builder<'_>) -> Built {
        let branches = net.branches(config.branches(), config.built_with())?;
        let row = net.row()?;
        let (mut own, mut shared) = (vec![row; branches.len()], row);
        for level in 0..self.levels {
            let mut experts = Vec::new();
            for (&branch, &input) in branches.iter().zip(&own) {
                let expert =
                    |i| net.mlp(("levels", level, "own", branch, i), input, self.expert_hidden, None, self.style);
                experts.push((0..self.own_experts).map(expert).collect::<Built<Vec<Value>>>()?);
            }
            let expert = |i| net.mlp(("levels", level, "shared", i), shared, self.expert_hidden, None, self.style);
            let of_all = (0..self.shared_experts).map(expert).collect::<Built<Vec<Value>>>()?;
            let last = level + 1 == self.levels;
            if !last || self.one_gate {
                let parts = experts[..net.built_with()].iter().flatten().chain(&of_all).copied().collect();
                shared = net.mix(("levels", level, "shared_gate"), shared, parts)?;
            }
            for (k, &branch) in branches.iter().enumerate() {
                own[k] = if self.one_gate {
                    shared
                } else {
                    let parts = experts[k].iter().chain(&of_all).copied().collect();
                    net.mix(("levels", level, "gates", branch), own[k], parts)?
                };
                if last {
                    net.tower(k, own[k], self.tower_hidden, self.style)?;
                }
            }
        }
        Ok(())
    }
}

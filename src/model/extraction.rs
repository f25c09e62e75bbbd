//! Experts, gates and towers, for PLE, CGC, MMoE and MoE.

use super::branches::BranchedConfig;
use crate::net::{Builder, Built, Value};
use crate::nn::HiddenSettings;

/// The sizes of levels of experts, and of the towers above them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extraction<'a> {
    /// The number of levels.
    pub(super) levels: usize,
    /// The number of shared experts at each level.
    pub(super) shared_experts: usize,
    /// The number of own experts of each branch at each level.
    pub(super) own_experts: usize,
    /// The widths of an expert's layers.
    pub(super) expert_hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub(super) tower_hidden: &'a [usize],
    /// Whether there is one gate for all branches.
    pub(super) one_gate: bool,
    /// The settings of hidden layers.
    pub(super) style: HiddenSettings,
}

impl Extraction<'_> {
    /// Levels of shared experts and own experts of each branch, mixed by softmax gates, and a tower per branch (Tang et al., "Progressive
    /// Layered Extraction", RecSys 2020, section 4).
    ///
    /// ```text
    ///   tower k      ŷ^k = t^k(h^k)
    ///   level j      h^k ← Σ_i w^k_i E_i   over own experts (which read h^k), then shared experts (which read h^s);
    ///                                      w^k = softmax(h^k·W^k), without bias or normalisation
    ///                h^s ← Σ_i w^s_i E_i   over all experts of the level; not computed at the last level
    ///   input        h^k = h^s = x
    /// ```
    ///
    /// A shared gate mixes only the experts of the branches that the model was built with. One more term in its softmax would change the
    /// scores of all domains.
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

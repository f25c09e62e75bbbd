//! MoE: a mixture of experts with one gate.

use super::check::{check_experts, check_widths};
use super::config::model_config;
use super::extraction::Extraction;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Moe`](super::Moe).
    MoeConfig, MoeConfigBuilder, "moe", branches: Branches::Auto => {
        /// The number of experts, at least 1; default 3.
        experts: usize = 3;
        /// The widths of an expert's layers, at least one layer; default one layer of 128.
        expert_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        check_experts(&this.expert_hidden, "experts", this.experts, problems);
    }
}

/// MoE (Jacobs et al., "Adaptive Mixtures of Local Experts", Neural Computation 1991; a baseline in Ma et al., KDD 2018, section 3.3): shared
/// experts and one softmax gate for all branches.
///
/// ```text
///   tower k    ŷ^k = t^k(h)
///   gate       h = Σ_i w_i E_i(x)   over all experts;  w = softmax(x·W)
/// ```
pub type Moe = Model;

impl Describe for MoeConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let levels = Extraction {
            levels: 1,
            shared_experts: settings.experts,
            own_experts: 0,
            expert_hidden: &settings.expert_hidden,
            tower_hidden: &settings.tower_hidden,
            one_gate: true,
            style: settings.style(),
        };
        levels.describe(self, net)
    }
}

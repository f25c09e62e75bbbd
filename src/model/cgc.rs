//! CGC: customized gate control.

use super::check::{check_experts, check_widths};
use super::config::model_config;
use super::extraction::Extraction;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Cgc`](super::Cgc), the model with shared experts, experts of each branch and a gate per branch. An expert is a stack
    /// of layers; a gate computes how much each expert counts in a row. A branch is a task, a domain, or a task in a domain ([`Branches`]).
    CgcConfig, CgcConfigBuilder, "cgc", branches: Branches::Auto => {
        /// The number of experts that all branches share; default 2. It may be 0 if `own_experts` is at least 1. Together, `shared_experts`
        /// and `own_experts` are at most 4096.
        shared_experts: usize = 2;
        /// The number of own experts of each branch, which no other branch reads; default 1. It may be 0 if `shared_experts` is at least 1.
        own_experts: usize = 1;
        /// The widths of the layers of each expert, from the input up, each from 1 to 65536. From 1 to 256 layers; default one layer of
        /// width 128. The mixture of experts that a tower reads has the last of these widths.
        expert_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        let experts = this.shared_experts.saturating_add(this.own_experts);
        check_experts(&this.expert_hidden, "shared_experts and own_experts", experts, problems);
    }
}

/// CGC (Tang et al., "Progressive Layered Extraction", RecSys 2020, section 4.1): experts that all branches share, own experts of each
/// branch, and a softmax gate for each branch. It is [`Ple`](super::Ple) with one level.
///
/// ```text
///   tower k    ŷ^k = t^k(h^k)
///   gate k     h^k = Σ_i w^k_i E_i(x)   over the own experts of k and the shared experts;  w^k = softmax(x·W^k)
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings) and `E_i` is expert i. For branch k, `W^k` is the weight matrix of the gate,
/// `w^k_i` is the weight that the gate gives to expert i, `h^k` is the weighted sum of the experts, `t^k` is the tower, and `ŷ^k` are the
/// logits.
pub type Cgc = Model;

impl Describe for CgcConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let levels = Extraction {
            levels: 1,
            shared_experts: settings.shared_experts,
            own_experts: settings.own_experts,
            expert_hidden: &settings.expert_hidden,
            tower_hidden: &settings.tower_hidden,
            one_gate: false,
            style: settings.style(),
        };
        levels.describe(self, net)
    }
}

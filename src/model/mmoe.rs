//! MMoE: multi-gate mixture of experts.

use super::check::{check_experts, check_widths};
use super::config::model_config;
use super::extraction::Extraction;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Mmoe`](super::Mmoe), the model with shared experts and a gate per branch. An expert is a stack of layers; a gate
    /// computes how much each expert counts in a row. A branch is a task, a domain, or a task in a domain ([`Branches`]).
    MmoeConfig, MmoeConfigBuilder, "mmoe", branches: Branches::Auto => {
        /// The number of experts, from 1 to 4096; default 3. All branches share them. If there is only one expert, its gate weight is always
        /// 1.
        experts: usize = 3;
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
        check_experts(&this.expert_hidden, "experts", this.experts, problems);
    }
}

/// MMoE (Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018, section 4): experts
/// that all branches share, and a softmax gate for each branch. It is [`Cgc`](super::Cgc) without own experts.
///
/// ```text
///   tower k    ŷ^k = t^k(h^k)
///   gate k     h^k = Σ_i w^k_i E_i(x)   over all experts;  w^k = softmax(x·W^k)
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings) and `E_i` is expert i. For branch k, `W^k` is the weight matrix of the gate,
/// `w^k_i` is the weight that the gate gives to expert i, `h^k` is the weighted sum of the experts, `t^k` is the tower, and `ŷ^k` are the
/// logits.
pub type Mmoe = Model;

impl Describe for MmoeConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let levels = Extraction {
            levels: 1,
            shared_experts: settings.experts,
            own_experts: 0,
            expert_hidden: &settings.expert_hidden,
            tower_hidden: &settings.tower_hidden,
            one_gate: false,
            style: settings.style(),
        };
        levels.describe(self, net)
    }
}

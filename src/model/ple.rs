//! PLE: progressive layered extraction.

use super::check::{MAX_DEPTH, check_experts, check_most, check_widths};
use super::config::model_config;
use super::extraction::Extraction;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Ple`](super::Ple), the model with levels of shared experts and experts of each branch. An expert is a stack of
    /// layers; a gate computes how much each expert counts in a row. A branch is a task, a domain, or a task in a domain ([`Branches`]).
    PleConfig, PleConfigBuilder, "ple", branches: Branches::Auto => {
        /// The number of levels of experts, 1 to 256; default 2. With one level the model is [`Cgc`](super::Cgc).
        levels: usize = 2;
        /// The number of experts at each level that all branches share; default 2. It must be at least 1 if there is more than one level, or
        /// if `own_experts` is 0. Together, `shared_experts` and `own_experts` are at most 4096.
        shared_experts: usize = 2;
        /// The number of own experts of each branch at each level, which the other branches do not read (only the shared gate does);
        /// default 1. It may be 0 if `shared_experts` is at least 1.
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
        check_most("levels", this.levels, MAX_DEPTH, problems);
        problems.require(this.levels >= 1, || "levels: at least 1, found 0".into());
        problems.require(this.levels == 1 || this.shared_experts >= 1, || {
            "shared_experts: at least 1 with more than one level, because shared gates feed them; found 0".into()
        });
    }
}

/// PLE (Tang et al., "Progressive Layered Extraction", RecSys 2020, section 4.2): levels of shared experts and own experts of each branch,
/// mixed by softmax gates.
///
/// ```text
///      tower A          tower B
///         │                │
///      gate A           gate B            last level: no shared gate
///     ╱      ╲         ╱      ╲
///  experts A   shared experts   experts B
///     │              │              │
///  gate A       shared gate      gate B      the shared gate reads the experts of all branches
///     ╲    ╲        ╱ │ ╲        ╱    ╱
///  experts A   shared experts   experts B
///       ╲            │            ╱
///                    x
/// ```
///
/// The equations, for level j (`h^k = h^s = x` at the input):
///
/// ```text
///   tower k       ŷ^k = t^k(h^k)
///   gate k        h^k ← Σ_i w^k_i E_i   over the own experts of k, which read h^k, and the shared experts, which read h^s
///                 w^k = softmax(h^k·W^k)
///   shared gate   h^s ← Σ_i w^s_i E_i   over all experts of the level, w^s = softmax(h^s·W^s)
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings) and `E_i` is expert i of the level. For branch k, `h^k` is what its own experts
/// and its gate read (and what its tower reads after the last level), `W^k` is the weight matrix of its gate, `w^k_i` is the weight that
/// this gate gives to expert i, `t^k` is its tower, and `ŷ^k` are its logits. The *shared gate* has the weight matrix `W^s` and gives
/// expert i the weight `w^s_i`. It computes `h^s`, the input of the shared experts and of the shared gate of the next level.
pub type Ple = Model;

impl Describe for PleConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let levels = Extraction {
            levels: settings.levels,
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

//! PLE: progressive layered extraction.

use super::config::{MAX_DEPTH, check_experts, check_most, check_widths, model_config};
use super::extraction::Extraction;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Ple`](super::Ple).
    PleConfig, PleConfigBuilder, "ple", branches: Branches::Auto => {
        /// How many levels there are, at least 1 (one is [`Cgc`](super::Cgc)); default 2.
        levels: usize = 2;
        /// How many experts all branches share at each level; default 2.
        shared_experts: usize = 2;
        /// How many experts each branch has for itself at each level; default 1.
        own_experts: usize = 1;
        /// The widths of an expert's layers, at least one; default one layer of 128.
        expert_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        let experts = this.shared_experts.saturating_add(this.own_experts);
        check_experts(&this.expert_hidden, "shared_experts and own_experts", experts, problems);
        check_most("levels", this.levels, MAX_DEPTH, problems);
        problems.require(this.levels >= 1, || "levels: at least 1, found 0".into());
        problems.require(this.levels == 1 || this.shared_experts >= 1, || {
            "shared_experts: at least 1 with more than one level, since shared gates feed them".into()
        });
    }
}

/// PLE's dense part (Tang et al., "Progressive Layered Extraction", RecSys 2020, section 4.2): levels of shared and own experts, mixed by softmax gates.
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

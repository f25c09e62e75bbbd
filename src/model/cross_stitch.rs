//! Cross-stitch networks.

use super::check::{check_stacks, check_widths};
use super::config::model_config;
use super::stitched::Stacks;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`CrossStitch`](super::CrossStitch).
    CrossStitchConfig, CrossStitchConfigBuilder, "cross_stitch", branches: Branches::Auto => {
        /// The widths of a stack's layers, at least one layer; default 128, 64, 32. A cross-stitch unit follows each layer.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default none: the tower is only an output layer.
        tower_hidden: Vec<usize> = Vec::new(), from impl Into<Vec<usize>>, as &[usize];
        /// The initial weight α of a unit for its own stack, in [0, 1]; default 0.9. The other stacks share the rest equally.
        own_weight: f32 = 0.9;
    }
    check(this, problems) {
        check_stacks(&this.hidden, this.own_weight, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Cross-stitch networks (Misra, Shrivastava, Gupta and Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR 2016, section 3): every
/// branch has a stack of layers. After each layer, a unit mixes the outputs of all stacks with learned weights α.
///
/// ```text
///   tower A    tower B       ŷ^k = t^k(x̃^k)
///      │          │
///      ├─ α ×  × α ─┤        x̃^k = Σ_j α_kj x^j, after every layer
///   layer A    layer B       x^k = φ(x̃^k·W^k + b^k)
///      │          │
///      ├─ α ×  × α ─┤
///   layer A    layer B
///       ╲        ╱
///           x
/// ```
///
/// There is one α per layer and pair of branches. It is not bounded. Differences from the paper: the paper also has one α per channel, which is
/// not implemented. The paper trains each stack alone before it joins them; here all stacks start untrained.
pub type CrossStitch = Model;

impl Describe for CrossStitchConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let stacks = Stacks {
            hidden: &settings.hidden,
            tower_hidden: &settings.tower_hidden,
            subspaces: 1,
            own_weight: settings.own_weight,
            last_weight: None,
            orthogonality: 0.0,
            style: settings.style(),
        };
        stacks.describe(self, net)
    }
}

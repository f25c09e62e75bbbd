//! Cross-stitch networks.

use super::config::{check_stacks, check_widths, model_config};
use super::stitched::Stacks;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`CrossStitch`](super::CrossStitch).
    CrossStitchConfig, CrossStitchConfigBuilder, "cross_stitch", branches: Branches::Auto => {
        /// The widths of a stack's layers, at least one, each with a unit behind it; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default none, which leaves the output layer.
        tower_hidden: Vec<usize> = Vec::new(), from impl Into<Vec<usize>>, as &[usize];
        /// The weight α of its own stack that a unit starts with, in [0, 1]; the others share the rest equally. Default 0.9.
        own_weight: f32 = 0.9;
    }
    check(this, problems) {
        check_stacks(&this.hidden, this.own_weight, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Cross-stitch's dense part (Misra, Shrivastava, Gupta and Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR 2016, section 3):
/// every branch has a stack, and behind each layer learns how much of every stack it goes on with.
///
/// ```text
///   tower A    tower B       ŷ^k = t^k(x̃^k)
///      │          │
///      ├─ α ×  × α ─┤        x̃^k = Σ_j α_kj x^j, for every layer
///   layer A    layer B       x^k = φ(x̃^k·W^k + b^k)
///      │          │
///      ├─ α ×  × α ─┤
///   layer A    layer B
///       ╲        ╱
///           x
/// ```
///
/// Every α is one number for a layer and a pair of branches, without bounds; the paper also has one for each channel, which is not
/// implemented. In the paper the stacks are pre-trained on their own and joined afterwards; here all start from scratch.
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

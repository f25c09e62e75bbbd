//! Cross-stitch networks.

use super::check::{check_stacks, check_widths};
use super::config::model_config;
use super::stitched::Stacks;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`CrossStitch`](super::CrossStitch), the model with a stack of layers per branch, mixed after each layer. A branch is
    /// a task, a domain, or a task in a domain ([`Branches`]).
    CrossStitchConfig, CrossStitchConfigBuilder, "cross_stitch", branches: Branches::Auto => {
        /// The widths of the layers of each stack, from the input up, each from 1 to 65536. From 1 to 256 layers; default 128, 64, 32.
        /// Every branch has one stack. After each layer, a cross-stitch unit mixes the outputs of all stacks.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default none. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; with an empty list, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = Vec::new(), from impl Into<Vec<usize>>, as &[usize];
        /// The initial weight α that the cross-stitch unit of a branch gives to the stack of this branch, from 0 to 1; default 0.9. The
        /// other stacks share the rest, `1 − own_weight`, equally. If there is only one branch, the initial weight is 1.
        own_weight: f32 = 0.9;
    }
    check(this, problems) {
        check_stacks(&this.hidden, this.own_weight, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Cross-stitch networks (Misra, Shrivastava, Gupta and Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR 2016, section 3):
/// every branch has a stack of layers. After each layer, a unit mixes the outputs of all stacks with learned weights α.
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
/// Here x is the [embedded row](crate::model::Embeddings), the `x̃^k` that the first layer reads. For branch k, `W^k` and `b^k` are the
/// weights and the bias of a layer of its stack, φ is the activation, `x^k` is the output of the layer, `x̃^k` is the mixture that the next
/// layer (or the tower) reads, `t^k` is the tower, and `ŷ^k` are the logits. `α_kj` is the weight of branch j in the mixture for branch k.
/// Each layer has one such number for each pair of branches; training can make it any number.
///
/// Differences from the paper: the paper also describes one α for each channel, which is not implemented. The paper trains each stack alone
/// before it joins them; here all stacks start untrained.
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

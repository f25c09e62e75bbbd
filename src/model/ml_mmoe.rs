//! ML-MMoE: levels of shared experts.

use super::check::{MAX_DEPTH, check_experts, check_most, check_widths};
use super::config::model_config;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`MlMmoe`](super::MlMmoe), the model with levels of shared experts. An expert is a stack of layers; a gate computes
    /// how much each expert counts in a row.
    MlMmoeConfig, MlMmoeConfigBuilder, "ml_mmoe", branches: Branches::Auto => {
        /// The number of levels of experts, 1 to 256; default 2. With one level the model is [`Mmoe`](super::Mmoe).
        levels: usize = 2;
        /// The number of experts at each level, from 1 to 4096; default 3. All branches share them.
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
        check_most("levels", this.levels, MAX_DEPTH, problems);
        problems.require(this.levels >= 1, || "levels: at least 1, found 0".into());
    }
}

/// ML-MMoE (Tang et al., RecSys 2020, section 5.1): levels of shared experts, mixed by softmax gates. Every gate reads the input row x.
///
/// ```text
///   tower k    ŷ^k = t^k(h^k)
///   gate k     h^k = Σ_i w^k_i E_i       over the experts of the last level;  w^k = softmax(x·W^k)
///   level j    E_i reads Σ_e w^i_e E_e   over the experts of level j − 1;     w^i = softmax(x·W^i)
///   level 1    E_i reads x
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings) and `E_i` is expert i of a level. `W^i` is the weight matrix of the gate of an
/// expert above the first level, and `w^i_e` is the weight that this gate gives to expert e of the level below. For branch k, `W^k` is the
/// weight matrix of the gate, `w^k_i` is the weight that this gate gives to expert i of the last level, `h^k` is the weighted sum of these
/// experts, `t^k` is the tower, and `ŷ^k` are the logits.
///
/// The paper uses this model as a baseline. Here every expert above the first level has its own gate, and the tower of every branch has one
/// too. If branches are domains, the logits of a row of no known domain are the mean over the domains that the model was built with.
pub type MlMmoe = Model;

impl Describe for MlMmoeConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let branches = net.branches(settings.branches, settings.built_with)?;
        let row = net.row()?;
        let mut below = Vec::new();
        for level in 0..settings.levels {
            let mut experts = Vec::new();
            for i in 0..settings.experts {
                let input =
                    if level == 0 { row } else { net.mix(("levels", level, "gates", i), row, Vec::clone(&below))? };
                let name = ("levels", level, "experts", i);
                experts.push(net.mlp(name, input, &settings.expert_hidden, None, settings.style())?);
            }
            below = experts;
        }
        for (k, &branch) in branches.iter().enumerate() {
            let fused = net.mix(("gates", branch), row, below.clone())?;
            net.tower(k, fused, &settings.tower_hidden, settings.style())?;
        }
        Ok(())
    }
}

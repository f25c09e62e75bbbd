//! Sluice networks.

use super::check::{MAX_COUNT, check_most, check_stacks, check_widths, shown};
use super::config::model_config;
use super::stitched::Stacks;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Sluice`](super::Sluice), the model with a stack of layers per branch, mixed by subspaces. A branch is a task, a
    /// domain, or a task in a domain ([`Branches`]).
    SluiceConfig, SluiceConfigBuilder, "sluice", branches: Branches::Auto => {
        /// The widths of the layers of each stack, from the input up, each from 1 to 65536. From 1 to 256 layers; default 128, 128. Every
        /// branch has one stack. All widths must be equal, and a multiple of `subspaces`.
        hidden: Vec<usize> = vec![128, 128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The number of subspaces into which the output of a layer is cut, from 1 to 4096; default 2. A subspace is a block of columns.
        /// All subspaces have the same width.
        subspaces: usize = 2;
        /// Each subspace of a branch's mixture is a weighted sum of all subspaces of all stacks. This is the initial weight α of the same
        /// subspace of the branch's own stack, from 0 to 1; default 0.9. All other subspaces, of all stacks, share the rest,
        /// `1 − own_weight`, equally.
        own_weight: f32 = 0.9;
        /// A tower reads a mixture of all layers of its stack. This is the initial weight β of the last layer in this mixture, from 0 to 1;
        /// default 0.9. The other layers share the rest, `1 − last_weight`, equally.
        last_weight: f32 = 0.9;
        /// The weight λ of the penalty that makes the weights of a layer's subspaces orthogonal to each other. A finite number of at least
        /// 0; default 0.1. With 0 there is no penalty.
        orthogonality: f32 = 0.1;
    }
    check(this, problems) {
        check_stacks(&this.hidden, this.own_weight, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
        let (hidden, subspaces) = (&this.hidden, this.subspaces);
        check_most("subspaces", subspaces, MAX_COUNT, problems);
        problems.require(subspaces >= 1, || "subspaces: at least 1, found 0".into());
        problems.require(hidden.iter().all(|width| subspaces == 0 || width % subspaces == 0), || {
            format!("hidden: every width a multiple of subspaces = {subspaces}, found {}", shown(hidden))
        });
        problems.require(hidden.windows(2).all(|pair| pair[0] == pair[1]), || {
            format!("hidden: one width for all layers, because towers mix them, found {}", shown(hidden))
        });
        let (weight, lambda) = (this.last_weight, this.orthogonality);
        problems.require((0.0..=1.0).contains(&weight), || format!("last_weight: 0 <= last_weight <= 1, found {weight}"));
        problems.require(lambda >= 0.0 && lambda.is_finite(), || format!("orthogonality: at least 0, found {lambda}"));
    }
}

/// Sluice networks (Ruder, Bingel, Augenstein and Søgaard, "Latent Multi-task Architecture Learning", AAAI 2019, section 3): every branch
/// has a stack of layers. After each layer, a unit mixes the subspaces of all stacks. A tower reads a mixture of all layers of its stack.
///
/// ```text
///   tower k    ŷ^k = t^k(Σ_l β^k_l h^k_l)
///   unit k     h^k_l[s] = Σ_j Σ_r α^kl_{s,(j,r)} x^j_l[r]   over the subspaces r of all branches j
///   layer l    x^k_l = φ(h^k_{l−1}·W^k_l + b^k_l),  W^k_l = [G^k_l1, G^k_l2, …] by subspaces
///   penalty    λ Σ_{k,l} Σ_{r<s} ‖(G^k_lr)ᵀ G^k_ls‖²_F
/// ```
///
/// * The first layer reads the [embedded row](crate::model::Embeddings) x: `h^k_0 = x`. For branch k, `x^k_l` is the output of layer l of
///   its stack, `h^k_l` is the mixture that the next layer reads, `t^k` is the tower, and `ŷ^k` are the logits. `h[s]` is subspace s of h.
/// * `W^k_l` and `b^k_l` are the weights and the bias of a layer, and φ is the activation. `G^k_lr` are the columns of `W^k_l` that compute
///   subspace r. `‖·‖²_F` is the sum of the squares of all entries.
/// * `α^kl_{s,(j,r)}` is the weight that subspace s of the mixture `h^k_l` gives to subspace r of branch j. `β^k_l` is the weight of layer
///   l in what the tower of branch k reads. Each α and β is one learned number, which can become any number.
/// * The penalty is the sum over all layers of all stacks (also the first layer) that have a gradient in this training step. It is added to
///   the mean loss of the step. The paper has two subspaces; if there are more, every pair of subspaces has a penalty. The authors' example
///   also has λ = 0.1.
/// * Differences from the paper: the layers are fully connected; the paper's are recurrent. Towers read several layers through β; the
///   authors' code can also add or concatenate the layers. α starts near the identity, as in cross-stitch networks; in the paper, one pair
///   of subspaces of different stacks starts with a larger weight.
///
/// With one subspace, no penalty, and towers that read only the last layer (β = 1 there), it is [`CrossStitch`](super::CrossStitch).
pub type Sluice = Model;

impl Describe for SluiceConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let stacks = Stacks {
            hidden: &settings.hidden,
            tower_hidden: &settings.tower_hidden,
            subspaces: settings.subspaces,
            own_weight: settings.own_weight,
            last_weight: Some(settings.last_weight),
            orthogonality: settings.orthogonality,
            style: settings.style(),
        };
        stacks.describe(self, net)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Layout;

    #[test]
    fn every_invalid_setting_is_named() {
        let layout = Layout::new(["search"], ["click"]).field("item", 3);
        let config = SluiceConfig::builder(&layout).hidden([8, 9]).own_weight(1.5).last_weight(-0.1);
        let error = config.orthogonality(f32::NAN).build().unwrap_err().to_string();
        for wrong in [
            "own_weight: 0 <= own_weight <= 1, found 1.5",
            "hidden: every width a multiple of subspaces = 2, found [8, 9]",
            "hidden: one width for all layers, because towers mix them, found [8, 9]",
            "last_weight: 0 <= last_weight <= 1, found -0.1",
            "orthogonality: at least 0, found NaN",
        ] {
            assert!(error.contains(wrong), "{error}");
        }
        let error = SluiceConfig::builder(&layout).hidden([]).subspaces(0).build().unwrap_err().to_string();
        assert!(error.contains("hidden: at least one layer") && error.contains("subspaces: at least 1"), "{error}");
    }
}

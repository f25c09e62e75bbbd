//! Sluice networks.

use super::check::{MAX_COUNT, check_most, check_stacks, check_widths, shown};
use super::config::model_config;
use super::stitched::Stacks;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Sluice`](super::Sluice), the model with a stack of layers per branch, mixed by subspaces.
    SluiceConfig, SluiceConfigBuilder, "sluice", branches: Branches::Auto => {
        /// The widths of the layers of each stack, at least one layer; default 128, 128. Every branch has one stack. All widths must be
        /// equal, and a multiple of `subspaces`.
        hidden: Vec<usize> = vec![128, 128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, the part that computes the logits of a branch; default 64, 32. An output layer
        /// follows them. An empty list leaves only the output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The number of subspaces into which the output of a layer is cut, at least 1; default 2. A subspace is a block of columns; all
        /// have the same width.
        subspaces: usize = 2;
        /// The initial weight α that a mixed subspace gives to the same subspace of its own branch, in [0, 1]; default 0.9. All other
        /// subspaces, of all stacks, share the rest, `1 − own_weight`, equally.
        own_weight: f32 = 0.9;
        /// A tower reads a mixture of all layers of its stack. This is the initial weight β of the last layer in it, in [0, 1]; default
        /// 0.9. The other layers share the rest, `1 − last_weight`, equally.
        last_weight: f32 = 0.9;
        /// The weight λ of the penalty that pushes the subspaces of a layer to be orthogonal, at least 0; default 0.1. With 0 there is no
        /// penalty.
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
/// * x is the embedded row for the first layer (`h^k_0 = x`), φ the activation, `t^k` the tower of branch k, and `h[s]` the subspace s of
///   h.
/// * Every α and β is one learned number. It is not bounded.
/// * The penalty is on the weights, `[in, out]`, of every layer of every stack that has a gradient in the step, also of the first layer. It
///   is added once per step to the mean loss. The paper has two subspaces; with more, every pair is penalised. The authors' example also
///   has λ = 0.1.
/// * Differences from the paper: the layers are fully connected; the paper's are recurrent. Towers read several layers through β; the
///   authors' code can also add or concatenate the layers. α starts near the identity, as in cross-stitch; the paper's α starts with a
///   larger weight between one pair of subspaces of different stacks.
///
/// With one subspace and all weight of β on the last layer, it is [`CrossStitch`](super::CrossStitch).
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

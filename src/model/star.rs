//! STAR: a star topology of shared and domain-specific weights.

use super::Model;
use super::check::{MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use crate::net::{Builder, Built, Describe};
use crate::nn::{Combination, PartitionedNormSettings};

model_config! {
    /// The settings of [`Star`](super::Star), the model in which every layer combines shared weights and weights of the domain.
    StarConfig, StarConfigBuilder, "star" => {
        /// The widths of the hidden layers of the star topology, from the input up, each from 1 to 65536. At most 256 layers; default 128,
        /// 64, 32. The star topology is a network in which every layer combines shared weights with weights of the domain. An output layer
        /// of the same kind follows the hidden layers.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How a layer of the star topology combines its shared weights with its weights of the domain; default by their elementwise
        /// product, as in the paper.
        combination: Combination = Combination::Product;
        /// Whether [Partitioned Normalization](crate::nn::PartitionedNorm) is applied to the input of the star topology; default true. It
        /// normalises each column by its mean and variance over the rows of the domain. If false, the settings whose names begin with
        /// `norm_` have no effect.
        partitioned_norm: bool = true;
        /// ε of Partitioned Normalization, which is added to every variance, so that no division is by 0. A finite number above 0; default
        /// 1e-5.
        norm_epsilon: f32 = 1e-5;
        /// The weight r of a new batch in the moving averages of Partitioned Normalization, above 0 and at most 1; default 0.05. A training
        /// step multiplies an average by 1 − r and adds r times the statistic of its batch. In the first steps the weight is larger, so
        /// that the averages do not depend on their initial values.
        norm_rate: f32 = 0.05;
        /// The smallest number of rows of a domain in a training batch with which Partitioned Normalization uses the mean and variance of
        /// these rows. If the batch has fewer rows of the domain, it uses the moving averages of the domain (those of all domains together
        /// if the domain has none yet). At least 2; default 64.
        norm_min_rows: usize = 64;
        /// The factor f of Partitioned Normalization: f times the moving variance over all domains together is added to the variance of each
        /// domain. A finite number of at least 0; default 0. If f is above 0, a column that was nearly constant in a domain cannot become
        /// very large after normalisation when a new value occurs. But the scores of a domain then depend on the statistics of the other
        /// domains too.
        norm_floor: f32 = 0.0;
        /// Whether there is an auxiliary network, whose logits are added to those of the star topology; default true. It reads the
        /// [embedded row](crate::model::Embeddings) and an embedding of the domain. If false, `auxiliary_hidden` and `domain_dim` have no
        /// effect.
        auxiliary: bool = true;
        /// The widths of the hidden layers of the auxiliary network, from the input up, each from 1 to 65536. At most 256 layers; default
        /// one layer of width 32. An output layer follows them.
        auxiliary_hidden: Vec<usize> = vec![32], from impl Into<Vec<usize>>, as &[usize];
        /// The number of values in the embedding of a domain, which the auxiliary network reads; from 1 to 65536, default 16.
        domain_dim: usize = 16;
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
        check_widths("auxiliary_hidden", &this.auxiliary_hidden, problems);
        this.combination.check(problems);
        let (epsilon, rate) = (this.norm_epsilon, this.norm_rate);
        problems.require(epsilon > 0.0 && epsilon.is_finite(), || format!("norm_epsilon: above 0, found {epsilon}"));
        problems.require(rate > 0.0 && rate <= 1.0, || format!("norm_rate: 0 < norm_rate <= 1, found {rate}"));
        let floor = this.norm_floor;
        problems.require(floor >= 0.0 && floor.is_finite(), || format!("norm_floor: at least 0, found {floor}"));
        let rows = this.norm_min_rows;
        problems.require(rows >= 2, || format!("norm_min_rows: at least 2, found {rows}"));
        check_most("domain_dim", this.domain_dim, MAX_WIDTH, problems);
        problems.require(this.domain_dim >= 1, || "domain_dim: at least 1, found 0".into());
    }
}

/// STAR (Sheng et al., "One Model to Serve All", CIKM 2021, section 3): in every layer, shared weights are multiplied by weights of the
/// row's domain.
///
/// ```text
///              ┌─ PN ── star layer, φ ── … ── star layer ──┐
///   x ─────────┤                                           + ── logits
///              └─ [x, e_d] ── auxiliary network ───────────┘
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings), PN is Partitioned Normalization, φ is the activation, and `e_d` is the embedding
/// of domain d. STAR has three parts:
///
/// * [`PartitionedNorm`](crate::nn::PartitionedNorm) (PN) normalises the input x with statistics of each domain (section 3.3, equations 3
///   and 4).
/// * The star topology is a fully connected net. Every layer, also the last, is a [`StarLinear`](crate::nn::StarLinear) (section 3.4,
///   equations 5 and 6). Its weights for the rows of domain d are `W*_d = W ⊙ W_d`: the elementwise product of the shared weights W and the
///   weights `W_d` of the domain. The setting `combination` can choose another [`Combination`].
/// * The auxiliary network reads x and `e_d` ([`DomainMlp`](crate::nn::DomainMlp); section 3.5). Its logits `s_a` are added to the logits
///   `s_m` of the star topology (equation 7): the predicted probability is `p = σ(s_m + s_a)`, where σ is the sigmoid.
///
/// In an untrained STAR, the layers of the star topology compute the same for all domains, with every [`Combination`]. A row of no known
/// domain uses the shared weights W alone, the normalisation statistics of all domains together, and the mean of the domain embeddings.
///
/// If hidden layers use batch normalisation or the activation Dice, these take their statistics over the rows of all domains together.
/// Partitioned Normalization, which takes them for each domain, is only at the input.
pub type Star = Model;

impl Describe for StarConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (settings, style, combination) = (&self.0, self.0.style(), self.0.combination);
        let (row, tasks) = (net.row()?, net.layout().tasks.len());
        let mut value = row;
        if settings.partitioned_norm {
            let settings = PartitionedNormSettings {
                epsilon: settings.norm_epsilon,
                rate: settings.norm_rate,
                min_rows: settings.norm_min_rows,
                floor: settings.norm_floor,
            };
            value = net.partitioned_norm("norm", value, settings)?;
        }
        for (i, &width) in settings.hidden.iter().enumerate() {
            value = net.star(("layers", i), value, width, combination, Some(style))?;
        }
        let logits = net.star(("layers", settings.hidden.len()), value, tasks, combination, None)?;
        net.answer(logits, None);
        if settings.auxiliary {
            let (dim, hidden) = (settings.domain_dim, &settings.auxiliary_hidden);
            let logits = net.domain_mlp("auxiliary", row, dim, hidden, tasks, style)?;
            net.answer(logits, None);
        }
        Ok(())
    }
}

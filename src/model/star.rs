//! STAR: a star topology of shared and domain-specific weights.

use super::Model;
use super::check::{MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use crate::net::{Builder, Built, Describe};
use crate::nn::{Combination, PartitionedNormSettings};

model_config! {
    /// The settings of [`Star`](super::Star).
    StarConfig, StarConfigBuilder, "star" => {
        /// The widths of the hidden layers of the star topology; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How the shared weights and the weights of a domain are combined; default their product, as in the paper.
        combination: Combination = Combination::Product;
        /// Whether Partitioned Normalization is applied to the input; default true.
        partitioned_norm: bool = true;
        /// ε of Partitioned Normalization, above 0; default 1e-5.
        norm_epsilon: f32 = 1e-5;
        /// The rate of Partitioned Normalization's moving averages after their first steps, in (0, 1]; default 0.05.
        norm_rate: f32 = 0.05;
        /// The fewest rows of a domain in a batch that Partitioned Normalization standardises by the statistics of these rows, at least 2;
        /// default 64. Fewer rows are standardised by the moving averages of their domain.
        norm_min_rows: usize = 64;
        /// φ of Partitioned Normalization: φ times the pooled variance of all domains is added to the variance of each domain; at least 0,
        /// default 0. Above 0, a new value in a column that was nearly constant in a domain cannot become very large. The scores of a domain
        /// then depend on the statistics of the other domains.
        norm_floor: f32 = 0.0;
        /// Whether there is an auxiliary network; default true.
        auxiliary: bool = true;
        /// The widths of the auxiliary network's hidden layers; default 32.
        auxiliary_hidden: Vec<usize> = vec![32], from impl Into<Vec<usize>>, as &[usize];
        /// The width of the domain's embedding in the auxiliary network, at least 1; default 16.
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

/// STAR (Sheng et al., "One Model to Serve All", CIKM 2021, section 3): every layer multiplies shared weights by weights of the row's domain.
///
/// ```text
///              ┌─ PN ── star layer, φ ── … ── star layer ──┐
///   x ─────────┤                                           + ── logits
///              └─ [x, e_d] ── auxiliary network ───────────┘
/// ```
///
/// It has three parts:
///
/// * [`PartitionedNorm`](crate::nn::PartitionedNorm), PN, normalises the input x per domain (section 3.3, equations 3 and 4).
/// * The star topology is a fully connected net. Every layer, also the last, is a [`StarLinear`](crate::nn::StarLinear) (section 3.4,
///   equations 5 and 6): `W*_d = W ⊙ W_d`, or another [`Combination`].
/// * The auxiliary network reads x and an embedding `e_d` of the domain ([`DomainMlp`](crate::nn::DomainMlp); section 3.5). Its logits are
///   added (equation 7): `p = σ(s_main + s_a)`.
///
/// An untrained STAR computes the same star topology for all domains, with every combination. A row of no known domain uses the shared
/// weights W alone, the pooled statistics and the mean of the domain embeddings.
///
/// Batch normalisation and Dice in hidden layers take their statistics over all rows of a batch, of all domains together. Partitioned
/// Normalization avoids this at the input.
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

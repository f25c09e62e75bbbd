//! One network for all domains; the domain is one more feature.

use super::Model;
use super::check::{MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Pooled`](super::Pooled), the model with one network, in which the domain is a feature.
    PooledConfig, PooledConfigBuilder, "pooled" => {
        /// The widths of the hidden layers, from the input up, each from 1 to 65536. At most 256 layers; default 128, 64, 32. An output
        /// layer with one logit for each task follows them.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// The number of values in the embedding of a domain, which the network reads together with the [embedded
        /// row](crate::model::Embeddings); from 1 to 65536, default 16.
        domain_dim: usize = 16;
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
        check_most("domain_dim", this.domain_dim, MAX_WIDTH, problems);
        problems.require(this.domain_dim >= 1, || "domain_dim: at least 1, found 0".into());
    }
}

/// The pooled model: one network for all domains and tasks, `logits = mlp([x, e_d])`, where mlp is a multilayer perceptron, x is the
/// [embedded row](crate::model::Embeddings), and `e_d` is a learned embedding of the row's domain d. See
/// [`DomainMlp`](crate::nn::DomainMlp).
///
/// A row of no known domain uses the mean of all domain embeddings.
pub type Pooled = Model;

impl Describe for PooledConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (settings, row, tasks) = (&self.0, net.row()?, net.layout().tasks.len());
        let logits = net.domain_mlp((), row, settings.domain_dim, &settings.hidden, tasks, settings.style())?;
        net.answer(logits, None);
        Ok(())
    }
}

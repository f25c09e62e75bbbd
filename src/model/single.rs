//! A model of its own for every branch: nothing is shared.

use super::config::{check_widths, model_config};
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Single`](super::Single).
    SingleConfig, SingleConfigBuilder, "single", branches: Branches::DomainsAndTasks, own_tables: true => {
        /// The widths of the hidden layers of each model; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
    }
}

/// The dense part of one model for each branch, every one with embedding tables of its own: `logits^k = mlp^k(x^k)`.
///
/// ```text
///   logits A      logits B
///      │             │
///    mlp A         mlp B
///      │             │
///  tables A       tables B
/// ```
///
/// Nothing is shared, so nothing is lost to a neighbour and nothing is gained from one: it is what "gain" and "negative transfer" of
/// the other models are measured against (Tang et al., RecSys 2020, section 1).
///
/// What they do share is the run: an objective over tasks averages over the rows of all domains
/// ([`Units::DomainsAndTasks`](crate::loss::Units::DomainsAndTasks) averages for each model by itself), and clipping by norm, weighting
/// of losses and early stop see all models together.
pub type Single = Model;

impl Describe for SingleConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let branches = net.branches(settings.branches, settings.built_with)?;
        for (k, &branch) in branches.iter().enumerate() {
            let row = net.row_of(k)?;
            let logits =
                net.mlp(("mlps", branch), row, &settings.hidden, Some(net.outputs(branch)), settings.style())?;
            net.answer_branch(k, logits);
        }
        Ok(())
    }
}

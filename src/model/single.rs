//! A separate model for every branch: nothing is shared.

use super::check::check_widths;
use super::config::model_config;
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

/// A separate model for each branch k, with its own embedding tables: `logits^k = mlp^k(x^k)`.
///
/// ```text
///   logits A      logits B
///      │             │
///    mlp A         mlp B
///      │             │
///  tables A       tables B
/// ```
///
/// No parameters are shared. It is the baseline against which "gain" and "negative transfer" of the other models are measured (Tang et al.,
/// RecSys 2020, section 1).
///
/// The models still train in one run. A loss per task averages over the rows of all domains;
/// [`Units::DomainsAndTasks`](crate::loss::Units::DomainsAndTasks) averages per model instead. Gradient clipping, loss weighting and early
/// stopping apply to all models together.
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

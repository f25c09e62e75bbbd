//! A separate model for every branch: nothing is shared.

use super::check::check_widths;
use super::config::model_config;
use super::{Branches, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Single`](super::Single), which has separate embedding tables and a separate network for each branch. A branch is a
    /// task, a domain, or a task in a domain ([`Branches`]).
    SingleConfig, SingleConfigBuilder, "single", branches: Branches::DomainsAndTasks, own_tables: true => {
        /// The widths of the hidden layers of each branch's network, from the input up, each from 1 to 65536. At most 256 layers; default
        /// 128, 64, 32. An output layer follows them.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
    }
}

/// A separate model for each branch k, with its own embedding tables: `logits^k = mlp^k(x^k)`, where mlp is a multilayer perceptron and
/// `x^k` is the row embedded by the tables of branch k.
///
/// ```text
///   logits A      logits B
///      │             │
///    mlp A         mlp B
///      │             │
///  tables A       tables B
/// ```
///
/// No parameters are shared. It is the baseline for the other models, which share parameters: if they are better, sharing is a gain; if
/// they are worse, this is called *negative transfer* (Tang et al., RecSys 2020, section 1).
///
/// The networks of all branches still train in one run. By default the loss of a task is the mean over the rows of all domains. To get one
/// mean for each network, use [`Units::DomainsAndTasks`](crate::loss::Units::DomainsAndTasks). Gradient clipping, loss weighting and early
/// stopping apply to all networks together.
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

//! Shared bottom: hard sharing.

use super::bottoms::Bottoms;
use super::check::{check_bottoms, check_widths};
use super::config::model_config;
use super::{Branches, Fusion, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`SharedBottom`](super::SharedBottom), the model with one bottom and a tower per branch. A branch is a task, a domain,
    /// or a task in a domain ([`Branches`]).
    SharedBottomConfig, SharedBottomConfigBuilder, "shared_bottom", branches: Branches::Auto => {
        /// The widths of the layers of the bottom, from the input up, each from 1 to 65536. From 1 to 256 layers; default one layer of
        /// width 128. The bottom is a stack of layers that reads the [embedded row](crate::model::Embeddings) and that all branches share.
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Shared bottom (Caruana, "Multitask Learning", Machine Learning 1997; Tang et al., RecSys 2020, figure 1 a): one bottom b, whose output
/// the tower `t^k` of every branch k reads. Here x is the [embedded row](crate::model::Embeddings), and `ŷ^k` are the logits of branch k.
///
/// ```text
///   tower A    tower B       ŷ^k = t^k(b(x))
///        ╲      ╱
///       bottom
///          │
///          x
/// ```
pub type SharedBottom = Model;

impl Describe for SharedBottomConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let bottoms = Bottoms {
            bottom_hidden: &settings.bottom_hidden,
            tower_hidden: &settings.tower_hidden,
            shared: true,
            fusion: Fusion::Concatenate,
            style: settings.style(),
        };
        bottoms.describe(self, None::<&fn(usize) -> [usize; 0]>, net)
    }
}

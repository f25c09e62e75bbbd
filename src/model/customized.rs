//! Customized sharing.

use super::bottoms::Bottoms;
use super::check::{check_bottoms, check_widths};
use super::config::model_config;
use super::{Branches, Fusion, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Customized`](super::Customized), the model with a shared bottom and a bottom per branch. A branch is a task, a
    /// domain, or a task in a domain ([`Branches`]).
    CustomizedConfig, CustomizedConfigBuilder, "customized", branches: Branches::Auto => {
        /// The widths of the layers of each bottom, from the input up, each from 1 to 65536. From 1 to 256 layers; default one layer of
        /// width 128. A bottom is a stack of layers that reads the [embedded row](crate::model::Embeddings).
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How the outputs of the two bottoms that a tower reads (that of its branch and the shared one) are joined to the input of the
        /// tower; default by concatenation.
        fusion: Fusion = Fusion::Concatenate;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Customized sharing (Tang et al., RecSys 2020, figure 1 c): one shared bottom b, and one own bottom `b^k` for each branch k. The tower of
/// a branch reads both.
///
/// ```text
///     tower A        tower B        ŷ^k = t^k(fusion(b^k(x), b(x)))
///      ╱    ╲        ╱    ╲
///  bottom A   bottom   bottom B
///       ╲       │       ╱
///               x
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings), `t^k` is the tower of branch k, and `ŷ^k` are its logits. The setting `fusion`
/// says how the outputs of the two bottoms are joined.
pub type Customized = Model;

impl Describe for CustomizedConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let bottoms = Bottoms {
            bottom_hidden: &settings.bottom_hidden,
            tower_hidden: &settings.tower_hidden,
            shared: true,
            fusion: settings.fusion,
            style: settings.style(),
        };
        bottoms.describe(self, Some(&|branch| [branch]), net)
    }
}

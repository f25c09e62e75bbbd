//! Customized sharing.

use super::bottoms::Bottoms;
use super::config::{check_bottoms, check_widths, model_config};
use super::{Branches, Fusion, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Customized`](super::Customized).
    CustomizedConfig, CustomizedConfigBuilder, "customized", branches: Branches::Auto => {
        /// The widths of a bottom's layers, at least one; default 128.
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How a tower joins the bottoms that it reads; default side by side.
        fusion: Fusion = Fusion::Concatenate;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Customized sharing's dense part (Tang et al., RecSys 2020, figure 1 c): a bottom for all branches, and one for each.
///
/// ```text
///     tower A        tower B        ŷ^k = t^k(fusion(b^k(x), b(x)))
///      ╱    ╲        ╱    ╲
///  bottom A   bottom   bottom B
///       ╲       │       ╱
///               x
/// ```
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

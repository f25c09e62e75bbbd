//! Customized sharing.

use super::bottoms::Bottoms;
use super::check::{check_bottoms, check_widths};
use super::config::model_config;
use super::{Branches, Fusion, Model};
use crate::net::{Builder, Built, Describe};

model_config! {
    /// The settings of [`Customized`](super::Customized).
    CustomizedConfig, CustomizedConfigBuilder, "customized", branches: Branches::Auto => {
        /// The widths of a bottom's layers, at least one layer; default one layer of 128.
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How a tower joins the two bottoms that it reads; default by concatenation.
        fusion: Fusion = Fusion::Concatenate;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// Customized sharing (Tang et al., RecSys 2020, figure 1 c): one shared bottom b, and one bottom `b^k` per branch. A tower reads both.
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

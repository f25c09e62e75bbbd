//! Shared bottom: hard sharing.

use super::Branches;
use super::bottoms::{BottomConfig, BottomNet, BottomShape, Fusion};
use super::config::{check_bottoms, check_widths, model_config};

model_config! {
    /// The settings of [`SharedBottom`](super::SharedBottom).
    SharedBottomConfig, SharedBottomConfigBuilder, "shared_bottom" of SharedBottomNet, branches: Branches::Auto => {
        /// The widths of a bottom's layers, at least one; default 128.
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>;
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
    }
}

/// The shared bottom's dense part (Caruana, "Multitask Learning", Machine Learning 1997; Tang et al., RecSys 2020, figure 1 a): all
/// branches read one bottom.
///
/// ```text
///   tower A    tower B       ŷ^k = t^k(b(x))
///        ╲      ╱
///       bottom
///          │
///          x
/// ```
pub type SharedBottomNet = BottomNet<SharedBottomConfig>;

impl BottomConfig for SharedBottomConfig {
    fn shape(&self) -> BottomShape<'_> {
        BottomShape {
            bottom_hidden: &self.0.bottom_hidden,
            tower_hidden: &self.0.tower_hidden,
            shared: true,
            own: false,
            fusion: Fusion::Concatenate,
            style: self.0.style(),
        }
    }
}

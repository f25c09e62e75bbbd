//! Asymmetric sharing.

use std::collections::BTreeMap;

use super::Branches;
use super::bottoms::{BottomConfig, BottomNet, BottomShape, Fusion};
use super::config::{check_bottoms, check_widths, model_config};
use crate::data::Layout;

model_config! {
    /// The settings of [`Asymmetric`](super::Asymmetric).
    AsymmetricConfig, AsymmetricConfigBuilder, "asymmetric", branches: Branches::Tasks => {
        /// The widths of a bottom's layers, at least one; default 128.
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>;
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>;
        /// How a tower joins the bottoms that it reads; default side by side.
        fusion: Fusion = Fusion::Concatenate;
        /// Whose bottoms a branch reads beside its own, by the names of branches (the task, the domain, or
        /// `domain/task`; see [`Branch::name`](crate::nn::Branch::name)). Default, an
        /// empty map: every branch reads those before it. In a map, a branch that is not named reads its own alone.
        reads: BTreeMap<String, Vec<String>> = BTreeMap::new(), from impl Into<BTreeMap<String, Vec<String>>>;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
        let names: Vec<String> = names(this.branches, &this.layout);
        for (reader, read) in &this.reads {
            for (i, name) in read.iter().enumerate() {
                problems.require(name != reader && !read[..i].contains(name), || {
                    format!("reads.{reader}: {name:?} stands there twice, or is the reader, which reads its own anyway")
                });
            }
            for name in std::iter::once(reader).chain(read) {
                problems.require(names.contains(name), || {
                    format!("reads: {name:?} is no branch, expected one of {}", names.join(", "))
                });
            }
        }
    }
}

/// Asymmetric sharing's dense part (Tang et al., RecSys 2020, figure 1 b): every branch has a bottom, and some also read
/// those of others.
///
/// ```text
///  tower A      tower B         ŷ^k = t^k(fusion(b^j(x) for the j that k reads, own first))
///     │        ╱   │
///  bottom A      bottom B
///        ╲      ╱
///           x
/// ```
///
/// A bottom learns from every tower that reads it.
pub type AsymmetricNet = BottomNet<AsymmetricConfig>;

impl BottomConfig for AsymmetricConfig {
    fn shape(&self) -> BottomShape<'_> {
        BottomShape {
            bottom_hidden: &self.0.bottom_hidden,
            tower_hidden: &self.0.tower_hidden,
            shared: false,
            own: true,
            fusion: self.0.fusion,
            style: self.0.style(),
        }
    }

    fn reads(&self, branch: usize) -> Vec<usize> {
        let settings = &self.0;
        let others: Vec<usize> = if settings.reads.is_empty() {
            (0..branch).collect()
        } else {
            let names = names(settings.branches, &settings.layout);
            let read = settings.reads.get(&names[branch]).into_iter().flatten();
            let position = |name: &String| names.iter().position(|known| known == name).expect("names were checked");
            read.map(position).collect()
        };
        std::iter::once(branch).chain(others).collect()
    }

    fn count_reads(&self, branches: f64) -> f64 {
        if self.0.reads.is_empty() {
            return branches * (branches + 1.0) / 2.0;
        }
        branches + self.0.reads.values().map(Vec::len).sum::<usize>() as f64
    }
}

/// The names of all branches, in order.
fn names(branches: Branches, layout: &Layout) -> Vec<String> {
    branches.of(layout).into_iter().map(|branch| branch.name(layout)).collect()
}

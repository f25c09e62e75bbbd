//! Bottoms and towers, for shared bottom, asymmetric and customized sharing.

use super::Fusion;
use super::branches::BranchedConfig;
use crate::net::{Builder, Built};
use crate::nn::HiddenSettings;

/// The sizes of bottoms and of the towers above them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bottoms<'a> {
    /// The widths of a bottom's layers.
    pub(super) bottom_hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub(super) tower_hidden: &'a [usize],
    /// Whether there is a shared bottom.
    pub(super) shared: bool,
    /// How a tower joins the bottoms that it reads.
    pub(super) fusion: Fusion,
    /// The settings of hidden layers.
    pub(super) style: HiddenSettings,
}

impl Bottoms<'_> {
    /// Bottoms read the row, towers read bottoms (Tang et al., RecSys 2020, figure 1 a to c):
    /// `ŷ^k = t^k(fusion(b^j(x) for all bottoms j that k reads: own first, the shared one last))`.
    ///
    /// `reads` returns the branches whose bottoms the tower of a branch reads. It is `None` if branches have no own bottoms.
    ///
    /// A bottom runs once, over the range from the first to the last row that a tower needs. Rows of other domains inside this range are
    /// computed too, but not used.
    pub(super) fn describe<R: IntoIterator<Item = usize>>(
        self,
        config: &impl BranchedConfig,
        reads: Option<&impl Fn(usize) -> R>,
        net: &mut Builder<'_>,
    ) -> Built {
        let branches = net.branches(config.branches(), config.built_with())?;
        let row = net.row()?;
        let shared =
            if self.shared { Some(net.mlp("shared", row, self.bottom_hidden, None, self.style)?) } else { None };
        let mut own = Vec::new();
        for &branch in branches.iter().filter(|_| reads.is_some()) {
            own.push(net.mlp(("own", branch), row, self.bottom_hidden, None, self.style)?);
        }
        for k in 0..branches.len() {
            let read = reads.iter().flat_map(|reads| reads(k));
            let joined = net.join(read.map(|j| own[j]).chain(shared).collect(), self.fusion)?;
            net.tower(k, joined, self.tower_hidden, self.style)?;
        }
        Ok(())
    }
}

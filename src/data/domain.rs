//! Which domain a row belongs to.

use serde::{Deserialize, Serialize};

/// A domain, as its position in [`Layout::domains`](super::Layout::domains).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(u32);

impl DomainId {
    /// No known domain: the model answers by its shared path. Only prediction takes it; training does not.
    pub const SHARED: Self = Self(u32::MAX);

    /// The domain at this position.
    ///
    /// # Panics
    /// If `index` does not fit in 32 bits or is the one that stands for [`DomainId::SHARED`].
    pub fn new(index: usize) -> Self {
        let id = u32::try_from(index).ok().filter(|&id| id != u32::MAX);
        Self(id.unwrap_or_else(|| panic!("domain index {index} is out of range")))
    }

    /// The position, or `None` for [`DomainId::SHARED`].
    pub fn index(self) -> Option<usize> {
        (self != Self::SHARED).then_some(self.0 as usize)
    }
}

/// The domain of every row of a batch: one for all, or one a row.
#[derive(Debug, Clone, Copy)]
pub enum Domains<'a> {
    /// All rows belong to this one.
    One(DomainId),
    /// Row `i` belongs to the `i`-th, in any order.
    PerRow(&'a [DomainId]),
}

impl From<DomainId> for Domains<'_> {
    fn from(domain: DomainId) -> Self {
        Self::One(domain)
    }
}

impl<'a> From<&'a [DomainId]> for Domains<'a> {
    fn from(domains: &'a [DomainId]) -> Self {
        Self::PerRow(domains)
    }
}

impl<'a> From<&'a Vec<DomainId>> for Domains<'a> {
    fn from(domains: &'a Vec<DomainId>) -> Self {
        Self::PerRow(domains)
    }
}

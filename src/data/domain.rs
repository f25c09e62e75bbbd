//! The domain of a row.

use serde::{Deserialize, Serialize};

/// A domain, given by its position in [`Layout::domains`](super::Layout::domains).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(u32);

impl DomainId {
    /// The id for rows of no known domain. Only prediction accepts it, training does not.
    ///
    /// The model scores these rows by its *shared path*: STAR uses the shared weights, pooled statistics and the mean of the domain embeddings;
    /// the pooled model and PEPNet use the mean of the domain embeddings; a model whose branches are domains takes the mean of their logits.
    pub const SHARED: Self = Self(u32::MAX);

    /// The domain at this position.
    ///
    /// # Panics
    /// If `index` is 2³² − 1 (reserved for [`DomainId::SHARED`]) or larger.
    pub fn new(index: usize) -> Self {
        let id = u32::try_from(index).ok().filter(|&id| id != u32::MAX);
        Self(id.unwrap_or_else(|| panic!("domain index {index} is out of range")))
    }

    /// The position, or `None` for [`DomainId::SHARED`].
    pub fn index(self) -> Option<usize> {
        (self != Self::SHARED).then_some(self.0 as usize)
    }
}

/// The domains of the rows of a batch: one for all rows, or one per row.
#[derive(Debug, Clone, Copy)]
pub enum Domains<'a> {
    /// All rows belong to this domain.
    One(DomainId),
    /// Row `i` belongs to the `i`-th domain of the slice. The domains can be in any order.
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

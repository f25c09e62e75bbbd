//! The domain of a row.

use serde::{Deserialize, Serialize};

/// The id of a domain: its position in [`Layout::domains`](super::Layout::domains), counted from 0, or [`DomainId::SHARED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(u32);

impl DomainId {
    /// The id of rows whose domain is unknown. Prediction accepts it, training does not.
    ///
    /// The model scores these rows by its *shared path*: STAR uses the shared weights, pooled statistics and the mean of the domain embeddings;
    /// the pooled model and PEPNet use the mean of the domain embeddings; a model whose branches are domains takes the mean of their logits.
    pub const SHARED: Self = Self(u32::MAX);

    /// Makes the id of the domain at this position, counted from 0. Whether a layout has such a domain is checked later, when the id is used.
    ///
    /// # Panics
    /// If `index` is 2³² − 1, which is reserved for [`DomainId::SHARED`], or larger.
    pub fn new(index: usize) -> Self {
        let id = u32::try_from(index).ok().filter(|&id| id != u32::MAX);
        Self(id.unwrap_or_else(|| panic!("domain index {index} is out of range")))
    }

    /// Returns the position of the domain in [`Layout::domains`](super::Layout::domains), counted from 0, or `None` for [`DomainId::SHARED`].
    pub fn index(self) -> Option<usize> {
        (self != Self::SHARED).then_some(self.0 as usize)
    }
}

/// The domains of the rows of a batch, as [`Model::forward`](crate::Model::forward) takes them: one for all rows, or one for each row. A
/// [`DomainId`] and a slice of them convert into it.
#[derive(Debug, Clone, Copy)]
pub enum Domains<'a> {
    /// All rows belong to this domain.
    One(DomainId),
    /// The row at position `i` belongs to the domain at position `i` of the slice, which must have one entry for each row. The domains can be in
    /// any order.
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

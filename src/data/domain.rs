//! The domain of a row.

use serde::{Deserialize, Serialize};

/// The id of a domain: its position in [`Layout::domains`](super::Layout::domains), counted from 0, or [`DomainId::SHARED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(u32);

impl DomainId {
    /// The id of rows whose domain is unknown. Prediction accepts it, but training does not.
    ///
    /// The model scores these rows by its *shared path*, which depends on the kind of model. STAR uses the shared weights, the normalisation
    /// statistics of all domains together, and the mean of the domain embeddings. The pooled model and PEPNet use the mean of the domain
    /// embeddings. A model with a branch for each domain takes the mean of the logits of all branches.
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

/// The domains of the rows of a batch: one domain for all rows, or one for each row. It is an argument of
/// [`Model::forward`](crate::Model::forward). A [`DomainId`] and a slice of `DomainId`s convert into it.
#[derive(Debug, Clone, Copy)]
pub enum Domains<'a> {
    /// All rows belong to this domain.
    One(DomainId),
    /// Row `i`, counted from 0, belongs to the domain at position `i` of the slice. The slice must have one entry for each row. The domains can
    /// be in any order.
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

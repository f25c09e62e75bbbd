//! Encoded rows: what a model reads.

use ndarray::Array2;

use super::{DomainId, Domains};

/// The ids of one field for every row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// One id a row.
    One(Vec<u32>),
    /// Row `i` has the ids `ids[offsets[i] .. offsets[i + 1]]`, possibly none.
    Bag {
        /// Where each row's ids start; one more entry than there are rows.
        offsets: Vec<u32>,
        /// All rows' ids, one row after the other.
        ids: Vec<u32>,
    },
}

/// Any number of encoded rows, column by column: a whole data set, or the few that one step takes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Ids by field, in the order of [`Layout::fields`](super::Layout::fields).
    pub ids: Vec<Ids>,
    /// Numeric inputs, `[rows, numeric columns]`, standardised and finite.
    pub numeric: Array2<f32>,
    /// Labels, `[rows, tasks]`: 0, 1, or NaN where the label is missing.
    pub labels: Array2<f32>,
    /// The domain of each row.
    pub domains: Vec<DomainId>,
    /// The weight of each row in the loss; empty when all weigh 1.
    pub weights: Vec<f32>,
    /// The group (a user, a session) of each row, for metrics that rank inside groups; empty when there are none.
    pub groups: Vec<u32>,
}

impl Batch {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.domains.len()
    }

    /// The domain of each row, as [`forward`](crate::Model::forward) takes it.
    pub fn domains(&self) -> Domains<'_> {
        Domains::PerRow(&self.domains)
    }
}

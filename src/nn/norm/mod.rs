//! Normalisation: by domain, by batch, by row.

mod batch;
mod columns;
mod layer;
mod partitioned;

pub use batch::{BatchNorm, BatchNormCache};
pub(crate) use columns::{CONSTANT, Columns};
pub use layer::{LayerNorm, LayerNormCache};
pub use partitioned::{DomainNorm, PartitionedNorm, PartitionedNormCache, PartitionedNormSettings};

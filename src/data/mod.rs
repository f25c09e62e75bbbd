//! From logs to batches: schema, encoder, readers and loader.

mod batch;
mod domain;
mod layout;
pub mod synthetic;

pub use batch::{Batch, Ids};
pub use domain::{DomainId, Domains};
pub use layout::{Field, Layout, Pooling};

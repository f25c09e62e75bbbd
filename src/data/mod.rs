//! From logs to batches: schema, encoder, readers and loader.

mod batch;
mod batch_builder;
mod columns;
mod domain;
mod encoder;
mod feature;
mod fitted;
mod interner;
mod layout;
pub mod synthetic;
mod names;
mod read;
mod scaler;
mod schema;
mod table;
mod vocabulary;

pub use batch::{Batch, Ids};
pub use batch_builder::BatchBuilder;
pub use domain::{DomainId, Domains};
pub use encoder::{Encoder, UnknownDomain};
pub use feature::{Bag, Categorical, Coding, Feature, Numeric, Transform};
pub use layout::{Field, Layout, Pooling};
pub use read::Format;
pub use schema::{Schema, SchemaBuilder};
pub use table::Table;

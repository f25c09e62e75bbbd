//! starple

pub mod data;
mod error;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod nn;
pub mod optim;
mod random;
pub mod train;

pub use error::{Error, ErrorKind, Result};
pub use model::{Model, Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};

//! starple

pub mod data;
mod error;
pub mod loss;
pub mod model;
pub mod nn;
pub mod optim;
pub mod metrics;
mod random;

pub use error::{Error, ErrorKind, Result};
pub use model::{Model, Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};

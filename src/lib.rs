//! starple

pub mod data;
mod error;
pub mod nn;
pub mod optim;
mod random;

pub use error::{Error, ErrorKind, Result};

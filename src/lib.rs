//! starple

pub mod data;
mod error;
mod random;

pub use error::{Error, ErrorKind, Result};

//! Parquet files against the CSV of the same rows, and the whole text of every error that such a file can cause.
#![cfg(feature = "parquet")]

mod cells;
mod errors;
mod write;

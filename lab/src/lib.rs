//! Tools to choose and to understand models of [`starple`]; you do not need them to train or serve one.
//!
//! | module | what it does |
//! |---|---|
//! | [`compare`] | trains many models with many seeds on one log: gains over a baseline, paired tests, negative transfer, seesaws |
//! | [`inside`] | shows what a trained model shares and what it keeps apart |
//! | [`synthetic`] | generates logs whose true click probabilities are known |
//! | [`table`] | aligned text tables for a terminal |
//!
//! The examples `compare`, `inside`, `learning` and `make_toy` of the starple repository use all of it.

pub mod compare;
pub mod inside;
mod plot;
pub mod synthetic;
pub mod table;

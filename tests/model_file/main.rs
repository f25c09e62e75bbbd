//! Model files: what is saved comes back, what is wrong is an error that says so, and a file is there whole or not at all.
//!
//! That every kind of model comes back bit for bit is among the promises of `tests/contract`.

mod atomic;
mod changing;
mod errors;
mod forge;
mod format;
mod golden;
mod hostile;
mod memory;
mod world;

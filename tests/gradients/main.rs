//! Every backward pass against directional differences, in f64, of the reference forward passes.

#[path = "../reference/mod.rs"]
mod reference;

mod check;
mod layers;
mod models;

//! Layers: plain data with `forward` and `backward` side by side.

mod branch;
mod params;
mod row_grad;

pub use branch::Branch;
pub use params::{Decay, Key, Leaf, LeafMut, Moving, Pair, Params, Path, Per, PerBranch, PerDomain, Segment, tensor};
pub use row_grad::RowGrad;

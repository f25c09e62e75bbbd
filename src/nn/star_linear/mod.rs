//! A layer of STAR's star topology: what all domains share, combined with what each has for itself.
//!
//! [`Combination`] has the table of equations; each has a file with what a domain owns, forward and backward. Most combine
//! weights (`weights.rs`): `W*_d` is formed once for a segment, whose rows then take one product; the product of weights
//! (`product.rs`) is not even formed, but multiplied on the way into the matrix product. A gate and a map over both
//! outputs need the outputs, so they take the products one by one.

mod adaptive_add;
mod add;
mod combination;
mod concatenation;
mod domain;
mod layer;
mod low_rank;
mod product;
mod sigmoid_gate;
mod weights;

pub use adaptive_add::AdaptiveSummand;
pub use add::Summand;
pub use combination::Combination;
pub use concatenation::Concatenated;
pub use domain::DomainLinear;
pub(crate) use layer::Rectified;
pub use layer::{StarLinear, StarLinearCache};
pub use low_rank::LowRankFactor;
pub use product::Factor;
pub use sigmoid_gate::SigmoidGate;

//! A layer of STAR's star topology: shared parameters, combined with the domain's own.
//!
//! [`Combination`] has the table of equations; each has a file with a domain's own parameters, forward and backward. Most combine weights
//! (`weights.rs`): `W*_d` is computed once for a segment, whose rows then take one product. `W ⊙ W_d` (`product.rs`) is never stored, but
//! multiplied while the matrix product packs it. The sigmoid gate and the concatenation combine outputs, so they need one product for each.

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

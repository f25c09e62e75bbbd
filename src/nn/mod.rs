//! Layers: plain data, each with `forward` and `backward`.
//!
//! Every `backward` **adds** into `grad`, the gradient of the parameters, and **overwrites** `dx`, the gradient of the input. Where several
//! layers read one input, its gradient is the sum of what they write: the first overwrites `dx`, the others add to it. A `backward` that
//! can do both takes an [`InputGrad`] instead of a matrix, which says which of the two it does.
//!
//! Call `backward` after `forward` in [training](Train), with the same `x` and the same cache.
//!
//! # How to read the formulas
//!
//! | written | meaning |
//! |---|---|
//! | `x` or `z`, `y` | the input and the output of a layer: matrices with one line for each row of the batch |
//! | `dy`, `dx`, `dW` | the gradient of the loss with respect to `y`, `x`, `W`; the caller of `backward` gives `dy` |
//! | `y = …`, `dW += …`, `y ← …` | overwrites; adds to what is there; changes in place |
//! | `[rows, width]` | a shape: the number of rows and of columns |
//! | `[x, e]` | `x` and `e` side by side, in each row |
//! | `x·W`, `a ⊙ b`, `⟨a, b⟩` | the matrix product, the elementwise product, the inner product of two vectors |
//! | `Σ dy` | without an index, the sum over all rows |
//! | `φ`, `σ(z)` | an activation; the sigmoid `1/(1 + e^−z)` |
//! | `μ`, `σ²`, `ε`, `x̂` | in normalisations: mean, variance, a small constant, and `(z − μ)/√(σ² + ε)` |
//! | `W_d` | a parameter that belongs to domain d |

mod activation;
mod attention;
mod branch;
pub(crate) mod buffer;
mod cross;
mod domain_mlp;
mod dropout;
mod gate;
mod init;
mod input_grad;
mod joined;
mod linear;
pub(crate) mod matmul;
mod mlp;
mod mode;
mod moving_average;
pub(crate) mod norm;
mod orthogonality;
mod pairwise;
mod params;
mod per;
mod post_affine;
mod product;
mod row_grad;
mod scale;
mod segment;
mod size;
mod softmax;
mod star_linear;
mod stitch;
mod sums;

pub use activation::{Activation, ActivationCache, ActivationKind, Dice, Prelu};
pub use attention::{
    AlignCache, Alignment, AttendCache, AttentionMask, AttentionSettings, EventWeights, MultiHeadAttention,
    MultiHeadAttentionCache, NumberTokens, Representation, Representations, RepresentationsCache, TargetAttention,
    TargetAttentionCache, TargetAttentionSettings, TargetAttentionSettingsBuilder, Tokens, align, align_backward,
    attend, attend_backward,
};
pub(crate) use attention::{Ragged, ServedCache, ServedHistory};
pub use branch::Branch;
pub use cross::{CrossCache, CrossLayer, LowRankLinear};
pub use domain_mlp::{DomainEmbedding, DomainMlp, DomainMlpCache};
pub(crate) use dropout::fill_from;
pub use dropout::{Dropout, DropoutCache};
pub(crate) use gate::mix_backward_rows;
pub use gate::{Gate, GateCache, mix, mix_backward};
pub use init::{Init, InitRng};
pub use input_grad::InputGrad;
pub(crate) use joined::JoinedCache;
pub use linear::Linear;
pub use mlp::{HiddenSettings, Mlp, MlpCache};
pub use mode::{Infer, Mode, RowNumbers, Train};
pub use moving_average::MovingAverage;
pub(crate) use moving_average::PreciseStatistics;
pub use norm::{
    BatchNorm, BatchNormCache, DomainNorm, LayerNorm, LayerNormCache, PartitionedNorm, PartitionedNormCache,
    PartitionedNormSettings,
};
pub(crate) use orthogonality::orthogonality;
pub use pairwise::{PairwiseCache, pairwise, pairwise_backward};
#[cfg(feature = "onnx")]
pub(crate) use params::escape;
pub use params::{Decay, Leaf, LeafMut, Pair, Params, Part, Path, tensor};
pub use per::{Key, Per, PerBranch, PerDomain};
pub use post_affine::{Norm, NormKind, PostAffine, PostAffineCache};
pub use product::{ProductCache, product, product_backward};
pub use row_grad::RowGrad;
pub use scale::{ScaleCache, scale, scale_backward};
pub use segment::Segment;
pub use size::Size;
pub(crate) use star_linear::Rectified;
pub use star_linear::{
    AdaptiveSummand, Combination, Concatenated, DomainLinear, Factor, LowRankFactor, SigmoidGate, StarLinear,
    StarLinearCache, Summand,
};
pub use stitch::Stitch;

//! The steps of a plan.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, Array2};

use super::Value;
use crate::data::DomainId;
use crate::model::Fusion;
use crate::net::Custom;
use crate::nn::{MultiHeadAttention, PostAffine, Stitch, TargetAttention, Tokens};

/// One step of a [`Plan`](super::Plan).
#[derive(Debug)]
pub(crate) enum PlanStep<'a> {
    /// The row embedded by the tables of the owner at the position `owner`. `attention` has the attention of each sequence of the layout that
    /// has one; it writes columns of the row.
    Row { owner: usize, attention: Vec<&'a TargetAttention> },
    /// `x·W + b`, then a ReLU if `rectified`.
    Affine { input: Value, weight: Cow<'a, Array2<f32>>, bias: Option<Cow<'a, Array1<f32>>>, rectified: bool },
    /// The part of a hidden layer after its affine map, if that is not a ReLU alone.
    PostAffine { input: Value, hidden: &'a PostAffine },
    /// `Σ_i w_i · parts_i` with `w = softmax(scores)`, in each row: the mixture of a softmax gate whose scores an affine step computed.
    Mix { scores: Value, parts: Vec<Value> },
    /// Several values of one width, concatenated, summed or averaged, as `fusion` says.
    Join { parts: Vec<Value>, fusion: Fusion },
    /// A weighted sum of several values, block by block, with the weights of `stitch`.
    Stitch { parts: Vec<Value>, stitch: &'a Stitch },
    /// `shared + σ(gate) ⊙ own`, where σ is the sigmoid and ⊙ the elementwise product.
    Gated { shared: Value, own: Value, gate: Value },
    /// Some columns of a value, which may be the row.
    Columns { input: Value, columns: Range<usize> },
    /// Values of any width, concatenated.
    Concat { parts: Vec<Value> },
    /// `factor·σ(gate) ⊙ input`.
    Scale { input: Value, gate: Value, factor: f32 },
    /// `a ⊙ b`.
    Product { a: Value, b: Value },
    /// Attention of the vector `query` over the vectors that `values` has side by side. `filled`, from 0 to 1, says how many of these places
    /// a row fills, as a share of all.
    Attend { query: Value, values: Value, filled: Value },
    /// A layer of the user's own, for rows of this domain.
    Custom { input: Value, layer: &'a Custom, domain: DomainId },
    /// The concatenated tokens of a row.
    Tokens { input: Value, tokens: &'a Tokens },
    /// Attention among concatenated tokens.
    Attention { input: Value, attention: &'a MultiHeadAttention },
    /// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨direction, x_m⟩)`, for concatenated tokens.
    Align { input: Value, direction: Array1<f32> },
}

/// A value that is added to logits of a domain, or of rows of no known domain.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) domain: DomainId,
    pub(crate) value: Value,
    pub(crate) task: Option<usize>,
    pub(crate) share: f32,
}

impl PlanStep<'_> {
    /// Runs `see` on every value that the step reads.
    pub(crate) fn inputs(&self, see: &mut dyn FnMut(Value)) {
        match self {
            Self::Row { .. } => {}
            Self::Affine { input, .. }
            | Self::PostAffine { input, .. }
            | Self::Columns { input, .. }
            | Self::Custom { input, .. }
            | Self::Tokens { input, .. }
            | Self::Attention { input, .. }
            | Self::Align { input, .. } => see(*input),
            Self::Mix { scores, parts } => [*scores].into_iter().chain(parts.iter().copied()).for_each(see),
            Self::Scale { input: a, gate: b, .. } | Self::Product { a, b } => [*a, *b].into_iter().for_each(see),
            Self::Attend { query, values, filled } => [*query, *values, *filled].into_iter().for_each(see),
            Self::Join { parts, .. } | Self::Stitch { parts, .. } | Self::Concat { parts } => {
                parts.iter().copied().for_each(see);
            }
            Self::Gated { shared, own, gate } => [*shared, *own, *gate].into_iter().for_each(see),
        }
    }
}

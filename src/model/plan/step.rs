//! The steps of a plan.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, Array2};

use super::Value;
use crate::model::Fusion;
use crate::net::Custom;
use crate::nn::{MultiHeadAttention, PostAffine, Stitch, Tokens};

/// One step of a [`Plan`](super::Plan).
#[derive(Debug)]
pub(crate) enum PlanStep<'a> {
    /// The row as an owner of tables embeds it.
    Row { owner: usize },
    /// `x·W + b`, and then a rectifier if there is to be one.
    Affine { input: Value, weight: Cow<'a, Array2<f32>>, bias: Option<Cow<'a, Array1<f32>>>, rectified: bool },
    /// What follows the affine map of a hidden layer, where that is not a rectifier.
    PostAffine { input: Value, hidden: &'a PostAffine },
    /// `Σ_i softmax(scores)_i · parts_i`.
    Mix { scores: Value, parts: Vec<Value> },
    /// Several values as one.
    Join { parts: Vec<Value>, fusion: Fusion },
    /// A linear combination, block by block.
    Stitch { parts: Vec<Value>, stitch: &'a Stitch },
    /// `shared + σ(gate) ⊙ own`.
    Gated { shared: Value, own: Value, gate: Value },
    /// Some columns of a value, which may be the row.
    Columns { input: Value, columns: Range<usize> },
    /// Several values side by side, of any width.
    Concat { parts: Vec<Value> },
    /// `factor·σ(gate) ⊙ input`.
    Scale { input: Value, gate: Value, factor: f32 },
    /// `a ⊙ b`.
    Product { a: Value, b: Value },
    /// Attention of a query over vectors side by side, of which `filled` says how many a row has.
    Attend { query: Value, values: Value, filled: Value },
    /// A layer of the user's own, for rows of this domain.
    Custom { input: Value, layer: &'a Custom, domain: Option<usize> },
    /// The tokens of a row, side by side.
    Tokens { input: Value, tokens: &'a Tokens },
    /// Attention among tokens that stand side by side.
    Attention { input: Value, attention: &'a MultiHeadAttention },
    /// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨direction, x_m⟩)`, for tokens that stand side by side.
    Align { input: Value, direction: Array1<f32> },
}

/// A value that is, or is added to, some logits of a domain, or of rows of no known one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) domain: Option<usize>,
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

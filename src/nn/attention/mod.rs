//! Attention over the inputs of a row, each input a *token*: [`Tokens`] makes the tokens, [`MultiHeadAttention`] lets them read each
//! other, [`Alignment`] weights them by a query. [`TargetAttention`] weights the events of a history, of which a row has any number.
//!
//! The tokens of a batch are a matrix `[rows·tokens, width]`, in which the tokens of a row are consecutive. Read as `[rows, tokens·width]`,
//! the same memory has all tokens of a row in one line, for a stack of layers.

mod alignment;
mod attend;
mod mask;
mod multi_head;
mod representation;
mod target;
mod tokens;

pub use alignment::{AlignCache, Alignment, align, align_backward};
pub use attend::{AttendCache, attend, attend_backward};
pub use mask::AttentionMask;
pub use multi_head::{AttentionSettings, MultiHeadAttention, MultiHeadAttentionCache};
pub use representation::{Representation, Representations, RepresentationsCache};
pub use target::{
    EventWeights, TargetAttention, TargetAttentionCache, TargetAttentionSettings, TargetAttentionSettingsBuilder,
};
pub(crate) use target::{Ragged, ServedCache, ServedHistory};
pub use tokens::{NumberTokens, Tokens};

/// `y += s·x`, for slices of a token's width: too few values for a matrix product to pay.
fn add_scaled(y: &mut [f32], s: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += s * x;
    }
}

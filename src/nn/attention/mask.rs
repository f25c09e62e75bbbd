//! The attention mask: which tokens attend to which.

/// The number of tokens in a list, and which of them attend to which. A *token* is one input vector of an attention; it *attends to* another
/// token if it reads that token.
///
/// Every token attends to the first `common` tokens of its list and to itself, and to no other token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionMask {
    /// The number of tokens in a list, at least 1.
    pub tokens: usize,
    /// The number of tokens, at the start of the list, that all tokens attend to: 1 to `tokens`.
    pub common: usize,
}

impl AttentionMask {
    /// The mask of a list of `tokens` tokens in which every token attends to all.
    pub fn all(tokens: usize) -> Self {
        Self { tokens, common: tokens }
    }

    /// Whether the token at `from` attends to the token at `to`.
    pub(super) fn attends(self, from: usize, to: usize) -> bool {
        to < self.common || to == from
    }
}

//! The attention mask: which tokens attend to which.

/// The length of a list of tokens, and which tokens of a list attend to which.
///
/// A token attends to the first `common` tokens of its list and to itself. The tokens after the first `common` read those, but no
/// other token reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionMask {
    /// The number of tokens in a list, at least 1.
    pub tokens: usize,
    /// The number of leading tokens that all tokens attend to: 1 to `tokens`.
    pub common: usize,
}

impl AttentionMask {
    /// The mask where every token attends to all tokens of its list.
    pub fn all(tokens: usize) -> Self {
        Self { tokens, common: tokens }
    }

    /// Whether the token at `from` attends to the token at `to`.
    pub(super) fn attends(self, from: usize, to: usize) -> bool {
        to < self.common || to == from
    }
}

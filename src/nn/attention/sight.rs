//! Which tokens stand together, and which of them see which.

/// How the lines of a matrix make up lists of tokens, and which tokens of a list attend to which.
///
/// A token attends to the first `common` tokens of its list and to itself. A token that is added behind those reads the others, and
/// changes nothing for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// How many tokens a list has, at least 1.
    pub tokens: usize,
    /// How many of them, the first ones, all tokens see: 1 to `tokens`.
    pub common: usize,
}

impl Sight {
    /// Every token sees every other.
    pub fn all(tokens: usize) -> Self {
        Self { tokens, common: tokens }
    }

    /// Whether the token at `from` attends to the one at `to`.
    pub(super) fn sees(self, from: usize, to: usize) -> bool {
        to < self.common || to == from
    }
}

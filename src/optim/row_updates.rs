//! What happens to the rows of a table that a step did not read.

use serde::{Deserialize, Serialize};

/// What an optimizer does with the rows of an embedding table that a step did not read.
///
/// The two agree when every row is read in every step, and for optimizers on which a zero gradient has no effect: SGD
/// without momentum and Adagrad, both without weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowUpdates {
    /// Only rows that were read are updated (the default). Weight decay, momentum and moments of all others do not change.
    ///
    /// The cost of a step grows with the rows that were read. With Adam these are the semantics of
    /// `torch.optim.SparseAdam` (but for ε, see [`Adam`](super::Adam)): the step count of the bias correction is the
    /// table's, not the row's. So a row first read after many steps has moments that are still close to 0
    /// but are hardly corrected any more, and its first step is about `(1 − β₁)/√(1 − β₂)` ≈ 3.2 times as long as that
    /// of a row read in the first step. A row read rarely is moved only when read, by moments that have not faded since.
    #[default]
    Lazy,
    /// What a dense gradient, zero in the rows that were not read, would give: all rows are updated: moments fade, weight decay and momentum act.
    ///
    /// Every step is one pass over the whole table and its state, whatever the batch: for Adam it reads and writes
    /// 12 bytes a value, about 2 GB a step for a million rows of 80. Fit for small tables.
    Exact,
}

//! What happens to the rows of a table that a step did not read.

use serde::{Deserialize, Serialize};

/// What an optimizer does with the rows of an embedding table that a step did not read.
///
/// A step reads the rows whose ids are in its batch. `Lazy` and `Exact` give the same result if every step reads every row, and for
/// optimizers on which a zero gradient has no effect: SGD without momentum and Adagrad, both without weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowUpdates {
    /// Only rows that were read are updated (the default). All other rows keep their values, momentum and moments; weight decay skips them.
    ///
    /// The cost of a step grows with the number of rows that were read. [`Adam`](super::Adam) then works like `torch.optim.SparseAdam`,
    /// except for ε: the bias correction uses the step count of the table, not of the row. If a row is first read after many steps, its
    /// moments are still close to 0 but are hardly corrected any more: its first step is about `(1 − β₁)/√(1 − β₂)` ≈ 3.2 times as long as
    /// that of a row read in the first step. The moments of a row fade only in steps that read it.
    #[default]
    Lazy,
    /// All rows are updated, with gradient 0 for rows that were not read: their moments fade, and weight decay and momentum change them.
    ///
    /// Every step is one pass over the whole table and its state, however small the batch is: Adam reads and writes 12 bytes for each
    /// value, about 2 GB a step for a million rows of 80 values. Use it for small tables.
    Exact,
}

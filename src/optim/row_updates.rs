//! What happens to the rows of a table that a step did not read.

use serde::{Deserialize, Serialize};

/// What an optimizer does with the rows of an embedding table that a step did not read.
///
/// A step reads the rows whose ids are in its batch. `Lazy` and `Exact` give the same result if every step reads every row. They also give
/// the same result for SGD without momentum and for Adagrad, both without weight decay, because a gradient of 0 then changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowUpdates {
    /// Only rows that were read are updated (the default). All other rows keep their values, momentum and moments; weight decay skips them.
    ///
    /// The time of a step depends on the number of rows that were read, not on the size of the table. [`Adam`](super::Adam) then works like
    /// `torch.optim.SparseAdam`, except that ε is added to the corrected root. The correction of the moments uses the number of steps of
    /// the table, not of the row. So if a row is first read after many steps, its moments are small and hardly corrected: its first step is
    /// about `(1 − β₁)/√(1 − β₂)` ≈ 3.2 times as long as that of a row that was read in the first step of the table. The moments of a row
    /// become smaller only in steps that read it.
    #[default]
    Lazy,
    /// All rows are updated, with gradient 0 for rows that were not read: their moments become smaller, and weight decay, momentum and
    /// moments change their values.
    ///
    /// Every step passes over the whole table and its state, however small the batch is. Adam reads and writes 12 bytes for each value:
    /// about 2 GB in each step for a million rows of 80 values. Use `Exact` for small tables.
    Exact,
}

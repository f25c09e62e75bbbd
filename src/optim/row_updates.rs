//! What happens to the rows of a table that a step did not read.

use serde::{Deserialize, Serialize};

use crate::nn::RowGrad;

/// What an optimizer does with the rows of an embedding table that a step did not read.
///
/// The two agree when every row is read in every step, and for optimizers on which a zero gradient has no effect: SGD
/// without momentum and Adagrad, both without weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowUpdates {
    /// Only rows that were read move (the default). Weight decay, momentum and moments of all others stand still.
    ///
    /// The cost of a step grows with the rows that were read. With Adam these are the semantics of
    /// `torch.optim.SparseAdam` (but for ε, see [`Adam`](super::Adam)): the step count of the bias correction is the
    /// table's, not the row's. So a row first read after many steps has moments that are still near their start at 0
    /// but are hardly corrected any more, and its first step is about `(1 − β₁)/√(1 − β₂)` ≈ 3.2 times as long as that
    /// of a row read in the first step. A row read rarely is moved only when read, by moments that have not faded since.
    #[default]
    Lazy,
    /// What a dense gradient, zero in the rows that were not read, would give: all rows fade, decay and coast.
    ///
    /// Every step is one pass over the whole table and its state, whatever the batch: for Adam it reads and writes
    /// 12 bytes a value, about 2 GB a step for a million rows of 80. Fit for small tables.
    Exact,
}

/// Walks the rows of a table as [`RowUpdates`] asks.
#[derive(Debug, Clone)]
pub(super) struct RowWalk {
    updates: RowUpdates,
    /// The gradient of a row that was not read.
    zeros: Vec<f32>,
}

impl RowWalk {
    pub(super) fn new(updates: RowUpdates) -> Self {
        Self { updates, zeros: Vec::new() }
    }

    /// Calls `update(row, gradient of the row)` for every row of `table` that moves.
    ///
    /// `idle` promises that a row of zero gradient would stay as it is, state included, so it need not be visited.
    pub(super) fn each(
        &mut self,
        table: &mut [f32],
        grad: &RowGrad,
        idle: bool,
        mut update: impl FnMut(usize, &mut [f32], &[f32]),
    ) {
        let dim = grad.dim();
        assert!(dim > 0 && table.len().is_multiple_of(dim), "a table of {} values has no rows of {dim}", table.len());
        if self.updates == RowUpdates::Lazy || idle {
            for (&row, grad) in grad.rows().iter().zip(grad.values().chunks_exact(dim)) {
                let row = row as usize;
                update(row, &mut table[row * dim..][..dim], grad);
            }
            return;
        }
        if self.zeros.len() < dim {
            self.zeros.resize(dim, 0.0);
        }
        for (row, values) in table.chunks_exact_mut(dim).enumerate() {
            match grad.row(row) {
                Some(grad) => update(row, values, grad.to_slice().expect("a row's gradient is contiguous")),
                None => update(row, values, &self.zeros[..dim]),
            }
        }
    }
}

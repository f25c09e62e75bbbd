//! What an optimizer remembers about one tensor, in a form that any file format can hold.

/// What an optimizer remembers about one slot: a step count and named values.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotState<'a> {
    /// The number of steps that the slot has taken.
    pub steps: u64,
    /// Name and values of each state tensor, in the order in which the optimizer gives them.
    pub tensors: Vec<(&'a str, &'a [f32])>,
}

/// The size of a slot's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotShape {
    /// A tensor of this many values, moved by [`Optimizer::dense`](super::Optimizer::dense).
    Dense(usize),
    /// An embedding table, moved by [`Optimizer::rows`](super::Optimizer::rows).
    Table {
        /// The number of rows.
        rows: usize,
        /// The number of values of a row.
        dim: usize,
    },
}

impl SlotShape {
    /// The number of values.
    pub fn values(self) -> usize {
        match self {
            Self::Dense(values) => values,
            Self::Table { rows, dim } => rows * dim,
        }
    }
}

//! What an optimizer remembers about one tensor, in a form that any file format can hold.

/// What an [`Optimizer`](super::Optimizer) remembers about one slot, that is, one tensor of the model: a step count and named lists of
/// values.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotState<'a> {
    /// The number of steps that the slot has taken.
    pub steps: u64,
    /// The name and the values of each list, such as `first_moment` and `second_moment` of [`Adam`](super::Adam).
    /// [`Optimizer::restore`](super::Optimizer::restore) takes them in any order.
    pub tensors: Vec<(&'a str, &'a [f32])>,
}

/// The kind and size of the tensor in a slot, which [`Optimizer::restore`](super::Optimizer::restore) needs to check a saved state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotShape {
    /// A tensor with this number of values, which [`Optimizer::dense`](super::Optimizer::dense) updates.
    Dense(usize),
    /// An embedding table, which [`Optimizer::rows`](super::Optimizer::rows) updates.
    Table {
        /// The number of rows.
        rows: usize,
        /// The number of values of a row.
        dim: usize,
    },
}

impl SlotShape {
    /// The number of values of the tensor.
    pub fn values(self) -> usize {
        match self {
            Self::Dense(values) => values,
            Self::Table { rows, dim } => rows * dim,
        }
    }
}

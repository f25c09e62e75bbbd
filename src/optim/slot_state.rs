//! What an optimizer remembers about one tensor, in a form that any file format can hold.

/// What an [`Optimizer`](super::Optimizer) remembers about one tensor of the model: a step count and named lists of values.
/// [`Optimizer::state`](super::Optimizer::state) returns it, so that it can be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotState<'a> {
    /// The number of steps in which the optimizer updated the tensor.
    pub steps: u64,
    /// The lists, each with its name and its values. The names are `momentum` for [`Sgd`](super::Sgd) with momentum, `first_moment` and
    /// `second_moment` for [`Adam`](super::Adam), and `sum` for [`Adagrad`](super::Adagrad).
    /// [`Optimizer::restore`](super::Optimizer::restore) accepts the lists in any order.
    pub tensors: Vec<(&'a str, &'a [f32])>,
}

/// The kind and the size of a tensor. [`Optimizer::restore`](super::Optimizer::restore) needs it to check whether a saved state fits the
/// tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotShape {
    /// A tensor that is not an embedding table, with this number of values. [`Optimizer::dense`](super::Optimizer::dense) updates it.
    Dense(usize),
    /// An embedding table. [`Optimizer::rows`](super::Optimizer::rows) updates it.
    Table {
        /// The number of rows of the table.
        rows: usize,
        /// The number of values in each row: the width of the embedding.
        dim: usize,
    },
}

impl SlotShape {
    /// The number of values of the tensor; for a table, `rows` · `dim`.
    pub fn values(self) -> usize {
        match self {
            Self::Dense(values) => values,
            Self::Table { rows, dim } => rows * dim,
        }
    }
}

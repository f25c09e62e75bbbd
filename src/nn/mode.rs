//! The mode of a pass: inference or training.

use std::ops::Range;

/// The mode of a forward pass. A layer takes it by value; a [`Cache`](crate::model::Cache) has [`Infer`] or [`Train`] in its type, so that
/// [`Model::backward`](crate::Model::backward) takes the cache of a training pass only.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Inference: normalises by the moving averages, without dropout.
    Infer,
    /// A forward pass that normalises by the statistics of the batch, without dropout and without a backward pass. Use it to compare its logits with
    /// those of [`Mode::Infer`]: they differ by how far the moving averages are from the statistics of the rows.
    Measure,
    /// Training: normalises by the statistics of the batch, with dropout.
    Train(Train),
    /// `Train`, for rows of a batch in another order.
    TrainRows(Train, RowNumbers<'a>),
}

/// Which rows of a batch a layer reads.
#[derive(Debug, Clone, Copy)]
pub struct RowNumbers<'a> {
    rows: &'a [u32],
    /// The number of consecutive lines of the layer's input that belong to one row.
    lines: usize,
}

/// Inference: moving averages, no dropout; a row's score depends on that row alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Infer;

/// Training: batch statistics and dropout, whose masks are a function of seed, step and the number of the row in the step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Train {
    /// The seed of the run.
    pub seed: u64,
    /// The step, counted over the whole run.
    pub step: u64,
    /// The number of the batch's first row in the step; default 0. Only a step whose rows are divided into several batches needs it.
    pub first_row: u64,
}

impl<'a> Mode<'a> {
    /// The step whose dropout masks are used, or `None` without dropout.
    pub fn training(self) -> Option<Train> {
        match self {
            Self::Infer | Self::Measure => None,
            Self::Train(train) | Self::TrainRows(train, _) => Some(train),
        }
    }

    /// Whether normalisations use the statistics of the batch (else their moving averages).
    pub fn batch_statistics(self) -> bool {
        !matches!(self, Self::Infer)
    }

    /// The number in the step of line `i` of a layer's input. The mask of a dropout depends on it.
    pub fn row(self, i: usize) -> u64 {
        match self {
            Self::Infer | Self::Measure => i as u64,
            Self::Train(train) => train.first_row + i as u64,
            Self::TrainRows(train, RowNumbers { rows, lines }) => {
                (train.first_row + u64::from(rows[i / lines])) * lines as u64 + (i % lines) as u64
            }
        }
    }

    /// The mode for rows of a batch in this order.
    pub(crate) fn with_rows(self, rows: &'a [u32]) -> Self {
        self.training().map_or(self, |train| Self::TrainRows(train, RowNumbers { rows, lines: 1 }))
    }

    /// The mode for some of the rows.
    pub(crate) fn of_rows(self, of: Range<usize>) -> Self {
        match self {
            Self::TrainRows(train, RowNumbers { rows, lines }) => {
                Self::TrainRows(train, RowNumbers { rows: &rows[of], lines })
            }
            other => other,
        }
    }

    /// The mode for values that all rows of a step share: their lines are not rows.
    pub(crate) fn of_no_row(self) -> Self {
        self.training().map_or(self, |train| Self::Train(Train { first_row: 0, ..train }))
    }

    /// The mode of a layer that reads this number of lines for each row.
    pub(crate) fn of_lines(self, lines: usize) -> Self {
        match self {
            Self::TrainRows(train, rows) => Self::TrainRows(train, RowNumbers { lines, ..rows }),
            other => other,
        }
    }
}

impl From<Infer> for Mode<'_> {
    fn from(_: Infer) -> Self {
        Self::Infer
    }
}

impl From<Train> for Mode<'_> {
    fn from(train: Train) -> Self {
        Self::Train(train)
    }
}

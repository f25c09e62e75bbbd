//! How a pass runs: inference or training.

use std::ops::Range;

/// How a forward pass runs. A layer takes it by value; a [`Cache`](crate::model::Cache) has [`Infer`] or [`Train`] in its type, so that
/// [`Model::backward`](crate::Model::backward) cannot be called on what a prediction left.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Moving averages, no dropout.
    Infer,
    /// The statistics of the batch, no dropout. It shows how far moving averages are from the statistics of the rows; no gradient is taken.
    Measure,
    /// The statistics of the batch, and dropout.
    Train(Train),
    /// As `Train`, for rows of a batch in another order.
    TrainRows(Train, Rows<'a>),
}

/// Which rows of a batch a layer reads.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    rows: &'a [u32],
    /// How many neighbouring lines of the layer's input are one row.
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
    /// The number in the step of the batch's first row: 0, the default, unless the rows of a step are shared out over several batches.
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

    /// Whether normalisations take the statistics of the batch, or their moving averages.
    pub fn batch_statistics(self) -> bool {
        !matches!(self, Self::Infer)
    }

    /// The number in the step of line `i` of a layer's input, which masks of dropout are keyed by.
    pub fn row(self, i: usize) -> u64 {
        match self {
            Self::Infer | Self::Measure => i as u64,
            Self::Train(train) => train.first_row + i as u64,
            Self::TrainRows(train, Rows { rows, lines }) => {
                (train.first_row + u64::from(rows[i / lines])) * lines as u64 + (i % lines) as u64
            }
        }
    }

    /// For rows of a batch in this order.
    pub(crate) fn with_rows(self, rows: &'a [u32]) -> Self {
        self.training().map_or(self, |train| Self::TrainRows(train, Rows { rows, lines: 1 }))
    }

    /// For some of the rows.
    pub(crate) fn of_rows(self, of: Range<usize>) -> Self {
        match self {
            Self::TrainRows(train, Rows { rows, lines }) => Self::TrainRows(train, Rows { rows: &rows[of], lines }),
            other => other,
        }
    }

    /// For what is the same for all rows of a step, so that its lines are no rows.
    pub(crate) fn of_no_row(self) -> Self {
        self.training().map_or(self, |train| Self::Train(Train { first_row: 0, ..train }))
    }

    /// For a layer that reads this many lines for a row.
    pub(crate) fn of_lines(self, lines: usize) -> Self {
        match self {
            Self::TrainRows(train, rows) => Self::TrainRows(train, Rows { lines, ..rows }),
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

//! The mode of a pass: inference or training.

use std::ops::Range;

/// The mode of a forward pass: inference or training. It decides whether normalisations use the statistics of the batch, and whether there
/// is dropout.
///
/// The `forward` of a layer takes a `Mode`; `Infer.into()` and `Train::default().into()` make one. A whole model takes its mode from the
/// [`Cache`](crate::model::Cache), whose type has [`Infer`] or [`Train`], so that [`Model::backward`](crate::Model::backward) accepts only
/// the cache of a training pass.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Inference: normalises by the moving averages of the statistics ([`MovingAverage`](super::MovingAverage)), without dropout.
    Infer,
    /// A forward pass that normalises by the statistics of the batch, without dropout and without a backward pass. Compare its logits with
    /// those of [`Mode::Infer`]: if they differ, the moving averages are not those of these rows.
    Measure,
    /// Training: normalises by the statistics of the batch, with dropout.
    Train(Train),
    /// As [`Mode::Train`], for a layer whose input has only some of the batch's rows, or has them in another order. Nets make this mode.
    TrainRows(Train, RowNumbers<'a>),
}

/// The numbers of the rows of a batch that a layer reads, in the order of its input: a part of [`Mode::TrainRows`], which nets make. You
/// need it only to pass a mode on.
#[derive(Debug, Clone, Copy)]
pub struct RowNumbers<'a> {
    rows: &'a [u32],
    /// The number of consecutive lines of the layer's input that belong to one row.
    lines: usize,
}

/// Inference: normalisation by moving averages, no dropout. The score of a row does not depend on the other rows of the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Infer;

/// Training: normalisation by the statistics of the batch, and dropout. Which values a dropout sets to 0 depends on the seed, the step and
/// the number of the row in the step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Train {
    /// The seed of the dropout masks; default 0. Use one seed for a whole training run.
    pub seed: u64,
    /// The number of the step, counted from 0 over the whole training run; default 0. It must change from step to step, or masks repeat.
    pub step: u64,
    /// The number, in the step, of the first row of this batch; default 0. Set it only if you divide the rows of one step into several
    /// batches: then rows of different batches have different masks.
    pub first_row: u64,
}

impl<'a> Mode<'a> {
    /// Seed, step and first row of a training pass, which decide the dropout masks. `None` in the other modes, which have no dropout.
    pub fn training(self) -> Option<Train> {
        match self {
            Self::Infer | Self::Measure => None,
            Self::Train(train) | Self::TrainRows(train, _) => Some(train),
        }
    }

    /// Whether normalisations use the statistics of the batch. If not, they use their moving averages.
    pub fn batch_statistics(self) -> bool {
        !matches!(self, Self::Infer)
    }

    /// The number that line `i` of a layer's input, from 0, has in the step. The mask of a dropout depends on this number, so that a row
    /// has the same mask in whatever order a layer reads the rows.
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

//! The mode of a pass: inference or training.

use std::ops::Range;

/// The mode of a forward pass: inference or training. It decides two things: whether normalisations use the statistics of the batch, and
/// whether there is dropout.
///
/// The `forward` method of a layer takes a `Mode`; `Infer.into()` and `Train::default().into()` make one. A whole model takes its mode from
/// its [`Cache`](crate::model::Cache): the type of the cache names [`Infer`] or [`Train`]. So [`Model::backward`](crate::Model::backward)
/// accepts only the cache of a training pass.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Inference: normalisations use their moving averages ([`MovingAverage`](super::MovingAverage)); there is no dropout.
    Infer,
    /// A forward pass for a check of the moving averages: normalisations use the statistics of the batch, as in training; there is no
    /// dropout, and no backward pass may follow. Compare its logits with those of [`Mode::Infer`]: if they differ, the moving averages are
    /// not the statistics of these rows.
    Measure,
    /// Training: normalisations use the statistics of the batch; there is dropout.
    Train(Train),
    /// Training, as [`Mode::Train`], for a layer that reads only some rows of the batch, or reads them in another order. The [`RowNumbers`]
    /// say which. Nets make this mode.
    TrainRows(Train, RowNumbers<'a>),
}

/// The rows of a batch that a layer reads, as row numbers in the order of the layer's input. It is a part of [`Mode::TrainRows`]. Nets make
/// it; a layer only passes it on with the mode.
#[derive(Debug, Clone, Copy)]
pub struct RowNumbers<'a> {
    rows: &'a [u32],
    /// The number of consecutive lines of the layer's input that belong to one row.
    lines: usize,
}

/// Inference: normalisations use their moving averages, and there is no dropout. The score of a row does not depend on the other rows of
/// the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Infer;

/// Training: normalisations use the statistics of the batch, and there is dropout. Which values the dropout sets to 0 depends on the fields
/// below and on the position of the row in the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Train {
    /// The seed of the dropout masks; default 0. Use one seed for a whole training run.
    pub seed: u64,
    /// The number of the training step, counted from 0 over the whole training run; default 0. Give every step another number: with the
    /// same number, the dropout sets the same values to 0.
    pub step: u64,
    /// The number of the batch's first row in its training step; default 0. Set it only if you divide the rows of one step into several
    /// batches: if the second batch starts at row 512 of the step, its number is 512. Rows of different batches then have different dropout
    /// masks.
    pub first_row: u64,
}

impl<'a> Mode<'a> {
    /// The seed, the step and the first row of a training pass, which decide what a dropout sets to 0. `None` in the other modes, which
    /// have no dropout.
    pub fn training(self) -> Option<Train> {
        match self {
            Self::Infer | Self::Measure => None,
            Self::Train(train) | Self::TrainRows(train, _) => Some(train),
        }
    }

    /// Whether normalisations use the statistics of the batch. If false, they use their moving averages.
    pub fn batch_statistics(self) -> bool {
        !matches!(self, Self::Infer)
    }

    /// The number, within the training step, of line `i` of a layer's input. `i` counts from 0. If a layer reads several lines for each row,
    /// such as tokens, each line has a number of its own. The mask of a dropout depends on this number, so that a row has the same mask in
    /// whatever order the layer reads the rows.
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

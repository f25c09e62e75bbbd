//! How a pass runs: inference or training.

/// How a forward pass runs. A layer takes it by value; a [`Cache`](crate::model::Cache) has [`Infer`] or [`Train`] in its type, so that
/// [`Model::backward`](crate::Model::backward) cannot be called on what a prediction left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Moving averages, no dropout.
    Infer,
    /// The statistics of the batch, no dropout. It shows how far moving averages are from the statistics of the rows; no gradient is taken.
    Measure,
    /// The statistics of the batch, and dropout.
    Train(Train),
}

/// Inference: moving averages, no dropout; a row's score depends on that row alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Infer;

/// Training: batch statistics and dropout, whose masks are a function of seed and step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Train {
    /// The seed of the run.
    pub seed: u64,
    /// The step, counted over the whole run.
    pub step: u64,
}

impl Mode {
    /// The step whose dropout masks are used, or `None` without dropout.
    pub fn training(self) -> Option<Train> {
        if let Self::Train(train) = self { Some(train) } else { None }
    }

    /// Whether normalisations take the statistics of the batch, or their moving averages.
    pub fn batch_statistics(self) -> bool {
        self != Self::Infer
    }
}

impl From<Infer> for Mode {
    fn from(_: Infer) -> Self {
        Self::Infer
    }
}

impl From<Train> for Mode {
    fn from(train: Train) -> Self {
        Self::Train(train)
    }
}

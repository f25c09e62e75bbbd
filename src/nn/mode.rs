//! Training and inference, told apart by type.

/// Whether a forward pass trains or predicts. It is the type parameter of a [`Cache`](crate::model::Cache), so that
/// `backward` cannot be called on what a prediction left behind.
pub trait Mode: Copy + Default + Send + Sync + 'static {
    /// The step whose randomness is used, or `None` where nothing is random.
    fn training(self) -> Option<Train>;

    /// Whether normalisations take the statistics of the batch, as in training, or their moving averages.
    fn batch_statistics(self) -> bool {
        self.training().is_some()
    }
}

/// Inference: moving averages, no dropout; a row's score depends on that row alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Infer;

/// What training computes apart from dropout: the statistics of the batch, every unit kept. It shows how far moving averages
/// are from the statistics of the rows; no gradient is taken of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure;

/// Training: batch statistics and dropout, whose masks are a function of seed and step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Train {
    /// The seed of the run.
    pub seed: u64,
    /// The step, counted over the whole run.
    pub step: u64,
}

impl Mode for Infer {
    fn training(self) -> Option<Train> {
        None
    }
}

impl Mode for Measure {
    fn training(self) -> Option<Train> {
        None
    }

    fn batch_statistics(self) -> bool {
        true
    }
}

impl Mode for Train {
    fn training(self) -> Option<Train> {
        Some(self)
    }
}

//! Training and inference, told apart by type.

/// Whether a forward pass trains or predicts. It is the type parameter of a [`Cache`](crate::model::Cache), so that
/// `backward` cannot be called on what a prediction left behind.
pub trait Mode: Copy + Default + Send + Sync + 'static {
    /// The step whose randomness and batch statistics are used, or `None` in inference.
    fn training(self) -> Option<Train>;
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

impl Mode for Infer {
    fn training(self) -> Option<Train> {
        None
    }
}

impl Mode for Train {
    fn training(self) -> Option<Train> {
        Some(self)
    }
}

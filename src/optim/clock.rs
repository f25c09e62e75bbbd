//! How far training has come.

use serde::{Deserialize, Serialize};

/// The numbers of epochs and steps that a training run has completed. Learning-rate schedules, weights of the loss that change over time,
/// and dropout masks depend on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The number of completed epochs: 0 during the first epoch, 1 during the second.
    pub epoch: u64,
    /// The number of completed optimizer steps over all epochs: 0 during the first step, 1 during the second.
    pub step: u64,
}

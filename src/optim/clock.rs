//! How far training has come.

use serde::{Deserialize, Serialize};

/// How far training has come, in epochs and steps. Learning-rate schedules and adaptive loss weights depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The number of completed epochs: 0 during the first epoch.
    pub epoch: u64,
    /// The number of completed optimizer steps over all epochs: 0 during the first step.
    pub step: u64,
}

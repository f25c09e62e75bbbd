//! How far training has come.

use serde::{Deserialize, Serialize};

/// How far training has come: what schedules and task weights depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Completed epochs; 0 in the first.
    pub epoch: u64,
    /// Completed optimizer steps over all epochs; 0 at the first.
    pub step: u64,
}

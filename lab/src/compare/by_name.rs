//! Lists that are maps by name in files, in the same order.

use serde::{Serialize, Serializer};

/// Results of one task.
pub(super) trait OfTask {
    /// The task's name.
    fn task(&self) -> &str;
}

/// Named values as a map by name.
pub(super) fn by_name<S: Serializer, T: Serialize>(values: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(name, value)| (name, value)))
}

/// Results of tasks as a map by task.
pub(super) fn by_task<S: Serializer, T: OfTask + Serialize>(tasks: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tasks.iter().map(|task| (task.task(), task)))
}

//! A branch of a model with several outputs.

use serde::{Deserialize, Serialize};

use super::params::escape;
use crate::data::{DomainId, Layout};

/// Whom a branch (its own experts, its gate, its tower) serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Branch {
    /// One task, for the rows of every domain.
    Task(usize),
    /// One domain, for all tasks.
    Domain(DomainId),
    /// One task in one domain.
    Both(DomainId, usize),
}

impl Branch {
    /// The one task it answers, or `None` when it answers all.
    pub fn task(self) -> Option<usize> {
        match self {
            Self::Task(task) | Self::Both(_, task) => Some(task),
            Self::Domain(_) => None,
        }
    }

    /// The one domain it serves, or `None` when it serves all.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Domain(domain) | Self::Both(domain, _) => Some(domain),
            Self::Task(_) => None,
        }
    }

    /// Its name in dotted names and tables: the task, the domain, or `domain/task`.
    ///
    /// # Panics
    /// If `layout` has no such domain or task.
    pub fn name(self, layout: &Layout) -> String {
        let domain = |d: DomainId| d.index().map_or("shared".into(), |i| escape(&layout.domains[i]));
        let task = |t: usize| escape(&layout.tasks[t]);
        match self {
            Self::Task(t) => task(t),
            Self::Domain(d) => domain(d),
            Self::Both(d, t) => format!("{}/{}", domain(d), task(t)),
        }
    }
}

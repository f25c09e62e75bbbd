//! The branches of a model: what has experts, a gate or a tower of its own.

use serde::{Deserialize, Serialize};

use super::params::escape;
use crate::data::{DomainId, Layout};

/// The rows and tasks that a branch (its own experts, its gate, its tower) computes logits for.
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
    /// The task whose logits it computes, or `None` for all tasks.
    pub fn task(self) -> Option<usize> {
        match self {
            Self::Task(task) | Self::Both(_, task) => Some(task),
            Self::Domain(_) => None,
        }
    }

    /// The domain whose rows it reads, or `None` for the rows of all domains.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Domain(domain) | Self::Both(domain, _) => Some(domain),
            Self::Task(_) => None,
        }
    }

    /// Its name in parameter names and tables: the task, the domain, or `domain/task`.
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

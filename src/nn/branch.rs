//! The branches of a model: what has experts, a gate or a tower of its own.

use serde::{Deserialize, Serialize};

use super::params::escape;
use crate::data::{DomainId, Layout};

/// The name of a branch: which rows and which tasks it computes logits for. A branch is a part of a model with parameters of its own, such
/// as experts, a gate or a tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Branch {
    /// One task, for the rows of all domains. The number is the position of the task in [`Layout::tasks`], from 0.
    Task(usize),
    /// One domain: the branch computes the logits of all tasks, for the rows of this domain.
    Domain(DomainId),
    /// One task in one domain. The number is the position of the task in [`Layout::tasks`], from 0.
    Both(DomainId, usize),
}

impl Branch {
    /// The position in [`Layout::tasks`] of the task whose logits the branch computes, or `None` if it computes those of all tasks.
    pub fn task(self) -> Option<usize> {
        match self {
            Self::Task(task) | Self::Both(_, task) => Some(task),
            Self::Domain(_) => None,
        }
    }

    /// The domain whose rows the branch reads, or `None` if it reads the rows of all domains.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Domain(domain) | Self::Both(domain, _) => Some(domain),
            Self::Task(_) => None,
        }
    }

    /// The branch in parameter names and in printed tables: the name of the task, the name of the domain, or `domain/task`. In each name
    /// `%`, `.` and `/` are written `%25`, `%2E` and `%2F`. [`DomainId::SHARED`] is written `shared`.
    ///
    /// # Panics
    /// If `layout` does not have the task or the domain of this branch.
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

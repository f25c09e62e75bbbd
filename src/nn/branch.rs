//! The branches of a model: what has experts, a gate or a tower of its own.

use serde::{Deserialize, Serialize};

use super::params::escape;
use crate::data::{DomainId, Layout};

/// The identity of a branch. A *branch* is a part of a model with parameters of its own, such as experts, a gate or a tower (a stack of
/// layers that ends in logits). The variant says for which rows and for which tasks the branch computes logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Branch {
    /// The branch computes the logits of one task, for the rows of all domains. The number is the position of the task in
    /// [`Layout::tasks`], from 0.
    Task(usize),
    /// The branch computes the logits of all tasks, for the rows of this domain alone.
    Domain(DomainId),
    /// The branch computes the logits of one task, for the rows of one domain. The number is the position of the task in [`Layout::tasks`],
    /// from 0.
    Both(DomainId, usize),
}

impl Branch {
    /// The position in [`Layout::tasks`] of the task whose logits the branch computes. `None` if it computes the logits of all tasks.
    pub fn task(self) -> Option<usize> {
        match self {
            Self::Task(task) | Self::Both(_, task) => Some(task),
            Self::Domain(_) => None,
        }
    }

    /// The domain whose rows the branch reads. `None` if it reads the rows of all domains.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Domain(domain) | Self::Both(domain, _) => Some(domain),
            Self::Task(_) => None,
        }
    }

    /// The name of the branch, as in parameter names and in printed tables. It is the name of the task, the name of the domain, or
    /// `DOMAIN/TASK` if the branch has both. `layout` is the layout of the model; it has the names.
    ///
    /// In the names of domains and tasks, `%`, `.` and `/` are replaced by `%25`, `%2E` and `%2F`. The name of [`DomainId::SHARED`] is
    /// `shared`.
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

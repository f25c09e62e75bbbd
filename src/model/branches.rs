//! The branches of a model.

use serde::{Deserialize, Serialize};

use super::NetConfig;
use crate::data::{DomainId, Layout};
use crate::error::Problems;
use crate::nn::Branch;

/// What a branch of a model is. A branch is a part with its own output, and its own experts, bottoms, gates or towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// [`Branches::Domains`] if there are several domains and one task, otherwise [`Branches::Tasks`]. The default. Settings that are built
    /// hold the choice instead of `Auto`.
    #[default]
    Auto,
    /// One branch per task, as in the papers. Rows of all domains pass all branches, so the net ignores the domain. With several domains,
    /// [`NetConfig::warnings`] says so; list the domain among the features, or choose other branches.
    Tasks,
    /// One branch per domain. Its tower predicts all tasks.
    Domains,
    /// One branch per domain and task.
    DomainsAndTasks,
}

impl Branches {
    /// The choice for this layout if this is [`Branches::Auto`], otherwise the value itself.
    pub fn resolve(self, layout: &Layout) -> Self {
        match self {
            Self::Auto if layout.domains.len() > 1 && layout.tasks.len() == 1 => Self::Domains,
            Self::Auto => Self::Tasks,
            chosen => chosen,
        }
    }

    /// All branches for this layout, in order: by domain, then by task.
    pub fn of(self, layout: &Layout) -> Vec<Branch> {
        match self.resolve(layout) {
            Self::Auto | Self::Tasks => (0..layout.tasks.len()).map(Branch::Task).collect(),
            other => (0..layout.domains.len()).flat_map(|d| other.of_domain(DomainId::new(d), layout)).collect(),
        }
    }

    /// The number of branches for this layout.
    pub(crate) fn count(self, layout: &Layout) -> usize {
        let (domains, tasks) = (layout.domains.len(), layout.tasks.len());
        match self.resolve(layout) {
            Self::Auto | Self::Tasks => tasks,
            Self::Domains => domains,
            Self::DomainsAndTasks => domains.saturating_mul(tasks),
        }
    }

    /// The number of branches that predict for a row of a known domain.
    pub(crate) fn answering(self, layout: &Layout) -> usize {
        if self.resolve(layout) == Self::Domains { 1 } else { layout.tasks.len() }
    }

    /// The branch at this position in [`Branches::of`].
    pub(crate) fn nth(self, index: usize, layout: &Layout) -> Branch {
        match self.resolve(layout) {
            Self::Auto | Self::Tasks => Branch::Task(index),
            Self::Domains => Branch::Domain(DomainId::new(index)),
            Self::DomainsAndTasks => {
                let tasks = layout.tasks.len();
                Branch::Both(DomainId::new(index / tasks), index % tasks)
            }
        }
    }

    /// The branches of one domain; empty if branches are tasks.
    pub fn of_domain(self, domain: DomainId, layout: &Layout) -> Vec<Branch> {
        match self.resolve(layout) {
            Self::Auto | Self::Tasks => Vec::new(),
            Self::Domains => vec![Branch::Domain(domain)],
            Self::DomainsAndTasks => (0..layout.tasks.len()).map(|task| Branch::Both(domain, task)).collect(),
        }
    }

    /// Notes an invalid `built_with`.
    pub(crate) fn check(self, layout: &Layout, built_with: Option<usize>, problems: &mut Problems) {
        let count = self.count(layout);
        let built_with = built_with.unwrap_or(count);
        problems.require(built_with <= count && (built_with >= 1 || count == 0), || {
            format!("built_with: 1 to {count}, the number of branches, found {built_with}")
        });
        // Domains can be added, tasks cannot.
        let (what, each) = match self.resolve(layout) {
            Self::Auto | Self::Tasks => ("all tasks", count),
            Self::Domains => ("whole domains", 1),
            Self::DomainsAndTasks => ("whole domains", layout.tasks.len()),
        };
        problems.require(built_with.is_multiple_of(each.max(1)), || {
            format!("built_with: {what}, a multiple of {each}, found {built_with}")
        });
    }
}

/// The settings of a net with branches.
pub trait BranchedConfig: NetConfig {
    /// What the branches are.
    fn branches(&self) -> Branches;

    /// The number of branches before any domain was added. Only these are used for rows of no known domain. `None` means all branches.
    fn built_with(&self) -> Option<usize>;
}

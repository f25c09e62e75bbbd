//! The branches of a model.

use serde::{Deserialize, Serialize};

use super::NetConfig;
use crate::data::{DomainId, Layout};
use crate::error::Problems;
use crate::nn::Branch;

/// What the branches of a model stand for: tasks, domains, or tasks in domains. A branch is a part of the net with its own output: it has
/// its own tower (the layers that compute its logits) and, depending on the model, its own experts, bottom or gate. In a settings file the
/// names are `"auto"` (the default), `"tasks"`, `"domains"` and `"domains_and_tasks"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// Stands for [`Branches::Domains`] if the layout has several domains and one task, otherwise for [`Branches::Tasks`]. It is the
    /// default of most models. The method `build` of a builder replaces `Auto` by one of these two, so built settings never have the value
    /// `Auto`.
    #[default]
    Auto,
    /// One branch for each task, as in the papers on multi-task models. Each branch computes its logit for the rows of all domains, so the
    /// net ignores the domain. If the layout has several domains, [`NetConfig::warnings`] warns of this. Then choose other branches, or
    /// list the domain's column among the features.
    Tasks,
    /// One branch for each domain. It predicts all tasks, for the rows of its domain only.
    Domains,
    /// One branch for each task in each domain. It predicts its task, for the rows of its domain only.
    DomainsAndTasks,
}

impl Branches {
    /// Returns what [`Branches::Auto`] stands for with this layout: [`Branches::Domains`] or [`Branches::Tasks`]. Returns all other values
    /// unchanged.
    pub fn resolve(self, layout: &Layout) -> Self {
        match self {
            Self::Auto if layout.domains.len() > 1 && layout.tasks.len() == 1 => Self::Domains,
            Self::Auto => Self::Tasks,
            chosen => chosen,
        }
    }

    /// Lists the branches that a model with the layout `layout` has. Their order is:
    ///
    /// | branches | order |
    /// |---|---|
    /// | tasks | the tasks in the order of [`Layout::tasks`] |
    /// | domains | the domains in the order of [`Layout::domains`] |
    /// | tasks in domains | all tasks of the first domain, then all tasks of the second domain, and so on |
    ///
    /// [`Branches::Auto`] gives the list of the value that it stands for ([`Branches::resolve`]). The position of a branch in this list, from
    /// 0, is its position in [`Builder::branches`](crate::net::Builder::branches).
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

    /// Lists the branches that predict only for rows of the domain `domain`: one for [`Branches::Domains`], one for each task, in the order
    /// of [`Layout::tasks`], for [`Branches::DomainsAndTasks`]. If branches are tasks, the list is empty, because each of them predicts for
    /// all domains. It is not checked whether `layout` has the domain.
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

/// The settings of a model with branches. A branch is a part of the net with its own output: there is one for each task, for each domain, or
/// for each task in each domain ([`Branches`]).
pub trait BranchedConfig: NetConfig {
    /// What the branches stand for: tasks, domains, or tasks in domains. In settings that were built it is never [`Branches::Auto`].
    fn branches(&self) -> Branches;

    /// The number n of branches that the model had before any domain was added; `None` means that all branches existed then. Rows of no known
    /// domain use only the first n branches of [`Branches::of`].
    fn built_with(&self) -> Option<usize>;
}

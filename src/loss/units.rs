//! What a loss is taken of.

use serde::{Deserialize, Serialize};

use crate::data::{DomainId, Layout};
use crate::nn::Branch;

/// What a *unit* of the objective is: a task, a domain, or a pair of both.
///
/// The [`Objective`](super::Objective) computes one loss `L_k` for each unit k in every step, and sums these losses with one weight for each unit.
/// Every label belongs to exactly one unit. Means are over rows with a label, and rows count by their weights. In a file: `"tasks"`, `"domains"` or
/// `"domains_and_tasks"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Units {
    /// One unit for each task k (the default): `L_k` is the mean loss over the rows of all domains that have a label for task k. So a domain with
    /// more rows has more influence.
    #[default]
    Tasks,
    /// One unit for each domain d: `L_d = Σ_k L_dk`, where k is a task and `L_dk` is the mean loss over the rows of domain d that have a label for
    /// task k. The influence of a domain depends on the weight of its unit, not on its number of rows. With one domain and all weights 1, the total
    /// loss equals that of [`Units::Tasks`].
    Domains,
    /// One unit for each pair of a domain d and a task k: `L_dk` is the mean loss over the rows of d that have a label for k. The weights can then
    /// differ between all pairs.
    DomainsAndTasks,
}

impl Units {
    /// Returns the number of units for `layout`: its number of tasks, its number of domains, or the product of both.
    pub fn count(self, layout: &Layout) -> usize {
        self.branches(layout).count()
    }

    /// Iterates over the names of all units for `layout`. Every list with one entry for each unit has this order, for example the weights of an
    /// [`Objective`](super::Objective).
    ///
    /// The name of a unit is that of its task or its domain, in the order of the layout. For [`Units::DomainsAndTasks`] it is `domain/task`: all
    /// tasks of the first domain come first, then all tasks of the second, and so on. The characters `%`, `.` and `/` inside the name of a task or
    /// domain are written `%25`, `%2E` and `%2F`.
    pub fn names(self, layout: &Layout) -> impl Iterator<Item = String> {
        self.branches(layout).map(|branch| branch.name(layout))
    }

    fn branches(self, layout: &Layout) -> impl Iterator<Item = Branch> {
        let (domains, tasks) = (layout.domains.len(), layout.tasks.len());
        let count = match self {
            Self::Tasks => tasks,
            Self::Domains => domains,
            Self::DomainsAndTasks => domains * tasks,
        };
        (0..count).map(move |unit| match self {
            Self::Tasks => Branch::Task(unit),
            Self::Domains => Branch::Domain(DomainId::new(unit)),
            Self::DomainsAndTasks => Branch::Both(DomainId::new(unit / tasks), unit % tasks),
        })
    }

    /// The unit of a row's label for one of `tasks` tasks.
    ///
    /// # Panics
    /// If the units tell domains apart and the row has no known one.
    pub(crate) fn of(self, domains: &[DomainId], row: usize, task: usize, tasks: usize) -> usize {
        let domain = || domains[row].index().expect("training rows have a domain; DomainId::SHARED is for prediction");
        match self {
            Self::Tasks => task,
            Self::Domains => domain(),
            Self::DomainsAndTasks => domain() * tasks + task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_belongs_to_the_unit_of_its_name() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (domains, tasks) = (names(&["search", "a.b"]), names(&["click", "buy", "cart"]));
        let layout = Layout { domains, tasks, ..Layout::default() };
        let rows = [DomainId::new(1), DomainId::new(0)];
        for (units, count, label) in [
            (Units::Tasks, 3, ["buy", "cart"]),
            (Units::Domains, 2, ["a%2Eb", "search"]),
            (Units::DomainsAndTasks, 6, ["a%2Eb/buy", "search/cart"]),
        ] {
            let names: Vec<String> = units.names(&layout).collect();
            assert_eq!((units.count(&layout), names.len()), (count, count));
            let of = [units.of(&rows, 0, 1, 3), units.of(&rows, 1, 2, 3)].map(|unit| names[unit].as_str());
            assert_eq!(of, label, "{units:?}");
        }
    }
}

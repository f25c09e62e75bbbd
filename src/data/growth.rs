//! What an encoder learned from new rows.

use std::fmt;

/// The new values and domains that [`Encoder::extend`](super::Encoder::extend) found and gave ids to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Growth {
    /// The embedding tables for which there are new values: the name of each table, and the number of its new values, at least 1. They are in
    /// the order of the schema's features. A table has the name of its feature, unless the feature names another table.
    pub values: Vec<(String, usize)>,
    /// The names of the new domains, in the order of their ids.
    pub domains: Vec<String>,
}

impl Growth {
    /// Returns true if there are no new values and no new domains.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.domains.is_empty()
    }
}

impl fmt::Display for Growth {
    /// Writes the new values and domains in one line, such as `item: 12 new values; tags: 1 new value; new domains: "partner"`, or
    /// `nothing new`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "nothing new");
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let values = self.values.iter().map(|(name, count)| format!("{name}: {count} new value{}", plural(*count)));
        let domains = &self.domains;
        let named = (!domains.is_empty())
            .then(|| format!("new domain{}: {}", plural(domains.len()), super::names::listed(domains)));
        write!(f, "{}", values.chain(named).collect::<Vec<_>>().join("; "))
    }
}

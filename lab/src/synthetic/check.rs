//! Which settings can be.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use starple::Problems;
use starple::Result;

use super::config::{Numeric, PROBABILITY_PREFIX, SPLIT_COLUMN, SyntheticConfig, SyntheticConfigBuilder};

impl SyntheticConfigBuilder {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](starple::ErrorKind::Config), naming every setting that cannot be.
    pub fn build(mut self) -> Result<SyntheticConfig> {
        let mut problems = Problems::default();
        for (task, domain) in std::mem::take(&mut self.unreported) {
            if let Some(task) = self.tasks.iter_mut().find(|known| known.name == task) {
                task.unreported_in.push(domain);
            } else {
                problems.require(false, || format!("unreported: no task {task:?}"));
            }
        }
        self.check_columns(&mut problems);
        self.check_strengths(&mut problems);
        self.check_sizes(&mut problems);
        problems.into_result("SyntheticConfig")?;
        Ok(SyntheticConfig(self))
    }

    fn check_columns(&self, problems: &mut Problems) {
        let mut seen = HashSet::from([SPLIT_COLUMN.to_owned()]);
        let features = self.categorical.iter().map(|field| &field.name);
        let features = features.chain(self.numeric.iter().map(|column| &column.name));
        let features = features.chain(self.bags.iter().map(|bag| &bag.name)).chain([&self.domain_column]).cloned();
        let tasks = self.tasks.iter().flat_map(|t| [t.name.clone(), format!("{PROBABILITY_PREFIX}{}", t.name)]);
        for name in features.chain(tasks) {
            problems.require(!name.is_empty(), || "columns: a name is empty".into());
            problems.require(seen.insert(name.clone()), || format!("columns: {name:?} is there twice"));
        }
        let mut domains = HashSet::new();
        for domain in &self.domains {
            problems.require(!domain.is_empty(), || "domains: a name is empty".into());
            problems.require(domains.insert(domain), || format!("domains: {domain:?} is there twice"));
        }
        for (number, task) in self.tasks.iter().enumerate() {
            if let Some(given) = &task.given {
                problems.require(self.tasks[..number].iter().any(|earlier| earlier.name == *given), || {
                    format!("task {:?}: given {given:?}, which is no earlier task", task.name)
                });
            }
            for domain in &task.unreported_in {
                problems.require(domains.contains(domain), || {
                    format!("task {:?}: unreported in {domain:?}, which is no domain", task.name)
                });
            }
        }
    }

    fn check_strengths(&self, problems: &mut Problems) {
        let mut within = |name: &str, value: f64, range: RangeInclusive<f64>| {
            problems.require(range.contains(&value), || {
                format!("{name}: expected {} to {}, found {value}", range.start(), range.end())
            });
        };
        within("domain_tail", self.domain_tail, 0.0..=100.0);
        within("popularity", self.popularity, 0.0..=5.0);
        within("feature_shift", self.feature_shift, 0.0..=5.0);
        within("rate_shift", self.rate_shift, 0.0..=5.0);
        within("importance_shift", self.importance_shift, 0.0..=5.0);
        within("own", self.own, 0.0..=1.0);
        within("interaction", self.interaction, 0.0..=1.0);
        within("task_correlation", self.task_correlation, 0.0..=1.0);
        within("signal", self.signal, 0.0..=100.0);
        within("missing", self.missing, 0.0..=1.0);
        for task in &self.tasks {
            problems.require(task.rate > 0.0 && task.rate < 1.0, || {
                format!("task {:?}: rate: expected 0 < rate < 1, found {}", task.name, task.rate)
            });
        }
        for Numeric { name, mean, std, decimals } in &self.numeric {
            problems.require(mean.is_finite(), || format!("numeric {name:?}: mean: expected a number, found {mean}"));
            problems.require(std.is_finite() && *std > 0.0, || {
                format!("numeric {name:?}: std: expected a number above 0, found {std}")
            });
            problems.require(*decimals <= 9, || format!("numeric {name:?}: decimals: at most 9, found {decimals}"));
        }
    }

    fn check_sizes(&self, problems: &mut Problems) {
        problems.require(!self.domains.is_empty(), || "domains: at least one".into());
        problems.require(!self.tasks.is_empty(), || "tasks: at least one".into());
        problems.require(!self.categorical.is_empty(), || "categorical: at least one field".into());
        problems.require(self.latent > 0, || "latent: at least 1".into());
        let sizes = self.categorical.iter().map(|field| (&field.name, field.values));
        for (name, values) in sizes.chain(self.bags.iter().map(|bag| (&bag.name, bag.values))) {
            problems.require((2..u32::MAX as usize).contains(&values), || {
                format!("field {name:?}: values: expected 2 to {}, found {values}", u32::MAX - 1)
            });
        }
        for bag in &self.bags {
            problems.require(bag.longest > 0, || format!("bag {:?}: longest: at least 1", bag.name));
        }
        let cells = self.bags.iter().map(|bag| bag.longest).max().unwrap_or(1).saturating_mul(self.rows);
        problems.require(cells < u32::MAX as usize, || {
            format!("rows: expected rows · longest bag below {}, found {cells}", u32::MAX)
        });
        let ends = self.domain_ends();
        let empty = ends.iter().zip([0].iter().chain(&ends)).filter(|(end, start)| end == start).count();
        problems.require(empty == 0, || format!("rows: {empty} domains would have none of {} rows", self.rows));

        // The shared and the own weights are built on one vector a task and a common one each, all orthogonal.
        let needed = 2 * (self.tasks.len() + 1);
        let [linear, interaction] = self.blocks();
        let enough = linear >= needed && (self.interaction == 0.0 || interaction >= needed);
        problems.require(enough, || {
            format!(
                "latent: {} tasks need {needed} linear and (unless interaction = 0) {needed} interaction features, found \
                 {linear} and {interaction}: more fields or a larger latent",
                self.tasks.len()
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_setting_is_named() {
        let error = SyntheticConfig::builder()
            .rows(1)
            .domains(["a", "b", "b"])
            .task("click", 1.0)
            .task_given("cart", "buy", 0.5)
            .unreported("cart", "c")
            .unreported("view", "a")
            .categorical("user", 1)
            .numeric("click", f64::NAN, 0.0, 12)
            .bag("tags", 5, 0)
            .importance_shift(-1.0)
            .own(1.5)
            .missing(f64::NAN)
            .latent(0)
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "SyntheticConfig: unreported: no task \"view\"; columns: \"click\" is there twice; \
             domains: \"b\" is there twice; task \"cart\": given \"buy\", which is no earlier task; \
             task \"cart\": unreported in \"c\", which is no domain; \
             importance_shift: expected 0 to 5, found -1; own: expected 0 to 1, found 1.5; \
             missing: expected 0 to 1, found NaN; task \"click\": rate: expected 0 < rate < 1, found 1; \
             numeric \"click\": mean: expected a number, found NaN; \
             numeric \"click\": std: expected a number above 0, found 0; \
             numeric \"click\": decimals: at most 9, found 12; latent: at least 1; \
             field \"user\": values: expected 2 to 4294967294, found 1; bag \"tags\": longest: at least 1; \
             rows: 2 domains would have none of 1 rows; \
             latent: 2 tasks need 6 linear and (unless interaction = 0) 6 interaction features, found 1 and 0: \
             more fields or a larger latent"
        );
    }
}

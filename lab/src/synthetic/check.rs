//! Which settings are valid.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use starple::Problems;

use super::config::{Numeric, PROBABILITY_PREFIX, SPLIT_COLUMN, SyntheticConfigBuilder};

pub(super) fn columns(settings: &SyntheticConfigBuilder, problems: &mut Problems) {
    let mut seen = HashSet::from([SPLIT_COLUMN.to_owned()]);
    let features = settings.categorical.iter().map(|field| &field.name);
    let features = features.chain(settings.numeric.iter().map(|column| &column.name));
    let features = features.chain(settings.bags.iter().map(|bag| &bag.name)).chain([&settings.domain_column]).cloned();
    let tasks = settings.tasks.iter().flat_map(|t| [t.name.clone(), format!("{PROBABILITY_PREFIX}{}", t.name)]);
    for name in features.chain(tasks) {
        problems.require(!name.is_empty(), || "columns: a name is empty".into());
        problems.require(seen.insert(name.clone()), || format!("columns: {name:?} is listed twice"));
    }
    let mut domains = HashSet::new();
    for domain in &settings.domains {
        problems.require(!domain.is_empty(), || "domains: a name is empty".into());
        problems.require(domains.insert(domain), || format!("domains: {domain:?} is listed twice"));
    }
    for (number, task) in settings.tasks.iter().enumerate() {
        if let Some(given) = &task.given {
            problems.require(settings.tasks[..number].iter().any(|earlier| earlier.name == *given), || {
                format!("task {:?}: given {given:?}, which is no earlier task", task.name)
            });
        }
    }
    for (task, domain) in &settings.unreported {
        let known = settings.tasks.iter().any(|known| known.name == *task);
        problems.require(known, || format!("unreported: no task {task:?}"));
        problems.require(domains.contains(domain), || format!("unreported: no domain {domain:?}"));
    }
}

pub(super) fn strengths(settings: &SyntheticConfigBuilder, problems: &mut Problems) {
    let mut within = |name: &str, value: f64, range: RangeInclusive<f64>| {
        problems.require(range.contains(&value), || {
            format!("{name}: expected {} to {}, found {value}", range.start(), range.end())
        });
    };
    within("domain_tail", settings.domain_tail, 0.0..=100.0);
    within("popularity", settings.popularity, 0.0..=5.0);
    within("feature_shift", settings.feature_shift, 0.0..=5.0);
    within("rate_shift", settings.rate_shift, 0.0..=5.0);
    within("importance_shift", settings.importance_shift, 0.0..=5.0);
    within("own", settings.own, 0.0..=1.0);
    within("interaction", settings.interaction, 0.0..=1.0);
    within("task_correlation", settings.task_correlation, 0.0..=1.0);
    within("signal", settings.signal, 0.0..=100.0);
    within("fresh", settings.fresh, 0.0..=0.9);
    within("rate_drift", settings.rate_drift, 0.0..=5.0);
    within("missing", settings.missing, 0.0..=1.0);
    for task in &settings.tasks {
        problems.require(task.rate > 0.0 && task.rate < 1.0, || {
            format!("task {:?}: rate: expected 0 < rate < 1, found {}", task.name, task.rate)
        });
    }
    for Numeric { name, mean, std, decimals } in &settings.numeric {
        problems.require(mean.is_finite(), || format!("numeric {name:?}: mean: expected a number, found {mean}"));
        problems.require(std.is_finite() && *std > 0.0, || {
            format!("numeric {name:?}: std: expected a number above 0, found {std}")
        });
        problems.require(*decimals <= 9, || format!("numeric {name:?}: decimals: at most 9, found {decimals}"));
    }
}

pub(super) fn sizes(settings: &SyntheticConfigBuilder, problems: &mut Problems) {
    problems.require(!settings.domains.is_empty(), || "domains: at least one".into());
    problems.require(!settings.tasks.is_empty(), || "tasks: at least one".into());
    problems.require(!settings.categorical.is_empty(), || "categorical: at least one field".into());
    problems.require(settings.latent > 0, || "latent: at least 1".into());
    let sizes = settings.categorical.iter().map(|field| (&field.name, field.values));
    for (name, values) in sizes.chain(settings.bags.iter().map(|bag| (&bag.name, bag.values))) {
        problems.require((2..u32::MAX as usize).contains(&values), || {
            format!("field {name:?}: values: expected 2 to {}, found {values}", u32::MAX - 1)
        });
    }
    for bag in &settings.bags {
        problems.require(bag.longest > 0, || format!("bag {:?}: longest: at least 1", bag.name));
    }
    let cells = settings.bags.iter().map(|bag| bag.longest).max().unwrap_or(1).saturating_mul(settings.rows);
    problems.require(cells < u32::MAX as usize, || {
        format!("rows: expected rows · longest bag below {}, found {cells}", u32::MAX)
    });
    let ends = settings.domain_ends();
    let empty = ends.iter().zip([0].iter().chain(&ends)).filter(|(end, start)| end == start).count();
    problems.require(empty == 0, || format!("rows: {empty} domains would have none of {} rows", settings.rows));

    // The shared and the own weights are each built from one vector per task and a common one, all orthogonal.
    let needed = 2 * (settings.tasks.len() + 1);
    let [linear, interaction] = settings.blocks();
    let enough = linear >= needed && (settings.interaction == 0.0 || interaction >= needed);
    problems.require(enough, || {
        format!(
            "latent: {} tasks need {needed} linear and (unless interaction = 0) {needed} interaction features, found \
             {linear} and {interaction}: more fields or a larger latent",
            settings.tasks.len()
        )
    });
}

#[cfg(test)]
mod tests {
    use crate::synthetic::SyntheticConfig;

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
            "SyntheticConfig: columns: \"click\" is listed twice; \
             domains: \"b\" is listed twice; task \"cart\": given \"buy\", which is no earlier task; \
             unreported: no domain \"c\"; unreported: no task \"view\"; \
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

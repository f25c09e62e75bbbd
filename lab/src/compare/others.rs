//! Results of other programs on the same rows, such as boosted trees.

use serde::Deserialize;
use serde_json::Value;
use starple::metrics::{Measures, Report};
use starple::train::FitReport;
use starple::{Problems, Result};

use super::comparison::places;
use super::{Comparison, RunResult, Standing};

/// The kind of contenders that another program trained.
pub(super) const OTHER: &str = "other program";

/// The results of another program on the rows of a comparison. [`Comparison::add_others`] adds them as a contender.
///
/// A file has a list of them: `[{"name": "LightGBM", "settings": {…}, "runs": [{"seed": 1, "seconds": 12.5, "test": {TASK: {…}}}]}]`, where
/// `test` is written as a [`Report`] is. `benches/quality/trees.py` writes such a file for boosted trees.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherProgram {
    /// The name in tables. No contender may have it.
    pub name: String,
    /// The settings of the program, for reports; default `null`.
    #[serde(default)]
    pub settings: Value,
    /// One run for each seed.
    pub runs: Vec<OtherRun>,
}

/// One run of another program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherRun {
    /// The seed, with which gains are paired.
    pub seed: u64,
    /// The seconds that the training of all tasks took.
    pub seconds: f64,
    /// The metrics of the test rows, for all tasks of the comparison.
    pub test: Report,
}

impl Comparison {
    /// Adds the results of other programs, as contenders behind the others. They enter tables, gains and reports; they have no number of
    /// parameters, epochs or rows per second.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](starple::ErrorKind::Config), naming every problem: a name that a contender has, no run, a seed that occurs
    /// twice, or tasks, domains, or numbers of test rows or positives that are not those of the comparison's runs. Nothing changes then.
    pub fn add_others(&mut self, others: Vec<OtherProgram>) -> Result<()> {
        let mut problems = Problems::default();
        let own = self.contenders.iter().flat_map(Standing::judged).find_map(RunResult::judged);
        let expected = own.map(counts);
        let mut names: Vec<&str> = self.contenders.iter().map(|standing| standing.name.as_str()).collect();
        for OtherProgram { name, runs, .. } in &others {
            problems.require(!name.is_empty(), || "expected a name that is not empty".into());
            problems.require(!names.contains(&name.as_str()), || format!("{name:?}: a contender has this name"));
            names.push(name);
            problems.require(!runs.is_empty(), || format!("{name:?}: expected at least one run"));
            for (i, run) in runs.iter().enumerate() {
                let seed = run.seed;
                problems.require(!runs[..i].iter().any(|other| other.seed == seed), || {
                    format!("{name:?}: seed {seed} occurs twice")
                });
                let found = counts(&run.test);
                if let Some(expected) = &expected {
                    for problem in differences(expected, &found) {
                        problems.require(false, || format!("{name:?}, seed {seed}: {problem}"));
                    }
                }
            }
        }
        problems.into_result("results of other programs")?;
        self.contenders.extend(others.into_iter().map(OtherProgram::standing));
        Ok(())
    }
}

impl OtherProgram {
    fn standing(self) -> Standing {
        let runs = self.runs.into_iter().map(|run| {
            let fit = FitReport { train_seconds: run.seconds, ..FitReport::default() };
            RunResult { seed: run.seed, fit, failed: None, test: Some(run.test) }
        });
        let (model, runs) = (self.settings, runs.collect());
        Standing { name: self.name, kind: OTHER, model, train: Value::Null, parameters: None, runs }
    }
}

/// The labelled rows and positives of each task, over all rows and by domain.
type Counts = Vec<(String, [usize; 2])>;

fn counts(report: &Report) -> Counts {
    let of = |measures: &Measures| [measures.rows, measures.positives];
    let mut counts = Vec::new();
    for (task, domains) in places(std::iter::once(report)) {
        let Some(found) = report.task(task) else { continue };
        counts.push((format!("task {task:?}"), of(&found.all)));
        for domain in domains {
            let place = format!("task {task:?}, domain {domain:?}");
            counts.extend(found.domain(domain).map(|measures| (place, of(measures))));
        }
    }
    counts
}

/// What differs, as sentences. The order of domains does not matter, and a domain without labels need not be listed.
fn differences(expected: &Counts, found: &Counts) -> Vec<String> {
    let of = |counts: &Counts, place: &str| counts.iter().find(|(name, _)| name == place).map(|(_, counts)| *counts);
    let mut problems = Vec::new();
    for (place, own) in expected {
        let other = of(found, place).unwrap_or_default();
        if *own != other {
            let [[rows, positives], [other_rows, other_positives]] = [*own, other];
            problems.push(format!(
                "{place}: expected {rows} labelled test rows with {positives} positives, found {other_rows} with {other_positives}"
            ));
        }
    }
    let extra = found.iter().filter(|(place, counts)| counts[0] > 0 && of(expected, place).is_none());
    problems.extend(extra.map(|(place, _)| format!("{place}: the comparison has no such rows")));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::made_up::{comparison, report, standing};

    const DOMAINS: [&str; 2] = ["search", "feed"];

    fn other(name: &str, seeds: &[u64]) -> OtherProgram {
        let test = report(&["click"], &DOMAINS, |_, d| Some([0.75, 0.65][d]));
        let runs = seeds.iter().map(|&seed| OtherRun { seed, seconds: 2.0, test: test.clone() }).collect();
        OtherProgram { name: name.into(), settings: Value::Null, runs }
    }

    fn one() -> Comparison {
        comparison(vec![standing("single", &DOMAINS, &[&[0.7, 0.6], &[0.72, 0.62], &[0.74, 0.61]])])
    }

    #[test]
    fn others_are_read_and_join_tables_and_gains() {
        let text = r#"[{"name": "trees", "settings": {"trees": 10}, "runs": [{"seed": 1, "seconds": 2.5, "test": {"click": {
            "rows": 1000, "positives": 200, "auc": 0.75, "logloss": 0.3, "pcoc": 1.1, "ece": null, "gauc": null,
            "weighted": false, "mean_domain_auc": 0.75, "by_domain": {
            "feed": {"rows": 200, "positives": 40, "auc": 0.8, "logloss": 0.3, "pcoc": 1.0, "ece": null, "gauc": null},
            "search": {"rows": 100, "positives": 20, "auc": 0.7, "logloss": 0.3, "pcoc": 1.2, "ece": null, "gauc": null}}}}}]}]"#;
        let mut all = one();
        all.add_others(serde_json::from_str(text).unwrap()).unwrap();
        let trees = all.contender("trees").unwrap();
        assert_eq!((trees.rows_per_second(), trees.epochs()), (None, None));
        assert_eq!(trees.seconds().unwrap().mean, 2.5);
        assert_eq!(trees.scores()[0].all.pcoc.unwrap().mean, 1.1);
        let gains = all.gains_over_baseline(trees).unwrap();
        assert!((gains.tasks[0].domain("feed").unwrap().difference.mean - 0.2).abs() < 1e-12);
        let json = serde_json::to_value(&all).unwrap();
        let trees = &json["contenders"][1];
        assert!(trees["parameters"].is_null() && trees["train_rows_per_s"].is_null());
        assert_eq!(trees["model"]["trees"], 10);
        assert!(all.to_string().contains("trees"));
    }

    #[test]
    fn results_on_other_rows_are_refused() {
        let mut all = one();
        let mut wrong = other("trees", &[1, 1]);
        wrong.runs[1].test.tasks[0].domains[0].1.positives = 21;
        wrong.runs[0].test.tasks[0].domains[1].0 = "email".into();
        let error = all.add_others(vec![other("single", &[]), wrong]).unwrap_err().to_string();
        assert_eq!(
            error,
            "results of other programs: \"single\": a contender has this name; \"single\": expected at least one run; \
             \"trees\", seed 1: task \"click\", domain \"feed\": expected 200 labelled test rows with 40 positives, found 0 with 0; \
             \"trees\", seed 1: task \"click\", domain \"email\": the comparison has no such rows; \
             \"trees\": seed 1 occurs twice; \
             \"trees\", seed 1: task \"click\", domain \"search\": expected 100 labelled test rows with 20 positives, found 100 with 21"
        );
        assert_eq!(all, one());
        all.add_others(vec![other("trees", &[1])]).unwrap();
        assert_eq!(all.contenders.len(), 2);
    }
}

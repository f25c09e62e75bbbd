//! The result of a comparison.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use starple::Problems;
use starple::metrics::{Measures, Metric, Report, TaskReport};
use starple::{Error, ErrorKind, Result};

use super::by_name::{OfTask, by_name, by_task};
use super::others::OTHER;
use super::{Gains, RunResult, Summary};

/// All runs of all contenders, with their figures.
///
/// It displays as tables and serialises as `{"level", "baseline", "contenders": [{"name", "kind", "model", "train",
/// "parameters", "seeds", "failed", "train_rows_per_s", "seconds", "epochs", "test": {TASK: {…, "by_domain": {DOMAIN: {…}}}},
/// "gains", "runs"}]}`; the [module](super) explains the figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The chance of a false flag for each contender.
    pub level: f64,
    /// The contender that gains are measured from.
    pub baseline: Option<String>,
    /// The contenders, in the order in which they were added.
    pub contenders: Vec<Standing>,
}

/// A contender with its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// The kind of its model; `other program` if another program trained it ([`Comparison::add_others`]).
    pub kind: &'static str,
    /// The settings of its model, without layout and seed.
    pub model: Value,
    /// Its training settings, without the seed.
    pub train: Value,
    /// The number of its parameters; `None` if another program trained it.
    pub parameters: Option<usize>,
    /// One run for each seed.
    pub runs: Vec<RunResult>,
}

/// The metrics of one set of test rows over seeds. Undefined is `None`, in JSON `null`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Scores {
    /// The number of test rows with a label; the mean number if [merged](Comparison::merge) runs have different test rows.
    pub rows: usize,
    /// The number of test rows with label 1; a mean as for `rows`.
    pub positives: usize,
    /// The sum of the test rows' weights; a mean as for `rows`. Without weights `None`, and absent in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// [`auc`](starple::metrics::auc()).
    pub auc: Option<Summary>,
    /// [`logloss`](starple::metrics::logloss()), in nats.
    pub logloss: Option<Summary>,
    /// [`pcoc`](starple::metrics::pcoc()).
    pub pcoc: Option<Summary>,
    /// [`xauc`](starple::metrics::xauc()), of tasks that are not binary; otherwise absent in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xauc: Option<Summary>,
    /// [`mse`](starple::metrics::mse()), of tasks that are not binary; otherwise absent in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mse: Option<Summary>,
}

/// The scores of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskScores {
    /// The task's name.
    #[serde(skip)]
    pub task: String,
    /// Whether the test rows have weights, by which the metrics then count them.
    pub weighted: bool,
    /// Over the rows of all domains.
    #[serde(flatten)]
    pub all: Scores,
    /// [`TaskReport::mean_domain_auc`].
    pub mean_domain_auc: Option<Summary>,
    /// By domain, in the layout's order; domains that only [merged](Comparison::merge) runs have come last.
    #[serde(rename = "by_domain", serialize_with = "by_name")]
    pub domains: Vec<(String, Scores)>,
}

impl Comparison {
    /// A contender by its name.
    pub fn contender(&self, name: &str) -> Option<&Standing> {
        self.contenders.iter().find(|standing| standing.name == name)
    }

    /// The gains of a contender over another in a metric, by task and domain: see [`Gains`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one of the two is not among the contenders.
    pub fn gains(&self, contender: &str, over: &str, metric: Metric) -> Result<Gains> {
        let find = |name: &str| {
            self.contender(name).ok_or_else(|| {
                let names: Vec<&str> = self.contenders.iter().map(|standing| standing.name.as_str()).collect();
                Error::new(ErrorKind::Config, format!("expected one of the contenders {names:?}")).with_value(name)
            })
        };
        Ok(Gains::between(find(contender)?, find(over)?, metric, self.level))
    }

    /// The gains in AUC over the baseline; `None` if there is no baseline, or `standing` is the baseline.
    pub fn gains_over_baseline(&self, standing: &Standing) -> Option<Gains> {
        let baseline = self.contender(self.baseline.as_deref()?)?;
        (baseline.name != standing.name).then(|| Gains::between(standing, baseline, Metric::Auc, self.level))
    }

    /// Adds the runs of another comparison of the same contenders with other seeds, possibly on other
    /// rows, such as another week. Gains stay paired by seed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that lists every difference: another level or baseline, contenders of other names or
    /// kinds, a seed that both have. Nothing changes then.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let mut problems = Problems::default();
        let (level, found) = (self.level, other.level);
        problems.require(level == found, || format!("expected the level {level}, found {found}"));
        let (baseline, found) = (&self.baseline, &other.baseline);
        problems.require(baseline == found, || {
            let name = |baseline: &Option<String>| baseline.as_ref().map_or("none".into(), |name| format!("{name:?}"));
            format!("expected the baseline {}, found {}", name(baseline), name(found))
        });
        let contenders = |comparison: &Self| {
            let named = comparison.contenders.iter().map(|standing| format!("{:?} ({})", standing.name, standing.kind));
            named.collect::<Vec<_>>().join(", ")
        };
        let (these, those) = (contenders(self), contenders(&other));
        problems.require(these == those, || format!("expected the contenders {these}, found {those}"));
        let seeds =
            |comparison: &Self| comparison.contenders.iter().flat_map(|c| &c.runs).map(|r| r.seed).collect::<Vec<_>>();
        let known = seeds(self);
        if let Some(seed) = seeds(&other).into_iter().find(|seed| known.contains(seed)) {
            problems.require(false, || format!("seed {seed} is in both"));
        }
        problems.into_result("cannot merge comparisons")?;
        for (standing, other) in self.contenders.iter_mut().zip(other.contenders) {
            standing.runs.extend(other.runs);
        }
        Ok(())
    }
}

impl Standing {
    /// The runs that did not fail.
    pub fn judged(&self) -> impl Iterator<Item = &RunResult> {
        self.runs.iter().filter(|run| run.judged().is_some())
    }

    /// The number of runs that [failed](RunResult::failed).
    pub fn failed(&self) -> usize {
        self.runs.len() - self.judged().count()
    }

    /// Rows trained on per second; a row counts once for each epoch. `None` if another program trained it.
    pub fn rows_per_second(&self) -> Option<Summary> {
        self.of_own_runs(|run| run.fit.rows_per_second())
    }

    /// The number of epochs of its runs. `None` if another program trained it.
    pub fn epochs(&self) -> Option<Summary> {
        self.of_own_runs(|run| run.fit.epochs.len() as f64)
    }

    /// The seconds that training took, with the evaluations after epochs.
    pub fn seconds(&self) -> Option<Summary> {
        let seconds = self.judged().map(|run| run.fit.train_seconds + run.fit.evaluate_seconds);
        Summary::of(&seconds.collect::<Vec<_>>())
    }

    fn of_own_runs(&self, of: fn(&RunResult) -> f64) -> Option<Summary> {
        if self.kind == OTHER { None } else { Summary::of(&self.judged().map(of).collect::<Vec<_>>()) }
    }

    /// Its metrics on the test rows, by task and domain; empty if all runs failed.
    pub fn scores(&self) -> Vec<TaskScores> {
        let reports: Vec<_> = self.judged().filter_map(RunResult::judged).collect();
        let tasks = places(reports.iter().copied()).into_iter().map(|(name, domains)| {
            let tasks: Vec<&TaskReport> = reports.iter().filter_map(|report| report.task(name)).collect();
            let means: Vec<f64> = tasks.iter().filter_map(|task| task.mean_domain_auc).collect();
            let domains = domains.into_iter().map(|domain| {
                let scores = Scores::of(&tasks.iter().filter_map(|task| task.domain(domain)).collect::<Vec<_>>());
                (domain.to_owned(), scores)
            });
            TaskScores {
                task: name.to_owned(),
                weighted: tasks.iter().any(|task| task.weighted),
                all: Scores::of(&tasks.iter().map(|task| &task.all).collect::<Vec<_>>()),
                mean_domain_auc: Summary::of(&means),
                domains: domains.collect(),
            }
        });
        tasks.collect()
    }
}

impl Scores {
    /// The name and value of the metric that says how well the task ranks: AUC, or XAUC if the task is not binary.
    pub(super) fn ranking(&self) -> (&'static str, Option<Summary>) {
        if self.mse.is_some() { ("XAUC", self.xauc) } else { ("AUC", self.auc) }
    }

    /// The name and value of the mean error: log loss, or MSE if the task is not binary.
    pub(super) fn error(&self) -> (&'static str, Option<Summary>) {
        if self.mse.is_some() { ("MSE", self.mse) } else { ("log loss", self.logloss) }
    }

    fn of(runs: &[&Measures]) -> Self {
        let count = |of: fn(&Measures) -> usize| {
            let sum: usize = runs.iter().map(|measures| of(measures)).sum();
            (sum + runs.len() / 2) / runs.len().max(1)
        };
        let summary =
            |of: fn(&Measures) -> Option<f64>| Summary::of(&runs.iter().filter_map(|m| of(m)).collect::<Vec<_>>());
        Self {
            rows: count(|measures| measures.rows),
            positives: count(|measures| measures.positives),
            weight: summary(|measures| measures.weight).map(|weight| weight.mean),
            auc: summary(|measures| measures.auc),
            logloss: summary(|measures| measures.logloss),
            pcoc: summary(|measures| measures.pcoc),
            xauc: summary(|measures| measures.xauc),
            mse: summary(|measures| measures.mse),
        }
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ContenderJson<'a> {
            name: &'a str,
            kind: &'static str,
            model: &'a Value,
            train: &'a Value,
            parameters: Option<usize>,
            seeds: Vec<u64>,
            failed: usize,
            train_rows_per_s: Option<Summary>,
            seconds: Option<Summary>,
            epochs: Option<Summary>,
            #[serde(serialize_with = "by_task")]
            test: Vec<TaskScores>,
            gains: Option<Gains>,
            runs: &'a [RunResult],
        }
        let entries = self.contenders.iter().map(|standing| ContenderJson {
            name: &standing.name,
            kind: standing.kind,
            model: &standing.model,
            train: &standing.train,
            parameters: standing.parameters,
            seeds: standing.runs.iter().map(|run| run.seed).collect(),
            failed: standing.failed(),
            train_rows_per_s: standing.rows_per_second(),
            seconds: standing.seconds(),
            epochs: standing.epochs(),
            test: standing.scores(),
            gains: self.gains_over_baseline(standing),
            runs: &standing.runs,
        });
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("level", &self.level)?;
        map.serialize_entry("baseline", &self.baseline)?;
        map.serialize_entry("contenders", &entries.collect::<Vec<_>>())?;
        map.end()
    }
}

impl OfTask for TaskScores {
    fn task(&self) -> &str {
        &self.task
    }
}

/// The tasks of reports and their domains, in the order of their first occurrence: runs of merged comparisons may have different domains.
pub(super) fn places<'a>(reports: impl Iterator<Item = &'a Report>) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    for task in reports.flat_map(|report| &report.tasks) {
        let at = places.iter().position(|(name, _)| *name == task.task).unwrap_or_else(|| {
            places.push((&task.task, Vec::new()));
            places.len() - 1
        });
        let domains = &mut places[at].1;
        for (domain, _) in &task.domains {
            if !domains.contains(&domain.as_str()) {
                domains.push(domain);
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{comparison, failed, report, run, standing};
    use super::*;

    const DOMAINS: [&str; 2] = ["search", "feed"];

    fn two() -> Comparison {
        comparison(vec![
            standing("single", &DOMAINS, &[&[0.7, 0.6], &[0.72, 0.62], &[0.74, 0.61]]),
            standing("ple", &DOMAINS, &[&[0.8, 0.6], &[0.82, 0.61], &[0.84, 0.61]]),
        ])
    }

    #[test]
    fn serialises_by_task_and_domain_with_null_for_undefined() {
        let mut all = two();
        all.contenders[1].runs[2] = failed(3);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!((&json["level"], &json["baseline"]), (&0.05.into(), &"single".into()));
        let [single, ple] = &json["contenders"].as_array().unwrap()[..] else { panic!("{json}") };
        assert_eq!(
            (&single["name"], &single["kind"], &single["parameters"]),
            (&"single".into(), &"single".into(), &10.into())
        );
        let search = &single["test"]["click"]["by_domain"]["search"];
        assert!((search["auc"]["mean"].as_f64().unwrap() - 0.72).abs() < 1e-12);
        assert!((search["auc"]["std"].as_f64().unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(
            (&search["auc"]["seeds"], &search["rows"], &search["positives"]),
            (&3.into(), &100.into(), &20.into())
        );
        for key in ["auc", "logloss", "pcoc", "mean_domain_auc"] {
            assert!(single["test"]["click"][key]["mean"].is_f64(), "{key}");
        }
        assert!(single["gains"].is_null());

        let gains = &ple["gains"];
        assert_eq!(
            (&gains["over"], &gains["metric"], &gains["test"]),
            (&"single".into(), &"auc".into(), &"student_t".into())
        );
        assert_eq!(gains["seesaw"], false);
        let click = &gains["tasks"]["click"];
        assert!((click["by_domain"]["feed"]["mean"].as_f64().unwrap() + 0.005).abs() < 1e-12);
        assert_eq!(click["by_domain"]["feed"]["verdict"], "within_noise");
        assert_eq!(click["by_domain"]["search"]["seeds"], 2);
        assert!(click["by_domain"]["search"]["p_holm"].is_null(), "both differences are .1: no spread");
        assert!(click["mean_domain"]["mean"].is_f64() && click["all"]["mean"].is_f64());

        assert_eq!((&ple["failed"], &ple["seeds"]), (&1.into(), &serde_json::json!([1, 2, 3])));
        let run = &ple["runs"][2];
        assert!(run["failed"].as_str().unwrap().contains("not finite at step 7"));
        assert!(run["test"].is_null() && run["best_epoch"].is_null());
        assert_eq!((&run["seed"], &run["stop"]["reason"]), (&3.into(), &"non_finite".into()));
        assert_eq!(ple["runs"][0]["train_rows_per_s"], 1000.0);
        assert!(ple["runs"][0]["seconds"]["train"].is_f64() && ple["runs"][0]["test"]["click"]["auc"].is_f64());
    }

    #[test]
    fn merging_adds_seeds_and_refuses_what_does_not_fit() {
        let mut all = two();
        let mut more = two();
        for run in more.contenders.iter_mut().flat_map(|standing| &mut standing.runs) {
            run.seed += 10;
        }
        all.merge(more.clone()).unwrap();
        assert_eq!(all.contenders[0].scores()[0].all.auc.unwrap().seeds, 6);
        let gains = all.gains("ple", "single", Metric::Auc).unwrap();
        assert_eq!(gains.tasks[0].domain("feed").unwrap().difference.seeds, 6);

        let error = all.merge(more.clone()).unwrap_err();
        assert_eq!(error.to_string(), "cannot merge comparisons: seed 11 is in both");
        more.contenders.pop();
        (more.level, more.baseline, more.contenders[0].kind) = (0.1, None, "star");
        let error = all.merge(more).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            "cannot merge comparisons: expected the level 0.05, found 0.1; expected the baseline \"single\", found none; \
             expected the contenders \"single\" (single), \"ple\" (pooled), found \"single\" (star); seed 11 is in both"
        );
        assert_eq!(all.contenders[0].runs.len(), 6);
    }

    #[test]
    fn domains_that_only_some_runs_know_are_listed_behind() {
        let mut all = two();
        let mut more = two();
        for (standing, gain) in more.contenders.iter_mut().zip([0.0, 0.1]) {
            let aucs = |_, d: usize| Some(0.6 + gain * d as f64);
            standing.runs = vec![run(9, report(&["click", "cart"], &["feed", "email"], aucs))];
        }
        all.merge(more).unwrap();
        let scores = all.contenders[1].scores();
        let names = |task: &TaskScores| task.domains.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&scores[0]), ["search", "feed", "email"]);
        assert_eq!((scores[1].task.as_str(), names(&scores[1])), ("cart", vec!["feed".into(), "email".into()]));
        assert_eq!(scores[0].domains[2].1.auc.unwrap().seeds, 1);
        let gains = all.gains("ple", "single", Metric::Auc).unwrap();
        let click = gains.task("click").unwrap();
        assert_eq!(click.domain("feed").unwrap().difference.seeds, 4);
        assert!((click.domain("email").unwrap().difference.mean - 0.1).abs() < 1e-12);
        assert!(all.to_string().contains("email"));
    }
}

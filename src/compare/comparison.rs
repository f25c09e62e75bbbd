//! The result of a comparison.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{Gains, Run, Summary};
use crate::metrics::{Measures, Metric, TaskReport};
use crate::{Error, ErrorKind, Result};

/// All runs of all contenders, and what they say.
///
/// It displays as tables and serialises as `{"level", "baseline", "contenders": [{"name", "kind", "parameters",
/// "seeds", "diverged", "train_rows_per_s", "epochs", "test": {TASK: {…, "by_domain": {DOMAIN: {…}}}}, "gains",
/// "runs"}]}`; the [module](super) explains the figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The chance of a false flag for each contender.
    pub level: f64,
    /// The contender that gains are measured from.
    pub baseline: Option<String>,
    /// One entry a contender, in the order they were named.
    pub contenders: Vec<Standing>,
}

/// One contender with its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its model's kind.
    pub kind: &'static str,
    /// How many values it learns by gradient.
    pub parameters: usize,
    /// One run a seed.
    pub runs: Vec<Run>,
}

/// The metrics of one set of test rows over seeds. `None`, and `null` in JSON, is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Scores {
    /// Test rows that have a label; their mean where [merged](Comparison::merge) runs were judged by different rows.
    pub rows: usize,
    /// Test rows whose label is 1; likewise.
    pub positives: usize,
    /// [`auc`](crate::metrics::auc()).
    pub auc: Option<Summary>,
    /// [`logloss`](crate::metrics::logloss()), in nats.
    pub logloss: Option<Summary>,
    /// [`pcoc`](crate::metrics::pcoc()).
    pub pcoc: Option<Summary>,
}

/// The scores of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskScores {
    /// The task's name.
    #[serde(skip)]
    pub task: String,
    /// Over the rows of all domains.
    #[serde(flatten)]
    pub all: Scores,
    /// [`TaskReport::mean_domain_auc`].
    pub mean_domain_auc: Option<Summary>,
    /// By domain, in the layout's order.
    #[serde(rename = "by_domain", serialize_with = "as_map")]
    pub domains: Vec<(String, Scores)>,
}

impl Comparison {
    /// A contender by its name.
    pub fn contender(&self, name: &str) -> Option<&Standing> {
        self.contenders.iter().find(|standing| standing.name == name)
    }

    /// What a contender gains in a metric over another, by task and domain: see [`Gains`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if either is not among the contenders.
    pub fn gains(&self, contender: &str, over: &str, metric: Metric) -> Result<Gains> {
        let find = |name: &str| {
            self.contender(name).ok_or_else(|| {
                let names: Vec<&str> = self.contenders.iter().map(|standing| standing.name.as_str()).collect();
                Error::new(ErrorKind::Config, format!("expected one of the contenders {names:?}")).with_value(name)
            })
        };
        Ok(Gains::between(find(contender)?, find(over)?, metric, self.level))
    }

    /// The gains in AUC over the baseline; `None` if there is no baseline, or this is it.
    pub fn gains_over_baseline(&self, standing: &Standing) -> Option<Gains> {
        let baseline = self.contender(self.baseline.as_deref()?)?;
        (baseline.name != standing.name).then(|| Gains::between(standing, baseline, Metric::Auc, self.level))
    }

    /// Adds the runs of another comparison of the same contenders with other seeds, which may have been judged by other
    /// rows: other weeks, other worlds. Gains stay paired by seed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the contenders are not the same, or a seed is in both.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let names = |comparison: &Self| comparison.contenders.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let (these, those) = (names(self), names(&other));
        if these != those {
            let message = format!("cannot merge comparisons: expected the contenders {these:?}, found {those:?}");
            return Err(Error::new(ErrorKind::Config, message));
        }
        let runs =
            |comparison: &Self| comparison.contenders.iter().flat_map(|c| &c.runs).map(|r| r.seed).collect::<Vec<_>>();
        let known = runs(self);
        if let Some(seed) = runs(&other).into_iter().find(|seed| known.contains(seed)) {
            return Err(Error::new(ErrorKind::Config, format!("cannot merge comparisons: seed {seed} is in both")));
        }
        for (standing, other) in self.contenders.iter_mut().zip(other.contenders) {
            standing.runs.extend(other.runs);
        }
        Ok(())
    }
}

impl Standing {
    /// The runs that are judged: those that did not diverge.
    pub fn judged(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.judged().is_some())
    }

    /// How many runs diverged.
    pub fn diverged(&self) -> usize {
        self.runs.len() - self.judged().count()
    }

    /// How many rows it trains on in a second, a row counted as often as it was seen.
    pub fn rows_per_second(&self) -> Option<Summary> {
        Summary::of(&self.judged().map(Run::rows_per_second).collect::<Vec<_>>())
    }

    /// How many epochs its runs lasted.
    pub fn epochs(&self) -> Option<Summary> {
        Summary::of(&self.judged().map(|run| run.fit.epochs.len() as f64).collect::<Vec<_>>())
    }

    /// Its metrics on the test rows, by task and domain; nothing if all runs diverged.
    pub fn scores(&self) -> Vec<TaskScores> {
        let reports: Vec<_> = self.judged().filter_map(Run::judged).collect();
        let Some(first) = reports.first() else { return Vec::new() };
        let tasks = first.tasks.iter().map(|named| {
            let tasks: Vec<&TaskReport> = reports.iter().filter_map(|report| report.task(&named.task)).collect();
            let means: Vec<f64> = tasks.iter().filter_map(|task| task.mean_domain_auc).collect();
            let domains = named.domains.iter().map(|(domain, _)| {
                (domain.clone(), Scores::of(&tasks.iter().filter_map(|task| task.domain(domain)).collect::<Vec<_>>()))
            });
            TaskScores {
                task: named.task.clone(),
                all: Scores::of(&tasks.iter().map(|task| &task.all).collect::<Vec<_>>()),
                mean_domain_auc: Summary::of(&means),
                domains: domains.collect(),
            }
        });
        tasks.collect()
    }
}

impl Scores {
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
            auc: summary(|measures| measures.auc),
            logloss: summary(|measures| measures.logloss),
            pcoc: summary(|measures| measures.pcoc),
        }
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            name: &'a str,
            kind: &'static str,
            parameters: usize,
            seeds: Vec<u64>,
            diverged: usize,
            train_rows_per_s: Option<Summary>,
            epochs: Option<Summary>,
            #[serde(serialize_with = "by_task")]
            test: Vec<TaskScores>,
            gains: Option<Gains>,
            runs: &'a [Run],
        }
        let entries = self.contenders.iter().map(|standing| Entry {
            name: &standing.name,
            kind: standing.kind,
            parameters: standing.parameters,
            seeds: standing.runs.iter().map(|run| run.seed).collect(),
            diverged: standing.diverged(),
            train_rows_per_s: standing.rows_per_second(),
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

fn by_task<S: Serializer>(tasks: &[TaskScores], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tasks.iter().map(|task| (&task.task, task)))
}

/// Domains as a map by name, in their order.
pub(super) fn as_map<S: Serializer, T: Serialize>(domains: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(domains.iter().map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{comparison, diverged, standing};
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
        all.contenders[1].runs[2] = diverged(3);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!((&json["level"], &json["baseline"]), (&0.05.into(), &"single".into()));
        let [single, ple] = &json["contenders"].as_array().unwrap()[..] else { panic!("{json}") };
        assert_eq!(
            (&single["name"], &single["kind"], &single["parameters"]),
            (&"single".into(), &"pooled".into(), &10.into())
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

        assert_eq!((&ple["diverged"], &ple["seeds"]), (&1.into(), &serde_json::json!([1, 2, 3])));
        let run = &ple["runs"][2];
        assert!(run["diverged"].as_str().unwrap().contains("not finite at step 7"));
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
        let error = all.merge(more).unwrap_err().to_string();
        assert!(error.contains("expected the contenders [\"single\", \"ple\"], found [\"single\"]"), "{error}");
    }
}

//! Comparisons made of numbers, to test what is said of them.

use serde_json::Value;
use starple::data::TaskKind;
use starple::metrics::{Measures, Report, TaskReport};
use starple::train::{FitReport, StopReason};

use super::{Comparison, RunResult, Standing};

/// The test metrics of one run, from its AUC in each domain of each task.
pub(super) fn report(tasks: &[&str], domains: &[&str], auc: impl Fn(usize, usize) -> Option<f64>) -> Report {
    let measures = |auc: Option<f64>, rows| Measures {
        rows,
        positives: rows / 5,
        auc,
        logloss: auc.map(|auc| 1.0 - auc),
        pcoc: Some(1.0),
        ..Measures::default()
    };
    let tasks = tasks.iter().enumerate().map(|(t, task)| {
        let of = |d: usize| measures(auc(t, d), 100 * (d + 1));
        let defined: Vec<f64> = (0..domains.len()).filter_map(|d| auc(t, d)).collect();
        let mean = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64);
        TaskReport {
            task: (*task).into(),
            kind: TaskKind::Binary,
            weighted: false,
            all: measures(mean, 1000),
            mean_domain_auc: mean,
            domains: domains.iter().enumerate().map(|(d, name)| ((*name).into(), of(d))).collect(),
        }
    });
    Report { tasks: tasks.collect() }
}

/// A run that went well.
pub(super) fn run(seed: u64, test: Report) -> RunResult {
    let fit = FitReport { best_epoch: Some(0), rows: 500, train_seconds: 0.5, ..FitReport::default() };
    RunResult { seed, fit, failed: None, test: Some(test) }
}

/// A run that did not.
pub(super) fn failed(seed: u64) -> RunResult {
    let stop = StopReason::NonFinite { step: 7, domain: "search".into(), task: "click".into() };
    let failed = Some(stop.to_string());
    RunResult { seed, fit: FitReport { stop, ..FitReport::default() }, failed, test: None }
}

/// A contender of one task, `click`, of its name's kind if that is `single`, whose runs have these AUCs: one row a seed (1, 2, …), one entry a domain.
pub(super) fn standing(name: &str, domains: &[&str], runs: &[&[f64]]) -> Standing {
    let runs = runs.iter().zip(1..).map(|(aucs, seed)| run(seed, report(&["click"], domains, |_, d| Some(aucs[d]))));
    Standing {
        name: name.into(),
        kind: if name == "single" { "single" } else { "pooled" },
        model: Value::Null,
        train: Value::Null,
        parameters: Some(10),
        runs: runs.collect(),
    }
}

/// A comparison of such contenders, the first being the baseline.
pub(super) fn comparison(contenders: Vec<Standing>) -> Comparison {
    Comparison { level: 0.05, baseline: Some(contenders[0].name.clone()), contenders }
}

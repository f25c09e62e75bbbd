//! Gains of a contender over another, and their significance.

use serde::Serialize;
use starple::data::TaskKind;
use starple::metrics::{Metric, Report};

use super::by_name::{OfTask, by_name, by_task};
use super::comparison::places;
use super::statistics::{holm, testable};
use super::{Standing, Summary, Test};

/// The verdict on a gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Significantly better.
    Gain,
    /// Significantly worse. Over a baseline that shares nothing (the kind `single`), this is negative transfer: sharing hurts.
    Loss,
    /// Not significantly different from 0.
    WithinNoise,
    /// Not tested: fewer than two seeds, or equal differences.
    Untested,
}

impl Verdict {
    /// Its mark in tables.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Gain => "▲",
            Self::Loss => "▼",
            Self::WithinNoise => "",
            Self::Untested => "?",
        }
    }
}

/// The gain in one domain of one task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// The differences over seeds: their mean is the gain.
    #[serde(flatten)]
    pub difference: Summary,
    /// The p-value of the family's [test](Gains::test), before correction; `None` if it was not tested.
    pub p: Option<f64>,
    /// The p-value after [Holm's correction](super::holm()) over the cells of the family.
    pub p_holm: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

/// The gains of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskGains {
    /// The task's name.
    #[serde(skip)]
    pub task: String,
    /// Over the rows of all domains; it is not tested.
    pub all: Option<Summary>,
    /// In the mean of the domains' AUCs, not tested; `None` for other metrics than AUC.
    pub mean_domain: Option<Summary>,
    /// By domain, in the layout's order; domains that only [merged](super::Comparison::merge) runs have come last. `None` if
    /// the metric is undefined.
    #[serde(rename = "by_domain", serialize_with = "by_name")]
    pub domains: Vec<(String, Option<Gain>)>,
}

/// The gains of a contender over another in a metric, by task and domain, paired by seed.
///
/// `gain = goodness(contender) − goodness(other)` with [`Metric::goodness`]: the difference of AUCs, or the log loss of the other
/// minus its own. For a task that is not binary, XAUC takes the place of AUC and MSE that of log loss. Over a single-task model this is the *MTL gain* of PLE's paper (Tang et al., RecSys 2020). Pairs are
/// the seeds with which neither run failed; in a cell, only those for which the metric is defined for both and the difference
/// is finite (with a PCOC of 0 it is not). The cells of all tasks and domains in which at least two seeds differ are one
/// family: [`Test::choose`] chooses one test for them, and Holm's correction keeps the chance that noise alone flags *any* cell
/// below the level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gains {
    /// The name of the other contender.
    pub over: String,
    /// The metric.
    pub metric: Metric,
    /// The test; `None` if no cell can be tested.
    pub test: Option<Test>,
    /// Whether one cell has a significant gain and another a significant loss: the seesaw phenomenon of PLE's paper.
    pub seesaw: bool,
    /// The gains of each task.
    #[serde(serialize_with = "by_task")]
    pub tasks: Vec<TaskGains>,
}

/// The metric itself, or for a task of a kind that does not have it the one in its place: XAUC for AUC, MSE for log loss.
fn counterpart(metric: Metric, kind: TaskKind) -> Metric {
    match metric {
        Metric::Auc if !metric.is_for(kind) => Metric::Xauc,
        Metric::LogLoss if !metric.is_for(kind) => Metric::Mse,
        _ => metric,
    }
}

impl Gains {
    pub(super) fn between(contender: &Standing, other: &Standing, metric: Metric, level: f64) -> Self {
        let pairs: Vec<(&Report, &Report)> = contender
            .judged()
            .filter_map(|run| {
                let other = other.runs.iter().find(|other| other.seed == run.seed)?;
                Some((run.judged()?, other.judged()?))
            })
            .collect();
        let differences = |metric: Metric, task: &str, domain: Option<&str>| -> Vec<f64> {
            let value = |report: &Report| {
                let report = report.task(task)?;
                let metric = counterpart(metric, report.kind);
                Some(metric.goodness(report.value(metric, domain)?))
            };
            let differences = pairs.iter().filter_map(|(own, other)| Some(value(own)? - value(other)?));
            // The goodness of a PCOC of 0 is −∞.
            differences.filter(|difference| difference.is_finite()).collect()
        };

        let mut tasks = Vec::new();
        let mut family = Vec::new();
        for (task, domains) in places(pairs.iter().map(|(report, _)| *report)) {
            let all = Summary::of(&differences(metric, task, None));
            let mean_domain = match metric {
                Metric::Auc => Summary::of(&differences(Metric::MeanDomainAuc, task, None)),
                _ => None,
            };
            let domains = domains.into_iter().map(|domain| {
                let differences = differences(metric, task, Some(domain));
                let gain = Summary::of(&differences).map(|difference| {
                    family.push(differences);
                    Gain { difference, p: None, p_holm: None, verdict: Verdict::Untested }
                });
                (domain.to_owned(), gain)
            });
            let domains = domains.collect();
            tasks.push(TaskGains { task: task.to_owned(), all, mean_domain, domains });
        }

        // One family, one test.
        let seeds: Vec<usize> = family.iter().filter_map(|cell| Some(testable(cell)?.seeds)).collect();
        let test = Test::choose(&seeds, level);
        let p: Vec<Option<f64>> = family.iter().map(|cell| test?.p(cell)).collect();
        let mut adjusted = holm(&p.iter().copied().flatten().collect::<Vec<_>>()).into_iter();
        let cells = tasks.iter_mut().flat_map(|task| &mut task.domains).filter_map(|(_, gain)| gain.as_mut());
        for (gain, p) in cells.zip(p) {
            gain.p = p;
            gain.p_holm = p.and_then(|_| adjusted.next());
            gain.verdict = match gain.p_holm {
                None => Verdict::Untested,
                Some(p) if p >= level => Verdict::WithinNoise,
                Some(_) if gain.difference.mean > 0.0 => Verdict::Gain,
                Some(_) => Verdict::Loss,
            };
        }
        let mut gains = Self { over: other.name.clone(), metric, test, seesaw: false, tasks };
        gains.seesaw = gains.count(Verdict::Gain) > 0 && gains.count(Verdict::Loss) > 0;
        gains
    }

    /// The gains of one task.
    pub fn task(&self, name: &str) -> Option<&TaskGains> {
        self.tasks.iter().find(|task| task.task == name)
    }

    /// The number of cells with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tasks
            .iter()
            .flat_map(|task| &task.domains)
            .filter(|(_, gain)| gain.is_some_and(|g| g.verdict == verdict))
            .count()
    }
}

impl TaskGains {
    /// The gain in one domain; `None` for an unknown domain, or if the metric is undefined there.
    pub fn domain(&self, name: &str) -> Option<&Gain> {
        self.domains.iter().find(|(domain, _)| domain == name)?.1.as_ref()
    }
}

impl OfTask for TaskGains {
    fn task(&self) -> &str {
        &self.task
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::super::made_up::{comparison, failed, report, run, standing};
    use super::*;

    const DOMAINS: [&str; 2] = ["search", "feed"];

    /// Gains over a baseline at .7 in both domains.
    fn gains(runs: &[[f64; 2]]) -> Gains {
        let baseline: Vec<&[f64]> = runs.iter().map(|_| &[0.7, 0.7][..]).collect();
        let own: Vec<Vec<f64>> = runs.iter().map(|run| run.iter().map(|gain| 0.7 + gain).collect()).collect();
        let own: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
        let all = comparison(vec![standing("single", &DOMAINS, &baseline), standing("ple", &DOMAINS, &own)]);
        assert_eq!(all.gains_over_baseline(&all.contenders[0]), None);
        all.gains_over_baseline(&all.contenders[1]).unwrap()
    }

    fn verdicts(gains: &Gains) -> Vec<Verdict> {
        gains.tasks.iter().flat_map(|task| &task.domains).map(|(_, gain)| gain.unwrap().verdict).collect()
    }

    #[test]
    fn a_gain_and_a_loss_beyond_noise_are_a_seesaw() {
        let gains = gains(&[[0.021, -0.010], [0.020, -0.011], [0.019, -0.012]]);
        assert_eq!(verdicts(&gains), [Verdict::Gain, Verdict::Loss]);
        assert_eq!((gains.count(Verdict::Gain), gains.count(Verdict::Loss)), (1, 1));
        assert!(gains.seesaw);
        assert_eq!(gains.test, Some(Test::StudentT));
        let search = gains.task("click").unwrap().domain("search").unwrap();
        assert_abs_diff_eq!(search.difference.mean, 0.020, epsilon = 1e-12);
        assert_abs_diff_eq!(search.difference.std.unwrap(), 0.001, epsilon = 1e-12);
        // t = .02 / (.001 / √3) = 34.6 with 2 degrees of freedom: p = 1 − t / √(t² + 2) = 8.3e-4, and twice that after Holm.
        let t = 20.0 * 3.0_f64.sqrt();
        let p = 1.0 - t / (t * t + 2.0).sqrt();
        assert_abs_diff_eq!(search.p.unwrap(), p, epsilon = 1e-9);
        assert_abs_diff_eq!(search.p_holm.unwrap(), 2.0 * p, epsilon = 1e-9);
        // The unweighted mean of the domains, and "all" of the made-up reports, which is the same.
        assert_abs_diff_eq!(gains.tasks[0].mean_domain.unwrap().mean, 0.0045, epsilon = 1e-12);
        assert_abs_diff_eq!(gains.tasks[0].all.unwrap().mean, 0.0045, epsilon = 1e-12);
    }

    #[test]
    fn a_loss_alone_is_no_seesaw() {
        let gains = gains(&[[-0.021, -0.010], [-0.020, 0.011], [-0.019, 0.012]]);
        assert_eq!(verdicts(&gains), [Verdict::Loss, Verdict::WithinNoise]);
        assert!(!gains.seesaw);
    }

    #[test]
    fn noise_flags_nothing() {
        let gains = gains(&[[0.02, -0.03], [-0.01, 0.02], [0.01, -0.01]]);
        assert_eq!(verdicts(&gains), [Verdict::WithinNoise; 2]);
        assert!(!gains.seesaw);
    }

    #[test]
    fn what_one_cell_would_show_many_cells_need_not() {
        // t = 5.2 with 2 degrees of freedom: p = .035 alone, .07 as the smaller of two.
        let alone = gains(&[[0.02, 0.0], [0.03, 0.0], [0.04, 0.0]]);
        let search = alone.tasks[0].domain("search").unwrap();
        assert!(search.p.unwrap() < 0.05);
        // The other cell has no spread and so no test: it is not in the family.
        assert_eq!(alone.tasks[0].domain("feed").unwrap().verdict, Verdict::Untested);
        assert_eq!(search.verdict, Verdict::Gain);
        let two = gains(&[[0.02, 0.01], [0.03, -0.01], [0.04, 0.02]]);
        let search = two.tasks[0].domain("search").unwrap();
        assert!(search.p.unwrap() < 0.05 && search.p_holm.unwrap() > 0.05);
        assert_eq!(search.verdict, Verdict::WithinNoise);
    }

    #[test]
    fn enough_seeds_are_tested_by_flipping_signs() {
        let runs: Vec<[f64; 2]> =
            (0..8).map(|i| [0.01 + 0.001 * f64::from(i), 0.02 * f64::from(i % 2 * 2 - 1)]).collect();
        let gains = gains(&runs);
        assert_eq!(gains.test, Some(Test::SignFlip));
        let search = gains.tasks[0].domain("search").unwrap();
        assert_eq!((search.p, search.p_holm), (Some(2.0 / 256.0), Some(4.0 / 256.0)));
        assert_eq!(verdicts(&gains), [Verdict::Gain, Verdict::WithinNoise]);
    }

    #[test]
    fn a_cell_with_more_seeds_than_signs_can_be_flipped_of_is_tested_with_the_others() {
        let contender = |name: &str, gain: f64| {
            let aucs = |seed: u64| {
                let noise = 0.001 * (seed % 5) as f64;
                move |_, d: usize| (d == 0 || seed <= 15).then_some(0.7 + gain * (1.0 + noise))
            };
            let mut contender = standing(name, &DOMAINS, &[]);
            contender.runs = (1..=25).map(|seed| run(seed, report(&["click"], &DOMAINS, aucs(seed)))).collect();
            contender
        };
        let all = comparison(vec![contender("single", 0.0), contender("ple", 0.01)]);
        let gains = all.gains("ple", "single", Metric::Auc).unwrap();
        let seeds = |domain| gains.tasks[0].domain(domain).unwrap().difference.seeds;
        assert_eq!((seeds("search"), seeds("feed")), (25, 15));
        assert_eq!((gains.test, verdicts(&gains)), (Some(Test::StudentT), vec![Verdict::Gain; 2]));
    }

    #[test]
    fn differences_that_are_not_finite_are_left_out_in_pairs() {
        let pcocs = |name: &str, pcocs: [f64; 4]| {
            let mut contender = standing(name, &DOMAINS, &[&[0.7, 0.7][..]; 4]);
            for (run, pcoc) in contender.runs.iter_mut().zip(pcocs) {
                run.test.as_mut().unwrap().tasks[0].domains[0].1.pcoc = Some(pcoc);
            }
            contender
        };
        let all = comparison(vec![pcocs("single", [0.0, 2.0, 2.0, 0.0]), pcocs("ple", [1.0, 0.0, 1.0, 0.0])]);
        let gains = all.gains("ple", "single", Metric::Pcoc).unwrap();
        let search = gains.tasks[0].domain("search").unwrap();
        assert_eq!((search.difference.seeds, search.verdict), (1, Verdict::Untested));
        assert_abs_diff_eq!(search.difference.mean, 2.0_f64.ln(), epsilon = 1e-12);
    }

    #[test]
    fn one_seed_flags_nothing() {
        let gains = gains(&[[0.2, -0.2]]);
        assert_eq!(verdicts(&gains), [Verdict::Untested; 2]);
        assert_eq!((gains.test, gains.seesaw), (None, false));
        assert_abs_diff_eq!(gains.tasks[0].domain("search").unwrap().difference.mean, 0.2, epsilon = 1e-12);
    }

    #[test]
    fn undefined_cells_are_out_of_the_family() {
        let contender = |name: &str, gain: f64| {
            let aucs = |seed: u64| move |_, d: usize| (d == 0).then_some(0.7 + gain * (seed as f64 + 9.0));
            let runs = (1..4).map(|seed| run(seed, report(&["click", "cart"], &DOMAINS, aucs(seed))));
            Standing { runs: runs.collect(), ..standing(name, &DOMAINS, &[]) }
        };
        let all = comparison(vec![contender("single", 0.0), contender("ple", 0.001)]);
        let gains = all.gains("ple", "single", Metric::Auc).unwrap();
        assert_eq!(gains.task("cart").unwrap().domain("feed"), None);
        let search = gains.task("cart").unwrap().domain("search").unwrap();
        assert_abs_diff_eq!(search.p_holm.unwrap(), 2.0 * search.p.unwrap(), epsilon = 1e-12);
        assert_eq!(gains.count(Verdict::Gain), 2);
    }

    #[test]
    fn pairs_are_the_seeds_with_which_neither_failed() {
        let mut single = standing("single", &DOMAINS, &[&[0.7, 0.7], &[0.6, 0.6], &[0.5, 0.5], &[0.7, 0.7]]);
        let mut ple = standing("ple", &DOMAINS, &[&[0.71, 0.71], &[0.9, 0.9], &[0.9, 0.9], &[0.72, 0.72]]);
        single.runs[1] = failed(2);
        ple.runs[2] = failed(3);
        // Even with metrics a failed run is not judged.
        let metrics = ple.runs[1].test.clone();
        ple.runs[2].test = metrics;
        ple.runs.reverse();
        let all = comparison(vec![single, ple]);
        let gains = all.gains("ple", "single", Metric::Auc).unwrap();
        let search = gains.tasks[0].domain("search").unwrap();
        assert_eq!(search.difference.seeds, 2);
        assert_abs_diff_eq!(search.difference.mean, 0.015, epsilon = 1e-12);
        assert_eq!(all.contenders[1].failed(), 1);
        assert_eq!(all.contenders[1].scores()[0].all.auc.unwrap().seeds, 3);
    }

    #[test]
    fn a_smaller_loss_is_a_gain_and_anybody_may_be_the_other() {
        let all = comparison(vec![
            standing("single", &DOMAINS, &[&[0.7, 0.7], &[0.7, 0.7]]),
            standing("ple", &DOMAINS, &[&[0.8, 0.6], &[0.8, 0.6]]),
            standing("star", &DOMAINS, &[&[0.9, 0.5], &[0.9, 0.5]]),
        ]);
        // The made-up log loss is 1 − AUC.
        let gains = all.gains("star", "ple", Metric::LogLoss).unwrap();
        let mean = |domain| gains.tasks[0].domain(domain).unwrap().difference.mean;
        assert_abs_diff_eq!(mean("search"), 0.1, epsilon = 1e-12);
        assert_abs_diff_eq!(mean("feed"), -0.1, epsilon = 1e-12);
        assert_eq!((gains.over.as_str(), gains.tasks[0].mean_domain), ("ple", None));
        let error = all.gains("star", "mmoe", Metric::Auc).unwrap_err();
        assert_eq!(error.to_string(), "found \"mmoe\": expected one of the contenders [\"single\", \"ple\", \"star\"]");
    }
}

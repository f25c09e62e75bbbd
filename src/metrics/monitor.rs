//! One number out of a report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::{Report, SHARED_DOMAIN};
use crate::Result;
use crate::data::{Layout, TaskKind};
use crate::error::Problems;

/// The name of a metric in a [`Report`]: it selects which number [`TaskReport::value`](super::TaskReport::value) and a [`Monitor`] return.
///
/// Binary tasks have `Auc`, `LogLoss`, `Pcoc`, `Ece`, `Gauc` and `MeanDomainAuc`. Regressions have `Pcoc`, `Mse`, `Mae`, `R2` and `Xauc`; counts have
/// these and `Deviance` ([`Metric::is_for`]). For tasks without the metric, the number is undefined (`None`).
///
/// In a file, the name of a metric is that of its variant in lower case, with `_` between words: `"auc"`, `"mean_domain_auc"`. The one exception is
/// `"logloss"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The area under the ROC curve ([`auc`](super::auc())), the default: from 0 to 1, larger is better.
    #[default]
    Auc,
    /// The mean log loss in nats ([`logloss`](super::logloss())): 0 or more, smaller is better. In files its name is `logloss`.
    #[serde(rename = "logloss")]
    LogLoss,
    /// Predicted clicks over observed clicks ([`pcoc`](super::pcoc)): 0 or more, closer to 1 is better. The distance from 1 is measured as
    /// `|ln PCOC|`, so that 2 is as bad as ½. For a regression or a count, it is the sum of the predicted numbers over the sum of the labels, if the
    /// latter is above 0.
    Pcoc,
    /// The expected calibration error ([`ece`](super::ece)): from 0 to 1, smaller is better.
    Ece,
    /// The mean AUC inside groups such as users ([`gauc`](super::gauc())): from 0 to 1, larger is better. It is defined only if rows were added with
    /// groups ([`Evaluator::add`](super::Evaluator::add)).
    Gauc,
    /// The plain mean of the AUCs of all domains that have an AUC; each domain counts equally
    /// ([`TaskReport::mean_domain_auc`](super::TaskReport::mean_domain_auc)). From 0 to 1, larger is better.
    MeanDomainAuc,
    /// The mean squared error of a regression or a count ([`mse`](super::mse)), in squared units of the label: 0 or more, smaller is better.
    Mse,
    /// The mean absolute error of a regression or a count ([`mae`](super::mae)), in units of the label: 0 or more, smaller is better.
    Mae,
    /// The share of the labels' variance that the predictions of a regression or a count explain ([`r2`](super::r2)): at most 1, larger is better. 0
    /// is as good as always to predict the mean label; a negative value is worse than that.
    R2,
    /// The share of pairs of rows that the predictions of a regression or a count put in the order of their labels ([`xauc`](super::xauc)): from 0 to
    /// 1, larger is better.
    Xauc,
    /// The mean deviance of a count: `(2/n) Σ (y_i·ln(y_i/ŷ_i) − (y_i − ŷ_i))` over the n labelled rows, where `y_i` is the label of row i, `ŷ_i` its
    /// predicted count, and the term with the logarithm is 0 if `y_i` is 0. It is 0 or more, and smaller is better. With row weights, it is a
    /// weighted mean ([`Evaluator`](super::Evaluator)).
    Deviance,
}

impl Metric {
    /// Returns true if a report has this metric for tasks of the kind `kind`; [`Metric`] lists which kind has which.
    pub fn is_for(self, kind: TaskKind) -> bool {
        match self {
            Self::Auc | Self::LogLoss | Self::Ece | Self::Gauc | Self::MeanDomainAuc => kind == TaskKind::Binary,
            Self::Mse | Self::Mae | Self::R2 | Self::Xauc => kind != TaskKind::Binary,
            Self::Deviance => kind == TaskKind::Count,
            Self::Pcoc => true,
        }
    }

    /// Converts `value`, a value of this metric, to a number for which larger is better. AUCs, XAUC and R² do not change; losses, errors, ECE and
    /// deviance change their sign; PCOC becomes `−|ln PCOC|`. Early stopping compares these numbers.
    ///
    /// A PCOC of 0 becomes −∞. A negative PCOC (which only a regression can have) and NaN become NaN.
    ///
    /// ```
    /// use starple::metrics::Metric;
    ///
    /// assert!(Metric::LogLoss.goodness(0.3) > Metric::LogLoss.goodness(0.4));
    /// assert!(Metric::Pcoc.goodness(0.9) > Metric::Pcoc.goodness(1.2));
    /// ```
    pub fn goodness(self, value: f64) -> f64 {
        match self {
            Self::Auc | Self::Gauc | Self::MeanDomainAuc | Self::R2 | Self::Xauc => value,
            Self::LogLoss | Self::Ece | Self::Mse | Self::Mae | Self::Deviance => -value,
            Self::Pcoc => -value.ln().abs(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auc => "AUC",
            Self::LogLoss => "log loss",
            Self::Pcoc => "PCOC",
            Self::Ece => "ECE",
            Self::Gauc => "GAUC",
            Self::MeanDomainAuc => "mean domain AUC",
            Self::Mse => "MSE",
            Self::Mae => "MAE",
            Self::R2 => "R²",
            Self::Xauc => "XAUC",
            Self::Deviance => "deviance",
        })
    }
}

/// Selects one number of a [`Report`], for example for early stopping: a metric of one task or a mean over tasks, for one domain or for all rows.
///
/// The default is the AUC over all rows, as a mean over tasks. [`Report::value`] returns the number. A monitor accepts any names; [`Monitor::check`]
/// compares them with a layout. In a file: `{ metric = "logloss", task = "click", domain = "search" }`; each key is optional, and an unknown key is
/// an error.
///
/// ```
/// use starple::metrics::{Metric, Monitor};
///
/// let monitor = Monitor::new(Metric::Auc).of_task("click").in_domain("search");
/// assert_eq!(monitor.to_string(), "AUC of click in search");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Monitor {
    /// The metric that is selected; default [`Metric::Auc`].
    pub metric: Metric,
    /// The name of the task whose metric is selected. `None`, the default, selects the mean over all tasks for which the metric is defined;
    /// [`Report::value`] says how it is computed.
    pub task: Option<String>,
    /// The name of the domain whose rows are measured, or [`SHARED_DOMAIN`] for the rows of no known domain. `None`, the default, selects
    /// all rows, whatever their domain.
    pub domain: Option<String>,
}

impl Monitor {
    /// All metrics.
    const METRICS: [Metric; 11] = [
        Metric::Auc,
        Metric::LogLoss,
        Metric::Pcoc,
        Metric::Ece,
        Metric::Gauc,
        Metric::MeanDomainAuc,
        Metric::Mse,
        Metric::Mae,
        Metric::R2,
        Metric::Xauc,
        Metric::Deviance,
    ];

    /// A monitor that selects the metric `metric` over all rows, as a mean over the tasks that have it. [`Monitor::of_task`] selects one task, and
    /// [`Monitor::in_domain`] one domain.
    pub fn new(metric: Metric) -> Self {
        Self { metric, task: None, domain: None }
    }

    /// Selects the metric of one task only, in place of the mean over tasks. `task` is the name of the task. It is not checked here but in
    /// [`Monitor::check`].
    pub fn of_task(mut self, task: impl Into<String>) -> Self {
        self.task = Some(task.into());
        self
    }

    /// Selects the metric over the rows of one domain only. `domain` is the name of the domain; [`SHARED_DOMAIN`] selects the rows of no known
    /// domain. It is not checked here but in [`Monitor::check`].
    pub fn in_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Checks that a report for a model with this layout has the number that the monitor selects. Training does this check before the first epoch.
    /// Even then the number can be undefined for some rows, such as an AUC of rows without positives.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) in these cases; the message names all that apply:
    ///
    /// * `layout` does not have the task or the domain;
    /// * the task is of a kind that does not have the metric ([`Metric::is_for`]), or no task is set and no task of the layout has it;
    /// * a domain is set although the metric is [`Metric::MeanDomainAuc`], which is over all domains.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let tasks = || layout.tasks.iter().enumerate().map(|(task, name)| (name.as_str(), layout.target(task).kind()));
        self.check_names(tasks, || layout.domains.iter().map(String::as_str))
    }

    fn check_names<'a, T, D>(&self, tasks: impl Fn() -> T, domains: impl Fn() -> D) -> Result<()>
    where
        T: Iterator<Item = (&'a str, TaskKind)>,
        D: Iterator<Item = &'a str>,
    {
        let mut problems = Problems::default();
        if let Some(task) = self.task.as_deref() {
            problems.require(tasks().any(|(name, _)| name == task), || {
                format!("task: expected one of {:?}, found {task:?}", tasks().map(|(name, _)| name).collect::<Vec<_>>())
            });
        }
        let is_chosen = |name: &str| self.task.as_deref().is_none_or(|task| task == name);
        let kinds = || tasks().filter(|(name, _)| is_chosen(name)).map(|(_, kind)| kind);
        let metric = self.metric;
        problems.require(kinds().next().is_none() || kinds().any(|kind| metric.is_for(kind)), || {
            let kind = kinds().next().unwrap_or_default();
            let own = Self::METRICS.iter().filter(|metric| metric.is_for(kind)).map(ToString::to_string);
            let own = own.collect::<Vec<_>>().join(", ");
            match &self.task {
                Some(task) => format!("metric: {task:?} is a {kind} task, which has no {metric}; it has {own}"),
                None => format!("metric: no task has the metric {metric}; a {kind} task has {own}"),
            }
        });
        if let Some(domain) = self.domain.as_deref() {
            problems.require(domain == SHARED_DOMAIN || domains().any(|name| name == domain), || {
                format!("domain: expected one of {:?}, found {domain:?}", domains().collect::<Vec<_>>())
            });
            problems.require(self.metric != Metric::MeanDomainAuc, || {
                format!("domain: the mean domain AUC is over all domains, found {domain:?}")
            });
        }
        problems.into_result("Monitor")
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metric.fmt(f)?;
        if let Some(task) = &self.task {
            write!(f, " of {task}")?;
        }
        if let Some(domain) = &self.domain {
            write!(f, " in {domain}")?;
        }
        Ok(())
    }
}

impl Report {
    /// Returns the number that `monitor` selects, or `None` if this metric is undefined for its rows (for example an AUC of rows without positives,
    /// or the GAUC of rows without groups).
    ///
    /// If the monitor names no task, the result is the plain mean of the metric over the tasks for which it is defined. Two notes on this mean:
    ///
    /// * Errors of regressions and counts (such as MSE) have the units of their labels. Their mean over several tasks has no unit, so better name one
    ///   task.
    /// * For PCOC it is `exp(mean of |ln PCOC| over tasks)`. With a plain mean, a task with too high and a task with too low probabilities would look
    ///   good together. If PCOC is defined for one task only, the result is that PCOC.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) for the reasons that [`Monitor::check`] lists, with the tasks and domains of this
    /// report in place of those of a layout. [`SHARED_DOMAIN`] is always accepted as a domain; the result is `None` if the report has no such rows.
    pub fn value(&self, monitor: &Monitor) -> Result<Option<f64>> {
        monitor.check_names(
            || self.tasks.iter().map(|task| (task.task.as_str(), task.kind)),
            || self.tasks.iter().take(1).flat_map(|task| &task.domains).map(|(domain, _)| domain.as_str()),
        )?;
        let values: Vec<f64> = self
            .tasks
            .iter()
            .filter(|task| monitor.task.as_ref().is_none_or(|name| *name == task.task))
            .filter_map(|task| task.value(monitor.metric, monitor.domain.as_deref()))
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(match (monitor.metric, values.as_slice()) {
            (_, []) => None,
            (_, [value]) => Some(*value),
            (Metric::Pcoc, values) => Some(mean(&values.iter().map(|pcoc| pcoc.ln().abs()).collect::<Vec<_>>()).exp()),
            (_, values) => Some(mean(values)),
        })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::ErrorKind;
    use crate::metrics::{Measures, TaskReport};

    fn measures(auc: Option<f64>, pcoc: f64) -> Measures {
        Measures { auc, pcoc: Some(pcoc), logloss: Some(pcoc / 10.0), ..Measures::default() }
    }

    fn report() -> Report {
        let task = |task: &str, auc: f64, pcoc: f64, search: Option<f64>| TaskReport {
            task: task.into(),
            kind: TaskKind::Binary,
            weighted: false,
            all: measures(Some(auc), pcoc),
            mean_domain_auc: search,
            domains: vec![("search".into(), measures(search, pcoc))],
        };
        Report { tasks: vec![task("click", 0.75, 2.0, Some(0.5)), task("cart", 0.25, 0.5, None)] }
    }

    #[test]
    fn names_any_number() {
        let report = report();
        let value = |monitor: Monitor| report.value(&monitor).unwrap();
        assert_eq!(value(Monitor::default()), Some(0.5));
        assert_eq!(value(Monitor::new(Metric::Auc).of_task("cart")), Some(0.25));
        assert_eq!(value(Monitor::new(Metric::LogLoss).of_task("click").in_domain("search")), Some(0.2));
        assert_eq!(value(Monitor::new(Metric::Auc).of_task("cart").in_domain("search")), None);
        // The mean over tasks is over those that have a value.
        assert_eq!(value(Monitor::new(Metric::Auc).in_domain("search")), Some(0.5));
        assert_eq!(value(Monitor::new(Metric::MeanDomainAuc)), Some(0.5));
        assert_eq!(value(Monitor::new(Metric::Gauc)), None);
        assert_eq!(value(Monitor::new(Metric::Auc).in_domain(SHARED_DOMAIN)), None);
    }

    #[test]
    fn too_much_and_too_little_do_not_cancel() {
        let report = report();
        assert_eq!(report.value(&Monitor::new(Metric::Pcoc).of_task("cart")).unwrap(), Some(0.5));
        assert_relative_eq!(report.value(&Monitor::new(Metric::Pcoc)).unwrap().unwrap(), 2.0, max_relative = 1e-12);
    }

    #[test]
    fn every_bad_name_is_named() {
        let monitor = Monitor::new(Metric::MeanDomainAuc).of_task("buy").in_domain("feed");
        let expected = "Monitor: task: expected one of [\"click\", \"cart\"], found \"buy\"; \
                        domain: expected one of [\"search\"], found \"feed\"; \
                        domain: the mean domain AUC is over all domains, found \"feed\"";
        let error = report().value(&monitor).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Config, expected));

        let layout =
            Layout { domains: vec!["search".into()], tasks: vec!["click".into(), "cart".into()], ..Layout::default() };
        assert_eq!(monitor.check(&layout).unwrap_err().to_string(), expected);
        Monitor::new(Metric::Gauc).of_task("cart").in_domain("search").check(&layout).unwrap();
    }

    #[test]
    fn a_metric_of_another_kind_of_task_is_refused() {
        use crate::data::Target;
        let layout = Layout::new(["all"], ["click", "orders"]).predicts("orders", Target::Count);
        let error = Monitor::new(Metric::Auc).of_task("orders").check(&layout).unwrap_err();
        let expected =
            "Monitor: metric: \"orders\" is a count task, which has no AUC; it has PCOC, MSE, MAE, R², XAUC, deviance";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Config, expected));
        Monitor::new(Metric::Auc).check(&layout).unwrap();
        Monitor::new(Metric::Deviance).check(&layout).unwrap();
        let watch = Target::Regression { delta: None, mean: 0.0, deviation: 1.0 };
        let layout = Layout::new(["all"], ["watch"]).predicts("watch", watch);
        let error = Monitor::default().check(&layout).unwrap_err().to_string();
        assert!(
            error.contains("no task has the metric AUC; a regression task has PCOC, MSE, MAE, R², XAUC"),
            "{error}"
        );
        assert!(Monitor::new(Metric::Deviance).check(&layout).is_err());
    }

    #[test]
    fn goodness_orders_each_metric() {
        for (metric, better, worse) in [
            (Metric::Auc, 0.8, 0.7),
            (Metric::Gauc, 0.8, 0.7),
            (Metric::MeanDomainAuc, 0.8, 0.7),
            (Metric::LogLoss, 0.3, 0.4),
            (Metric::Ece, 0.01, 0.02),
            (Metric::Pcoc, 0.8, 1.3),
            (Metric::Pcoc, 1.1, 0.8),
            (Metric::Mse, 1.0, 2.0),
            (Metric::Mae, 1.0, 2.0),
            (Metric::R2, 0.5, -0.5),
            (Metric::Xauc, 0.8, 0.7),
            (Metric::Deviance, 1.0, 2.0),
        ] {
            assert!(metric.goodness(better) > metric.goodness(worse), "{metric}");
        }
        assert_relative_eq!(Metric::Pcoc.goodness(2.0), Metric::Pcoc.goodness(0.5));
    }

    #[test]
    fn reads_from_a_file_and_refuses_unknown_keys() {
        let monitor: Monitor = toml::from_str("metric = 'mean_domain_auc'\ntask = 'click'").unwrap();
        assert_eq!(monitor, Monitor::new(Metric::MeanDomainAuc).of_task("click"));
        let monitor: Monitor = toml::from_str("metric = 'logloss'").unwrap();
        assert_eq!(monitor, Monitor::new(Metric::LogLoss));
        assert!(toml::from_str::<Monitor>("tasks = 'click'").is_err());
    }
}

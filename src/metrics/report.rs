//! The result of an evaluation.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Metric, OfTask, by_name, by_task, from_names};
use crate::data::TaskKind;
use crate::one_line;

/// The name under which a [`Report`] lists rows of no known domain ([`DomainId::SHARED`](crate::data::DomainId::SHARED)), as if it were the
/// name of a domain.
pub const SHARED_DOMAIN: &str = "(shared)";

/// The metrics of one task over one set of rows, such as the rows of a domain, with the number of rows. A metric is `None` (in JSON `null` or absent)
/// if it is undefined.
///
/// Binary tasks have `auc`, `logloss`, `pcoc`, `ece` and `gauc`. Regressions and counts have `pcoc`, `mse`, `mae`, `r2` and `xauc`; counts also have
/// `deviance`. If the rows have weights, all these metrics are weighted: [`Evaluator`](super::Evaluator) has the equations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// The number of rows that have a label for the task and a weight above 0. Rows without weights have the weight 1.
    pub rows: usize,
    /// The number of rows that have the label 1 and a weight above 0; always 0 for regressions and counts.
    pub positives: usize,
    /// The sum of the weights of the rows that `rows` counts; `None` (absent in JSON) if the rows have no weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The area under the ROC curve ([`auc`](super::auc())), from 0 to 1; undefined if there are no positives or no negatives. Only of binary tasks.
    pub auc: Option<f64>,
    /// The mean log loss in nats ([`logloss`](super::logloss())), 0 or more, smaller is better; undefined if there are no labelled rows. Only of
    /// binary tasks.
    pub logloss: Option<f64>,
    /// Predicted clicks over observed clicks ([`pcoc`](super::pcoc)), ideally 1; undefined if no label is 1. For regressions and counts: the sum of
    /// the predictions over the sum of the labels; undefined if the sum of the labels is not above 0.
    pub pcoc: Option<f64>,
    /// The expected calibration error ([`ece`](super::ece)) with [`ECE_BINS`](super::ECE_BINS) bins, from 0 to 1, ideally 0; undefined if there are
    /// no labelled rows. Only of binary tasks.
    pub ece: Option<f64>,
    /// The mean AUC inside groups such as users ([`gauc`](super::gauc())), from 0 to 1; undefined if no group has both positives and negatives, or if
    /// the rows have no groups. Only of binary tasks.
    pub gauc: Option<f64>,
    /// The mean squared error ([`mse`](super::mse)), in squared units of the label; undefined if there are no labelled rows. Only of regressions and
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// The mean absolute error ([`mae`](super::mae)), in units of the label; undefined if there are no labelled rows. Only of regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// The share of the labels' variance that the predictions explain ([`r2`](super::r2)), at most 1; undefined if all labels are equal. Only of
    /// regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// The share of pairs of rows that the predictions put in the order of their labels ([`xauc`](super::xauc)), from 0 to 1; undefined if all labels
    /// are equal. Only of regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xauc: Option<f64>,
    /// The mean deviance of a Poisson distribution ([`Metric::Deviance`]), 0 or more, smaller is better; undefined if there are no labelled rows.
    /// Only of counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviance: Option<f64>,
    /// The metrics without weights: each row that `rows` counts has the weight 1. `None` (absent in JSON) if the rows have no weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unweighted: Option<Metrics>,
}

/// The metrics of one task over one set of rows when each row counts once, whatever its weight. [`Measures::unweighted`] has a value of this type.
/// Rows of weight 0 are left out here too. A metric is `None` (in JSON `null` or absent) if it is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The area under the ROC curve ([`auc`](super::auc())), from 0 to 1; undefined if there are no positives or no negatives. Only of binary tasks.
    pub auc: Option<f64>,
    /// The mean log loss in nats ([`logloss`](super::logloss())), 0 or more, smaller is better; undefined if there are no labelled rows. Only of
    /// binary tasks.
    pub logloss: Option<f64>,
    /// Predicted clicks over observed clicks ([`pcoc`](super::pcoc)), ideally 1; undefined if no label is 1. For regressions and counts: the sum of
    /// the predictions over the sum of the labels; undefined if the sum of the labels is not above 0.
    pub pcoc: Option<f64>,
    /// The expected calibration error ([`ece`](super::ece)) with [`ECE_BINS`](super::ECE_BINS) bins, from 0 to 1, ideally 0; undefined if there are
    /// no labelled rows. Only of binary tasks.
    pub ece: Option<f64>,
    /// The mean AUC inside groups such as users ([`gauc`](super::gauc())), from 0 to 1; undefined if no group has both positives and negatives, or if
    /// the rows have no groups. Only of binary tasks.
    pub gauc: Option<f64>,
    /// The mean squared error ([`mse`](super::mse)), in squared units of the label; undefined if there are no labelled rows. Only of regressions and
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// The mean absolute error ([`mae`](super::mae)), in units of the label; undefined if there are no labelled rows. Only of regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// The share of the labels' variance that the predictions explain ([`r2`](super::r2)), at most 1; undefined if all labels are equal. Only of
    /// regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// The share of pairs of rows that the predictions put in the order of their labels ([`xauc`](super::xauc)), from 0 to 1; undefined if all labels
    /// are equal. Only of regressions and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xauc: Option<f64>,
    /// The mean deviance of a Poisson distribution ([`Metric::Deviance`]), 0 or more, smaller is better; undefined if there are no labelled rows.
    /// Only of counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviance: Option<f64>,
}

/// The metrics of one task: over all rows, and over the rows of each domain. A [`Report`] has one for each task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The name of the task, as in [`Layout::tasks`](crate::data::Layout::tasks).
    #[serde(skip)]
    pub task: String,
    /// The kind of the task, which decides which metrics it has ([`Measures`]). Absent in JSON if the task is binary.
    #[serde(default, skip_serializing_if = "TaskKind::is_binary")]
    pub kind: TaskKind,
    /// Whether rows were added with weights, even if all weights were 1. If true, the metrics are weighted, and [`Measures::unweighted`] has the
    /// metrics without weights.
    #[serde(default)]
    pub weighted: bool,
    /// The metrics over all rows together: those of all domains, and those of no known domain.
    #[serde(flatten)]
    pub all: Measures,
    /// The plain mean of the domains' AUCs, so that a small domain counts as much as a large one. Domains without an AUC and the rows under
    /// [`SHARED_DOMAIN`] do not count. `None` if no domain has an AUC, and always for a task that is not binary.
    pub mean_domain_auc: Option<f64>,
    /// The name and the metrics of each domain, in the order of [`Layout::domains`](crate::data::Layout::domains). A domain without labelled rows is
    /// listed too, with 0 rows. If there are labelled rows of no known domain, the last entry is [`SHARED_DOMAIN`].
    #[serde(rename = "by_domain", serialize_with = "by_name", deserialize_with = "from_names")]
    pub domains: Vec<(String, Measures)>,
}

impl TaskReport {
    /// Returns the metrics over the rows of the domain with the name `name`, or `None` if the report has no such domain. Pass
    /// [`SHARED_DOMAIN`] for the rows of no known domain.
    pub fn domain(&self, name: &str) -> Option<&Measures> {
        self.domains.iter().find(|(domain, _)| domain == name).map(|(_, measures)| measures)
    }

    /// Returns the value of the metric `metric`, over the rows of the domain with the name `domain`, or over all rows if `domain` is `None`. For
    /// [`Metric::MeanDomainAuc`], `domain` must be `None`.
    ///
    /// The result is `None` if the metric is undefined, if tasks of this kind do not have it, if the report has no domain of this name, or if
    /// `metric` is [`Metric::MeanDomainAuc`] and `domain` names a domain.
    pub fn value(&self, metric: Metric, domain: Option<&str>) -> Option<f64> {
        let measures = domain.map_or(Some(&self.all), |domain| self.domain(domain))?;
        match metric {
            Metric::Auc => measures.auc,
            Metric::LogLoss => measures.logloss,
            Metric::Pcoc => measures.pcoc,
            Metric::Ece => measures.ece,
            Metric::Gauc => measures.gauc,
            Metric::Mse => measures.mse,
            Metric::Mae => measures.mae,
            Metric::R2 => measures.r2,
            Metric::Xauc => measures.xauc,
            Metric::Deviance => measures.deviance,
            Metric::MeanDomainAuc => self.mean_domain_auc.filter(|_| domain.is_none()),
        }
    }
}

/// The result of an evaluation: all metrics, by task and domain. [`Evaluator::report`](super::Evaluator::report) computes it, and [`Report::value`]
/// returns one number of it.
///
/// It displays as one table for each task. In files it is a map by task:
/// `{TASK: {"weighted", "rows", "positives", "auc", "logloss", "pcoc", "ece", "gauc", "mean_domain_auc", "by_domain": {DOMAIN: {…}}}}`. The names and
/// values are those of the fields of [`TaskReport`] and [`Measures`]; the numbers beside `weighted` are those of [`TaskReport::all`].
///
/// * A task that is not binary also has `"kind"`, `"mse"`, `"mae"`, `"r2"`, `"xauc"`, and a count has `"deviance"`. These metrics are absent where
///   they are undefined. Any other undefined metric is null.
/// * If the rows have weights, `weighted` is true, and every set of rows also has `"weight"`, the sum of the weights, and `"unweighted": {"auc", …}`,
///   the metrics with each row counted once.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The metrics of each task, in the order of [`Layout::tasks`](crate::data::Layout::tasks).
    pub tasks: Vec<TaskReport>,
}

impl Report {
    /// Returns the metrics of the task with the name `name`, or `None` if the report has no such task.
    pub fn task(&self, name: &str) -> Option<&TaskReport> {
        self.tasks.iter().find(|task| task.task == name)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_task(&self.tasks, serializer)
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tasks = from_names::<_, TaskReport>(deserializer)?;
        Ok(Self { tasks: tasks.into_iter().map(|(task, report)| TaskReport { task, ..report }).collect() })
    }
}

impl OfTask for TaskReport {
    fn task(&self) -> &str {
        &self.task
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, task) in self.tasks.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            task.fmt(f)?;
        }
        Ok(())
    }
}

impl TaskReport {
    /// The table of a task that is not binary.
    fn write_numbers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
        let counts = self.kind == TaskKind::Count;
        let cells = |m: &Metrics| {
            let deviance = counts.then_some(m.deviance);
            [m.mse, m.mae, m.r2, m.xauc].into_iter().chain(deviance).chain([m.pcoc]).map(value).collect::<Vec<_>>()
        };
        let names: Vec<&str> =
            ["MSE", "MAE", "R²", "XAUC"].into_iter().chain(counts.then_some("deviance")).chain(["PCOC"]).collect();
        let mut headers = vec![one_line(&self.task).to_string(), "rows".into()];
        headers.extend(self.weighted.then(|| "weight".into()));
        headers.extend(names.iter().map(|name| (*name).to_owned()));
        let row = |name: &str, measures: &Measures| {
            let mut row = vec![one_line(name).to_string(), measures.rows.to_string()];
            row.extend(self.weighted.then(|| measures.weight.map_or("–".into(), |weight| format!("{weight:.1}"))));
            row.extend(cells(&measures.metrics()));
            row
        };
        let domains: Vec<_> = self.domains.iter().map(|(name, measures)| row(name, measures)).collect();
        let blocks = [vec![headers], domains, vec![row("all", &self.all)]];
        let undefined = blocks.iter().flatten().flatten().any(|cell| cell == "–");
        write_table(f, &blocks)?;
        if undefined {
            writeln!(
                f,
                "–: undefined. R² and XAUC need two different labels, PCOC a sum of labels above 0, the others a row."
            )?;
        }
        let Some(unweighted) = &self.all.unweighted else { return Ok(()) };
        let all: Vec<String> =
            names.iter().zip(cells(unweighted)).map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "Rows count by their weights. With each row counted once, all have {}.", all.join(", "))
    }
}

impl Measures {
    /// The metrics, weighted if the rows have weights.
    fn metrics(&self) -> Metrics {
        let Self { auc, logloss, pcoc, ece, gauc, mse, mae, r2, xauc, deviance, .. } = *self;
        Metrics { auc, logloss, pcoc, ece, gauc, mse, mae, r2, xauc, deviance }
    }
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.kind.is_binary() {
            return self.write_numbers(f);
        }
        let value = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
        let everything = || self.domains.iter().map(|(_, measures)| measures).chain([&self.all]);
        // Without groups the whole column would be undefined.
        let grouped = everything().any(|measures| measures.gauc.is_some());
        let headers = ["rows", "positives"].into_iter().chain(self.weighted.then_some("weight"));
        let headers = headers.chain(["AUC"]).chain(grouped.then_some("GAUC")).chain(["log loss", "PCOC", "ECE"]);
        let headers = [one_line(&self.task).into()].into_iter().chain(headers.map(str::to_owned));
        let row = |name: &str, measures: &Measures| {
            let mut row = vec![one_line(name).into(), measures.rows.to_string(), measures.positives.to_string()];
            row.extend(self.weighted.then(|| measures.weight.map_or("–".into(), |weight| format!("{weight:.1}"))));
            row.push(value(measures.auc));
            row.extend(grouped.then(|| value(measures.gauc)));
            row.extend([measures.logloss, measures.pcoc, measures.ece].map(value));
            row
        };
        let mut mean = vec!["mean of domains".into(), String::new(), String::new()];
        mean.extend(self.weighted.then(String::new));
        mean.push(value(self.mean_domain_auc));
        let domains: Vec<_> = self.domains.iter().map(|(name, measures)| row(name, measures)).collect();
        let blocks = [vec![headers.collect()], domains, vec![row("all", &self.all), mean]];
        let undefined = blocks.iter().flatten().flatten().any(|cell| cell == "–");
        write_table(f, &blocks)?;
        if undefined {
            let group = if grouped { " GAUC a group with both," } else { "" };
            writeln!(f, "–: undefined. AUC needs both classes,{group} PCOC a positive, the others a row.")?;
        }
        let Some(Metrics { auc, logloss, pcoc, ece, gauc, .. }) = self.all.unweighted else { return Ok(()) };
        write!(f, "Rows count by their weights. With each row counted once, all have AUC {}", value(auc))?;
        if grouped {
            write!(f, ", GAUC {}", value(gauc))?;
        }
        writeln!(f, ", log loss {}, PCOC {}, ECE {}.", value(logloss), value(pcoc), value(ece))
    }
}

/// Writes blocks of rows with a line between two blocks: the first column aligned left, the others right.
fn write_table(f: &mut fmt::Formatter<'_>, blocks: &[Vec<Vec<String>>]) -> fmt::Result {
    let mut widths: Vec<usize> = Vec::new();
    for row in blocks.iter().flatten() {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (number, rows) in blocks.iter().enumerate() {
        if number > 0 {
            writeln!(f, "{}", "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)))?;
        }
        for row in rows {
            let mut line = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(line, "  {cell:>width$}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let search = Measures {
            rows: 1200,
            positives: 90,
            auc: Some(0.75),
            logloss: Some(0.25),
            pcoc: Some(1.0),
            ece: Some(0.01),
            ..Measures::default()
        };
        let feed = Measures { rows: 3, logloss: Some(0.5), ece: Some(0.0), ..Measures::default() };
        let domains = vec![("search".into(), search.clone()), ("feed".into(), feed)];
        let all = Measures { rows: 1203, ..search };
        let task = TaskReport {
            task: "click".into(),
            kind: TaskKind::Binary,
            weighted: false,
            all,
            mean_domain_auc: Some(0.75),
            domains,
        };
        Report { tasks: vec![task] }
    }

    #[test]
    fn displays_as_a_table() {
        let expected = "\
click            rows  positives     AUC  log loss    PCOC     ECE
──────────────────────────────────────────────────────────────────
search           1200         90  0.7500    0.2500  1.0000  0.0100
feed                3          0       –    0.5000       –  0.0000
──────────────────────────────────────────────────────────────────
all              1203         90  0.7500    0.2500  1.0000  0.0100
mean of domains                   0.7500
–: undefined. AUC needs both classes, PCOC a positive, the others a row.
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn counts_have_their_own_columns() {
        let numbers = Measures {
            rows: 7,
            mse: Some(1.5),
            mae: Some(0.5),
            r2: Some(0.25),
            xauc: Some(0.75),
            deviance: Some(2.0),
            pcoc: Some(1.0),
            ..Measures::default()
        };
        let empty = ("feed".into(), Measures { rows: 1, mse: Some(4.0), mae: Some(2.0), ..Measures::default() });
        let task = TaskReport {
            task: "orders".into(),
            kind: TaskKind::Count,
            weighted: false,
            all: numbers,
            mean_domain_auc: None,
            domains: vec![empty],
        };
        let report = Report { tasks: vec![task] };
        let expected = "\
orders  rows     MSE     MAE      R²    XAUC  deviance    PCOC
──────────────────────────────────────────────────────────────
feed       1  4.0000  2.0000       –       –         –       –
──────────────────────────────────────────────────────────────
all        7  1.5000  0.5000  0.2500  0.7500    2.0000  1.0000
–: undefined. R² and XAUC need two different labels, PCOC a sum of labels above 0, the others a row.
";
        assert_eq!(report.to_string(), expected);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("\"kind\":\"count\""), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn groups_bring_a_column() {
        let mut report = report();
        report.tasks[0].all.gauc = Some(0.625);
        let text = report.to_string();
        assert!(text.contains("AUC    GAUC  log loss"), "{text}");
        assert!(text.contains("0.7500  0.6250    0.2500"), "{text}");
    }

    #[test]
    fn weights_bring_a_column_and_a_line() {
        let mut report = report();
        report.tasks[0].weighted = true;
        for measures in report.tasks[0].domains.iter_mut().map(|(_, measures)| measures) {
            measures.weight = Some(300.25);
        }
        let all = &mut report.tasks[0].all;
        all.weight = Some(600.5);
        all.unweighted = Some(Metrics { auc: Some(0.5), logloss: Some(0.75), ece: Some(0.125), ..Metrics::default() });
        let expected = "\
click            rows  positives  weight     AUC  log loss    PCOC     ECE
──────────────────────────────────────────────────────────────────────────
search           1200         90   300.2  0.7500    0.2500  1.0000  0.0100
feed                3          0   300.2       –    0.5000       –  0.0000
──────────────────────────────────────────────────────────────────────────
all              1203         90   600.5  0.7500    0.2500  1.0000  0.0100
mean of domains                           0.7500
–: undefined. AUC needs both classes, PCOC a positive, the others a row.
Rows count by their weights. With each row counted once, all have AUC 0.5000, log loss 0.7500, PCOC –, ECE 0.1250.
";
        assert_eq!(report.to_string(), expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["click"]["weighted"], &json["click"]["weight"]), (&true.into(), &600.5.into()));
        assert_eq!(json["click"]["unweighted"]["logloss"], 0.75);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn serialises_by_name_with_null_for_undefined() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["click"]["auc"], 0.75);
        assert_eq!(json["click"]["rows"], 1203);
        assert_eq!(json["click"]["mean_domain_auc"], 0.75);
        assert_eq!(json["click"]["by_domain"]["search"]["positives"], 90);
        let feed = json["click"]["by_domain"]["feed"].as_object().unwrap();
        assert!(feed["auc"].is_null() && feed["pcoc"].is_null() && feed["gauc"].is_null());
        assert_eq!(feed.len(), 7);
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    }
}

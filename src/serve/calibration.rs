//! Calibration: one curve from logits to probabilities for each domain and task.

mod curve;
mod isotonic;
mod observed;
mod platt;
mod settings;

use ndarray::{Array2, ArrayRef2};
use serde::{Deserialize, Serialize};

pub use self::curve::Curve;
use self::observed::{Observed, sort};
pub use self::settings::{CalibrationSettings, Method};
use crate::data::{Batch, DomainId, Domains, Layout, Target};
use crate::error::Problems;
use crate::{Error, ErrorKind, Result};

/// Corrects a model's probabilities in each domain and for each binary task, so that of the rows with a predicted probability of 3 %, about 3 % have
/// the label 1. [`Calibration::fit`] makes one from rows with labels; a [`Predictor`](super::Predictor) applies it.
///
/// A model that ranks well can still predict probabilities that are too high or too low, by another amount in each domain. Causes are sampling of
/// negatives, row weights, dropout and early stopping. Fit a calibration on rows that the model was **not** trained on, such as the validation split.
///
/// ```
/// use ndarray::array;
/// use starple::data::{Batch, DomainId, Layout};
/// use starple::metrics::pcoc;
/// use starple::serve::{Calibration, CalibrationSettings, Method};
///
/// let layout = Layout { domains: vec!["home".into()], tasks: vec!["click".into()], ..Layout::default() };
/// let home = DomainId::new(0);
/// let rows = Batch::builder(&layout, 4).domains(vec![home; 4]).labels("click", vec![0.0, 0.0, 1.0, 0.0]).build()?;
/// let logits = array![[-1.0], [0.0], [1.0], [2.0]];
///
/// // With the default `min_rows`, 4 rows would be too few for a curve.
/// let settings = CalibrationSettings { min_rows: 4, ..Method::Isotonic.into() };
/// let calibration = Calibration::fit(settings, &logits, &rows, &layout)?;
/// // The calibrated probability of a row in `home` whose logit is 2.0, for task 0.
/// assert_eq!(calibration.probability(2.0, home, 0), 0.5);
/// let calibrated = calibration.logits(&logits, home);
/// assert!((pcoc(calibrated.as_slice().unwrap(), rows.labels.as_slice().unwrap()).unwrap() - 1.0).abs() < 1e-6);
/// # Ok::<(), starple::Error>(())
/// ```
///
/// It holds one [`Curve`] for each task and domain, and one curve for each task over all domains. Rows of [`DomainId::SHARED`] (no known domain) and
/// of domains that were added after the fit use the curve over all domains. Regressions and counts have no curves; their predictions stay as they
/// are.
///
/// It is read and written with serde. Reading checks the curves: invalid numbers, or a number of curves that does not fit the domains, are an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Calibration {
    /// The names, so that a model is not served with another model's calibration.
    domains: Vec<String>,
    tasks: Vec<TaskCurves>,
}

/// The curves of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskCurves {
    task: String,
    pooled: Curve,
    /// By domain; `None` if it had too few rows.
    domains: Vec<Option<Curve>>,
}

/// A calibration in a file, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    domains: Vec<String>,
    tasks: Vec<TaskCurves>,
}

impl TryFrom<Parts> for Calibration {
    type Error = Error;

    fn try_from(Parts { domains, tasks }: Parts) -> Result<Self> {
        let mut problems = Problems::default();
        for TaskCurves { task, pooled, domains: curves } in &tasks {
            problems.require(curves.len() == domains.len(), || {
                format!("task {task:?}: {} curves, one for each domain, found {}", domains.len(), curves.len())
            });
            let own = domains.iter().zip(curves).filter_map(|(domain, curve)| Some((domain.as_str(), curve.as_ref()?)));
            for (domain, curve) in own.chain([("all domains", pooled)]) {
                problems.require(curve.is_valid(), || {
                    format!("task {task:?}, {domain:?}: expected a curve of finite numbers that never falls")
                });
            }
        }
        problems.into_result("Calibration")?;
        Ok(Self { domains, tasks })
    }
}

impl Calibration {
    /// Fits a curve for every binary task and domain, and for every binary task over all domains.
    ///
    /// * `settings` has the method and the smallest number of rows for a curve. A [`Method`] alone means the default number.
    /// * `logits`, `[rows, tasks]`, are the model's logits of `rows` ([`Model::score`](crate::Model::score)).
    /// * `rows` has the labels, weights and domains. For each task, rows without a label and rows of weight 0 are skipped. Rows count by their
    ///   weights.
    /// * `layout` is the layout of the model.
    ///
    /// If a task has too few labelled rows, its curve is [`Curve::Identity`] (no correction); [`Calibration::curve`] says what domains with few rows
    /// use. The curves do not depend on the order of the rows.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] if the logit of a row that is not skipped is not finite. The errors of [`Batch::check`] if `rows` does not have the
    /// layout `layout` or has an invalid value.
    ///
    /// # Panics
    /// If the shape of `logits` is not `[rows, tasks]`.
    pub fn fit(
        settings: impl Into<CalibrationSettings>,
        logits: &ArrayRef2<f32>,
        rows: &Batch,
        layout: &Layout,
    ) -> Result<Self> {
        let settings = settings.into();
        assert_eq!(logits.dim(), (rows.rows(), layout.tasks.len()), "logits of each row and task");
        rows.check(layout)?;
        let tasks = layout.tasks.iter().enumerate().map(|(task, name)| {
            let (mut pooled, mut domains) = (Vec::new(), vec![Vec::new(); layout.domains.len()]);
            let binary = layout.target(task) == Target::Binary;
            for row in (0..rows.rows()).filter(|_| binary) {
                let weight = rows.weights.get(row).copied().unwrap_or(1.0);
                let (logit, label) = (logits[[row, task]], rows.labels[[row, task]]);
                if label.is_nan() || weight == 0.0 {
                    continue;
                }
                if !logit.is_finite() {
                    let message = format!("row {row}: expected a finite logit");
                    return Err(Error::new(ErrorKind::NonFinite, message)
                        .in_column(name)
                        .with_value(logit.to_string()));
                }
                let observed = Observed { logit, positive: label == 1.0, weight };
                pooled.push(observed);
                if let Some(domain) = rows.domains[row].index() {
                    domains[domain].push(observed);
                }
            }
            let pooled = settings.curve(&mut pooled).unwrap_or(Curve::Identity);
            let domains = domains.iter_mut().map(|rows| settings.curve(rows)).collect();
            Ok(TaskCurves { task: name.clone(), pooled, domains })
        });
        Ok(Self { domains: layout.domains.clone(), tasks: tasks.collect::<Result<_>>()? })
    }

    /// The curve from logits to probabilities for the rows of one domain and for one task. `task` is the position of the task in [`Layout::tasks`],
    /// from 0.
    ///
    /// Some domains have no curve of their own, and use the task's curve over all domains: [`DomainId::SHARED`], a domain that was added after the
    /// fit, and a domain that had too few rows in the fit ([`CalibrationSettings::min_rows`]) or rows of one class only. For a task that is not
    /// binary, the result is [`Curve::Identity`], which has no meaning there.
    ///
    /// # Panics
    /// If the calibration has no task at the position `task`.
    pub fn curve(&self, domain: DomainId, task: usize) -> &Curve {
        let TaskCurves { pooled, domains, .. } = &self.tasks[task];
        domain.index().and_then(|domain| domains.get(domain)?.as_ref()).unwrap_or(pooled)
    }

    /// The calibrated probability of a row of the domain `domain`, for one binary task: the value of [`Calibration::curve`] at `logit`, the model's
    /// logit of the row. `task` is the position of the task in [`Layout::tasks`], from 0. The result is NaN if `logit` is NaN, and has no meaning for
    /// a task that is not binary.
    ///
    /// # Panics
    /// If the calibration has no task at the position `task`.
    pub fn probability(&self, logit: f32, domain: DomainId, task: usize) -> f64 {
        self.curve(domain, task).probability(logit)
    }

    /// The logits of the calibrated probabilities ([`Curve::logit`]), `[rows, tasks]`, for example to compute [metrics](crate::metrics). `logits`,
    /// `[rows, tasks]`, are those of the model. `domains` is one domain for all rows, or a slice with one for each row. The logits of a task that is
    /// not binary do not change.
    ///
    /// # Panics
    /// If `logits` does not have one column for each task of the calibration, or if `domains` is a slice and does not have one domain for each row.
    pub fn logits<'a>(&self, logits: &ArrayRef2<f32>, domains: impl Into<Domains<'a>>) -> Array2<f32> {
        let domains = domains.into();
        assert_eq!(logits.ncols(), self.tasks.len(), "logits of each task");
        if let Domains::PerRow(domains) = domains {
            assert_eq!(domains.len(), logits.nrows(), "a domain for each row");
        }
        let domain = |row: usize| match domains {
            Domains::One(domain) => domain,
            Domains::PerRow(domains) => domains[row],
        };
        Array2::from_shape_fn(logits.dim(), |(row, task)| self.curve(domain(row), task).logit(logits[[row, task]]))
    }

    /// Checks that this calibration can be used for a model with the layout `layout`: it must have been fitted for the same tasks and the same
    /// domains, in the same order. `layout` may have more domains after these.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if the tasks or the domains differ. The message names both.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let tasks = self.tasks.iter().map(|curves| &curves.task);
        if tasks.clone().eq(&layout.tasks) && layout.domains.starts_with(&self.domains) {
            return Ok(());
        }
        let (tasks, domains): (Vec<_>, _) = (tasks.collect(), &self.domains);
        let message = format!(
            "expected a calibration for the tasks {:?} and domains {:?}, found one for the tasks {tasks:?} and domains {domains:?}",
            layout.tasks, layout.domains
        );
        Err(Error::new(ErrorKind::Layout, message).with_help("fit it on this model's own scores"))
    }
}

impl CalibrationSettings {
    /// The curve of these rows; `None` if there are too few.
    fn curve(self, rows: &mut [Observed]) -> Option<Curve> {
        let clicks = rows.iter().filter(|row| row.positive).count();
        if rows.len() < self.min_rows || clicks == 0 || clicks == rows.len() {
            return None;
        }
        sort(rows);
        Some(match self.method {
            Method::Platt => platt::fit(rows),
            Method::Isotonic => isotonic::fit(rows),
        })
    }
}

#[cfg(test)]
mod tests;

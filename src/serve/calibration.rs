//! Curves from logits to probabilities, by domain and task.

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
use crate::data::{Batch, DomainId, Domains, Layout};
use crate::error::Problems;
use crate::{Error, ErrorKind, Result};

/// Corrects a model's probabilities, so that of rows promised 3 % about 3 % are clicked, in each domain and for each task.
///
/// A trained model ranks well and may still promise too much or too little, in one domain more than in another: sampling of negatives,
/// row weights, dropout and early stop all see to that. Fit this on rows the model was **not** trained on; the validation split serves.
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
/// // A real validation split has more rows than this; so few would be left alone.
/// let settings = CalibrationSettings { min_rows: 4, ..Method::Isotonic.into() };
/// let calibration = Calibration::fit(settings, &logits, &rows, &layout)?;
/// assert_eq!(calibration.probability(2.0, home, 0), 0.5);
/// let calibrated = calibration.logits(&logits, home);
/// assert!((pcoc(calibrated.as_slice().unwrap(), rows.labels.as_slice().unwrap()).unwrap() - 1.0).abs() < 1e-6);
/// # Ok::<(), starple::Error>(())
/// ```
///
/// Rows of [`DomainId::SHARED`], and of domains that were added after the fit, take the task's curve of all domains. In a file it is
/// checked like a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Calibration {
    /// Names, so that a model is not served with the calibration of another.
    domains: Vec<String>,
    tasks: Vec<TaskCurves>,
}

/// The curves of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskCurves {
    task: String,
    pooled: Curve,
    /// By domain; none where rows were too few.
    domains: Vec<Option<Curve>>,
}

/// A calibration as it is written to a file.
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
                    format!("task {task:?}, {domain:?}: a curve of finite numbers that never falls, found another")
                });
            }
        }
        problems.into_result("Calibration")?;
        Ok(Self { domains, tasks })
    }
}

impl Calibration {
    /// Fits a curve for every task and domain: on logits `[rows, tasks]`, as [`Model::score`](crate::Model::score) gives them, and the
    /// labels, weights and domains of `rows`.
    ///
    /// The curves depend on the set of rows alone, not on their order. Rows without a label, or of weight 0, are not there.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] for a logit that is not finite where the row has a label, [`ErrorKind::Layout`] or [`ErrorKind::Data`]
    /// if the rows are not what [`Batch::check`] asks for.
    ///
    /// # Panics
    /// If the logits are not `[rows, tasks]`.
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
            for row in 0..rows.rows() {
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

    /// The curve of a domain's rows for a task, by the task's position in the layout.
    ///
    /// # Panics
    /// If there is no such task.
    pub fn curve(&self, domain: DomainId, task: usize) -> &Curve {
        let TaskCurves { pooled, domains, .. } = &self.tasks[task];
        domain.index().and_then(|domain| domains.get(domain)?.as_ref()).unwrap_or(pooled)
    }

    /// The probability of a row with this logit: [`Curve::probability`] of [`Calibration::curve`].
    ///
    /// # Panics
    /// If there is no such task.
    pub fn probability(&self, logit: f32, domain: DomainId, task: usize) -> f64 {
        self.curve(domain, task).probability(logit)
    }

    /// The logits of the calibrated probabilities, `[rows, tasks]`, which [metrics](crate::metrics) take.
    ///
    /// # Panics
    /// If `logits` has other tasks, or `domains` other rows.
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

    /// Checks that it was fitted for the tasks and domains of `layout`, which may have more domains behind them.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if not.
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
    /// The curve of these rows, if they are enough.
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

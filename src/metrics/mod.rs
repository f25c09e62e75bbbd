//! Measures how good scores are: ranking, loss and calibration, over all rows, by domain and by task.
//!
//! For a binary task, scores are **logits**, as models return them; the probability is `σ(logit) = 1/(1 + exp(−logit))`. Labels are 0 or 1.
//! For regressions and counts ([`TaskKind`](crate::data::TaskKind)), labels are numbers, and predictions are numbers too:
//! [`Target::answer`](crate::data::Target::answer) computes them from logits.
//!
//! A missing label is NaN. Rows with a missing label are skipped; they never count as 0. Sums and results are `f64`. An undefined value
//! (such as the AUC of rows that all have the same label) is `None`. If rows have weights, an [`Evaluator`] uses them; the functions on
//! slices count every labelled row once.
//!
//! - [`auc`], [`gauc`], [`logloss`], [`pcoc`] and [`ece`] compute one metric of a binary task from slices.
//! - [`mse`], [`mae`], [`r2`] and [`xauc`] compute one metric of a regression or a count from slices.
//! - An [`Evaluator`] takes the logits and labels of batches and computes all metrics by task and domain. The result is a [`Report`], which
//!   displays as tables.
//! - A [`Monitor`] selects one number of a report, for early stopping or to compare models.
//!
//! ```
//! use ndarray::array;
//! use starple::data::{DomainId, Layout};
//! use starple::metrics::{Evaluator, Metric, Monitor};
//!
//! let layout = Layout {
//!     domains: vec!["search".into(), "feed".into()],
//!     tasks: vec!["click".into()],
//!     ..Layout::default()
//! };
//! let (search, feed) = (DomainId::new(0), DomainId::new(1));
//!
//! let mut evaluator = Evaluator::new(&layout);
//! let logits = array![[2.0], [-1.0], [0.5], [0.1]];
//! let labels = array![[1.0], [0.0], [0.0], [1.0]];
//! evaluator.add(&logits, &labels, &[search, search, feed, feed][..], &[], &[])?;
//!
//! let report = evaluator.report();
//! assert_eq!(report.value(&Monitor::new(Metric::Auc))?, Some(0.75));
//! assert_eq!(report.value(&Monitor::new(Metric::Auc).in_domain("feed"))?, Some(0.0));
//! assert_eq!(report.value(&Monitor::new(Metric::MeanDomainAuc))?, Some(0.5));
//! println!("{report}");
//! # Ok::<(), starple::Error>(())
//! ```

mod auc;
mod by_name;
mod calibration;
mod evaluator;
mod gauc;
mod logloss;
mod monitor;
mod observation;
mod regression;
mod report;

pub use auc::auc;
pub(crate) use by_name::{OfTask, by_name, by_task, from_names};
pub use calibration::{ECE_BINS, ece, pcoc};
pub use evaluator::Evaluator;
pub use gauc::gauc;
pub use logloss::logloss;
pub use monitor::{Metric, Monitor};
pub use regression::{mae, mse, r2, xauc};
pub use report::{Measures, Metrics, Report, SHARED_DOMAIN, TaskReport};

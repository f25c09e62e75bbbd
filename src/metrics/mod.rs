//! How good are the scores: ranking, loss and calibration, over all rows, by domain and by task.
//!
//! Scores are **logits**, as models give them; a probability is `σ(logit)`. Labels are 0 or 1, or NaN where the label is
//! missing: such rows are skipped, they never count as 0. Sums and results are `f64`. A value that is undefined (the AUC
//! of rows of one class) is `None`, never a made-up 0.5. Where rows have weights, an [`Evaluator`] weighs them; the functions on
//! slices count every row once.
//!
//! - One number from slices: [`auc`], [`gauc`], [`logloss`], [`pcoc`], [`ece`].
//! - All of them, streamed batch by batch, by task and domain: [`Evaluator`], which gives a [`Report`].
//! - One number out of a report, to stop early on or to compare models by: [`Monitor`].
//! - A report displays as tables for a terminal.
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
mod report;

pub use auc::auc;
pub(crate) use by_name::{OfTask, by_name, by_task, from_names};
pub use calibration::{ECE_BINS, ece, pcoc};
pub use evaluator::Evaluator;
pub use gauc::gauc;
pub use logloss::logloss;
pub use monitor::{Metric, Monitor};
pub use report::{Measures, Metrics, Report, SHARED_DOMAIN, TaskReport};

//! Compares models on a log: does sharing help or hurt each domain and task?
//!
//! [`compare()`] trains every [`Contender`] with every seed on the same training rows, stops each run early by the same
//! validation rows, and scores all on the same test rows. A [`Comparison`] displays as tables, serialises as JSON, and
//! [`Comparison::svg`] draws it.
//!
//! ```
//! use starple_lab::compare::{CompareConfig, Contender, compare};
//! use starple::data::Splits;
//! use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};
//! use starple::train::TrainConfig;
//! use starple::{PooledConfig, StarConfig};
//!
//! # fn main() -> starple::Result<()> {
//! let log = SyntheticLog::generate(&SyntheticConfig::toy());
//! let rows = log.data_set();
//! let [train, val, test] = [0..2000, 2000..2500, 2500..4000].map(|part| rows.slice(part));
//! let splits = Splits::of_sets(train, val, test);
//!
//! let config = CompareConfig::builder()
//!     .contender(Contender::new("pooled", |layout, seed| {
//!         PooledConfig::builder(layout).embedding_dim(4).hidden([8]).seed(seed).build()
//!     }))
//!     .contender(Contender::new("star", |layout, seed| {
//!         StarConfig::builder(layout).embedding_dim(4).hidden([8]).seed(seed).build()
//!     }))
//!     .baseline("pooled")
//!     .seeds([1, 2])
//!     .train(TrainConfig::builder().epochs(1).batch_rows(256).build()?)
//!     .build()?;
//! let comparison = compare(&config, &splits, ())?;
//! println!("{comparison}");
//! assert!(comparison.svg("toy log").contains("gain in AUC over pooled"));
//! # Ok(()) }
//! ```
//!
//! # The figures
//!
//! For each contender, as mean and sample standard deviation over the seeds whose runs did not fail:
//!
//! * AUC, log loss and PCOC of the test rows by task and domain, and by task over all rows; the mean of the domains'
//!   AUCs ([`Standing::scores`]). Rows count by their weights, if they have weights: see [`Evaluator`](starple::metrics::Evaluator). An
//!   undefined AUC (only one class) is `–` in tables, null in JSON, and enters no other figure.
//! * Parameters, epochs, and rows trained on per second.
//! * **Gains** over the baseline by task and domain ([`Gains`]), `AUC − AUC of the baseline`, paired by seed. Over
//!   models that share nothing, this is the MTL gain of PLE's paper (Tang et al., RecSys 2020).
//!   [`Comparison::gains`] computes gains over any contender and in any metric.
//!
//! Runs that diverge or end in an error are listed, with the reason, and enter no figure; the number of seeds of each contender counts
//! only the other runs.
//!
//! # The flags
//!
//! * **▲ gain**, **▼ loss**: the mean gain is significantly above or below zero ([`Verdict`]). Over the kind `single`, which
//!   shares nothing, a loss is *negative transfer*, and the tables call it so.
//! * **seesaw**: a contender has ▲ in one cell (domain and task) and ▼ in another, the seesaw phenomenon of PLE's paper.
//! * No mark: within noise. **?**: not tested, because no two seeds differ; the tables list these contenders.
//!
//! *Noise* is the noise of training: the effect of another seed for starting values, batch order and dropout, on the same
//! rows. The test is paired by seed: the exact [sign-flip test](sign_flip) if there are enough seeds for a significant
//! result, else [Student's t](student_t), which assumes normal differences ([`Test::choose`] has the rule; the tables
//! name the test). With [Holm's correction](holm()) over a contender's cells, the chance that noise alone flags any of
//! them is below the level, 5 % by default. There is no correction across contenders: among twenty without a gain, one
//! may be flagged.
//!
//! Seeds do **not** measure the noise of the test rows: other impressions of the same traffic would
//! give other AUCs, with a standard error of up to `√(A·(1 − A)/m)` for an AUC of A and m rows of the rarer class. All seeds are scored on
//! the same test rows. So a small, steady gain in a domain of forty positives may be flagged, correctly for training, and still vanish next
//! week; tables and picture give the positives of every domain. To include this noise, use several test sets (such as weeks), each
//! with its own seed, and [merge](Comparison::merge) the comparisons.
//!
//! Whether a comparison is fair depends on the settings: contenders share the training settings unless they have their own, and settings
//! that were tuned for one may not suit another. The kind `single` trains all its models in one run, so that all stop after the same
//! epoch; this costs some of them, and gains over it include that. The test rows are not used before the end.
//!
//! # Other programs
//!
//! [`Comparison::add_others`] adds what another program reached on the same rows, such as boosted trees (`benches/quality/trees.py`). Its
//! numbers of test rows and positives are checked against those of the comparison.
//!
//! # Resuming a comparison
//!
//! With a [journal](CompareConfigBuilder::journal) each run is written to disk when it is done. If you start the same comparison again, it
//! reads these runs and trains the rest; its figures equal those of an uninterrupted comparison. A run is reused only for the same
//! settings, seed, rows and version of this crate, so several comparisons may use one journal, one after the other. An [`Observer`] can stop
//! a comparison ([`Observer::stopped`]).

mod by_name;
mod comparison;
mod config;
mod contender;
mod figure;
mod gains;
mod journal;
#[cfg(test)]
mod made_up;
mod notes;
mod observer;
mod others;
mod progress;
mod run;
mod statistics;
mod tables;

pub use comparison::{Comparison, Scores, Standing, TaskScores};
pub use config::{CompareConfig, CompareConfigBuilder};
pub use contender::Contender;
pub use gains::{Gain, Gains, TaskGains, Verdict};
pub use observer::{Observer, RunName};
pub use others::{OtherProgram, OtherRun};
pub use progress::CompareProgress;
pub use run::{RunResult, compare};
pub use statistics::{Summary, Test, holm, sign_flip, student_t};

//! The judge: on *your* log, does sharing help or hurt each domain and task?
//!
//! [`compare()`] trains every [`Contender`] with every seed on the same training rows, stops each by the same
//! validation rows, and judges all by the same test rows. The [`Comparison`] displays as tables, serialises as JSON and
//! draws itself as [SVG](Comparison::svg).
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
//! Of each contender, as mean and sample standard deviation over the seeds whose runs are judged:
//!
//! * AUC, log loss and PCOC of the test rows by task and domain, and by task over all rows; the mean of the domains'
//!   AUCs ([`Standing::scores`]). Rows count by their weights, where they have any: see [`Evaluator`](starple::metrics::Evaluator). An AUC that is undefined, for want of one class, is `–` in tables, null in JSON, and
//!   enters nothing.
//! * Parameters, epochs, and rows trained on in a second.
//! * **Gains** over the baseline by task and domain ([`Gains`]), `AUC − AUC of the baseline`, paired by seed. Over
//!   models that share nothing this is what PLE's paper calls MTL gain (Tang et al., RecSys 2020).
//!   [`Comparison::gains`] gives them over any contender and in any metric.
//!
//! A run that diverges is named, with the place, and left out, and so is one that ends in an error; the count of seeds
//! beside each contender says so.
//!
//! # The flags
//!
//! * **▲ gain**, **▼ loss**: the mean gain is above or below zero beyond noise ([`Verdict`]). Over the kind `single`, which
//!   shares nothing, a loss is *negative transfer*, and called so.
//! * **seesaw**: a contender has ▲ in one cell (domain and task) and ▼ in another; PLE's paper names the phenomenon.
//! * No mark: within noise. **?**: not tested, for want of two seeds that differ; the tables say whose gains are not.
//!
//! *Noise* is that of training: what another seed for starting values, batch order and dropout changes, on the same
//! rows. The test is paired by seed: exact by [sign flips](sign_flip) where there are seeds enough for it to find
//! anything, else [Student's t](student_t), which assumes normal differences ([`Test::choose`] has the rule; the tables
//! name the test). With [Holm's correction](holm()) over a contender's cells, the chance that noise alone flags any of
//! them is below the level, 5 % by default. It does not reach across contenders: among twenty that gain nothing, one
//! may be flagged.
//!
//! What seeds do **not** measure is the noise of the test rows themselves: other impressions of the same traffic would
//! give other AUCs, with a standard error of up to `√(A·(1 − A)/m)` for an AUC of A and m rows of the rarer class, and
//! all seeds are judged by the same ones. A small, steady gain in a domain of forty positives may be flagged, rightly as
//! to training, and not come back next week. So the tables and the picture give the positives of every domain. To
//! include that noise, judge by several test sets (weeks, say), each with a seed of its own, and
//! [merge](Comparison::merge) the comparisons.
//!
//! Fair play is up to the settings: contenders share the training settings unless they have their own, and what was
//! tuned for one may not suit another. The kind `single` trains its models in one run, so that all stop after the same
//! epoch; gains over it include what that costs some of them. Nothing here looks at the test rows before the end.
//!
//! # A comparison that is stopped
//!
//! With a [journal](CompareConfigBuilder::journal) each run is written to disk when it is done. The same comparison started again
//! takes what is done from there and trains the rest; its figures are those of a comparison that was never stopped. A run is taken
//! for the very settings, seed, rows and version of this crate that it was made with alone, so that several comparisons may use one
//! journal one after the other. An [`Observer`] may ask for the end ([`Observer::stopped`]).

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
mod progress;
mod run;
mod statistics;
mod tables;

pub use comparison::{Comparison, Scores, Standing, TaskScores};
pub use config::{CompareConfig, CompareConfigBuilder};
pub use contender::Contender;
pub use gains::{Gain, Gains, TaskGains, Verdict};
pub use observer::{Observer, RunName};
pub use progress::CompareProgress;
pub use run::{RunResult, compare};
pub use statistics::{Summary, Test, holm, sign_flip, student_t};

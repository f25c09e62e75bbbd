//! Training: [`Trainer`] is the training loop, [`TrainConfig`] has its settings, and [`FitReport`] is its report. [`Callback`] runs code of
//! your own during training, and [`Checkpoints`] saves a run so that it can be resumed. For a training loop of your own, [`Step`] computes
//! the gradient of one step, [`recompute_statistics`] prepares the model for evaluation, and [`evaluate()`] measures it.

mod average;
mod callback;
mod checkpoint;
mod checkpoints;
mod config;
mod evaluate;
mod id_counts;
mod id_l2;
mod lock;
mod memory;
mod progress;
mod report;
mod run;
mod run_state;
mod statistics;
mod step;
mod trainer;
mod unknown;

pub use average::Average;
pub use callback::{Callback, StepDone};
pub use checkpoints::{Checkpoints, CheckpointsBuilder};
pub use config::{EarlyStop, TrainConfig, TrainConfigBuilder};
pub use evaluate::evaluate;
pub use id_counts::IdCounts;
pub(crate) use memory::MAX_THREADS;
pub use memory::MemoryNeed;
pub use progress::Progress;
pub use report::{EpochReport, FitReport, StopReason, UnitReport};
pub use statistics::{StatisticsRows, recompute_statistics};
pub use step::Step;
pub use trainer::Trainer;
pub use unknown::Unknown;

use crate::parallel::in_wakeful;
use crate::{Error, ErrorKind, Result};

/// Runs `work` in a new thread pool with `threads` threads, returns its result and ends the pool. With `threads` 0 or 1 there is no pool:
/// `work` runs on the calling thread.
///
/// Use it to score or train with several threads outside of a [`Trainer`], which makes a pool itself. Inside a rayon pool, this one or your
/// own, this crate splits its work over the threads of the pool. The result has the same bits for every number of threads. Outside a pool,
/// this crate uses one thread; it never starts rayon's global pool. While `work` runs, the idle threads of this pool are awake: they look
/// for work all the time for about a millisecond, and then once every millisecond.
///
/// # Errors
/// [`ErrorKind::Config`] if `threads` is above 1024. [`ErrorKind::Io`] if the system cannot start that number of threads. In both cases
/// `work` has not run.
///
/// # Panics
/// If `work` panics.
pub fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    if threads <= 1 {
        return Ok(work());
    }
    if threads > MAX_THREADS {
        return Err(Error::new(ErrorKind::Config, format!("threads: at most {MAX_THREADS}, found {threads}")));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::new(ErrorKind::Io, format!("cannot start {threads} threads: {error}")))?;
    Ok(in_wakeful(&pool, work))
}

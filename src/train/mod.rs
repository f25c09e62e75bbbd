//! The training loop, its settings, its progress and its report.

mod callback;
mod checkpoint;
mod checkpoints;
mod config;
mod evaluate;
mod lock;
mod memory;
mod place;
mod progress;
mod report;
mod run;
mod statistics;
mod step;
mod trainer;

pub use callback::{Callback, StepDone};
pub use checkpoints::{Checkpoints, CheckpointsBuilder};
pub use config::{EarlyStop, TrainConfig, TrainConfigBuilder};
pub use evaluate::evaluate;
pub(crate) use memory::MAX_THREADS;
pub use memory::MemoryNeed;
pub use progress::Progress;
pub use report::{EpochReport, FitReport, StopReason, UnitReport};
pub use statistics::{StatisticsRows, recompute_statistics};
pub use step::Step;
pub use trainer::Trainer;

use crate::parallel::in_wakeful;
use crate::{Error, ErrorKind, Result};

/// Runs `work` in a pool of this many threads, which ends with it; with one, on the thread that called.
///
/// Whatever in this crate can be split is split when it runs inside a rayon pool, this one or a caller's own, and the
/// result has the same bits either way. No global pool is ever started. Threads of this one that have nothing to do for a moment look for
/// work; after about a millisecond they nap.
///
/// # Errors
/// [`ErrorKind::Config`] for more than 1024 threads; [`ErrorKind::Io`] if the system gives no threads.
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

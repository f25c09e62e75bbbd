//! The training loop, its settings, its progress and its report.

mod callback;
mod checkpoint;
mod checkpoints;
mod config;
mod evaluate;
mod lock;
mod memory;
mod progress;
mod report;
mod run;
mod run_state;
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

/// Runs `work` in a new pool of this many threads, which ends with it; with one thread, on the calling thread.
///
/// Inside a rayon pool, this one or your own, this crate splits its work over the threads; the result has the same bits. The crate never
/// starts a global pool. Idle threads of this pool poll for work for about a millisecond before they sleep.
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

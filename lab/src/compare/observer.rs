//! Hooks of a comparison.

use starple::train::EpochReport;

use super::RunResult;

/// Called by [`compare`](super::compare()) during a comparison. By default every method does nothing. Calls of parallel
/// runs interleave, one at a time.
///
/// `()` is an observer that does nothing.
pub trait Observer: Send {
    /// A comparison of `runs` runs begins, which train for at most `epochs` epochs in total.
    fn comparison_started(&mut self, runs: usize, epochs: usize) {
        let _ = (runs, epochs);
    }

    /// A contender's settings are valid but probably a mistake: a text of
    /// [`NetConfig::warnings`](starple::model::NetConfig::warnings).
    fn warned(&mut self, contender: &str, warning: &str) {
        let _ = (contender, warning);
    }

    /// The journal was read: `taken` runs of this comparison are done. It also has `others` runs of other settings or rows, and
    /// `damaged` lines that cannot be read.
    fn journal_read(&mut self, taken: usize, others: usize, damaged: usize) {
        let _ = (taken, others, damaged);
    }

    /// Whether to stop the comparison; default false. It is called before each run and after each of its steps. Finished runs are
    /// in the journal; unfinished ones are lost.
    fn stopped(&self) -> bool {
        false
    }

    /// A run begins.
    fn run_started(&mut self, run: &RunName<'_>) {
        let _ = run;
    }

    /// A run has trained and evaluated an epoch.
    fn epoch_done(&mut self, run: &RunName<'_>, epoch: &EpochReport) {
        let _ = (run, epoch);
    }

    /// A run is done and scored, or was read from the journal.
    fn run_done(&mut self, run: &RunName<'_>, result: &RunResult) {
        let _ = (run, result);
    }
}

impl Observer for () {}

/// The name of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunName<'a> {
    /// The contender.
    pub contender: &'a str,
    /// The seed.
    pub seed: u64,
    /// The most epochs that it trains.
    pub epochs: usize,
}

//! What a comparison tells while it runs.

use starple::train::EpochReport;

use super::RunResult;

/// Told by [`compare`](super::compare()) how far it is; every method does nothing unless it is overridden. Where runs
/// train at the same time, calls of different runs interleave, one at a time.
///
/// `()` is an observer that looks away.
pub trait Observer: Send {
    /// A comparison of so many runs begins, which train for so many epochs at most, all together.
    fn comparison_started(&mut self, runs: usize, epochs: usize) {
        let _ = (runs, epochs);
    }

    /// A contender's settings are valid and probably not meant: what
    /// [`NetConfig::warnings`](starple::model::NetConfig::warnings) says.
    fn warned(&mut self, contender: &str, warning: &str) {
        let _ = (contender, warning);
    }

    /// This many of the runs were done before and are taken from the journal; it also has `others`, of other settings or rows, and
    /// `damaged` lines, which cannot be read.
    fn journal_read(&mut self, taken: usize, others: usize, damaged: usize) {
        let _ = (taken, others, damaged);
    }

    /// Whether the comparison should end, by default not: asked before each run and after each of its steps. Runs that are done are
    /// in the journal, those under way are lost.
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

    /// A run is over and judged, or was taken from the journal.
    fn run_done(&mut self, run: &RunName<'_>, result: &RunResult) {
        let _ = (run, result);
    }
}

impl Observer for () {}

/// Which run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunName<'a> {
    /// The contender.
    pub contender: &'a str,
    /// The seed.
    pub seed: u64,
    /// How many epochs it trains at most.
    pub epochs: usize,
}

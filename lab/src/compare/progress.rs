//! Progress of a comparison on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use starple::one_line;
use starple::train::EpochReport;

use super::{Observer, RunName, RunResult};

/// Shows a comparison on stderr: a line after each run, and if stderr is a terminal, a bar over all epochs of all runs with the name of the
/// latest run. Lines that cannot be written are lost.
#[derive(Debug, Default)]
pub struct CompareProgress {
    runs: usize,
    done: usize,
    bar: Option<indicatif::ProgressBar>,
    stop: Arc<AtomicBool>,
}

impl CompareProgress {
    /// Progress on stderr.
    pub fn stderr() -> Self {
        Self::default()
    }

    /// Ends the comparison, as [`Observer::stopped`] does, once this flag is true: a signal handler can set it.
    pub fn stop_on(mut self, flag: Arc<AtomicBool>) -> Self {
        self.stop = flag;
        self
    }

    /// Writes a line to stderr, above the bar. `eprintln!` would panic if stderr is closed.
    fn say(&self, line: &str) {
        let line = one_line(line);
        let write = || _ = writeln!(std::io::stderr(), "{line}");
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Observer for CompareProgress {
    fn comparison_started(&mut self, runs: usize, epochs: usize) {
        self.runs = runs;
        if std::io::stderr().is_terminal() {
            let style = "{bar:32} {pos}/{len} epochs, {eta} left, {msg}";
            let style = indicatif::ProgressStyle::with_template(style).expect("the template is valid");
            self.bar = Some(indicatif::ProgressBar::new(epochs as u64).with_style(style));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn journal_read(&mut self, taken: usize, others: usize, damaged: usize) {
        let runs = self.runs;
        let mut lines = Vec::new();
        if taken > 0 {
            lines.push(format!("journal: {taken} of {runs} runs are done"));
        }
        if others > 0 {
            lines.push(format!("journal: {others} runs of other settings or rows are left alone"));
        }
        if damaged > 0 {
            lines.push(format!("journal: {damaged} damaged lines are left out"));
        }
        for line in lines {
            self.say(&line);
        }
    }

    fn warned(&mut self, contender: &str, warning: &str) {
        self.say(&format!("warning: {contender}: {warning}"));
    }

    fn run_started(&mut self, run: &RunName<'_>) {
        if let Some(bar) = &self.bar {
            bar.set_message(one_line(&format!("{}, seed {}", run.contender, run.seed)).into_owned());
            bar.tick();
        }
    }

    fn epoch_done(&mut self, run: &RunName<'_>, epoch: &EpochReport) {
        if let Some(bar) = &self.bar {
            let message = format!("{}, seed {}, loss {:.4}", run.contender, run.seed, epoch.loss);
            bar.set_message(one_line(&message).into_owned());
            bar.inc(1);
        }
    }

    fn run_done(&mut self, run: &RunName<'_>, result: &RunResult) {
        self.done += 1;
        let (number, runs, seconds) = (self.done, self.runs, result.fit.train_seconds);
        let best = result.fit.best_epoch.map_or("none".into(), |best| (best + 1).to_string());
        let epochs = result.fit.epochs.len();
        let end = result.failed.clone().unwrap_or_else(|| format!("best epoch {best} of {epochs}, {seconds:.1} s"));
        let line = format!("{}, seed {} (run {number} of {runs}): {end}", run.contender, run.seed);
        if let Some(bar) = &self.bar {
            // Epochs after an early stop.
            bar.inc((run.epochs - epochs.min(run.epochs)) as u64);
        }
        self.say(&line);
        if let (true, Some(bar)) = (self.done == self.runs, &self.bar) {
            bar.finish_and_clear();
        }
    }
}

impl Drop for CompareProgress {
    /// Removes the bar of a comparison that ended in an error.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

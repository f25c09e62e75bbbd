//! Progress on stderr.

use std::fmt;
#[cfg(feature = "progress")]
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

#[cfg(feature = "progress")]
use super::FitReport;
use super::{Callback, EpochReport, StepDone};
use crate::Error;

/// Writes a line to stderr. If stderr is closed or full, the line is lost; `eprintln!` would panic.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A loss with five decimals; in scientific notation from 1e5.
fn loss(value: f64) -> String {
    if value.abs() < 1e5 { format!("{value:.5}") } else { format!("{value:.3e}") }
}

/// A [`Callback`] that shows a training run on stderr. Give it to [`Trainer::callback`](super::Trainer::callback).
///
/// After each epoch it writes one line, for example `star: epoch 2/5: loss 0.41234, 1.3 s, validation 0.71234 (best)`:
///
/// * the label, the number of the epoch (counted from 1) and the number of epochs in the settings;
/// * the mean training loss of the epoch ([`EpochReport::loss`]) and the seconds of its steps ([`EpochReport::train_seconds`]);
/// * if there are validation rows, the monitored metric ([`EpochReport::monitored`]), and `(best)` if the epoch is the best so far.
///
/// During an epoch it shows a progress bar with the loss of a recent step, if stderr is a terminal and the feature `progress` of this crate
/// is on. It also writes a line if a run resumes or if a checkpoint is damaged. If a line cannot be written, it is lost and the run
/// continues. It never ends a run.
#[derive(Debug)]
pub struct Progress {
    label: String,
    epochs: usize,
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
}

impl Progress {
    /// Makes the callback. Each line begins with `label` and a colon; take for example the name of the model. It can be any text.
    pub fn stderr(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            epochs: 0,
            #[cfg(feature = "progress")]
            bar: None,
        }
    }
}

impl Callback for Progress {
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        self.epochs = epochs;
        #[cfg(feature = "progress")]
        if std::io::stderr().is_terminal() {
            let style = "{prefix} {bar:32} {pos}/{len} batches, {eta} left, loss {msg}";
            let style = indicatif::ProgressStyle::with_template(style).expect("the template is valid");
            let bar = indicatif::ProgressBar::new(batches as u64).with_style(style);
            bar.set_prefix(format!("{}: epoch {}/{epochs}", self.label, epoch + 1));
            self.bar = Some(bar);
        }
        #[cfg(not(feature = "progress"))]
        let _ = (epoch, batches);
    }

    fn resumed(&mut self, from: &Path, steps: u64) {
        say(format_args!("{}: resuming after step {steps}, from {}", self.label, from.display()));
    }

    fn checkpoint_damaged(&mut self, error: &Error) {
        say(format_args!("{}: renamed a damaged checkpoint: {error}", self.label));
    }

    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        #[cfg(feature = "progress")]
        if let Some(bar) = &self.bar {
            // A message at every step would cost more than the step of a small model.
            if step.step.is_multiple_of(16) {
                bar.set_message(format!("{:.4}", step.loss));
            }
            bar.inc(1);
        }
        #[cfg(not(feature = "progress"))]
        let _ = step;
        ControlFlow::Continue(())
    }

    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        #[cfg(feature = "progress")]
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let monitored = report.monitored.map_or(String::new(), |value| format!(", validation {}", loss(value)));
        let best = if report.best { " (best)" } else { "" };
        let (label, number, epochs) = (&self.label, report.epoch + 1, self.epochs);
        let (loss, seconds) = (loss(report.loss), report.train_seconds);
        say(format_args!("{label}: epoch {number}/{epochs}: loss {loss}, {seconds:.1} s{monitored}{best}"));
        ControlFlow::Continue(())
    }

    #[cfg(feature = "progress")]
    fn run_done(&mut self, _: &FitReport) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

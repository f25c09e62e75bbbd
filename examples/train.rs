//! Trains a model on your log, without code.
//!
//! ```text
//! cargo run --release --example train -- examples/runs/toy-star.toml
//! cargo run --release --example train -- examples/runs/toy-star.toml --set train.seed=2 --set model.dropout=0.1 --report report.json
//! ```
//!
//! The run file says what the columns are, which model to train and how. `examples/runs/README.md` lists its keys. Vocabularies and scales are
//! fitted on the training split only. The validation split decides when to stop and which epoch is best. The test split is scored once, at the
//! end. The table goes to stdout, progress goes to stderr. `--report` writes everything as JSON. `--save` saves the model with its encoder if the
//! run finishes. If it is stopped or diverges, an existing file is not changed. `--save-unfinished` saves in that case too; the file then says
//! that its run did not finish.
//!
//! With `[checkpoints]` in the file, an interrupted run continues when you run the same command again. Ctrl-C and SIGTERM save a checkpoint
//! first; after a crash, the run continues from the last checkpoint.
//!
//! ```text
//! cargo run --release --example train -- examples/runs/toy-star.toml --set checkpoints.folder=runs/star --save star.safetensors
//! ```
//!
//! Exit codes: 0 if the run finished and all files were written; 130 after Ctrl-C and 143 after SIGTERM (a second signal ends the process at
//! once); 2 if the arguments are invalid; 1 otherwise.

#[path = "run_file/interrupt.rs"]
mod interrupt;
#[path = "run_file/run.rs"]
mod run;
mod run_file;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use interrupt::Interrupt;
use run::{Ready, ready};
use run_file::{Input, Outputs, err, out, start, write_json};
use serde::Serialize;
use starple::data::{DataReport, Splits};
use starple::metrics::Report;
use starple::persist::{ModelFile, RunRecord};
use starple::train::{Callback, EpochReport, FitReport, Progress, StepDone, StopReason, Trainer, evaluate, in_pool};
use starple::{ErrorKind, Result};

/// Trains the model of a run file on a log.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
    /// Writes the history and metrics of the run as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Saves the model with its encoder, if the run finishes.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Saves the model even if the run does not finish.
    #[arg(long, requires = "save")]
    save_unfinished: bool,
}

/// `report.json`. Epochs count from 1.
#[derive(Serialize)]
struct RunReport {
    model: &'static str,
    seed: u64,
    epochs: usize,
    best_epoch: Option<usize>,
    stop: StopReason,
    /// Whether the run finished; only then the model is saved.
    finished: bool,
    parameters: usize,
    seconds: Seconds,
    train_rows_per_s: f64,
    val: Option<Report>,
    /// `None` if a score is not finite, there is no best epoch, or the run was interrupted.
    test: Option<Report>,
    history: Vec<EpochReport>,
    /// Counts of unknown values, missing numbers and rows left out.
    data: DataReport,
}

#[derive(Serialize)]
struct Seconds {
    read: f64,
    train: f64,
    evaluate: f64,
}

impl Callback for Interrupt {
    /// Ends the run after the current step if there was a signal.
    fn step_done(&mut self, _: &StepDone) -> ControlFlow<()> {
        if self.signal().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Trains the model, scores it, saves it and reports. Returns the exit code.
fn train(arguments: &Arguments) -> Result<u8> {
    let Arguments { input, report: report_path, save, save_unfinished } = arguments;
    let outputs = Outputs::default().text("--report", report_path.as_ref()).model("--save", save.as_ref());
    let (Ready { mut model, config, splits, checkpoints }, read) = ready(input, &outputs, true)?;
    let interrupt = Interrupt::listen()?;
    let Splits { encoder, layout, train, val, test, report: data, .. } = splits;
    let encoder = encoder.expect("rows of a file were encoded");
    let kind = model.config().kind();
    let (seed, threads, rows) = (config.seed(), config.threads(), train.rows());
    let (parameters, domains) = (model.parameters(), layout.domains.len());
    err(format_args!("{kind}: {parameters} parameters, {rows} rows to train on, {domains} domains"));
    let mut trainer = Trainer::new(config).callback(Progress::stderr(kind)).callback(interrupt.clone());
    let resumable = checkpoints.is_some();
    let fit: FitReport = match checkpoints {
        None => trainer.fit(&mut model, train, Some(&val))?,
        Some(checkpoints) => {
            trainer = trainer.checkpoints(checkpoints).encoder(encoder.clone());
            trainer.resume(&mut model, train, Some(&val))?
        }
    };

    let started = Instant::now();
    // A user who stops a run does not want to wait for scores. Scores of untrained weights are useless.
    let scored = fit.stop != StopReason::Callback && fit.best_epoch.is_some();
    let test = if scored { in_pool(threads, || evaluate(&model, &test))?.map(Some) } else { Ok(None) };
    let test = test.or_else(|error| match error.kind() {
        ErrorKind::NonFinite => {
            err(format_args!("the test rows: {error}"));
            Ok(None)
        }
        _ => Err(error),
    })?;
    let evaluate = fit.evaluate_seconds + started.elapsed().as_secs_f64();
    let mut record = RunRecord::new(&fit, seed);
    record.finished &= test.is_some();

    // If one file cannot be written, still write the others.
    let mut problems = Vec::new();
    if let Some(path) = save {
        if record.finished || *save_unfinished {
            let saved = ModelFile::new(&model).encoder(&encoder).run(record.clone()).save(path);
            problems.extend(saved.err());
        } else {
            err(format_args!(
                "{}: not saved, the run did not finish (use --save-unfinished to save anyway)",
                path.display()
            ));
        }
    }
    let report = RunReport {
        model: kind,
        seed,
        epochs: fit.epochs.len(),
        best_epoch: record.best_epoch,
        finished: record.finished,
        parameters,
        seconds: Seconds { read, train: fit.train_seconds, evaluate },
        train_rows_per_s: fit.rows_per_second(),
        val: fit.val().cloned(),
        stop: fit.stop,
        test,
        history: fit.epochs.into_iter().map(|done| EpochReport { epoch: done.epoch + 1, ..done }).collect(),
        data,
    };
    if let Some(path) = report_path {
        problems.extend(write_json(path, &report).err());
    }
    // Printed last: a closed pipe must not prevent the files.
    show(&report, &interrupt);
    for problem in &problems {
        err(format_args!("error: {problem}"));
    }
    let failed = !report.finished || !problems.is_empty();
    Ok(interrupt.report(resumable && !report.finished).unwrap_or(failed.into()))
}

/// Prints the test metrics and a summary of the run.
fn show(report: &RunReport, interrupt: &Interrupt) {
    if let Some(test) = &report.test {
        out(test);
    }
    let stop = match (&report.stop, interrupt.signal()) {
        (StopReason::Callback, Some((name, _))) => format!("stopped by {name}"),
        (stop, _) => stop.to_string(),
    };
    out(format_args!(
        "{}: {stop}; best epoch {}, {:.1} s training at {:.0} rows/s, {:.1} s reading, {:.1} s evaluating",
        report.model,
        report.best_epoch.map_or("none".into(), |best| best.to_string()),
        report.seconds.train,
        report.train_rows_per_s,
        report.seconds.read,
        report.seconds.evaluate,
    ));
}

fn main() -> ExitCode {
    start(train)
}

//! Trains any model on any log, without writing code.
//!
//! ```text
//! cargo run --release --example train -- examples/runs/toy-star.toml
//! cargo run --release --example train -- examples/runs/toy-star.toml --set train.seed=2 --set model.dropout=0.1 --report report.json
//! ```
//!
//! The run file says what the columns mean, which model to train and how; `examples/runs/README.md` lists its keys. Vocabularies and
//! scalers are fitted on the training split alone; the validation split decides when to stop and which epoch is best; the test split is
//! scored once, at the end. The table goes to stdout, progress to stderr, `--report` writes everything as JSON, and `--save` the model with
//! its encoder.
//!
//! With `[checkpoints]` in the file, a run that was stopped (by Ctrl-C, which saves first, or by anything else) goes on where it was when the
//! same command is given again:
//!
//! ```text
//! cargo run --release --example train -- examples/runs/toy-star.toml --set checkpoints.folder=runs/star --save star.safetensors
//! ```

#[path = "run_file/run.rs"]
mod run;
mod run_file;

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use run::{Ready, ready};
use run_file::{Arguments, write_json, wrong};
use serde::Serialize;
use starple::data::Splits;
use starple::metrics::Report;
use starple::model::NetConfig;
use starple::persist::ModelFile;
use starple::train::{Callback, FitReport, Progress, StepDone, StopReason, Trainer, evaluate, in_pool};
use starple::{ErrorKind, Result};

const USAGE: &str = "usage: train RUN.toml [--set key=value]… [--report report.json] [--save model.safetensors]";

/// `report.json`.
#[derive(Serialize)]
struct RunReport {
    model: &'static str,
    seed: u64,
    epochs: usize,
    best_epoch: Option<usize>,
    stop: StopReason,
    parameters: usize,
    seconds: Seconds,
    train_rows_per_s: f64,
    val: Option<Report>,
    /// `None` where a score is not finite.
    test: Option<Report>,
    history: Vec<starple::train::EpochReport>,
}

#[derive(Serialize)]
struct Seconds {
    read: f64,
    train: f64,
    evaluate: f64,
}

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends a run after the step in which Ctrl-C came.
struct Interrupt;

impl Callback for Interrupt {
    fn step_done(&mut self, _: &StepDone) -> ControlFlow<()> {
        if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Trains the model, saves it, and scores it.
fn train(arguments: &Arguments, ready: Ready, read: f64) -> Result<RunReport> {
    let Ready { mut model, config, splits, checkpoints } = ready;
    let Splits { encoder, layout, train, val, test } = splits;
    let encoder = encoder.expect("rows of a file were encoded");
    let kind = model.config().kind();
    let (seed, threads, rows) = (config.seed(), config.threads(), train.rows());
    eprintln!("{kind}: {} parameters, {rows} rows to train on, {} domains", model.parameters(), layout.domains.len());
    let mut trainer = Trainer::new(config).callback(Progress::stderr(kind)).callback(Interrupt);
    let goes_on = if checkpoints.is_some() { "; the same command goes on where it was" } else { "" };
    let fit: FitReport = match checkpoints {
        None => trainer.fit(&mut model, train, Some(&val))?,
        Some(checkpoints) => {
            trainer = trainer.checkpoints(checkpoints).encoder(encoder.clone());
            trainer.resume(&mut model, train, Some(&val))?
        }
    };
    if INTERRUPTED.load(Ordering::Relaxed) {
        eprintln!("stopped by Ctrl-C{goes_on}");
    }
    if let Some(path) = arguments.output("--save") {
        ModelFile::new(&model).encoder(&encoder).save(path)?;
    }
    let started = Instant::now();
    let test = match in_pool(threads, || evaluate(&model, &test))? {
        Err(error) if error.kind() == ErrorKind::NonFinite => {
            eprintln!("the test rows: {error}");
            None
        }
        test => Some(test?),
    };
    let evaluate = fit.evaluate_seconds + started.elapsed().as_secs_f64();
    Ok(RunReport {
        model: kind,
        seed,
        epochs: fit.epochs.len(),
        best_epoch: fit.best_epoch,
        parameters: model.parameters(),
        seconds: Seconds { read, train: fit.train_seconds, evaluate },
        train_rows_per_s: fit.rows_per_second(),
        val: fit.val().cloned(),
        stop: fit.stop,
        test,
        history: fit.epochs,
    })
}

/// Whether training and test went well; else the report says at which step the loss was not finite.
fn run(arguments: &Arguments) -> Result<bool> {
    let (ready, read) = ready(arguments)?;
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).map_err(wrong)?;
    let report = train(arguments, ready, read)?;
    if let Some(test) = &report.test {
        println!("{test}");
    }
    println!(
        "{}: {}; best epoch {}, {:.1} s training at {:.0} rows/s, {:.1} s reading, {:.1} s evaluating",
        report.model,
        report.stop,
        report.best_epoch.map_or("none".into(), |best| (best + 1).to_string()),
        report.seconds.train,
        report.train_rows_per_s,
        report.seconds.read,
        report.seconds.evaluate,
    );
    if let Some(path) = arguments.output("--report") {
        write_json(path, &report)?;
    }
    Ok(report.test.is_some() && !report.stop.diverged())
}

fn main() -> ExitCode {
    match Arguments::read(USAGE, &["--report", "--save"]) {
        Ok(arguments) => Arguments::exit(run(&arguments)),
        Err(code) => code,
    }
}

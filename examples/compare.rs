//! Compares models on your log, without code: does sharing help or hurt each domain and task?
//!
//! ```text
//! cargo run --release --example compare -- examples/compare/toy.toml
//! cargo run --release --example compare -- examples/compare/toy.toml --set seeds=[1,2,3] --report report.json --svg report.svg
//! ```
//!
//! The file has the sections `[data]`, `[features]` and `[train]` of run files (`examples/runs/README.md`), and these keys:
//!
//! ```toml
//! seeds = [1, 2, 3, 4, 5]      # the default
//! baseline = "single"          # gains are measured from this model; the default if a model has this name
//! level = 0.05                 # the probability of a false flag per model; the default
//! parallel_runs = 1            # the number of runs that train at the same time; the default
//!
//! [model]                      # defaults for all models
//! embedding_dim = 16
//!
//! [[models]]
//! kind = "single"              # then the settings of this model
//! hidden = [64, 32]
//!
//! [[models]]
//! kind = "ple"
//! name = "ple, slowly"         # default: the kind
//! train = { optimizer = { kind = "adam", lr = 0.0005 } }   # replaces these keys of [train]
//! ```
//!
//! `starple_lab::compare` explains the figures and flags. Tables go to stdout, progress goes to stderr. `--report` and `--svg` write files.
//! To change a setting of one model, use its number, counted from 0: `--set models.1.dropout=0.2`.
//!
//! `--others FILE` lists the results of other programs with the models, such as those of boosted trees that `benches/quality/trees.py`
//! trains on the same file.
//!
//! Every finished run is written to a journal at once. The journal is the file of `--journal`, or `report.runs.jsonl` next to
//! `--report report.json`. After Ctrl-C, SIGTERM or a crash, run the same command again: it reads finished runs from the journal and trains the
//! others. You can also add seeds or models in this way. Runs with other settings or rows are ignored; a message counts them. To start from
//! scratch, delete the journal.
//!
//! Exit codes: 0 if every model has at least one run without failure; 130 after Ctrl-C and 143 after SIGTERM, without report and picture (a second
//! signal ends the process at once); 2 if the arguments are invalid; 1 otherwise.

#[path = "run_file/interrupt.rs"]
mod interrupt;
mod run_file;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use interrupt::Interrupt;
use run_file::{Data, Features, Input, Results, read_file, start, train_settings, wrong};
use serde::Deserialize;
use starple::{ErrorKind, Result};
use starple_lab::compare::{CompareConfig, CompareProgress, Contender, OtherProgram, compare};

/// Compares models on a log with several seeds.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    results: Results,
    /// Results of other programs on the same rows, as JSON (`benches/quality/trees.py` writes them), to be listed with the models. Can be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    others: Vec<PathBuf>,
    /// The journal of finished runs; by default next to the report.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// The contents of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareFile {
    data: Data,
    features: Features,
    #[serde(default)]
    train: toml::Table,
    #[serde(default)]
    model: toml::Table,
    models: Vec<toml::Table>,
    seeds: Option<Vec<u64>>,
    baseline: Option<String>,
    level: Option<f64>,
    parallel_runs: Option<usize>,
}

/// Reads one of `[[models]]`. Its `train` replaces keys of `[train]`.
fn contender(mut model: toml::Table, shared: &toml::Table, path: &Path) -> Result<Contender> {
    let own = model.remove("train");
    let contender = Contender::from_settings(serde_json::to_value(model).map_err(wrong)?)?;
    match own {
        None => Ok(contender),
        Some(toml::Value::Table(own)) if !own.contains_key("seed") => {
            let mut settings = shared.clone();
            settings.extend(own);
            Ok(contender.train(train_settings(settings, path)?))
        }
        Some(toml::Value::Table(_)) => Err(wrong("train.seed: every run has another seed; list seeds under `seeds`")),
        Some(other) => Err(wrong(format!("train: expected a table, found {other}"))),
    }
}

/// Reads the results of other programs.
fn read_others(path: &Path) -> Result<Vec<OtherProgram>> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error).at_path(path))?;
    serde_json::from_str(&text).map_err(|error| wrong(format!("--others: {error}")).at_path(path))
}

/// The path of the journal.
fn journal(arguments: &Arguments) -> Option<PathBuf> {
    let beside = || arguments.results.report.as_ref().filter(|path| !path.exists() || path.is_file());
    arguments.journal.clone().or_else(|| Some(beside()?.with_extension("runs.jsonl")))
}

/// Compares the models, writes the files and prints the tables. Returns the exit code: 0 if every contender has a run that did not fail.
fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { input, results, others, journal: noted } = arguments;
    let outputs = results.outputs().text("--journal", noted.as_ref());
    outputs.check(input)?;
    let path = &input.file;
    let file: CompareFile = read_file(path, &input.sets)?;
    if file.train.contains_key("seed") {
        return Err(
            wrong("[train]: unknown key `seed`: every run has another seed; list seeds under `seeds`").at_path(path)
        );
    }
    let mut config = CompareConfig::builder().train(train_settings(file.train.clone(), path)?);
    for (number, mut model) in file.models.into_iter().enumerate() {
        for (key, value) in &file.model {
            model.entry(key).or_insert_with(|| value.clone());
        }
        let contender = contender(model, &file.train, path);
        let place = |error| wrong(format!("[[models]] {}: {error}", number + 1)).at_path(path);
        config = config.contender(contender.map_err(place)?);
    }
    if let Some(seeds) = file.seeds {
        config = config.seeds(seeds);
    }
    if let Some(baseline) = file.baseline {
        config = config.baseline(baseline);
    }
    if let Some(level) = file.level {
        config = config.level(level);
    }
    if let Some(runs) = file.parallel_runs {
        config = config.parallel_runs(runs);
    }
    let journal = journal(arguments);
    if let Some(journal) = &journal {
        config = config.journal(journal);
    }
    let config = config.build().map_err(|error| wrong(error).at_path(path))?;

    outputs.check_inputs(file.data.files().chain(others))?;
    let others = others.iter().map(|path| read_others(path)).collect::<Result<Vec<_>>>()?;
    let splits = file.data.read(file.features)?;
    let interrupt = Interrupt::listen()?;
    let progress = CompareProgress::stderr().stop_on(Arc::clone(&interrupt.flag));
    let mut comparison = match compare(&config, &splits, progress) {
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            return interrupt.report(journal.is_some()).ok_or(error);
        }
        comparison => comparison?,
    };
    comparison.add_others(others.into_iter().flatten().collect())?;
    let log = file.data.path.as_ref().or(file.data.test.as_ref()).and_then(|path| path.file_name());
    let picture = || comparison.svg(&log.unwrap_or_default().to_string_lossy());
    results.write(&comparison, picture, &comparison.to_string())?;
    Ok(u8::from(!comparison.contenders.iter().all(|standing| standing.judged().count() > 0)))
}

fn main() -> ExitCode {
    start(run)
}

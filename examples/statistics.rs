//! Do the scores of training rows in inference agree with those in training? Trains a model on a log, then compares.
//!
//! ```text
//! cargo run --release --example statistics -- examples/runs/toy-star.toml --set train.epochs=1
//! ```
//!
//! For each domain it shows the mean label of the training rows, and three mean predictions with the same weights, without dropout: in inference
//! (`inference`), with the statistics of training batches (`batches`), and with the statistics of all rows of the domain at once (`all rows`, at
//! most 65,536). Without batch statistics, a model has the same number in all three columns. `docs/statistics.md` has results. `--report` writes
//! everything as JSON.

#[path = "run_file/run.rs"]
mod run;
mod run_file;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use run::{Ready, ready};
use run_file::{Input, Outputs, out, start, write_json};
use serde::Serialize;
use starple::Result;
use starple::data::{Batch, DataSet, Loader, LoaderConfig, Pass, RowSource};
use starple::loss::sigmoid;
use starple::metrics::Report;
use starple::model::{Cache, Model};
use starple::nn::Mode;
use starple::train::{Trainer, evaluate, in_pool};
use starple_lab::table::{Cell, TextTable};

/// Trains the model of a run file and compares its mean predictions in training and in inference.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
    /// Writes everything as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The largest number of rows for the statistics of `all rows`.
const ALL: usize = 65_536;

#[derive(Serialize)]
struct OfRun {
    seed: u64,
    epochs: usize,
    /// The first epoch is 1.
    best_epoch: Option<usize>,
    train_seconds: f64,
    evaluate_seconds: f64,
    domains: Vec<OfDomain>,
    train: Report,
    val: Report,
    test: Report,
}

#[derive(Serialize)]
struct OfDomain {
    domain: String,
    rows: usize,
    label: f64,
    inference: f64,
    batches: f64,
    all_rows: f64,
}

/// Adds the first task's predictions of a batch to the sums of its domains.
fn add(model: &Model, batch: &Batch, cache: &mut Cache<Mode<'static>>, sums: &mut [f64]) {
    let logits = model.forward_with(batch, batch.domains(), cache);
    for (domain, logit) in batch.domains.iter().zip(logits.column(0)) {
        sums[domain.index().expect("training rows have a known domain")] += sigmoid(f64::from(*logit));
    }
}

/// Computes the mean predictions of all domains on the training rows.
fn compare(model: &Model, rows: Arc<DataSet>, batch_rows: usize, seed: u64) -> Result<Vec<OfDomain>> {
    let names = &model.layout().domains;
    let (mut counts, mut labels) = (vec![0; names.len()], vec![0.0; names.len()]);
    for (domain, label) in rows.domains.iter().zip(rows.labels.column(0)) {
        let d = domain.index().expect("training rows have a known domain");
        counts[d] += 1;
        labels[d] += f64::from(*label);
    }
    let mut all_rows = vec![0.0; names.len()];
    let mut of_all = vec![Vec::new(); names.len()];
    for (row, domain) in rows.domains.iter().enumerate() {
        let chosen = &mut of_all[domain.index().expect("training rows have a known domain")];
        if chosen.len() < ALL {
            chosen.push(row as u32);
        }
    }
    let (mut infer, mut measure) = (Cache::new(Mode::Infer), Cache::new(Mode::Measure));
    for chosen in of_all.iter().filter(|rows| !rows.is_empty()) {
        add(model, &rows.select(chosen), &mut measure, &mut all_rows);
    }
    let (mut inference, mut batches) = (vec![0.0; names.len()], vec![0.0; names.len()]);
    let (mut source, mut batch) = (Loader::new(rows), Batch::default());
    source.begin(Pass::Epoch(0), &LoaderConfig::builder().batch_rows(batch_rows).seed(seed).build()?)?;
    while source.next_into(&mut batch)? {
        add(model, &batch, &mut infer, &mut inference);
        add(model, &batch, &mut measure, &mut batches);
    }
    Ok((0..names.len())
        .map(|d| {
            let n = counts[d] as f64;
            OfDomain {
                domain: names[d].clone(),
                rows: counts[d],
                label: labels[d] / n,
                inference: inference[d] / n,
                batches: batches[d] / n,
                all_rows: all_rows[d] / n.min(ALL as f64),
            }
        })
        .collect())
}

fn table(domains: &[OfDomain]) -> TextTable {
    let mut table = TextTable::new([
        "domain",
        "rows",
        "label",
        "inference",
        "batches",
        "all rows",
        "inference/batches",
        "inference/all rows",
    ]);
    for domain in domains {
        let OfDomain { domain, rows, label, inference, batches, all_rows } = domain;
        let mut cells = vec![Cell::from(domain.clone()), Cell::from(*rows)];
        cells.extend([label, inference, batches, all_rows].map(|&mean| Cell::number(mean, 5)));
        cells.extend([batches, all_rows].map(|mean| Cell::number(inference / mean, 4)));
        table.row(cells);
    }
    table
}

fn run(arguments: &Arguments) -> Result<u8> {
    let outputs = Outputs::default().text("--report", arguments.report.as_ref());
    let (Ready { mut model, config, splits, .. }, _) = ready(&arguments.input, &outputs, false)?;
    let (seed, threads, batch_rows) = (config.seed(), config.threads(), config.batch_rows());
    let rows = splits.train.clone();
    let started = Instant::now();
    let fit = Trainer::new(config).fit(&mut model, splits.train, Some(&splits.val))?;
    let all = started.elapsed().as_secs_f64();
    let [train, val, test] = [&rows, &splits.val, &splits.test].map(|rows| in_pool(threads, || evaluate(&model, rows)));
    let (train, val, test) = (train??, val??, test??);
    let domains = in_pool(threads, || compare(&model, rows, batch_rows, seed))??;
    let shown = table(&domains).to_string();
    let report = OfRun {
        seed,
        epochs: fit.epochs.len(),
        best_epoch: fit.best_epoch.map(|best| best + 1),
        train_seconds: fit.train_seconds,
        evaluate_seconds: all - fit.train_seconds,
        domains,
        train,
        val,
        test,
    };
    if let Some(path) = &arguments.report {
        write_json(path, &report)?;
    }
    out(shown.trim_end_matches('\n'));
    Ok(u8::from(fit.stop.diverged()))
}

fn main() -> ExitCode {
    start(run)
}

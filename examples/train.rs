//! Trains any model on any log, without writing code.
//!
//! ```text
//! cargo run --release --example train -- examples/runs/toy-star.toml
//! cargo run --release --example train -- examples/runs/toy-star.toml --set train.seed=2 --set model.dropout=0.1 --report report.json
//! ```
//!
//! The run file says what the columns mean, which model to train and how; `examples/runs/README.md` lists its keys. Vocabularies and
//! scalers are fitted on the training split alone; the validation split decides when to stop and which epoch is best; the test split is
//! scored once, at the end. The table goes to stdout, progress to stderr, and `--report` writes everything as JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use starple::data::{Bag, Batch, Categorical, Encoder, Feature, Layout, Numeric, Schema, Table};
use starple::metrics::Report;
use starple::model::NetConfig;
use starple::train::{FitReport, Progress, StopReason, TrainConfig, Trainer, evaluate, in_pool};
use starple::{AnyConfig, AnyModel, Error, ErrorKind, Result};

const USAGE: &str = "usage: train RUN.toml [--set key=value]… [--report report.json]";

/// A run file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    data: Data,
    features: Features,
    model: toml::Table,
    #[serde(default)]
    train: toml::Table,
}

/// Where the rows are, and what their columns other than features are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    path: Option<PathBuf>,
    split: Option<String>,
    train: Option<PathBuf>,
    val: Option<PathBuf>,
    test: Option<PathBuf>,
    domain: Option<String>,
    labels: Vec<String>,
    weight: Option<String>,
    group: Option<String>,
}

/// The features: names, or tables with options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {
    #[serde(default)]
    categorical: Vec<Named<Categorical>>,
    #[serde(default)]
    numeric: Vec<Named<Numeric>>,
    #[serde(default)]
    bag: Vec<BagColumn>,
}

/// A feature that is written as its name alone, or as a table.
struct Named<F>(F);

impl<'de, F: Deserialize<'de> + FromName> Deserialize<'de> for Named<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable<F>(std::marker::PhantomData<F>);
        impl<'de, F: Deserialize<'de> + FromName> Visitor<'de> for NameOrTable<F> {
            type Value = F;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, or a table with `name` and options")
            }

            fn visit_str<E>(self, name: &str) -> Result<F, E> {
                Ok(F::from_name(name))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<F, A::Error> {
                F::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(NameOrTable(std::marker::PhantomData)).map(Self)
    }
}

trait FromName {
    fn from_name(name: &str) -> Self;
}

impl FromName for Categorical {
    fn from_name(name: &str) -> Self {
        Self::new(name)
    }
}

impl FromName for Numeric {
    fn from_name(name: &str) -> Self {
        Self::new(name)
    }
}

/// `[[features.bag]]`: `column` and `separator`, or any key of a bag.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BagColumn {
    column: String,
    name: Option<String>,
    separator: String,
    #[serde(default)]
    pooling: starple::data::Pooling,
    min_count: Option<usize>,
}

impl BagColumn {
    fn bag(self) -> Bag {
        let name = self.name.unwrap_or_else(|| self.column.clone());
        let bag = Bag::new(name, self.separator).column(self.column).pooling(self.pooling);
        match self.min_count {
            Some(count) => bag.min_count(count),
            None => bag,
        }
    }
}

impl Run {
    fn schema(&mut self) -> Result<Schema> {
        let Features { categorical, numeric, bag } = &mut self.features;
        let features = categorical.drain(..).map(|named| Feature::from(named.0));
        let features = features.chain(numeric.drain(..).map(|named| Feature::from(named.0)));
        let features = features.chain(bag.drain(..).map(|column| Feature::from(column.bag())));
        let mut schema = Schema::builder().labels(self.data.labels.iter().cloned());
        for feature in features {
            schema = schema.feature(feature);
        }
        let Data { split, domain, weight, group, .. } = &self.data;
        if let Some(column) = split {
            schema = schema.split(column);
        }
        if let Some(column) = domain {
            schema = schema.domain(column);
        }
        if let Some(column) = weight {
            schema = schema.weight(column);
        }
        if let Some(column) = group {
            schema = schema.group(column);
        }
        schema.build()
    }
}

/// The three splits, encoded.
struct Splits {
    layout: Layout,
    train: Batch,
    val: Batch,
    test: Batch,
}

impl Splits {
    /// Reads the rows; everything that is fitted is fitted on the training split.
    fn read(run: &mut Run) -> Result<Self> {
        let schema = run.schema()?;
        let Data { path, split, train, val, test, .. } = &run.data;
        let read = |path: &PathBuf| Table::read(path, &schema);
        match (path, split, train, val, test) {
            (Some(path), Some(_), None, None, None) => {
                let table = read(path)?;
                let rows = [table.split("train")?, table.split("val")?, table.split("test")?];
                Self::encode(&schema, [(&table, &rows[0]), (&table, &rows[1]), (&table, &rows[2])])
            }
            (None, None, Some(train), Some(val), Some(test)) => {
                let tables = [read(train)?, read(val)?, read(test)?];
                let rows = [tables[0].all(), tables[1].all(), tables[2].all()];
                Self::encode(&schema, [(&tables[0], &rows[0]), (&tables[1], &rows[1]), (&tables[2], &rows[2])])
            }
            _ => Err(Error::new(
                ErrorKind::Config,
                "[data]: expected `path` and `split`, or `train`, `val` and `test`, and not both",
            )),
        }
    }

    fn encode(schema: &Schema, parts: [(&Table, &Vec<u32>); 3]) -> Result<Self> {
        let encoder = Encoder::fit(schema, parts[0].0, parts[0].1)?;
        let [train, val, test] = parts.map(|(table, rows)| encoder.encode(table, rows));
        Ok(Self { layout: encoder.layout().clone(), train: train?, val: val?, test: test? })
    }
}

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
    test: Report,
    history: Vec<starple::train::EpochReport>,
}

#[derive(Serialize)]
struct Seconds {
    read: f64,
    train: f64,
    evaluate: f64,
}

/// Trains the model of these settings and scores it.
fn train(settings: serde_json::Value, config: TrainConfig, splits: Splits, read: f64) -> Result<RunReport> {
    let Splits { layout, train, val, test } = splits;
    let model = AnyConfig::from_settings(settings, &layout, config.seed());
    let mut model = AnyModel::new(model.map_err(|error| wrong(format!("[model]: {error}")))?);
    let kind = model.config().kind();
    let (seed, threads, rows) = (config.seed(), config.threads(), train.rows());
    eprintln!("{kind}: {} parameters, {rows} rows to train on, {} domains", model.parameters(), layout.domains.len());
    let mut trainer = Trainer::new(config).callback(Progress::stderr(kind));
    let fit: FitReport = trainer.fit(&mut model, train, Some(&val))?;
    let started = Instant::now();
    let test = in_pool(threads, || evaluate(&model, &test))??;
    let (train, val) = (fit.train_seconds, fit.val().cloned());
    let evaluate = fit.evaluate_seconds + started.elapsed().as_secs_f64();
    Ok(RunReport {
        model: kind,
        seed,
        epochs: fit.epochs.len(),
        best_epoch: fit.best_epoch,
        parameters: model.parameters(),
        seconds: Seconds { read, train, evaluate },
        train_rows_per_s: if train > 0.0 { fit.rows as f64 / train } else { 0.0 },
        stop: fit.stop,
        val,
        test,
        history: fit.epochs,
    })
}

/// An error of the run file.
fn wrong(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, message.to_string().trim_end().to_owned())
}

/// The run file with `--set` applied.
fn read_run(path: &Path, sets: &[String]) -> Result<Run> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error).at_path(path))?;
    if sets.is_empty() {
        // Straight from the text, so that an error shows its line.
        return toml::from_str(&text).map_err(|error| wrong(error).at_path(path));
    }
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error).at_path(path))?;
    for set in sets {
        let (key, value) = set.split_once('=').ok_or_else(|| wrong(format!("--set {set}: expected key=value")))?;
        // Whatever is not a TOML value is a string.
        let value = toml::from_str::<toml::Table>(&format!("v = {value}"))
            .map_or_else(|_| toml::Value::String(value.into()), |mut table| table.remove("v").expect("v was parsed"));
        let mut at = &mut table;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let inner = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            at = inner.as_table_mut().ok_or_else(|| wrong(format!("--set {set}: `{part}` is not a table")))?;
        }
        at.insert(last.into(), value);
    }
    table.try_into().map_err(|error| wrong(error).at_path(path))
}

fn run(path: &Path, sets: &[String], report_path: Option<&Path>) -> Result<bool> {
    let mut run = read_run(path, sets)?;
    let config = TrainConfig::deserialize(run.train.clone().into_deserializer());
    let config =
        config.map_err(|error: toml::de::Error| wrong(format!("[train]: {}", error.message())).at_path(path))?;
    let settings = serde_json::to_value(std::mem::take(&mut run.model)).map_err(wrong)?;
    let of_model = |error| wrong(format!("[model]: {error}")).at_path(path);
    // Before the log is read, which may take long.
    AnyConfig::kind_of(&settings).map_err(of_model)?;
    let started = Instant::now();
    let splits = Splits::read(&mut run)?;
    let report = train(settings, config, splits, started.elapsed().as_secs_f64())?;
    println!("{}", report.test);
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
    if let Some(path) = report_path {
        let text = serde_json::to_string_pretty(&report).map_err(wrong)?;
        std::fs::write(path, text + "\n").map_err(|error| wrong(error).at_path(path))?;
    }
    Ok(!matches!(report.stop, StopReason::NonFinite { .. } | StopReason::Diverged { .. }))
}

fn main() -> ExitCode {
    let (mut path, mut sets, mut report) = (None, Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "--set" | "--report" => arguments.next(),
            _ => None,
        };
        match (argument.as_str(), value) {
            ("--set", Some(set)) => sets.push(set),
            ("--report", Some(path)) => report = Some(PathBuf::from(path)),
            (flag, _) if flag.starts_with('-') || path.is_some() => {
                eprintln!("unexpected argument {flag:?}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => path = Some(PathBuf::from(argument)),
        }
    }
    let Some(path) = path else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&path, &sets, report.as_deref()) {
        Ok(true) => ExitCode::SUCCESS,
        // The report says at which step the loss was not finite.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

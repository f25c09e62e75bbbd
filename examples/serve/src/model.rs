//! Where models come from.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use starple::data::{Encoder, Numeric, Schema, Table, UnknownDomain};
use starple::persist::Saved;
use starple::serve::{Calibration, Method, Predictor};
use starple::train::{TrainConfig, Trainer, in_pool};
use starple::{Error, ErrorKind, Result, Star, StarConfig, printable};

/// A model that is served, and which one it is.
#[derive(Debug)]
pub struct Model {
    pub predictor: Predictor,
    /// Named in every response.
    pub version: String,
    pub loaded: SystemTime,
}

impl Model {
    pub fn new(predictor: Predictor, version: impl Into<String>) -> Self {
        Self { predictor, version: version.into(), loaded: SystemTime::now() }
    }
}

/// Gives a model whenever it is called: at the start, and at every reload.
pub type Loader = Arc<dyn Fn() -> Result<Model> + Send + Sync>;

/// What to do with a model file that says that its training did not finish: it was stopped, or it diverged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// It is an error (the default).
    #[default]
    Refuse,
    /// It is served like any other.
    Allow,
}

/// Reads a model file that has its encoder; requests give these columns once. Its version is the file's name and checksum.
///
/// A file that says nothing of its training is served.
///
/// # Errors
/// If the file is not such a one, its training did not finish, or a column is none of its features'.
pub fn load(path: &Path, given: &[String], unfinished: Unfinished) -> Result<Model> {
    let saved = Saved::load(path)?;
    if unfinished == Unfinished::Refuse
        && let Some(run) = saved.run().filter(|run| !run.finished)
    {
        let stop =
            run.stop.as_ref().map_or_else(|| "it was under way when the file was written".into(), ToString::to_string);
        let message = format!("the training run of this model did not finish: {stop}");
        return Err(Error::new(ErrorKind::Data, message)
            .at_path(path)
            .with_help("train it to its end, or serve it as it is with --allow-unfinished"));
    }
    let name = printable(&path.file_stem().unwrap_or_default().to_string_lossy()).into_owned();
    let version = format!("{name}-{:08x}", saved.checksum);
    let predictor = saved.predictor().map_err(|error| error.at_path(path))?;
    Ok(Model::new(predictor.given(given).build()?, version))
}

/// What a toy request gives once, besides its domain.
pub const TOY_GIVEN: [&str; 4] = ["user", "query", "hour", "age"];

/// The columns of `examples/data/toy.csv`.
///
/// # Errors
/// None: the columns can be.
pub fn toy_schema() -> Result<Schema> {
    Schema::builder()
        .categorical("user")
        .categorical("query")
        .categorical("hour")
        .numeric("age")
        .categorical("item")
        .feature(Numeric::new("price").signed_log())
        .bag("tags", "|")
        .domain("scene")
        .labels(["click", "cart"])
        .split("split")
        .build()
}

/// Trains a model on a log with the columns of `examples/data/toy.csv`, which takes some seconds.
///
/// # Errors
/// If the log cannot be read.
pub fn train_toy(log: &Path) -> Result<Model> {
    let schema = toy_schema()?;
    let table = Table::read(log, &schema)?;
    let train = table.split("train")?;
    let encoder = Encoder::fit(&schema, &table, &train)?.on_unknown_domain(UnknownDomain::Shared);
    let (train, val) = (encoder.encode_training(&table, &train)?, encoder.encode(&table, &table.split("val")?)?);
    let mut star = Star::new(StarConfig::builder(encoder.layout()).embedding_dim(16).hidden([128, 64, 32]).build()?);
    let settings = TrainConfig::builder().epochs(2).batch_rows(256).build()?;
    Trainer::new(settings).fit(&mut star, train, Some(&val))?;
    let scores = in_pool(1, || star.score(&val))?;
    let calibration = Calibration::fit(Method::Platt, &scores, &val, encoder.layout())?;
    let predictor = Predictor::builder(encoder, star).given(TOY_GIVEN).calibration(calibration);
    // The version says which log it is: two trainings on one log give the same model.
    let modified = std::fs::metadata(log).and_then(|log| log.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Model::new(predictor.build()?, format!("toy-{seconds}")))
}

//! A run file: one model on one log, for the examples `train` and `inside`.

use std::time::Instant;

use serde::Deserialize;
use starple::data::{Encoder, Splits};
use starple::train::{Checkpoints, TrainConfig};
use starple::{AnyConfig, Model, Result};

use crate::run_file::{Data, Features, Input, Outputs, culprit, err, of_section, read_file, train_settings, wrong};

/// The contents of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    data: Data,
    features: Features,
    model: toml::Table,
    #[serde(default)]
    train: toml::Table,
    checkpoints: Option<Checkpoints>,
}

/// What the file describes: an untrained model, how to train it, and the rows.
pub(crate) struct Ready {
    pub(crate) model: Model,
    pub(crate) config: TrainConfig,
    pub(crate) splits: Splits,
    #[allow(dead_code, reason = "not every example saves")]
    pub(crate) checkpoints: Option<Checkpoints>,
}

/// Reads the file and its rows; also returns the seconds that reading the rows took. Outputs must not overwrite inputs. `saves`: whether this
/// example can save checkpoints.
pub(crate) fn ready(input: &Input, outputs: &Outputs, saves: bool) -> Result<(Ready, f64)> {
    outputs.check(input)?;
    let path = &input.file;
    let RunFile { data, features, model, train, checkpoints } = read_file(path, &input.sets)?;
    let config = train_settings(train, path)?;
    let settings = serde_json::to_value(&model).map_err(wrong)?;
    let of_model = |error| wrong(format!("[model]: {error}")).at_path(path);
    // Checked before the log is read, which can take long.
    AnyConfig::kind_of(&settings).map_err(of_model)?;
    outputs.check_inputs(data.files())?;
    match &checkpoints {
        Some(checkpoints) if saves => checkpoints.check()?,
        Some(_) => {
            let message = "[checkpoints]: the example `train` saves a run, this one does not";
            return Err(wrong(message).at_path(path));
        }
        None => {}
    }
    let started = Instant::now();
    let splits = data.read(features)?;
    let read = started.elapsed().as_secs_f64();
    let parse = |settings: serde_json::Value| {
        AnyConfig::from_settings(settings, &splits.layout, config.seed()).map_err(|error| error.to_string())
    };
    let model = parse(settings).map_err(|error| {
        let of_table = |table: toml::Table| serde_json::to_value(table).map_err(|error| error.to_string());
        let culprit = culprit(&model, &["kind"], &error, &|table| parse(of_table(table)?).map(drop));
        of_section("[model]", culprit, &error).at_path(path)
    })?;
    // Checked before the model is made.
    config.check_memory(&*model, splits.train.rows(), splits.val.rows())?;
    for warning in model.warnings(splits.encoder.as_ref().map(Encoder::schema)) {
        err(format_args!("warning: {}: {warning}", model.kind()));
    }
    Ok((Ready { model: Model::new(model), config, splits, checkpoints }, read))
}

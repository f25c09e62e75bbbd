//! Reading a model file.

use std::io::{Read, Seek};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::container::{Container, Dtype, Expected};
use super::model_file::check_layouts;
use super::{CALIBRATION, CONFIG, ENCODER, KIND, MODEL, RUN, RunRecord};
use crate::data::{Encoder, listed};
use crate::model::{AnyConfig, Model, NetConfig};
use crate::nn::{Leaf, LeafMut};
use crate::serve::{Calibration, Predictor, PredictorBuilder};
use crate::{Error, ErrorKind, Result};

/// A model that does not fit its file is built, to list the missing tensors, only if it has at most `TIMES` times as many values as the
/// file, and `SLACK` more.
const TIMES: f64 = 4.0;
const SLACK: f64 = 65_536.0;

/// The largest count of a moving average: sums of such counts do not overflow.
const MAX_COUNT: u64 = 1 << 38;

/// The contents of a model file: a model, and optionally an encoder, a calibration and the record of the training run.
///
/// [`Saved::load`] reads a file with any kind of model of this crate, [`Saved::load_as`] a file with one kind, which may be your own.
/// [`ModelFile`](super::ModelFile) writes such files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Saved {
    /// The model, with the settings, weights and moving averages with which it was saved: its scores have the same bits.
    pub model: Model,
    /// The encoder that turns raw values into the inputs of the model. `None` if the file was saved without one.
    pub encoder: Option<Encoder>,
    /// The calibration that corrects the probabilities of the model. `None` if the file was saved without one.
    pub calibration: Option<Calibration>,
    /// The checksum (CRC-32) of the contents of the file, which is stored in the file. Loading has checked it. Use it in logs and responses to
    /// identify the version of the model: files with other contents have, almost certainly, another checksum.
    pub checksum: u32,
    run: Option<RunRecord>,
}

impl Saved {
    /// Reads the file at `path`, which must hold a model of a kind of this crate ([`AnyConfig::KINDS`]), whichever it is. Files of earlier
    /// versions of this crate can be read.
    ///
    /// # Errors
    /// In this list, "it" is the file; the error has its path.
    ///
    /// * [`ErrorKind::Io`]: the system cannot open or read it.
    /// * [`ErrorKind::Foreign`]: it is not a file of this crate.
    /// * [`ErrorKind::Corrupt`]: it was cut off, appended to or damaged.
    /// * [`ErrorKind::Version`]: a newer version of this crate wrote it.
    /// * [`ErrorKind::Kind`]: it holds a model of a kind of your own, or no model, for example a checkpoint.
    /// * [`ErrorKind::Missing`], [`ErrorKind::Unknown`], [`ErrorKind::Shape`]: its tensors are not those that its settings ask for, or it
    ///   has metadata that this version does not know. The message lists them.
    /// * [`ErrorKind::NonFinite`]: a value is NaN or infinite, or the count of a moving average is above 2³⁸.
    /// * [`ErrorKind::Config`]: the settings, the encoder, the calibration or the record of the run is invalid.
    /// * [`ErrorKind::Layout`]: the encoder or the calibration has another layout than the model.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let load = || Self::from_container(Container::open(path, MODEL)?, any);
        load().map_err(|error| error.at_path(path))
    }

    /// Reads the file at `path`, which must hold a model with settings of type `C`: the settings of one kind of model of this crate, such
    /// as [`StarConfig`](crate::StarConfig), or your own type. Use it instead of [`Saved::load`] for models of your own, or to refuse other
    /// kinds.
    ///
    /// # Errors
    /// [`ErrorKind::Kind`] if the file holds a model with other settings, and the other errors that [`Saved::load`] lists.
    pub fn load_as<C: NetConfig + DeserializeOwned>(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let load = || Self::from_container(Container::open(path, MODEL)?, only::<C>);
        load().map_err(|error| error.at_path(path))
    }

    /// Returns the record of the training run that made the model. `None` if the file has none: it was saved without
    /// [`ModelFile::run`](super::ModelFile::run), or by an older version of this crate. Do not serve a model whose run did not
    /// [finish](RunRecord::finished).
    pub fn run(&self) -> Option<&RunRecord> {
        self.run.as_ref()
    }

    /// Starts building a [`Predictor`], which scores raw values, from the model, the encoder and (if there is one) the calibration of the file.
    /// Set the columns that a request gives once for all its candidates ([`PredictorBuilder::given`]), then call [`PredictorBuilder::build`].
    /// It does not look at the record of the run.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the file was saved without an encoder.
    pub fn predictor(self) -> Result<PredictorBuilder> {
        let Self { model, encoder, calibration, .. } = self;
        let encoder = encoder.ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                "the model was saved without an encoder, which turns raw values into its inputs",
            )
            .with_help("save it with ModelFile::encoder")
        })?;
        let predictor = Predictor::builder(encoder, model);
        Ok(match calibration {
            Some(calibration) => predictor.calibration(calibration),
            None => predictor,
        })
    }

    /// Reads a model file from `source`, for example a `Cursor::new(bytes)`, instead of from a path. It must hold a model of a kind of this
    /// crate ([`AnyConfig::KINDS`]). All of `source` is read, from its beginning, whatever its current position is.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `source` returns an error, and the other errors that [`Saved::load`] lists.
    pub fn from_reader(source: impl Read + Seek) -> Result<Self> {
        Self::from_container(Container::new(source, MODEL)?, any)
    }

    /// Reads a model file from `source`, for example a `Cursor::new(bytes)`, instead of from a path. It must hold a model with settings of type
    /// `C`: the settings of one kind of model of this crate, such as [`StarConfig`](crate::StarConfig), or your own type. All of `source` is
    /// read, from its beginning, whatever its current position is.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `source` returns an error, [`ErrorKind::Kind`] if the file holds a model with other settings, and the other
    /// errors that [`Saved::load`] lists.
    pub fn from_reader_as<C: NetConfig + DeserializeOwned>(source: impl Read + Seek) -> Result<Self> {
        Self::from_container(Container::new(source, MODEL)?, only::<C>)
    }

    fn from_container(
        mut container: Container<impl Read + Seek>,
        read: fn(&str, &str) -> Result<AnyConfig>,
    ) -> Result<Self> {
        let config = read(&container.metadata(KIND)?, &container.metadata(CONFIG)?)?;
        let run = container.optional_metadata(RUN).map(|json| record(&json)).transpose()?;
        container.finish_metadata()?;
        let held = container.count(&Dtype::F32) as f64;
        let mut model = Model::to_fill(config, TIMES * held + SLACK).ok_or_else(|| {
            let message = format!("the settings ask for a larger model than the {held} values that the file holds");
            Error::new(ErrorKind::Shape, message).with_help("the file was changed after it was saved")
        })?;
        let tensors = expected(&model);
        let held = [ENCODER, CALIBRATION].into_iter().filter(|name| container.has(name));
        let texts = held.map(|name| Expected { name: name.into(), dtype: Dtype::U8, shape: None });
        let texts: Vec<Expected> = texts.collect();
        container.expect(tensors.iter().chain(&texts))?;
        let (encoder, calibration) = container.read(|container| {
            fill(container, &mut model, &tensors)?;
            let encoder: Option<Encoder> = text(container, ENCODER)?;
            if let Some(encoder) = &encoder {
                model.mark_unknown(encoder.layout());
                check_layouts(encoder, &model)?;
            }
            let calibration: Option<Calibration> = text(container, CALIBRATION)?;
            if let Some(calibration) = &calibration {
                calibration.check(model.layout())?;
            }
            Ok((encoder, calibration))
        })?;
        Ok(Self { model, encoder, calibration, checksum: container.checksum(), run })
    }
}

/// Settings that older files lack: kind, key, and the value that gives the scores of that time.
const ADDED: [(&str, &str, f64); 1] = [("star", "norm_floor", 0.0)];

/// Adds the settings that an older file lacks.
fn with_added(kind: &str, mut settings: Value) -> Value {
    if let Value::Object(keys) = &mut settings {
        for (_, key, value) in ADDED.into_iter().filter(|(of, ..)| *of == kind) {
            keys.entry(key).or_insert_with(|| value.into());
        }
    }
    settings
}

/// Settings of a kind of this crate; `None` if the kind is another.
fn known(kind: &str, settings: &str) -> Option<Result<AnyConfig>> {
    if !AnyConfig::KINDS.contains(&kind) {
        return None;
    }
    let read = || AnyConfig::of_kind(kind, with_added(kind, serde_json::from_str(settings)?));
    Some(read().map_err(|error| unreadable(kind, &error)))
}

/// Settings of any kind of this crate.
fn any(kind: &str, settings: &str) -> Result<AnyConfig> {
    known(kind, settings).unwrap_or_else(|| {
        let error = other(kind, &listed(AnyConfig::KINDS));
        Err(error.with_help("read a model of your own with Saved::load_as and the type of its settings"))
    })
}

/// Settings of one type.
fn only<C: NetConfig + DeserializeOwned>(kind: &str, settings: &str) -> Result<AnyConfig> {
    if let Some(config) = known(kind, settings) {
        let config = config?;
        if config.get::<C>().is_some() {
            return Ok(config);
        }
        let path = std::any::type_name::<C>();
        let name = path.rsplit_once("::").map_or(path, |(_, name)| name);
        return Err(other(kind, &format!("one of {name}")).with_help("Saved::load reads every kind of this crate"));
    }
    let config: C = serde_json::from_str(settings).map_err(|error| unreadable(kind, &error))?;
    if config.kind() == kind { Ok(config.into()) } else { Err(other(kind, &format!("{:?}", config.kind()))) }
}

fn other(kind: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Kind, format!("the file holds a model of kind {kind:?}, expected {expected}"))
}

fn unreadable(kind: &str, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Config, format!("the settings of a model of kind {kind:?} cannot be read: {error}"))
}

fn record(json: &str) -> Result<RunRecord> {
    let record: RunRecord = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::Config, format!("the record of the run cannot be read: {error}")))?;
    record.check()?;
    Ok(record)
}

/// The tensors of this model's file, in the order of the walk.
pub(crate) fn expected(model: &Model) -> Vec<Expected> {
    let mut expected = Vec::new();
    model.visit(|path, leaf| {
        let (dtype, shape) = match leaf {
            Leaf::Tensor(_, shape, _) | Leaf::Average(_, shape) => (Dtype::F32, shape.to_vec()),
            Leaf::Count(_) => (Dtype::U64, Vec::new()),
        };
        expected.push(Expected { name: path.name(model.layout()), dtype, shape: Some(shape) });
    });
    expected
}

/// Reads a model's tensors under the names in `expected`, which are in the order of the walk; the file was checked to have them.
pub(crate) fn fill(
    container: &mut Container<impl Read + Seek>,
    model: &mut Model,
    expected: &[Expected],
) -> Result<()> {
    let mut expected = expected.iter();
    let mut result = Ok(());
    model.visit_mut(|_, leaf| {
        let Expected { name, .. } = expected.next().expect("both walks see the same tensors");
        if result.is_ok() {
            result = read(container, name, leaf);
        }
    });
    result
}

fn read(container: &mut Container<impl Read + Seek>, name: &str, leaf: LeafMut<'_>) -> Result<()> {
    match leaf {
        LeafMut::Tensor(values, ..) | LeafMut::Average(values, _) => container.read_f32(name, values),
        LeafMut::Count(count) => {
            container.read_u64(name, std::slice::from_mut(count))?;
            if *count <= MAX_COUNT {
                return Ok(());
            }
            let message = format!("tensor {name:?}: at most {MAX_COUNT} updates of a moving average, found {count}");
            Err(Error::new(ErrorKind::NonFinite, message))
        }
    }
}

/// The value of the JSON in a tensor of bytes, if the file has it.
fn text<T: DeserializeOwned>(container: &mut Container<impl Read + Seek>, name: &str) -> Result<Option<T>> {
    if !container.has(name) {
        return Ok(None);
    }
    let json = container.read_u8(name)?;
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Config, format!("the {name} cannot be read: {error}")))
}

//! Reading a model file.

use std::borrow::Cow;
use std::io::{Read, Seek};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::container::{Container, Dtype, Expected};
use super::model_file::check_layouts;
use super::{CALIBRATION, CONFIG, ENCODER, KIND, MODEL, RUN, RunRecord};
use crate::data::{Encoder, listed};
use crate::model::{Model, Net, NetConfig};
use crate::nn::{Leaf, LeafMut};
use crate::serve::{Calibration, Predictor, PredictorBuilder};
use crate::{Error, ErrorKind, Result};

/// How many times as many values as its file holds, and how many beyond that, a model may have that is made only to say what is missing.
const TIMES: f64 = 4.0;
const SLACK: f64 = 65_536.0;

/// The most statistics that a moving average can have taken: sums of such counts stay in range.
const MAX_COUNT: u64 = 1 << 38;

/// What was in a model file.
///
/// `Saved<AnyNet>` takes whatever kind of model a file holds, `Saved<StarNet>` a STAR alone; both read what either wrote.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Saved<N: Net> {
    /// The model.
    pub model: Model<N>,
    /// Its encoder, if it was saved with one.
    pub encoder: Option<Encoder>,
    /// The calibration of its scores, if it was saved with one.
    pub calibration: Option<Calibration>,
    /// The file's checksum: which state of the model this is, for logs and answers.
    pub checksum: u32,
    run: Option<RunRecord>,
}

impl<N: Net> Saved<N> {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// * [`ErrorKind::Io`]: the system cannot open or read it.
    /// * [`ErrorKind::Foreign`]: this crate did not write it.
    /// * [`ErrorKind::Corrupt`]: it was cut off, appended to or damaged.
    /// * [`ErrorKind::Version`]: a newer version of this crate wrote it.
    /// * [`ErrorKind::Kind`]: it holds another kind of model, or no model.
    /// * [`ErrorKind::Missing`], [`ErrorKind::Unknown`], [`ErrorKind::Shape`]: its tensors are not those of its settings. The text lists them.
    /// * [`ErrorKind::NonFinite`]: a value is not finite, or a count of statistics too large.
    /// * [`ErrorKind::Config`]: invalid settings, or an invalid encoder, calibration or record of the run.
    /// * [`ErrorKind::Layout`]: encoder or calibration are another model's.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let load = || Self::from_container(Container::open(path, MODEL)?);
        load().map_err(|error| error.at_path(path))
    }

    /// What the file says of the run that trained the model; `None` if it says nothing, as files of older versions and of models that were
    /// saved without [`ModelFile::run`](super::ModelFile::run). Do not serve a model whose record says that its run did not
    /// [finish](RunRecord::finished).
    pub fn run(&self) -> Option<&RunRecord> {
        self.run.as_ref()
    }

    /// A predictor of all that was in the file, but for which columns are given once a request.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the model was saved without an encoder.
    pub fn predictor(self) -> Result<PredictorBuilder<N>> {
        let Self { model, encoder, calibration, .. } = self;
        let encoder = encoder.ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                "the model was saved without an encoder, which turns raw values into what it reads",
            )
            .with_help("save it with ModelFile::encoder")
        })?;
        let predictor = Predictor::builder(encoder, model);
        Ok(match calibration {
            Some(calibration) => predictor.calibration(calibration),
            None => predictor,
        })
    }

    /// Reads all of `source`, from its beginning: `Cursor::new(bytes)`, say.
    ///
    /// # Errors
    /// As [`Saved::load`].
    pub fn from_reader(source: impl Read + Seek) -> Result<Self> {
        Self::from_container(Container::new(source, MODEL)?)
    }

    fn from_container(mut container: Container<impl Read + Seek>) -> Result<Self> {
        let config = config::<N>(&container.metadata(KIND)?, &container.metadata(CONFIG)?)?;
        let run = container.optional_metadata(RUN).map(|json| record(&json)).transpose()?;
        container.finish_metadata()?;
        let held = container.count(&Dtype::F32) as f64;
        let mut model = Model::<N>::to_fill(config, TIMES * held + SLACK).ok_or_else(|| {
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

/// Settings that older files lack: kind, key, and the value with which the model computes what it computed then.
const ADDED: [(&str, &str, f64); 1] = [("star", "norm_floor", 0.0)];

/// The settings with those that the file is too old to have.
fn with_added<'a>(kind: &str, json: &'a str) -> serde_json::Result<Cow<'a, str>> {
    let mut settings = Cow::Borrowed(json);
    for (_, key, value) in ADDED.into_iter().filter(|(of, ..)| *of == kind) {
        let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&settings)?;
        if !keys.contains_key(key) {
            keys.insert(key.into(), value.into());
            settings = Cow::Owned(serde_json::to_string(&keys)?);
        }
    }
    Ok(settings)
}

/// The settings of a file, if they are of a kind that `N` is of.
fn config<N: Net>(kind: &str, json: &str) -> Result<N::Config> {
    let kinds = N::Config::kinds();
    let other = |expected: &str| {
        let message = format!("the file holds a model of kind {kind:?}, expected {expected}");
        Error::new(ErrorKind::Kind, message).with_help("load it as Saved<AnyNet>, or as the net of that kind")
    };
    if !kinds.is_empty() && !kinds.contains(&kind) {
        return Err(other(&listed(kinds)));
    }
    let wrong = |error: serde_json::Error| {
        Error::new(ErrorKind::Config, format!("the settings of a model of kind {kind:?} cannot be read: {error}"))
    };
    let json = with_added(kind, json).map_err(wrong)?;
    let config = N::Config::from_json(kind, &json).map_err(wrong)?;
    if config.kind() == kind { Ok(config) } else { Err(other(&format!("{:?}", config.kind()))) }
}

fn record(json: &str) -> Result<RunRecord> {
    let record: RunRecord = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::Config, format!("the record of the run cannot be read: {error}")))?;
    record.check()?;
    Ok(record)
}

/// The tensors that a file of this model has, in the order of the walk.
pub(crate) fn expected<N: Net>(model: &Model<N>) -> Vec<Expected> {
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

/// Reads a model's tensors under the names in `expected`, which are in the order of the walk and were found in the file.
pub(crate) fn fill<N: Net>(
    container: &mut Container<impl Read + Seek>,
    model: &mut Model<N>,
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
            let message = format!("tensor {name:?}: at most {MAX_COUNT} statistics, found {count}");
            Err(Error::new(ErrorKind::NonFinite, message))
        }
    }
}

/// What the JSON in a tensor of bytes says, if there is such a tensor.
fn text<T: DeserializeOwned>(container: &mut Container<impl Read + Seek>, name: &str) -> Result<Option<T>> {
    if !container.has(name) {
        return Ok(None);
    }
    let json = container.read_u8(name)?;
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Config, format!("the {name} cannot be read: {error}")))
}

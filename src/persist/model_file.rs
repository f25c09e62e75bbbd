//! Writing a model file.

use std::borrow::Cow;
use std::io::{Seek, Write};
use std::path::Path;

use super::container::{Contents, Data};
use super::{CALIBRATION, CONFIG, ENCODER, KIND, MODEL, RUN, RunRecord};
use crate::data::Encoder;
use crate::model::Model;
use crate::serve::Calibration;
use crate::{Error, ErrorKind, Result};

/// The contents of a model file that is to be written: a model, and optionally its encoder, its calibration and the record of its training
/// run.
///
/// Call [`ModelFile::new`], add the other parts, and write the file with [`ModelFile::save`]; nothing is copied, checked or written before.
/// [`Saved`](super::Saved) reads the file. [The module](super) has an example.
#[derive(Debug)]
pub struct ModelFile<'a> {
    model: &'a Model,
    encoder: Option<&'a Encoder>,
    calibration: Option<&'a Calibration>,
    run: Option<RunRecord>,
}

impl<'a> ModelFile<'a> {
    /// Starts a file with the model `model`: its settings, weights and moving averages. The file has no encoder, calibration and record until
    /// you add them.
    pub fn new(model: &'a Model) -> Self {
        Self { model, encoder: None, calibration: None, run: None }
    }

    /// Adds the encoder, which turns raw values into the inputs of the model. It must have the layout of the model; otherwise
    /// [`ModelFile::save`] returns an error. A file with an encoder suffices for serving ([`Saved::predictor`](super::Saved::predictor)). A
    /// later call replaces the encoder.
    pub fn encoder(mut self, encoder: &'a Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// Adds the calibration, which corrects the probabilities of the model in each domain. It must have been fitted for the tasks and domains
    /// of the model; otherwise [`ModelFile::save`] returns an error. A later call replaces the calibration.
    pub fn calibration(mut self, calibration: &'a Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// Adds the record of the training run, which says above all whether the run finished. [`RunRecord::new`] makes it from the report of
    /// the run. A later call replaces the record.
    pub fn run(mut self, run: RunRecord) -> Self {
        self.run = Some(run);
        self
    }

    /// Writes the file at `path`. An existing file is replaced, and its access permissions are kept. The new file appears whole or not at all:
    /// after an error, or if the process is killed, an existing file is unchanged. The folder must exist.
    ///
    /// # Errors
    /// * [`ErrorKind::NonFinite`]: a tensor of the model has a value that is NaN or infinite. The message names such tensors, at most 30.
    /// * [`ErrorKind::Layout`]: the encoder or the calibration has another layout than the model.
    /// * [`ErrorKind::Config`]: the model's settings (of a type of your own) cannot be written as JSON, or the [record of the
    ///   run](ModelFile::run) contradicts itself.
    /// * [`ErrorKind::Io`]: the file cannot be written, for example because the folder does not exist.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.contents().map_err(|error| error.at_path(path))?.save(path)
    }

    /// Writes the same bytes as [`ModelFile::save`] into `out`, for example a buffer in memory, from the current position of `out`.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`], [`ErrorKind::Layout`] and [`ErrorKind::Config`] for the reasons that [`ModelFile::save`] lists.
    /// [`ErrorKind::Io`] if `out` returns an error; a part of the file may have been written then.
    pub fn write_to(&self, mut out: impl Write + Seek) -> Result<()> {
        self.contents()?.write_to(&mut out)
    }

    fn contents(&self) -> Result<Contents<'a>> {
        let Self { model, encoder, calibration, ref run } = *self;
        let mut contents = Contents::new(MODEL);
        contents.metadata(KIND, model.config().kind().into());
        contents.metadata(CONFIG, json("settings", serde_json::to_string(&**model.config()))?);
        if let Some(run) = run {
            run.check()?;
            contents.metadata(RUN, json("record of the run", serde_json::to_string(run))?);
        }
        model.visit(|path, leaf| contents.leaf(path.name(model.layout()), leaf));
        let mut text = |name: &str, json: String| {
            contents.tensor(name.into(), &[json.len()], Data::U8(Cow::Owned(json.into_bytes())));
        };
        if let Some(encoder) = encoder {
            check_layouts(encoder, model)?;
            text(ENCODER, json("encoder", serde_json::to_string(encoder))?);
        }
        if let Some(calibration) = calibration {
            calibration.check(model.layout())?;
            text(CALIBRATION, json("calibration", serde_json::to_string(calibration))?);
        }
        Ok(contents)
    }
}

fn json(what: &str, json: serde_json::Result<String>) -> Result<String> {
    json.map_err(|error| Error::new(ErrorKind::Config, format!("the {what} cannot be written as JSON: {error}")))
}

/// Checks that an encoder has the model's layout.
pub(crate) fn check_layouts(encoder: &Encoder, model: &Model) -> Result<()> {
    if encoder.layout() == model.layout() {
        return Ok(());
    }
    let message = "the model was built for other fields, domains or tasks than the encoder gives";
    Err(Error::new(ErrorKind::Layout, message)
        .with_help("build the model with encoder.layout(); add new domains to both"))
}

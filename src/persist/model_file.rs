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

/// A model to be saved, optionally with its encoder, its calibration and the record of its run.
///
/// It borrows model, encoder and calibration; the values are written without a copy.
#[derive(Debug)]
pub struct ModelFile<'a> {
    model: &'a Model,
    encoder: Option<&'a Encoder>,
    calibration: Option<&'a Calibration>,
    run: Option<RunRecord>,
}

impl<'a> ModelFile<'a> {
    /// A file of this model alone.
    pub fn new(model: &'a Model) -> Self {
        Self { model, encoder: None, calibration: None, run: None }
    }

    /// With the encoder that was fitted for it.
    pub fn encoder(mut self, encoder: &'a Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// With the calibration that was fitted on its scores.
    pub fn calibration(mut self, calibration: &'a Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// With a record of the run that trained it, which says above all whether the run finished.
    pub fn run(mut self, run: RunRecord) -> Self {
        self.run = Some(run);
        self
    }

    /// Writes the file at `path`. It replaces an existing file whole and keeps its mode; if that fails, the old file is unchanged.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] that names every tensor with a value that is not finite; [`ErrorKind::Layout`] if encoder or
    /// calibration have another layout than the model; [`ErrorKind::Config`] if settings of your own cannot be written as JSON, or the
    /// [record of the run](ModelFile::run) contradicts itself; [`ErrorKind::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.contents().map_err(|error| error.at_path(path))?.save(path)
    }

    /// Writes the bytes of the file into `out`, from its current position.
    ///
    /// # Errors
    /// The errors of [`ModelFile::save`]; [`ErrorKind::Io`](crate::ErrorKind::Io) is an error of the writer.
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
    Err(Error::new(ErrorKind::Layout, message).with_help("build it with encoder.layout(), and add a domain to both"))
}

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

/// A model that is to be saved to a file, optionally with its encoder, its calibration and the record of its training run.
///
/// It borrows model, encoder and calibration; nothing is copied or written before [`ModelFile::save`]. [`Saved`](super::Saved) reads the
/// file.
#[derive(Debug)]
pub struct ModelFile<'a> {
    model: &'a Model,
    encoder: Option<&'a Encoder>,
    calibration: Option<&'a Calibration>,
    run: Option<RunRecord>,
}

impl<'a> ModelFile<'a> {
    /// Starts a file with this model alone, without encoder, calibration and record.
    pub fn new(model: &'a Model) -> Self {
        Self { model, encoder: None, calibration: None, run: None }
    }

    /// Also saves this encoder, which turns raw values into the inputs of the model. It must have the layout of the model. A file with an
    /// encoder suffices for serving ([`Saved::predictor`](super::Saved::predictor)).
    pub fn encoder(mut self, encoder: &'a Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// Also saves this calibration, which corrects the probabilities of the model in each domain. It must have been fitted for the tasks
    /// and domains of the model.
    pub fn calibration(mut self, calibration: &'a Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// Also saves this record of the training run, which says above all whether the run finished.
    pub fn run(mut self, run: RunRecord) -> Self {
        self.run = Some(run);
        self
    }

    /// Writes the file at `path`. It replaces an existing file whole and keeps its mode. After an error, an existing file is unchanged.
    ///
    /// # Errors
    /// * [`ErrorKind::NonFinite`]: a tensor of the model has a value that is not finite. The message names every such tensor.
    /// * [`ErrorKind::Layout`]: the encoder or the calibration has another layout than the model.
    /// * [`ErrorKind::Config`]: the model's settings (of a type of your own) cannot be written as JSON, or the [record of the
    ///   run](ModelFile::run) contradicts itself.
    /// * [`ErrorKind::Io`]: the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.contents().map_err(|error| error.at_path(path))?.save(path)
    }

    /// Writes the file into `out`, from the current position of `out`, instead of to a path.
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

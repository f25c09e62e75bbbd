//! Building a [`Predictor`].

use super::{Inner, Predictor};
use crate::data::{Encoder, RowPlan, listed};
use crate::error::Problems;
use crate::model::Model;
use crate::serve::{Calibration, Scorer};
use crate::{Error, ErrorKind, Result};

/// Builds a [`Predictor`]. Its settings are the columns that a request gives once, and the calibration. [`Predictor::builder`] and
/// [`Saved::predictor`](crate::persist::Saved::predictor) start one.
#[derive(Debug, Clone)]
pub struct PredictorBuilder {
    encoder: Encoder,
    model: Model,
    given: Vec<String>,
    calibration: Option<Calibration>,
}

impl PredictorBuilder {
    pub(super) fn new(encoder: Encoder, model: Model) -> Self {
        Self { encoder, model, given: Vec::new(), calibration: None }
    }

    /// Adds columns whose values are the same for all candidates of a request, such as those of the user and the page; default none. A request gives
    /// these values once ([`Predictor::score`]). What the model computes from them alone is computed once per request, not once per candidate.
    /// `columns` has names of columns, not of features; [`PredictorBuilder::build`] checks them.
    ///
    /// Do not list the column of the domain: a request always gives the domain.
    pub fn given<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.given.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Corrects the probabilities of binary tasks with `calibration`; default none. Without one, a probability is the sigmoid of the logit,
    /// `1/(1 + exp(−logit))`. Tasks that are not binary are not corrected. [`PredictorBuilder::build`] checks that the calibration fits the model.
    pub fn calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    /// Checks the settings, compiles the model for serving, and returns the predictor.
    ///
    /// # Errors
    /// * [`ErrorKind::Layout`]: the model has another layout than the encoder, or the calibration was fitted for other tasks or domains
    ///   ([`Calibration::check`]).
    /// * [`ErrorKind::Config`]: a name of [`PredictorBuilder::given`] is not a column that a feature reads, or is listed twice; or the names have
    ///   some lists of an attended [sequence](crate::data::Sequence) but not all of them.
    ///
    /// # Panics
    /// If the model has a net of your own that does not fit its layout: the net reads embedded rows of another width, or computes no logit for a task
    /// in a domain.
    pub fn build(self) -> Result<Predictor> {
        let Self { encoder, model, given, calibration } = self;
        if encoder.layout() != model.layout() {
            let message = "the model was built for other fields, domains or tasks than the encoder gives";
            return Err(Error::new(ErrorKind::Layout, message).with_help("build it with encoder.layout()"));
        }
        if let Some(calibration) = &calibration {
            calibration.check(encoder.layout())?;
        }
        let schema = encoder.schema();
        let mut problems = Problems::default();
        for (i, name) in given.iter().enumerate() {
            let read = schema.features().iter().any(|feature| feature.columns().contains(name));
            problems.require(read, || match schema.features().iter().find(|feature| feature.name() == name) {
                Some(feature) => {
                    let columns = feature.columns();
                    let plural = if columns.len() == 1 { "" } else { "s" };
                    format!(
                        "{name:?}: the name of a feature, not of a column; it reads column{plural} {}",
                        listed(columns)
                    )
                }
                None => format!("{name:?}: not a column of a feature"),
            });
            problems.require(!given[..i].contains(name), || format!("{name:?}: given twice"));
        }
        problems.into_result("given")?;
        let domain_column = schema.domain().map(str::to_owned);
        let is_domain = |column: &str| domain_column.as_deref() == Some(column);
        let is_given = |column: &str| is_domain(column) || given.iter().any(|name| name == column);
        let request = RowPlan::new(&encoder, |column| {
            (!is_given(column)).then_some("a value that each candidate has, not the request")
        });
        // A cross of a column that is given and one that is not is a value of the candidate.
        let request = request.whole_crosses();
        let candidate = RowPlan::new(&encoder, |column| match () {
            () if is_domain(column) => Some("the domain is the request's, not a candidate's"),
            () => is_given(column).then_some("a value that the request gives once, not each candidate"),
        });
        let scorer = Scorer::new(model, &request.inputs(&encoder))?;
        Ok(Predictor(Inner { encoder, scorer, calibration, request, candidate }.into()))
    }
}

//! Models to be compared.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use starple::Problems;
use starple::data::{Encoder, Layout, Splits};
use starple::model::{AnyConfig, Model};
use starple::train::{Step, TrainConfig};
use starple::{Error, ErrorKind, Result};

use super::Standing;

/// A model to be compared: a name, its settings for a given layout and seed, and optionally its own training
/// settings.
///
/// ```
/// use starple::StarConfig;
/// use starple_lab::compare::Contender;
///
/// let star = Contender::new("star", |layout, seed| {
///     StarConfig::builder(layout).hidden([64, 32]).seed(seed).build()
/// });
/// assert_eq!(star.name(), "star");
/// ```
#[derive(Clone)]
pub struct Contender {
    name: String,
    recipe: Arc<Recipe>,
    train: Option<TrainConfig>,
}

impl Contender {
    /// A model with this name; `settings` returns its configuration for a layout and a seed. It may be a model of your own.
    pub fn new<C: Into<AnyConfig>>(
        name: impl Into<String>,
        settings: impl Fn(&Layout, u64) -> Result<C> + Send + Sync + 'static,
    ) -> Self {
        let recipe = move |layout: &Layout, seed| settings(layout, seed).map(C::into);
        Self { name: name.into(), recipe: Arc::new(recipe), train: None }
    }

    /// A model from settings as in run files: `kind`, the settings of that model, and optionally `name`; the default name is the kind.
    ///
    /// ```
    /// use starple_lab::compare::Contender;
    ///
    /// let star = Contender::from_settings(serde_json::json!({"kind": "star", "hidden": [64, 32]}))?;
    /// assert_eq!(star.name(), "star");
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown kind, a name that is not text, or a `seed`, since each run has its own. Other settings are
    /// checked at the start of [`compare`](super::compare()), when the layout is known.
    pub fn from_settings(mut settings: Value) -> Result<Self> {
        let kind = AnyConfig::kind_of(&settings)?;
        let mut problems = Problems::default();
        let name = settings.as_object_mut().and_then(|keys| keys.remove("name")).unwrap_or_else(|| kind.into());
        problems.require(name.is_string(), || format!("name: expected text, found {name}"));
        problems.require(settings.get("seed").is_none(), || {
            "seed: each run has its own; add it to the seeds of the comparison".into()
        });
        problems.into_result(kind)?;
        let make = move |layout: &Layout, seed| AnyConfig::from_settings(settings.clone(), layout, seed);
        Ok(Self::new(name.as_str().unwrap_or_default(), make))
    }

    /// Its own training settings, instead of those that all contenders share. Each run sets its own seed.
    pub fn train(mut self, settings: TrainConfig) -> Self {
        self.train = Some(settings);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own training settings, if it has any.
    pub(super) fn own_train(&self) -> Option<&TrainConfig> {
        self.train.as_ref()
    }

    /// Its settings for this layout and seed.
    fn settings(&self, layout: &Layout, seed: u64) -> Result<AnyConfig> {
        (self.recipe)(layout, seed).map_err(|error| self.blame(&error))
    }

    /// Whether it has settings for this layout and seed.
    pub(super) fn check(&self, layout: &Layout, seed: u64) -> Result<()> {
        self.settings(layout, seed).map(drop)
    }

    /// Checks that its model can be trained with these settings, with `runs` parallel runs. Returns its standing without runs, and the warnings of
    /// its settings.
    pub(super) fn enter(
        &self,
        splits: &Splits,
        seed: u64,
        train: &TrainConfig,
        runs: usize,
    ) -> Result<(Standing, Vec<String>)> {
        let config = self.settings(&splits.layout, seed)?;
        let enter = || {
            train.check_runs(&*config, splits.train.rows(), splits.val.rows(), runs)?;
            let warnings = config.warnings(splits.encoder.as_ref().map(Encoder::schema));
            let model = Model::new(config.clone());
            // Some objectives need tensors that not every model has.
            Step::new(&model, train.objective(), seed)?;
            let standing = Standing {
                name: self.name.clone(),
                kind: config.kind(),
                model: settings_of(&config, &["kind", "layout", "seed"])?,
                train: settings_of(train, &["seed"])?,
                parameters: Some(model.parameters()),
                runs: Vec::new(),
            };
            Ok((standing, warnings))
        };
        enter().map_err(|error| self.blame(&error))
    }

    /// The model at step 0.
    pub(super) fn model(&self, layout: &Layout, seed: u64) -> Result<Model> {
        (self.recipe)(layout, seed).map(Model::new)
    }

    /// Adds this contender's name to an error.
    pub(super) fn blame(&self, error: &Error) -> Error {
        Error::new(error.kind(), format!("contender {:?}: {error}", self.name))
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).field("train", &self.train).finish_non_exhaustive()
    }
}

/// A function from layout and seed to a contender's settings.
type Recipe = dyn Fn(&Layout, u64) -> Result<AnyConfig> + Send + Sync;

/// Settings as JSON, without these keys.
fn settings_of(settings: &impl Serialize, without: &[&str]) -> Result<Value> {
    let mut value = serde_json::to_value(settings).map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
    if let Some(keys) = value.as_object_mut() {
        keys.retain(|key, _| !without.contains(&key.as_str()));
    }
    Ok(value)
}

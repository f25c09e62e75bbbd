//! Who takes part in a comparison.

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

/// A model that takes part in a comparison: a name, the settings it has for a layout and seed, and by choice training
/// settings of its own.
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
    /// A model under this name; `settings` gives its configuration for a layout and a seed. A model of your own may take part too.
    pub fn new<C: Into<AnyConfig>>(
        name: impl Into<String>,
        settings: impl Fn(&Layout, u64) -> Result<C> + Send + Sync + 'static,
    ) -> Self {
        let recipe = move |layout: &Layout, seed| settings(layout, seed).map(C::into);
        Self { name: name.into(), recipe: Arc::new(recipe), train: None }
    }

    /// A model that settings name, as run files have them: `kind`, the settings of that model, and by choice `name`,
    /// which is the kind unless it is given.
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
    /// [`ErrorKind::Config`] for a kind that there is not, a name that is not text, and a
    /// `seed`, which each run brings. Other settings are checked when the layout is known, at the start of
    /// [`compare`](super::compare()).
    pub fn from_settings(mut settings: Value) -> Result<Self> {
        let kind = AnyConfig::kind_of(&settings)?;
        let mut problems = Problems::default();
        let name = settings.as_object_mut().and_then(|keys| keys.remove("name")).unwrap_or_else(|| kind.into());
        problems.require(name.is_string(), || format!("name: expected text, found {name}"));
        problems
            .require(settings.get("seed").is_none(), || "seed: each run has its own; name it among the seeds".into());
        problems.into_result(kind)?;
        let make = move |layout: &Layout, seed| AnyConfig::from_settings(settings.clone(), layout, seed);
        Ok(Self::new(name.as_str().unwrap_or_default(), make))
    }

    /// Training settings of its own, in place of those that all contenders share. Its seed is that of each run.
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

    /// How it stands before its first run, if its model can be trained so.
    ///
    /// Beside it, what its settings warn of. `runs` train at the same time.
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
            // Some objectives ask for parts that not every model has.
            Step::new(&model, train.objective(), seed)?;
            let standing = Standing {
                name: self.name.clone(),
                kind: config.kind(),
                model: settings_of(&config, &["kind", "layout", "seed"])?,
                train: settings_of(train, &["seed"])?,
                parameters: model.parameters(),
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

    /// Puts this contender's name in front of an error.
    pub(super) fn blame(&self, error: &Error) -> Error {
        Error::new(error.kind(), format!("contender {:?}: {error}", self.name))
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).field("train", &self.train).finish_non_exhaustive()
    }
}

/// How a contender's settings are made for a layout and a seed.
type Recipe = dyn Fn(&Layout, u64) -> Result<AnyConfig> + Send + Sync;

/// Settings as a file would have them, without those keys.
fn settings_of(settings: &impl Serialize, without: &[&str]) -> Result<Value> {
    let mut value = serde_json::to_value(settings).map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
    if let Some(keys) = value.as_object_mut() {
        keys.retain(|key, _| !without.contains(&key.as_str()));
    }
    Ok(value)
}

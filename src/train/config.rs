//! The settings of a training run.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::MAX_THREADS;
use crate::data::{BatchOrder, DataSet, Layout};
use crate::error::Problems;
use crate::loss::Objective;
use crate::metrics::{Evaluator, Monitor};
use crate::optim::{Clip, LrSchedule, Optimizer, OptimizerConfig, Split};
use crate::{Error, ErrorKind, Result};

/// When a run ends before its last epoch, and which epoch's weights it keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStop {
    /// How many epochs without improvement end the run, at least 1; default 2.
    pub patience: usize,
    /// The least change that counts as improvement, at least 0; default 0.
    pub min_delta: f64,
    /// What is watched on the validation rows: any metric of any task and domain; default the AUC, as a mean over tasks.
    pub monitor: Monitor,
}

impl Default for EarlyStop {
    fn default() -> Self {
        Self { patience: 2, min_delta: 0.0, monitor: Monitor::default() }
    }
}

/// The settings of a [`Trainer`](super::Trainer). Every value of this type is valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "TrainConfigBuilder", into = "TrainConfigBuilder")]
pub struct TrainConfig(pub(super) TrainConfigBuilder);

/// Sets up a [`TrainConfig`]; in a file, the same names are the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfigBuilder {
    pub(super) epochs: usize,
    pub(super) batch_rows: usize,
    pub(super) batches: BatchOrder,
    pub(super) optimizer: OptimizerConfig,
    pub(super) embedding_optimizer: Option<OptimizerConfig>,
    pub(super) schedule: LrSchedule,
    pub(super) clip: Option<Clip>,
    pub(super) freeze: Vec<String>,
    pub(super) objective: Objective,
    pub(super) early_stop: EarlyStop,
    pub(super) statistics_rows: usize,
    pub(super) seed: u64,
    pub(super) threads: usize,
}

impl Default for TrainConfigBuilder {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_rows: 4096,
            batches: BatchOrder::default(),
            optimizer: OptimizerConfig::adam(1e-3).expect("the default learning rate is valid"),
            embedding_optimizer: None,
            schedule: LrSchedule::constant(),
            clip: None,
            freeze: Vec::new(),
            objective: Objective::default(),
            early_stop: EarlyStop::default(),
            statistics_rows: 131_072,
            seed: 0,
            threads: 1,
        }
    }
}

impl TrainConfig {
    /// Starts from the defaults.
    pub fn builder() -> TrainConfigBuilder {
        TrainConfigBuilder::default()
    }

    /// The optimizer of a model with this many embedding tables.
    pub(super) fn build_optimizer(&self, tables: usize) -> Box<dyn Optimizer> {
        match &self.0.embedding_optimizer {
            None => self.0.optimizer.build(),
            Some(embedding) => Box::new(Split::new(&self.0.optimizer, embedding, tables)),
        }
    }

    /// Whether models with this layout can be trained so: there is a weight for each unit of the objective, and the
    /// monitored task and domain are there. [`Trainer::fit`](super::Trainer::fit) checks it; to know it earlier, ask.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that says what the layout does not have.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.0.objective.check(layout)?;
        self.0.early_stop.monitor.check(layout)
    }

    /// Whether validation rows give what these settings ask of them: the monitored value is defined there, and a plateau has some to
    /// watch. [`Trainer::fit`](super::Trainer::fit) checks it; to know it earlier, ask.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that says which value is not defined, or that there are no rows.
    pub fn check_val(&self, layout: &Layout, val: Option<&DataSet>) -> Result<()> {
        let Some(val) = val else {
            return if self.0.schedule.observes() {
                let message = "schedule: a plateau watches the validation rows, found none";
                Err(Error::new(ErrorKind::Config, message).with_help("give some, or choose another schedule"))
            } else {
                Ok(())
            };
        };
        // Whether a metric is defined does not depend on the scores.
        let mut evaluator = Evaluator::new(layout);
        evaluator.add(&Array2::zeros(val.labels.dim()), &val.labels, val.domains(), &val.weights, &val.groups)?;
        let monitor = &self.0.early_stop.monitor;
        match evaluator.report().value(monitor)? {
            Some(_) => Ok(()),
            None => Err(undefined(monitor)),
        }
    }

    /// The loss.
    pub fn objective(&self) -> &Objective {
        &self.0.objective
    }

    /// How often all rows are seen at most.
    pub fn epochs(&self) -> usize {
        self.0.epochs
    }

    /// The rows of a batch.
    pub fn batch_rows(&self) -> usize {
        self.0.batch_rows
    }

    /// The seed of batch order and dropout.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How many threads training and evaluation use.
    pub fn threads(&self) -> usize {
        self.0.threads
    }
}

impl TrainConfigBuilder {
    /// How often all rows are seen at most, 1 to 2³² − 1; default 5.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Rows in a batch, 1 to 2³² − 1; default 4096.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// Which rows may share a batch; default those of any domain.
    pub fn batches(mut self, order: BatchOrder) -> Self {
        self.batches = order;
        self
    }

    /// The optimizer; default Adam with a learning rate of 0.001.
    pub fn optimizer(mut self, optimizer: OptimizerConfig) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// Another optimizer for the embedding tables; default the same.
    pub fn embedding_optimizer(mut self, optimizer: OptimizerConfig) -> Self {
        self.embedding_optimizer = Some(optimizer);
        self
    }

    /// How the learning rate changes over the run; default not at all. A plateau needs validation rows.
    pub fn schedule(mut self, schedule: LrSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The bound on gradients; default none.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = Some(clip);
        self
    }

    /// The tensors that stay as they are, by the starts of their names, whole parts of them, `*` being any one part:
    /// `"embeddings.user"`, `"net.layers.*.shared"`; default none. [`Gradient::freeze`](crate::model::Gradient::freeze) has the details.
    pub fn freeze<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.freeze = names.into_iter().map(Into::into).collect();
        self
    }

    /// The loss: what it is taken of, and how its parts are weighed; default a weight of 1 for every task.
    pub fn objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
    }

    /// Over how many rows of each domain normalisation statistics are computed anew before each evaluation and at the end of the run
    /// ([`recompute_statistics`](super::recompute_statistics)); default 131,072. 0 leaves the moving averages as training left them.
    pub fn statistics_rows(mut self, rows: usize) -> Self {
        self.statistics_rows = rows;
        self
    }

    /// When to end early, and what decides which epoch is best. Takes effect when there are validation rows; without them
    /// all epochs run and the last weights are kept.
    pub fn early_stop(mut self, early_stop: EarlyStop) -> Self {
        self.early_stop = early_stop;
        self
    }

    /// The seed of batch order and dropout; default 0. Starting values have their own, in the model's configuration.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Threads to train and evaluate with, 1 to 1024; default 1. Their number changes no bit of the result.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names every invalid setting.
    pub fn build(self) -> Result<TrainConfig> {
        let mut problems = Problems::default();
        problems.require(self.epochs >= 1, || "epochs: at least 1, found 0".into());
        problems.require(self.batch_rows >= 1, || "batch_rows: at least 1, found 0".into());
        problems.require(self.threads >= 1, || "threads: at least 1, found 0".into());
        let most = u32::MAX as usize;
        for (name, value, most) in [
            ("epochs", self.epochs, most),
            ("batch_rows", self.batch_rows, most),
            ("threads", self.threads, MAX_THREADS),
        ] {
            problems.require(value <= most, || format!("{name}: at most {most}, found {value}"));
        }
        problems.require(self.batches != BatchOrder::Mixed { max_domains: Some(0) }, || {
            "batches: max_domains at least 1, found 0".into()
        });
        let EarlyStop { patience, min_delta, .. } = self.early_stop;
        problems.require(patience >= 1, || "early_stop.patience: at least 1, found 0".into());
        problems.require(min_delta >= 0.0 && min_delta.is_finite(), || {
            format!("early_stop.min_delta: at least 0, found {min_delta}")
        });
        problems.into_result("TrainConfig")?;
        Ok(TrainConfig(self))
    }
}

/// The error of a monitored value that there is not.
pub(super) fn undefined(monitor: &Monitor) -> Error {
    Error::new(ErrorKind::Config, format!("early_stop: {monitor} is undefined on the validation rows"))
}

impl TryFrom<TrainConfigBuilder> for TrainConfig {
    type Error = crate::Error;

    fn try_from(builder: TrainConfigBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<TrainConfig> for TrainConfigBuilder {
    fn from(config: TrainConfig) -> Self {
        config.0
    }
}

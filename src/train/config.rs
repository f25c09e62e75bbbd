//! The settings of a training run.

use ndarray::Array2;

use super::MAX_THREADS;
use crate::data::{BatchOrder, DataSet, Layout};
use crate::loss::Objective;
use crate::metrics::{Evaluator, Monitor};
use crate::optim::{Clip, LrSchedule, Optimizer, OptimizerConfig, Split};
use crate::{Error, ErrorKind, Result};

crate::settings! {
    /// When a run ends before its last epoch, and which epoch's weights it keeps.
    #[derive(Default)]
    EarlyStop, EarlyStopBuilder, in files {
        /// How many epochs without improvement end the run, at least 1; default 2.
        patience: usize = 2;
        /// An epoch is an improvement only if the monitored value is better than the best one by more than this; at least 0, default 0.
        min_delta: f64 = 0.0;
        /// What is watched on the validation rows: any metric of any task and domain; default the AUC, as a mean over tasks.
        monitor: Monitor = Monitor::default(), as &Monitor;
    }
    check(this, problems) {
        let min_delta = this.min_delta;
        problems.require(this.patience >= 1, || "patience: at least 1, found 0".into());
        problems.require(min_delta >= 0.0 && min_delta.is_finite(), || {
            format!("min_delta: at least 0, found {min_delta}")
        });
    }
}

crate::settings! {
    /// The settings of a [`Trainer`](super::Trainer).
    #[derive(Default)]
    TrainConfig, TrainConfigBuilder, in files {
        /// How often all rows are seen at most, 1 to 2³² − 1; default 5.
        epochs: usize = 5;
        /// The rows of a batch, 1 to 2³² − 1; default 4096.
        batch_rows: usize = 4096;
        /// Which rows may share a batch; default those of any domain.
        batches: BatchOrder = BatchOrder::default();
        /// The optimizer; default Adam with its defaults.
        optimizer: OptimizerConfig = OptimizerConfig::default(), as &OptimizerConfig;
        /// Another optimizer for the embedding tables; default none: all tensors share `optimizer`.
        embedding_optimizer: Option<OptimizerConfig> = None,
            from impl Into<Option<OptimizerConfig>>, as Option<&OptimizerConfig>;
        /// How the learning rate changes over the run; default not at all. A plateau needs validation rows.
        schedule: LrSchedule = LrSchedule::default(), as &LrSchedule;
        /// The bound on gradients; default none.
        clip: Option<Clip> = None, from impl Into<Option<Clip>>;
        /// The tensors that do not train, by the starts of their names, whole parts of them, `*` being any one part:
        /// `"embeddings.user"`, `"net.layers.*.shared"`; default none. [`Gradient::freeze`](crate::model::Gradient::freeze) has the details.
        freeze: Vec<String> = Vec::new(), each String, as &[String];
        /// The loss: what it is taken of, and how its parts are weighed; default a weight of 1 for every task.
        objective: Objective = Objective::default(), as &Objective;
        /// When to end early, and what decides which epoch is best. It takes effect when there are validation rows; without them
        /// all epochs run and the last weights are kept.
        early_stop: EarlyStop = EarlyStop::default(), as &EarlyStop;
        /// Over how many rows of each domain normalisation statistics are computed anew before each evaluation and at the end of the
        /// run ([`recompute_statistics`](super::recompute_statistics)); default 131,072. 0 leaves the moving averages as training left them.
        statistics_rows: usize = 131_072;
        /// The seed of batch order and dropout; default 0. Starting values have their own, in the model's configuration.
        seed: u64 = 0;
        /// Threads to train and evaluate with, 1 to 1024; default 1. Their number changes no bit of the result.
        threads: usize = 1;
    }
    check(this, problems) {
        let most = u32::MAX as usize;
        for (name, value, most) in [
            ("epochs", this.epochs, most),
            ("batch_rows", this.batch_rows, most),
            ("threads", this.threads, MAX_THREADS),
        ] {
            problems.require(value >= 1, || format!("{name}: at least 1, found 0"));
            problems.require(value <= most, || format!("{name}: at most {most}, found {value}"));
        }
        this.batches.check("batches", problems);
    }
}

impl TrainConfig {
    /// The optimizer of a model with this number of embedding tables.
    pub(super) fn build_optimizer(&self, tables: usize) -> Box<dyn Optimizer> {
        match &self.0.embedding_optimizer {
            None => self.0.optimizer.build(),
            Some(embedding) => Box::new(Split::new(&self.0.optimizer, embedding, tables)),
        }
    }

    /// Checks that models with this layout can be trained with these settings: there is a weight for each unit of the objective, and the
    /// layout has the monitored task and domain. [`Trainer::fit`](super::Trainer::fit) checks it too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that says what the layout lacks.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.0.objective.check(layout)?;
        self.0.early_stop.monitor().check(layout)
    }

    /// Checks that the validation rows fit these settings: the monitored value is defined on them, and a plateau schedule has validation
    /// rows. [`Trainer::fit`](super::Trainer::fit) checks it too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that says which value is undefined, or that there are no rows.
    pub fn check_val(&self, layout: &Layout, val: Option<&DataSet>) -> Result<()> {
        let Some(val) = val else {
            return if matches!(self.0.schedule, LrSchedule::Plateau(_)) {
                let message = "schedule: a plateau watches the validation rows, found none";
                Err(Error::new(ErrorKind::Config, message).with_help("give some, or choose another schedule"))
            } else {
                Ok(())
            };
        };
        // Whether a metric is defined does not depend on the scores.
        let mut evaluator = Evaluator::new(layout);
        evaluator.add(&Array2::zeros(val.labels.dim()), &val.labels, val.domains(), &val.weights, &val.groups)?;
        let monitor = self.0.early_stop.monitor();
        match evaluator.report().value(monitor)? {
            Some(_) => Ok(()),
            None => Err(undefined(monitor)),
        }
    }
}

/// The error of an undefined monitored value.
pub(super) fn undefined(monitor: &Monitor) -> Error {
    Error::new(ErrorKind::Config, format!("early_stop: {monitor} is undefined on the validation rows"))
}

//! The settings of a training run.

use ndarray::Array2;

use super::{Average, MAX_THREADS, Unknown};
use crate::data::{BatchOrder, DataSet, Layout};
use crate::loss::Objective;
use crate::metrics::{Evaluator, Monitor};
use crate::optim::{Clip, LrSchedule, Optimizer, OptimizerConfig, RowUpdates, Split};
use crate::{Error, ErrorKind, Result};

crate::settings! {
    /// The settings of early stopping: when a training run ends before its last epoch, and by which metric on the validation rows epochs
    /// are compared. At the end of a run, the model has the weights of the best epoch.
    #[derive(Default)]
    EarlyStop, EarlyStopBuilder, in files {
        /// The run ends after this number of epochs in a row without an improvement. At least 1; default 2.
        patience: usize = 2;
        /// An epoch is an improvement if its monitored metric is better than that of the best epoch so far by more than this number. A
        /// finite number of at least 0, in the unit of the metric; default 0.
        min_delta: f64 = 0.0;
        /// The monitored metric, which is computed on the validation rows. It can be any metric of any task and domain. Default: the AUC
        /// over all rows, as a mean over tasks.
        monitor: Monitor = Monitor::default(), as &Monitor;
    }
    check(this, problems) {
        let min_delta = this.min_delta;
        problems.require(this.patience >= 1, || "patience: at least 1, found 0".into());
        problems.require(min_delta >= 0.0 && min_delta.is_finite(), || {
            format!("min_delta: a finite number of at least 0, found {min_delta}")
        });
    }
}

crate::settings! {
    /// The settings of a [`Trainer`](super::Trainer): epochs, batches, optimizer, loss, early stopping, seed and threads.
    #[derive(Default)]
    TrainConfig, TrainConfigBuilder, in files {
        /// The number of epochs, that is, of passes over all training rows, from 1 to 2³² − 1; default 5. The run can end earlier
        /// ([`TrainConfig::early_stop`]).
        epochs: usize = 5;
        /// The largest number of rows in a batch, from 1 to 2³² − 1; default 4096. Each batch is one step of the optimizer.
        batch_rows: usize = 4096;
        /// Which rows can be in one batch. Default: rows of any number of domains ([`BatchOrder::Mixed`]).
        batches: BatchOrder = BatchOrder::default();
        /// The optimizer and its base learning rate. Default: Adam with its default settings.
        optimizer: OptimizerConfig = OptimizerConfig::default(), as &OptimizerConfig;
        /// A separate optimizer for the embedding tables. `None`, the default: `optimizer` updates the tables too.
        embedding_optimizer: Option<OptimizerConfig> = None,
            from impl Into<Option<OptimizerConfig>>, as Option<&OptimizerConfig>;
        /// How the learning rate changes during the run. Default: it stays the same. [`LrSchedule::Plateau`] needs validation rows.
        schedule: LrSchedule = LrSchedule::default(), as &LrSchedule;
        /// The limit on the gradient of each step, applied before the optimizer. `None`, the default: gradients are not clipped.
        clip: Option<Clip> = None, from impl Into<Option<Clip>>;
        /// The names of the tensors that are not trained; default none. A name stands for all tensors whose dotted name starts with it,
        /// compared part by part, where `*` matches any one part: `"embeddings.user"` or `"net.layers.*.shared"`. See
        /// [`Gradient::freeze`](crate::model::Gradient::freeze).
        freeze: Vec<String> = Vec::new(), each String, as &[String];
        /// The loss: how the losses of tasks and domains are weighted and summed. Default: one loss for each task, each with weight 1.
        objective: Objective = Objective::default(), as &Objective;
        /// When to end the run early, and which metric decides which epoch is best. It has an effect only if there are validation rows.
        /// Without them all epochs run, and the model has the weights of the last one.
        early_stop: EarlyStop = EarlyStop::default(), as &EarlyStop;
        /// The largest number of training rows of each domain from which the means and variances of normalisation layers are computed anew
        /// ([`recompute_statistics`](super::recompute_statistics)): before each evaluation, and when a callback ends the run. Default
        /// 131,072. With 0, nothing is computed anew: inference uses the moving averages of training.
        statistics_rows: usize = 131_072;
        /// Which average of the weights is evaluated, and kept as the result of the run; default none: the weights themselves.
        average: Average = Average::default();
        /// How training fills the embeddings of unknown values, of the tables that [have one](crate::data::EmbeddingTable::unknown);
        /// default [`Unknown::ByCount`] with α = 1.
        unknown: Unknown = Unknown::default();
        /// The strength λ ≥ 0 of the L2 penalty of embeddings by the frequency of their ids; default 0, none. A step adds `λ/n_j·w_j` to
        /// the gradient of each table row `w_j` that it reads, where `n_j` is the number of training rows that have the id: rare ids are
        /// pulled to 0 more strongly (mini-batch aware regularisation, Zhou et al., KDD 2018, section 5.2). Rows of unknown values that
        /// no training row reads are not pulled.
        id_l2: f64 = 0.0;
        /// The seed of everything that is random in a run: the order of rows, dropout masks, the ids that
        /// [`unknown`](TrainConfigBuilder::unknown) replaces, the samples for normalisation statistics, and
        /// the order of units in PCGrad. Any number; default 0. The initial weights of a model do not depend on it: they have their own
        /// seed in the model's settings.
        seed: u64 = 0;
        /// The number of threads for training and evaluation, from 1 to 1024; default 1. It does not change the result: all bits are the
        /// same.
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
        this.average.check(this.epochs, problems);
        this.unknown.check(problems);
        let id_l2 = this.id_l2;
        problems.require((0.0..=1e6).contains(&id_l2), || format!("id_l2: from 0 to 1e6, found {id_l2}"));
    }
}

impl TrainConfig {
    /// Whether training needs to know how often each id occurs.
    pub(super) fn counts_ids(&self, layout: &Layout) -> bool {
        let unknown = layout.tables.iter().any(|table| table.unknown);
        (self.0.unknown.counts() && unknown) || self.0.id_l2 > 0.0
    }

    /// Whether each step changes all rows of tables.
    pub(super) fn exact_rows(&self) -> bool {
        self.0.embedding_optimizer.as_ref().unwrap_or(&self.0.optimizer).row_updates() == RowUpdates::Exact
    }

    /// The optimizer of a model with this number of embedding tables.
    pub(super) fn build_optimizer(&self, tables: usize) -> Box<dyn Optimizer> {
        match &self.0.embedding_optimizer {
            None => self.0.optimizer.build(),
            Some(embedding) => Box::new(Split::new(&self.0.optimizer, embedding, tables)),
        }
    }

    /// Checks that models with the layout `layout` can be trained with these settings. The setting `objective` must have one weight and one
    /// decay for each [unit](crate::loss::Units), or no weights and no decays at all. The layout must have the task and the domain that the
    /// setting `early_stop` monitors. [`Trainer::fit`](super::Trainer::fit) makes the same check.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `objective` or `early_stop` does not fit `layout`. The message says what the layout has and what the
    /// settings need.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.0.objective.check(layout)?;
        self.0.early_stop.monitor().check(layout)
    }

    /// Checks that the validation rows `val` fit these settings. `None` means that there are no validation rows.
    /// [`Trainer::fit`](super::Trainer::fit) makes the same check.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the monitored metric is undefined on `val` (an AUC needs rows of both classes), or if `layout` does not
    /// have the monitored task or domain. Also if `val` is `None` and the schedule is [`LrSchedule::Plateau`], which needs validation rows.
    ///
    /// # Panics
    /// If `val` does not have the tasks and domains of `layout`.
    pub fn check_val(&self, layout: &Layout, val: Option<&DataSet>) -> Result<()> {
        let Some(val) = val else {
            return if matches!(self.0.schedule, LrSchedule::Plateau(_)) {
                let message = "schedule: a plateau needs validation rows, found none";
                Err(Error::new(ErrorKind::Config, message)
                    .with_help("give validation rows, or choose another schedule"))
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

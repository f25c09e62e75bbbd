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
    /// are compared. At the end of a run, the model has the weights of the best epoch: the last epoch that was an improvement. Without
    /// validation rows, these settings have no effect.
    #[derive(Default)]
    EarlyStop, EarlyStopBuilder, in files {
        /// The run ends after this number of epochs in a row without an improvement (`min_delta` says what an improvement is). At least 1;
        /// default 2. With a number of at least `epochs`, the run does all its epochs.
        patience: usize = 2;
        /// An epoch is an improvement if its monitored metric is better than that of the best epoch so far by more than this number. The
        /// first epoch always is one. A finite number of at least 0, in the unit of the metric; default 0. For PCOC it is a difference of
        /// `|ln PCOC|` ([`Metric::goodness`](crate::metrics::Metric::goodness)).
        min_delta: f64 = 0.0;
        /// The monitored metric, which is computed on the validation rows after each epoch. It can be any metric of any task and domain.
        /// Default: the AUC over all validation rows, as a mean over tasks. [`Trainer::fit`](super::Trainer::fit) returns an error if the
        /// model does not have this task or domain, or if the metric is undefined on the validation rows.
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
    /// The settings of a training run by a [`Trainer`](super::Trainer): epochs, batches, optimizer, loss, early stopping, seed and threads.
    ///
    /// ```
    /// use starple::optim::OptimizerConfig;
    /// use starple::train::TrainConfig;
    ///
    /// let config = TrainConfig::builder().epochs(3).batch_rows(1024).optimizer(OptimizerConfig::adam(0.002)?).build()?;
    /// assert_eq!((config.epochs(), config.seed()), (3, 0));
    /// # Ok::<(), starple::Error>(())
    /// ```
    #[derive(Default)]
    TrainConfig, TrainConfigBuilder, in files {
        /// The largest number of epochs, from 1 to 2³² − 1; default 5. An epoch is one pass over all training rows. With validation rows,
        /// the run can end earlier ([`TrainConfig::early_stop`]).
        epochs: usize = 5;
        /// The largest number of training rows in a batch, from 1 to 2³² − 1; default 4096. The optimizer takes one step for each batch. The
        /// last batch of an epoch can have fewer rows.
        batch_rows: usize = 4096;
        /// Whether a batch can have rows of several domains. Default: rows of any number of domains ([`BatchOrder::Mixed`]); the alternative
        /// is one domain in each batch ([`BatchOrder::OneDomain`]).
        batches: BatchOrder = BatchOrder::default();
        /// The optimizer and its base learning rate. Default: Adam with its default settings, of which the learning rate is 0.001.
        optimizer: OptimizerConfig = OptimizerConfig::default(), as &OptimizerConfig;
        /// A separate optimizer for the embedding tables, with a base learning rate of its own; `schedule` multiplies both rates by the same
        /// factor. `None`, the default: `optimizer` updates the tables too.
        embedding_optimizer: Option<OptimizerConfig> = None,
            from impl Into<Option<OptimizerConfig>>, as Option<&OptimizerConfig>;
        /// How the learning rate changes during the run: the factor by which each step multiplies the base learning rate. Default: it stays
        /// the same ([`LrSchedule::Constant`]). [`LrSchedule::Plateau`] needs validation rows; without them
        /// [`Trainer::fit`](super::Trainer::fit) returns an error.
        schedule: LrSchedule = LrSchedule::default(), as &LrSchedule;
        /// The limit on the gradient of each step (its norm, or each of its components), applied before the optimizer. `None`, the default:
        /// gradients are not clipped.
        clip: Option<Clip> = None, from impl Into<Option<Clip>>;
        /// The names of the tensors that keep their values during training; default none. A name stands for all tensors whose dotted name
        /// starts with it, compared part by part, where `*` matches any one part: `"embeddings.user"` or `"net.layers.*.shared"`. See
        /// [`Gradient::freeze`](crate::model::Gradient::freeze). [`Trainer::fit`](super::Trainer::fit) returns an error if a name matches no
        /// tensor of the model, or if no tensor is left to train.
        freeze: Vec<String> = Vec::new(), each String, as &[String];
        /// The loss that training minimises: how the losses of tasks and domains are weighted and summed. Default: the sum of the mean losses
        /// of all tasks, each with weight 1.
        objective: Objective = Objective::default(), as &Objective;
        /// When to end the run early, and which metric decides which epoch is best. It has an effect only if there are validation rows.
        /// Without them all epochs run, and the model has the weights of the last one.
        early_stop: EarlyStop = EarlyStop::default(), as &EarlyStop;
        /// The number of training rows of each domain that the run samples to compute the means and variances of normalisation layers anew
        /// for the current weights ([`recompute_statistics`](super::recompute_statistics)). It does so at the end of each epoch before the
        /// evaluation, and when a callback ends the run. A domain with fewer rows gives all its rows. Any number; default 131,072. With 0,
        /// nothing is computed anew: inference uses the moving averages from the training steps, which lag behind the weights.
        statistics_rows: usize = 131_072;
        /// Which average of the weights over steps or epochs the run evaluates, and keeps as its result. Default [`Average::Off`]: the
        /// weights themselves.
        average: Average = Average::default();
        /// How training fills the embedding that stands for unknown values, in each table that
        /// [has one](crate::data::EmbeddingTable::unknown). Default `Unknown::ByCount(1.0)`: an id that occurs n times in the training rows is
        /// replaced by the id of unknown values with the probability `1/(1 + n)`.
        unknown: Unknown = Unknown::default();
        /// The strength λ of an L2 penalty on embeddings that is stronger for rare ids: from 0 to 1e6; default 0, no penalty. For each id j
        /// in the batch, a step adds `(λ/n_j)·w_j` to the gradient of the embedding `w_j` of the id. `n_j` is how often the id occurs in one
        /// epoch of the training rows ([`IdCounts`](super::IdCounts)). So in an epoch every id is pulled to 0 with a total strength of at most
        /// λ (mini-batch aware regularisation, Zhou et al., KDD 2018, section 5.2).
        ///
        /// The penalty is added before the gradient is clipped, and is not in the reported loss. If no training row has an unknown value, the
        /// embedding of unknown values is not pulled.
        id_l2: f64 = 0.0;
        /// The seed of everything that is random in a run: the order of rows, dropout masks, the sampled negatives, the ids that
        /// [`unknown`](TrainConfigBuilder::unknown) replaces, the samples for normalisation statistics, and the order of tasks or domains in
        /// PCGrad. Any number; default 0. The initial weights of a model do not depend on it: they have their own seed in the model's
        /// settings.
        seed: u64 = 0;
        /// The number of threads for training and evaluation, from 1 to 1024; default 1. The result has the same bits with every number of
        /// threads. With 1, the run uses the calling thread: inside a rayon pool of your own, it then uses all threads of that pool.
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

    /// Checks that models with the layout `layout` can be trained with these settings. [`Trainer::fit`](super::Trainer::fit) makes the same
    /// check; call this one to find mistakes before you read rows.
    ///
    /// * Each list of the setting `objective` must be empty or have one entry for each [unit](crate::loss::Units) (`weights`, `decays`) or
    ///   each task (`pos_weights`, `negatives`). Tasks that are not binary must have 1 in the lists for tasks.
    /// * The layout must have the task and the domain that the setting `early_stop` monitors, and the task must have the metric.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `objective` or `early_stop` does not fit `layout`. The message says what the layout has and what the
    /// settings need.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        self.0.objective.check(layout)?;
        self.0.early_stop.monitor().check(layout)
    }

    /// Checks that the validation rows `val` fit these settings. `None` means that there are no validation rows. `layout` is the layout of the
    /// model. No model is needed: whether a metric is defined depends on the rows alone. [`Trainer::fit`](super::Trainer::fit) makes the same
    /// check.
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

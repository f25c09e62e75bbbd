//! The training loop.

use super::average::Averaged;
use super::checkpoint::Saver;
use super::run::TrainingRun;
use super::run_state::RunState;
use super::{Callback, Checkpoints, FitReport, IdCounts, Step, TrainConfig, in_pool};
use crate::data::{DataSet, Encoder, IntoSource, LoaderConfig, RowSource};
use crate::model::Model;
use crate::persist::check_layouts;
use crate::{Error, ErrorKind, Result};

/// The training loop. For each epoch, a trainer makes batches of the training rows, takes one optimizer step for each batch, and evaluates the
/// model on the validation rows. It stops early, gives the model the weights of the best epoch at the end, and can save checkpoints.
///
/// ```no_run
/// # fn run(layout: starple::data::Layout, train: starple::data::DataSet, val: starple::data::DataSet) -> starple::Result<()> {
/// use starple::train::{Progress, TrainConfig, Trainer};
/// use starple::{Star, StarConfig};
///
/// let mut star = Star::new(StarConfig::builder(&layout).build()?);
/// let mut trainer = Trainer::new(TrainConfig::builder().epochs(3).build()?).callback(Progress::stderr("star"));
/// let report = trainer.fit(&mut star, train, Some(&val))?;
/// println!("{}; best epoch {:?}", report.stop, report.best_epoch);
/// # Ok(()) }
/// ```
pub struct Trainer {
    config: TrainConfig,
    callbacks: Vec<Box<dyn Callback>>,
    checkpoints: Option<Checkpoints>,
    encoder: Option<Encoder>,
}

impl Trainer {
    /// Makes a trainer with the settings `config`, without callbacks, checkpoints and encoder. It can train several models, one after the
    /// other; only with checkpoints, each run needs a trainer with its own folder.
    pub fn new(config: TrainConfig) -> Self {
        Self { config, callbacks: Vec::new(), checkpoints: None, encoder: None }
    }

    /// Adds a callback: code of your own that is called after each step, after each epoch and at other points of each run
    /// ([`Callback`]). A trainer can have several; they are called in the order in which they were added. Default: none.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Makes each run save checkpoints, from which it can be resumed, and the model with the weights of the best epoch. `checkpoints` says into
    /// which folder and how often; it replaces that of an earlier call. Without this call nothing is saved.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Makes each run save this encoder together with the model in the file of the best weights ([`Checkpoints::best`]), so that the file
    /// suffices for serving. Without this call the file has no encoder. It has no influence on training.
    ///
    /// The encoder must have the model's layout, and there must be a folder for checkpoints ([`Trainer::checkpoints`]); otherwise
    /// [`Trainer::fit`] returns an error.
    pub fn encoder(mut self, encoder: Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// Trains `model`, starting from its current weights, and returns a report of the run. `train` has the training rows: a [`DataSet`], an
    /// `Arc` of one to share it, or any [`RowSource`]. `val` has the validation rows.
    ///
    /// With `val`, the model is evaluated on these rows after each epoch; the run can end early, and at its end the model has the weights of the
    /// best epoch. With `None`, all epochs run, and the model has the weights of the last one. [`StopReason`](super::StopReason) says which
    /// weights it has if the run ended for another reason. The state of the optimizer is not kept for a later call.
    ///
    /// Equal models, rows and settings give equal bytes, with any number of threads. A loss that is NaN or infinite ends the run, but is not
    /// an error: check [`FitReport::stop`].
    ///
    /// # Errors
    /// These occur before training; the model is then unchanged:
    ///
    /// * [`ErrorKind::Layout`]: `train`, `val` or the encoder does not have the model's layout.
    /// * [`ErrorKind::Data`]: there is nothing to learn from: no rows, no labels, no weight above 0, or a row of no known domain.
    /// * [`ErrorKind::Config`]: a setting does not fit the layout or the tensors of the model ([`TrainConfig::check`]); the monitored metric is
    ///   undefined on `val`; the schedule [`LrSchedule::Plateau`](crate::optim::LrSchedule::Plateau) is used without `val`; the objective
    ///   samples negatives and the source does not; the folder has checkpoints of an earlier run; there is an encoder but no folder for
    ///   checkpoints; or there is too little memory ([`TrainConfig::check_memory`]).
    /// * [`ErrorKind::Io`]: the folder for checkpoints cannot be created or read; another run saves into it and has locked it; or the system
    ///   cannot start the threads.
    ///
    /// These occur during training; the model then has the weights of the last step:
    ///
    /// * [`ErrorKind::Io`] or [`ErrorKind::NonFinite`]: a checkpoint cannot be saved.
    /// * [`ErrorKind::Data`]: an epoch of the source has another number of rows than its [`counts`](RowSource::counts) say.
    /// * [`ErrorKind::Data`] or [`ErrorKind::Layout`]: the source gives an invalid batch ([`Batch::check`](crate::data::Batch::check)).
    /// * All errors that the source itself returns.
    pub fn fit<'a>(
        &mut self,
        model: &mut Model,
        train: impl IntoSource<'a>,
        val: Option<&DataSet>,
    ) -> Result<FitReport> {
        self.start(model, &mut *train.into_source(), val, false)
    }

    /// Continues an interrupted run from the latest [checkpoint](Trainer::checkpoints) in the folder, and returns the report of the whole run.
    /// If there is no checkpoint, it starts a new run, as [`Trainer::fit`] does: so a job that always calls `resume` and is restarted whenever
    /// it dies still makes progress. If the latest checkpoint is damaged, the run continues from the one before, and
    /// [`Callback::checkpoint_damaged`] is called.
    ///
    /// `train` and `val` must be the rows of the interrupted run, in the same order. `model` must have the settings of its model; the
    /// weights of `model` are replaced by those of the checkpoint. The settings of the run must be the same, except that `epochs` and `threads`
    /// may differ. Weights, moving averages and metrics are then bit for bit those of an uninterrupted run, even if it was interrupted in the
    /// middle of an epoch. The state of callbacks is not saved. If the run has already done all its epochs or stopped early, its report is
    /// returned at once; after all epochs, a larger `epochs` continues the run.
    ///
    /// # Errors
    /// The errors of [`Trainer::fit`], and these:
    ///
    /// * [`ErrorKind::Config`]: there is no folder for checkpoints.
    /// * [`ErrorKind::Layout`]: the checkpoint is of another model, other settings or other rows.
    /// * [`ErrorKind::Corrupt`] or [`ErrorKind::Foreign`]: all checkpoints are damaged.
    /// * The other errors of [`Saved::load`](crate::persist::Saved::load): the latest undamaged checkpoint cannot be read.
    ///
    /// After an error the weights of the model are undefined: a part of them may be those of the checkpoint.
    pub fn resume<'a>(
        &mut self,
        model: &mut Model,
        train: impl IntoSource<'a>,
        val: Option<&DataSet>,
    ) -> Result<FitReport> {
        if self.checkpoints.is_none() {
            let message = "there is no folder for checkpoints to resume from";
            return Err(Error::new(ErrorKind::Config, message).with_help("set it with Trainer::checkpoints"));
        }
        self.start(model, &mut *train.into_source(), val, true)
    }

    fn start(
        &mut self,
        model: &mut Model,
        train: &mut dyn RowSource,
        val: Option<&DataSet>,
        resume: bool,
    ) -> Result<FitReport> {
        let layout = model.layout().clone();
        let counts = train.counts();
        train.layout().check_model(&layout)?;
        val.map_or(Ok(()), |val| val.check_for(&layout))?;
        counts.check()?;
        self.config.check(&layout)?;
        self.config.check_val(&layout, val)?;
        if self.config.objective().samples_negatives() && !train.samples_negatives() {
            let message = "objective: negatives: the source of the rows does not sample negatives";
            return Err(Error::new(ErrorKind::Config, message)
                .with_help("follow LoaderConfig::negatives in the source and say so in RowSource::samples_negatives"));
        }
        self.config.check_rest(&**model.config(), counts.rows, val.map_or(0, |val| val.rows()))?;
        if let Some(encoder) = &self.encoder {
            if self.checkpoints.is_none() {
                let message =
                    "the encoder has no effect: it is saved with checkpoints, and there is no folder for them";
                return Err(
                    Error::new(ErrorKind::Config, message).with_help("set the folder with Trainer::checkpoints")
                );
            }
            check_layouts(encoder, model)?;
        }
        let threads = self.config.threads();
        in_pool(threads, || self.run(model, train, val, resume))?
    }

    fn run(
        &mut self,
        model: &mut Model,
        train: &mut dyn RowSource,
        val: Option<&DataSet>,
        resume: bool,
    ) -> Result<FitReport> {
        let Self { config: settings, callbacks, checkpoints, encoder } = self;
        let config = &settings.0;
        // Held until the run ends. Taken before the folder is read: another run could change the folder.
        let _lock = checkpoints.as_ref().map(Checkpoints::lock).transpose()?;
        let mut saver = checkpoints.as_ref().map(|to| Saver::new(to, encoder.as_ref(), settings, train, val));
        let negatives = config.objective.negatives().iter().copied();
        let counts = if settings.counts_ids(model.layout()) {
            IdCounts::count(train, model.layout())?
        } else {
            IdCounts::default()
        };
        let step = Step::new(model, &config.objective, config.seed)?.freeze(model, &config.freeze)?;
        let loader = LoaderConfig::builder().batch_rows(config.batch_rows).seed(config.seed).order(config.batches);
        let loader = loader.negatives(negatives);
        let mut run = TrainingRun {
            config,
            loader: loader.build()?,
            epoch_rows: train.counts().rows,
            samples: config.objective.samples_negatives(),
            val,
            best: model.clone(),
            optimizer: settings.build_optimizer(model.embeddings().tables().len()),
            step: step.ids(model, config.unknown, config.id_l2, counts),
            averaged: Averaged::new(config.average, model, settings.exact_rows()),
            state: RunState::default(),
            model,
        };
        match &mut saver {
            Some(saver) if resume => saver.resume(&mut run, train, callbacks)?,
            Some(saver) => saver.start()?,
            None => {}
        }
        run.finish(train, callbacks, saver)
    }
}

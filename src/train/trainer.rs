//! The training loop.

use super::checkpoint::Saver;
use super::run::TrainingRun;
use super::run_state::RunState;
use super::{Callback, Checkpoints, FitReport, Step, TrainConfig, in_pool};
use crate::data::{DataSet, Encoder, IntoSource, LoaderConfig, RowSource};
use crate::model::Model;
use crate::persist::check_layouts;
use crate::{Error, ErrorKind, Result};

/// Trains models: batches, steps, evaluation after each epoch, early stop, best weights restored, checkpoints.
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
    /// A trainer with these settings.
    pub fn new(config: TrainConfig) -> Self {
        Self { config, callbacks: Vec::new(), checkpoints: None, encoder: None }
    }

    /// Adds a callback. Callbacks are called in the order in which they were added.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Saves checkpoints of each run; default none.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Saves this encoder in the file of the best weights ([`Trainer::checkpoints`]), beside the model; default none.
    ///
    /// It must have the model's layout. Without a folder for checkpoints, [`Trainer::fit`] refuses it.
    pub fn encoder(mut self, encoder: Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// Trains on `train`: a [`DataSet`], an `Arc` of one to share it, or any [`RowSource`]. With `val`, the model is evaluated after each
    /// epoch, and has the weights of the best epoch at the end.
    ///
    /// Equal models, rows and settings give equal bytes, with any number of threads. A loss that is not finite is no error but a
    /// [`StopReason`](super::StopReason).
    ///
    /// # Errors
    /// Before training, and nothing changes then: [`ErrorKind::Layout`] if the rows or the encoder do not have the model's layout; [`ErrorKind::Data`] if there
    /// is nothing to learn from; [`ErrorKind::Config`] if a setting names a unit, task, domain or tensor that the model does not have, the
    /// monitored value is undefined on `val`, a plateau schedule has no `val`, the folder has checkpoints, there is an encoder but no folder, or there is too little memory
    /// ([`TrainConfig::check_memory`]).
    ///
    /// During training, and the model then has the weights of the last step: [`ErrorKind::Io`] or [`ErrorKind::NonFinite`] if a checkpoint
    /// cannot be saved; the errors of the source; [`ErrorKind::Data`] for an invalid batch of the source.
    pub fn fit<'a>(
        &mut self,
        model: &mut Model,
        train: impl IntoSource<'a>,
        val: Option<&DataSet>,
    ) -> Result<FitReport> {
        self.start(model, &mut *train.into_source(), val, false)
    }

    /// Resumes the run from the latest [checkpoint](Trainer::checkpoints) in the folder; without a checkpoint it starts, as
    /// [`Trainer::fit`] does. So a job that is restarted whenever it dies still makes progress. If the latest checkpoint is damaged, the run
    /// resumes from the one before, and [callbacks](Callback::checkpoint_damaged) are told.
    ///
    /// Give the model, rows and settings of that run; only `epochs` and `threads` may differ. Weights, moving averages and metrics are then
    /// bit for bit those of an uninterrupted run, also if it was interrupted in the middle of an epoch. Callbacks keep their own state.
    ///
    /// # Errors
    /// Those of [`Trainer::fit`]; [`ErrorKind::Config`] if there is no folder for checkpoints; [`ErrorKind::Layout`] if the checkpoint is of
    /// another model, other settings or other rows; [`ErrorKind::Io`] if another run saves into the folder; the errors of
    /// [`Saved::load`](crate::persist::Saved::load) for a checkpoint that cannot be read, for a damaged one only if all are damaged. After
    /// an error the model's weights are undefined: part of them may be those of the checkpoint.
    pub fn resume<'a>(
        &mut self,
        model: &mut Model,
        train: impl IntoSource<'a>,
        val: Option<&DataSet>,
    ) -> Result<FitReport> {
        if self.checkpoints.is_none() {
            let message = "there is no folder for checkpoints to resume from";
            return Err(Error::new(ErrorKind::Config, message).with_help("name it by Trainer::checkpoints"));
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
        self.config.check_rest(&**model.config(), counts.rows, val.map_or(0, |val| val.rows()))?;
        if let Some(encoder) = &self.encoder {
            if self.checkpoints.is_none() {
                let message =
                    "the encoder has no effect: it is saved with checkpoints, and there is no folder for them";
                return Err(Error::new(ErrorKind::Config, message).with_help("name the folder by Trainer::checkpoints"));
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
        let loader = LoaderConfig::builder().batch_rows(config.batch_rows).seed(config.seed).order(config.batches);
        let mut run = TrainingRun {
            config,
            loader: loader.build()?,
            epoch_rows: train.counts().rows,
            val,
            best: model.clone(),
            optimizer: settings.build_optimizer(model.embeddings().tables().len()),
            step: Step::new(model, &config.objective, config.seed)?.freeze(model, &config.freeze)?,
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

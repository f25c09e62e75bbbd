//! The training loop.

use super::checkpoint::Saver;
use super::place::Place;
use super::run::Run;
use super::{Callback, Checkpoints, FitReport, Step, TrainConfig, in_pool};
use crate::data::{DataSet, Encoder, IntoSource, LoaderConfig, RowSource};
use crate::model::Model;
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

    /// Hangs a callback into the loop, behind those before it.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Saves each run while it is under way; default not at all.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// The encoder that is put into the file of the best weights; default none.
    pub fn encoder(mut self, encoder: Encoder) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// Trains on `train`: a [`DataSet`], an `Arc` of one to share it, or any [`RowSource`]. With `val`, the model is evaluated after each epoch, and has the best epoch's weights at the end.
    ///
    /// Equal models, rows and settings give equal bytes, whatever the number of threads.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if rows do not have the model's layout; [`ErrorKind::Data`] if nothing can be learned from them; [`ErrorKind::Config`] if a
    /// setting names a unit, task, domain, tensor or part that the model does not have, the monitored value is undefined on
    /// `val`, the schedule is a plateau and there is no `val`, or the folder for checkpoints has some, or the run takes more
    /// memory than there is ([`TrainConfig::check_memory`]). Nothing was trained then.
    /// [`ErrorKind::Io`] or [`ErrorKind::NonFinite`] if a checkpoint cannot be saved; the model has then the weights of the last step.
    /// Those of the source, also in the middle of the run, and [`ErrorKind::Data`] for a batch of it that is invalid; the model has then the
    /// weights of the last step.
    /// A loss that is not finite is not an error but a [`StopReason`](super::StopReason).
    pub fn fit<'a>(
        &mut self,
        model: &mut Model,
        train: impl IntoSource<'a>,
        val: Option<&DataSet>,
    ) -> Result<FitReport> {
        self.start(model, &mut *train.into_source(), val, false)
    }

    /// Goes on with the run whose [checkpoints](Trainer::checkpoints) are in the folder, from the latest one; without any it starts, as
    /// [`Trainer::fit`] does. So a job that is restarted whenever it dies still makes progress. If the latest checkpoint is damaged, it goes
    /// on from the one before, and tells [callbacks](Callback::checkpoint_damaged).
    ///
    /// Give the model, rows and settings of that run; only `epochs` and `threads` may be others. The weights, moving averages and
    /// metrics are to the byte those of a run that was never interrupted, in the middle of an epoch too; what callbacks remember is
    /// theirs to keep.
    ///
    /// # Errors
    /// As [`Trainer::fit`]; [`ErrorKind::Config`] if there is no folder for checkpoints; [`ErrorKind::Layout`] if the checkpoint is of
    /// another model, other settings or other rows, which the text names; [`ErrorKind::Io`] if another run saves into the folder; for a
    /// file that cannot be read those of [`Saved::load`](crate::persist::Saved::load), damage only if no checkpoint is sound. After an error the model's weights mean nothing.
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
        // Until the run is over. Before anything is looked for: the run of another process could take it away.
        let _lock = checkpoints.as_ref().map(Checkpoints::lock).transpose()?;
        let mut saver = checkpoints.as_ref().map(|to| Saver::new(to, encoder.as_ref(), settings, train, val));
        let loader = LoaderConfig::builder().batch_rows(config.batch_rows).seed(config.seed).order(config.batches);
        let mut run = Run {
            config,
            loader: loader.build()?,
            epoch_rows: train.counts().rows,
            val,
            best: model.clone(),
            optimizer: settings.build_optimizer(model.embeddings().tables().len()),
            step: Step::new(model, &config.objective, config.seed)?.freeze(model, &config.freeze)?,
            place: Place::default(),
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

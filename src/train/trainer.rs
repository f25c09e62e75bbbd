//! The training loop.

use std::sync::Arc;

use super::run::{Place, Run};
use super::{Callback, FitReport, Step, TrainConfig, in_pool};
use crate::data::{Batch, DomainId, Layout, Loader, LoaderConfig};
use crate::model::{Model, Net};
use crate::{Error, ErrorKind, Result};

/// Trains models: batches, steps, evaluation after each epoch, early stop, best weights restored.
///
/// ```no_run
/// # fn run(layout: starple::data::Layout, train: starple::data::Batch, val: starple::data::Batch) -> starple::Result<()> {
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
}

impl Trainer {
    /// A trainer with these settings.
    pub fn new(config: TrainConfig) -> Self {
        Self { config, callbacks: Vec::new() }
    }

    /// Hangs a callback into the loop, behind those before it.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Trains on `train`. With `val`, the model is evaluated after each epoch, and has the best epoch's weights at the end.
    ///
    /// The same model, rows and settings give the same bytes, whatever the number of threads.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] or [`ErrorKind::Data`] if rows do not have the model's layout; [`ErrorKind::Config`] if a
    /// setting names a unit, task, domain or part that the model does not have, the monitored value is undefined on
    /// `val`, or the schedule is a plateau and there is no `val`. Nothing was trained then.
    /// A loss that is not finite is not an error but a [`StopReason`].
    pub fn fit<N: Net>(
        &mut self,
        model: &mut Model<N>,
        train: impl Into<Arc<Batch>>,
        val: Option<&Batch>,
    ) -> Result<FitReport> {
        let train = train.into();
        let layout = model.layout().clone();
        check_rows(&layout, &train, val)?;
        self.config.check(&layout)?;
        self.config.check_val(&layout, val)?;
        let threads = self.config.threads();
        in_pool(threads, || self.run(model, train, val))?
    }

    fn run<N: Net>(&mut self, model: &mut Model<N>, train: Arc<Batch>, val: Option<&Batch>) -> Result<FitReport> {
        let config = &self.config.0;
        let loader = LoaderConfig::builder().batch_rows(config.batch_rows).seed(config.seed).schedule(config.batches);
        let run = Run {
            config,
            loader: &Loader::new(train, loader.build()?),
            val,
            best: model.clone(),
            optimizer: self.config.build_optimizer(model.front().tables().len()),
            step: Step::new(model, &config.objective, config.seed)?,
            place: Place::default(),
            model,
        };
        run.finish(&mut self.callbacks)
    }
}

/// Whether these are rows to train on, and to stop by, with this layout.
pub(crate) fn check_rows(layout: &Layout, train: &Batch, val: Option<&Batch>) -> Result<()> {
    train.check(layout)?;
    val.map_or(Ok(()), |val| val.check(layout))?;
    if train.rows() == 0 || train.domains.contains(&DomainId::SHARED) {
        let message = "training needs rows, and every row a known domain";
        return Err(Error::new(ErrorKind::Data, message));
    }
    Ok(())
}

//! The training loop.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::config::undefined;
use super::{
    Callback, EpochReport, FitReport, Step, StepDone, StopReason, TrainConfig, TrainConfigBuilder, evaluate, in_pool,
};
use crate::data::{Batch, DomainId, Layout, Loader, LoaderConfig};
use crate::metrics::SHARED_DOMAIN;
use crate::model::{Model, Net};
use crate::nn::Leaf;
use crate::optim::{Clock, PlateauState};
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
        in_pool(threads, || self.run(model, &layout, train, val))?
    }

    #[expect(clippy::too_many_lines, reason = "the loop is read from top to bottom")]
    fn run<N: Net>(
        &mut self,
        model: &mut Model<N>,
        layout: &Layout,
        train: Arc<Batch>,
        val_rows: Option<&Batch>,
    ) -> Result<FitReport> {
        let TrainConfigBuilder { epochs, batch_rows, batches, early_stop, objective, schedule, clip, seed, .. } =
            &self.config.0;
        let loader = LoaderConfig::builder().batch_rows(*batch_rows).seed(*seed).schedule(*batches).build()?;
        let loader = Loader::new(train, loader);
        let mut optimizer = self.config.build_optimizer(model.front().tables().len());
        let lr = self.config.0.optimizer.lr();
        let mut plateau = PlateauState::default();
        let (mut batch, mut step) = (Batch::default(), Step::new(model, objective, *seed)?);
        let mut best = Best { goodness: f64::NEG_INFINITY, epoch: None, weights: model.clone() };
        let mut report = FitReport::default();

        'epochs: for epoch in 0..*epochs {
            let mut epoch_batches = loader.epoch(epoch as u64);
            self.callbacks.iter_mut().for_each(|c| c.epoch_started(epoch, *epochs, epoch_batches.len()));
            let (started, before, mut loss_sum, mut rows) = (Instant::now(), report.train_seconds, 0.0, 0);
            let mut factor = 1.0;
            while epoch_batches.next_into(&mut batch) {
                let clock = Clock { epoch: epoch as u64, step: report.steps };
                let grad = match step.gradient(model, &batch, clock) {
                    Ok(grad) => grad,
                    Err(at) => {
                        report.stop = non_finite(report.steps, layout, batch.domains[at.row], at.task);
                        break 'epochs;
                    }
                };
                if let Some(clip) = clip {
                    clip.clip(&mut grad.net, &mut grad.tables);
                }
                factor = schedule.factor(clock, &plateau);
                optimizer.set_lr(factor * lr);
                model.apply(grad, &mut *optimizer);

                let loss = step.loss().total;
                loss_sum += loss * batch.rows() as f64;
                rows += batch.rows();
                report.rows += batch.rows() as u64;
                let done = StepDone { step: report.steps, rows: batch.rows(), loss, lr: factor * lr };
                report.steps += 1;
                report.train_seconds = before + started.elapsed().as_secs_f64();
                if any_breaks(&mut self.callbacks, |callback| callback.step_done(&done)) {
                    // These weights may be the ones to stay.
                    report.stop = match first_bad_tensor(model) {
                        Some(tensor) => StopReason::Diverged { step: report.steps, tensor },
                        None => StopReason::Callback,
                    };
                    break 'epochs;
                }
            }
            let train_seconds = report.train_seconds - before;
            if let Some(tensor) = first_bad_tensor(model) {
                report.stop = StopReason::Diverged { step: report.steps, tensor };
                break;
            }

            let started = Instant::now();
            let val = match val_rows.map(|rows| evaluate(model, rows)).transpose() {
                Err(error) if error.kind() == ErrorKind::NonFinite => {
                    let rows = val_rows.expect("an evaluation had rows");
                    let (row, task) = first_non_finite(model, rows);
                    report.stop = non_finite(report.steps, layout, rows.domains[row], task);
                    break;
                }
                val => val?,
            };
            let evaluate_seconds = started.elapsed().as_secs_f64();
            report.evaluate_seconds += evaluate_seconds;
            let mut done = EpochReport {
                epoch,
                loss: loss_sum / rows as f64,
                units: step.end_epoch(),
                weighting: step.weighting().learned.clone(),
                lr: factor * lr,
                train_seconds,
                evaluate_seconds,
                val,
                monitored: None,
                best: false,
            };
            let mut waited = 0;
            if let Some(val) = &done.val {
                let monitor = &early_stop.monitor;
                let value = val.value(monitor)?.ok_or_else(|| undefined(monitor))?;
                let goodness = monitor.metric.goodness(value);
                schedule.observe(&mut plateau, goodness, true);
                done.monitored = Some(value);
                done.best = best.epoch.is_none() || goodness > best.goodness + early_stop.min_delta;
                waited = best.epoch.map_or(0, |best| epoch - best);
                if done.best {
                    best = Best { goodness, epoch: Some(epoch), weights: model.clone() };
                }
            } else {
                // Kept for the case that a later epoch diverges.
                best = Best { epoch: Some(epoch), weights: model.clone(), ..best };
            }
            let stop = any_breaks(&mut self.callbacks, |callback| callback.epoch_done(&done));
            let improved = done.best;
            report.epochs.push(done);
            if stop {
                report.stop = StopReason::Callback;
                break;
            }
            if val_rows.is_some() && !improved && waited >= early_stop.patience {
                report.stop = StopReason::NoImprovement { waited };
                break;
            }
        }
        // Without an evaluation the last weights are the best, unless they went bad.
        if report.stop.diverged() || (val_rows.is_some() && best.epoch.is_some()) {
            *model = best.weights;
        }
        report.best_epoch = best.epoch;
        self.callbacks.iter_mut().for_each(|callback| callback.run_done(&report));
        Ok(report)
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

/// The best weights so far.
struct Best<N: Net> {
    goodness: f64,
    epoch: Option<usize>,
    weights: Model<N>,
}

fn non_finite(step: u64, layout: &Layout, domain: DomainId, task: usize) -> StopReason {
    let domain = domain.index().map_or(SHARED_DOMAIN, |index| &layout.domains[index]).to_owned();
    StopReason::NonFinite { step, domain, task: layout.tasks[task].clone() }
}

/// The first row and task whose score is not finite.
fn first_non_finite<N: Net>(model: &Model<N>, rows: &Batch) -> (usize, usize) {
    let logits = model.score(rows);
    let place = logits.indexed_iter().find(|(_, logit)| !logit.is_finite());
    place.map(|(place, _)| place).expect("the evaluation met a score that is not finite")
}

/// The name of the first tensor with a value that is not finite.
fn first_bad_tensor<N: Net>(model: &Model<N>) -> Option<String> {
    let mut bad = None;
    model.visit(|path, leaf| {
        if let (None, Leaf::Tensor(values, ..) | Leaf::Average(values, _)) = (&bad, leaf)
            && !values.iter().all(|value| value.is_finite())
        {
            bad = Some(path.name(model.layout()));
        }
    });
    bad
}

/// Tells every callback, also those behind one that breaks.
fn any_breaks(callbacks: &mut [Box<dyn Callback>], mut tell: impl FnMut(&mut dyn Callback) -> ControlFlow<()>) -> bool {
    let mut breaks = false;
    for callback in callbacks {
        breaks |= tell(&mut **callback).is_break();
    }
    breaks
}

//! A training run under way.

use std::ops::ControlFlow;
use std::time::Instant;

use super::average::Averaged;
use super::checkpoint::Saver;
use super::config::undefined;
use super::report::HUGE_LOSS;
use super::run_state::RunState;
use super::statistics::StatisticsRows;
use super::{Callback, EpochReport, FitReport, Step, StepDone, StopReason, TrainConfigBuilder, evaluate};
use crate::data::{Batch, DataSet, DomainId, LoaderConfig, Pass, RowSource, TaskKind};
use crate::loss::{NonFiniteAt, Units};
use crate::metrics::{Report, SHARED_DOMAIN};
use crate::model::Model;
use crate::nn::Leaf;
use crate::optim::{Clock, Optimizer};
use crate::parallel::join;
use crate::{Error, ErrorKind, Result};

/// The parts of a run. `model`, `best`, `averaged`, `optimizer`, the weighting of `step`, and `state` are what a checkpoint has.
pub(super) struct TrainingRun<'a> {
    pub(super) config: &'a TrainConfigBuilder,
    pub(super) loader: LoaderConfig,
    /// The rows of an epoch.
    pub(super) epoch_rows: usize,
    /// Whether an epoch has only a sample of these rows.
    pub(super) samples: bool,
    pub(super) val: Option<&'a DataSet>,
    pub(super) model: &'a mut Model,
    /// The weights of the best epoch so far; without validation rows, of the last epoch; before the first epoch, the starting weights.
    pub(super) best: Model,
    /// The average of weights, if the run has one.
    pub(super) averaged: Option<Averaged>,
    pub(super) optimizer: Box<dyn Optimizer>,
    pub(super) step: Step,
    pub(super) state: RunState,
}

impl TrainingRun<'_> {
    /// Trains on these rows until the run ends, and leaves the best weights in the model.
    ///
    /// # Errors
    /// Those of the source, of an evaluation, and of saving.
    pub(super) fn finish(
        mut self,
        rows: &mut dyn RowSource,
        callbacks: &mut [Box<dyn Callback>],
        mut saver: Option<Saver<'_>>,
    ) -> Result<FitReport> {
        let stop = loop {
            if let Some(stop) = self.over() {
                break stop;
            }
            if let ControlFlow::Break(stop) = self.epoch(rows, callbacks, saver.as_mut())? {
                break stop;
            }
        };
        if matches!(stop, StopReason::Callback) {
            // The model may keep these weights.
            self.complete(false, rows)?;
        }
        let Self { val, averaged, model, best, state: RunState { mut report, seconds, .. }, .. } = self;
        // Those of an unfinished epoch.
        report.train_seconds += seconds;
        // Without an evaluation the last weights stay, unless the run diverged.
        let average = averaged.is_some() && !matches!(stop, StopReason::Callback);
        if stop.diverged() || ((val.is_some() || average) && report.best_epoch.is_some()) {
            *model = best;
        }
        report.stop = stop;
        saver.map_or(Ok(()), |saver| saver.finish(model, &report))?;
        for callback in callbacks {
            callback.run_done(&report);
        }
        Ok(report)
    }

    /// The reason to stop before the next epoch, if there is one.
    fn over(&self) -> Option<StopReason> {
        let RunState { epoch, report, .. } = &self.state;
        if let (Some(_), Some(last), Some(best)) = (self.val, report.epochs.last(), report.best_epoch) {
            let waited = last.epoch - best;
            if waited >= self.config.early_stop.patience() {
                return Some(StopReason::NoImprovement { waited });
            }
        }
        (*epoch >= self.config.epochs).then_some(StopReason::Epochs)
    }

    /// The remaining steps of an epoch, and its evaluation.
    fn epoch(
        &mut self,
        rows: &mut dyn RowSource,
        callbacks: &mut [Box<dyn Callback>],
        mut saver: Option<&mut Saver<'_>>,
    ) -> Result<ControlFlow<StopReason>> {
        rows.begin(Pass::Epoch(self.state.epoch as u64), &self.loader)?;
        rows.skip(self.state.batch)?;
        let left = rows.batches().saturating_sub(rows.position());
        for callback in &mut *callbacks {
            callback.epoch_started(self.state.epoch, self.config.epochs, left);
        }
        let (started, before) = (Instant::now(), self.state.seconds);
        let (mut batch, mut next) = (Batch::default(), Batch::default());
        let mut more = rows.next_into(&mut batch)?;
        while more {
            // The next batch is built in parallel with the step.
            let (loss, another) = join(|| self.learn(&batch), || rows.next_into(&mut next));
            let loss = match loss {
                Ok(loss) => loss,
                Err(at) => return Ok(ControlFlow::Break(self.non_finite(batch.domains[at.row], at.task))),
            };
            self.state.seconds = before + started.elapsed().as_secs_f64();
            let done = StepDone { step: self.state.report.steps - 1, rows: batch.rows(), loss, lr: self.state.lr };
            let breaks = any_breaks(callbacks, |callback| callback.step_done(&done));
            if breaks || saver.as_ref().is_some_and(|saver| saver.due(self)) {
                // A checkpoint, or the model, may keep these weights.
                if let Some(stop) = self.diverged() {
                    return Ok(ControlFlow::Break(stop));
                }
                saver.as_mut().map_or(Ok(()), |saver| saver.save(self))?;
                if breaks {
                    return Ok(ControlFlow::Break(StopReason::Callback));
                }
            }
            std::mem::swap(&mut batch, &mut next);
            more = another?;
        }
        self.check_rows()?;
        if let Some(stop) = self.diverged() {
            return Ok(ControlFlow::Break(stop));
        }
        let started = Instant::now();
        let (epoch, batches) = (self.state.epoch, self.state.batch);
        if let Some(averaged) = &mut self.averaged {
            averaged.end_epoch(epoch, batches, self.model);
        }
        self.complete(true, rows)?;
        let result = self.result();
        let val = match self.val.map(|rows| evaluate(result, rows)).transpose() {
            Err(error) if error.kind() == ErrorKind::NonFinite => {
                let rows = self.val.expect("an evaluation had rows");
                let (row, task) = first_non_finite(result, rows);
                return Ok(ControlFlow::Break(self.non_finite(rows.domains[row], task)));
            }
            val => val?,
        };
        if let Some(stop) = self.huge_loss(val.as_ref()) {
            return Ok(ControlFlow::Break(stop));
        }
        self.end_epoch(val, started.elapsed().as_secs_f64())?;
        saver.map_or(Ok(()), |saver| saver.save(self))?;
        let done = self.state.report.epochs.last().expect("an epoch was just done");
        let stop = any_breaks(callbacks, |callback| callback.epoch_done(done));
        Ok(if stop { ControlFlow::Break(StopReason::Callback) } else { ControlFlow::Continue(()) })
    }

    /// Checks that an epoch had as many rows as the source says; otherwise no run could resume from a checkpoint.
    fn check_rows(&self) -> Result<()> {
        let (expected, found) = (self.epoch_rows, self.state.rows);
        if found == expected || (self.samples && found <= expected) {
            return Ok(());
        }
        let message = format!("epoch {} of the source: {expected} rows, found {found}", self.state.epoch);
        Err(Error::new(ErrorKind::Data, message).with_help("RowSource::counts says how many rows an epoch has"))
    }

    /// Takes one step. Returns the loss before it.
    fn learn(&mut self, batch: &Batch) -> Result<f64, NonFiniteAt> {
        let Self { config, model, averaged, optimizer, step, state, .. } = self;
        let clock = Clock { epoch: state.epoch as u64, step: state.report.steps };
        let grad = step.gradient(model, batch, clock)?;
        if let Some(clip) = &config.clip {
            clip.clip(&mut grad.net, &mut grad.tables);
        }
        state.lr = config.schedule.factor(clock, &state.plateau) * config.optimizer.lr();
        optimizer.set_lr(state.lr);
        if let Some(averaged) = averaged {
            averaged.before(state.epoch, state.batch, model, grad);
        }
        model.apply(grad, &mut **optimizer);
        if let Some(averaged) = averaged {
            averaged.after(state.epoch, model);
        }
        let loss = step.loss().total;
        state.batch += 1;
        state.rows += batch.rows();
        state.loss += loss * batch.rows() as f64;
        state.report.steps += 1;
        state.report.rows += batch.rows() as u64;
        Ok(loss)
    }

    /// Records an epoch, and keeps its weights if they are the best.
    fn end_epoch(&mut self, val: Option<Report>, evaluate_seconds: f64) -> Result<()> {
        let Self { config, model, averaged, best, step, state, .. } = self;
        let averaged = averaged.as_ref().filter(|averaged| averaged.counts(state.epoch));
        let mut done = EpochReport {
            epoch: state.epoch,
            loss: state.loss / state.rows as f64,
            units: step.end_epoch(),
            weighting: step.weighting().learned.clone(),
            lr: state.lr,
            train_seconds: state.seconds,
            evaluate_seconds,
            val,
            monitored: None,
            best: false,
        };
        if let Some(val) = &done.val {
            let monitor = config.early_stop.monitor();
            let value = val.value(monitor)?.ok_or_else(|| undefined(monitor))?;
            done.monitored = Some(value);
            done.best = state.judge(config, value);
        }
        // Without validation rows the copy is needed if a later epoch diverges.
        if done.best || done.val.is_none() {
            *best = averaged.map_or(&**model, |averaged| &averaged.model).clone();
            state.report.best_epoch = Some(state.epoch);
        }
        state.report.train_seconds += state.seconds;
        state.report.evaluate_seconds += evaluate_seconds;
        state.report.epochs.push(done);
        (state.epoch, state.batch) = (state.epoch + 1, 0);
        (state.rows, state.loss, state.seconds) = (0, 0.0, 0.0);
        Ok(())
    }

    /// The model that the epoch's evaluation is of.
    fn result(&self) -> &Model {
        let averaged = self.averaged.as_ref().filter(|averaged| averaged.counts(self.state.epoch));
        averaged.map_or(&*self.model, |averaged| &averaged.model)
    }

    /// Computes what the current weights need before they are evaluated, kept or saved: embeddings of unknown values, if they are means, and
    /// normalisation statistics, since moving averages lag. If `result` is true and there is an average, it does so for the average instead.
    fn complete(&mut self, result: bool, rows: &mut dyn RowSource) -> Result<()> {
        let Self { config, model, averaged, step, state, .. } = self;
        let averaged = averaged.as_mut().filter(|averaged| result && averaged.counts(state.epoch));
        let model = averaged.map_or(&mut **model, |averaged| &mut averaged.model);
        step.set_unknown_to_mean(model);
        let sample = StatisticsRows {
            per_domain: config.statistics_rows,
            batch_rows: config.batch_rows,
            seed: config.seed,
            number: state.epoch as u64,
        };
        if sample.per_domain > 0 {
            step.recompute_statistics(model, rows, sample)?;
        }
        Ok(())
    }

    fn non_finite(&self, domain: DomainId, task: usize) -> StopReason {
        let layout = self.model.layout();
        let domain = domain.index().map_or(SHARED_DOMAIN, |index| &layout.domains[index]).to_owned();
        StopReason::NonFinite { step: self.state.report.steps, domain, task: layout.tasks[task].clone() }
    }

    /// [`StopReason::HugeLoss`], if the loss of the epoch is that high: of the validation rows, or without them of the steps.
    fn huge_loss(&self, val: Option<&Report>) -> Option<StopReason> {
        let layout = self.model.layout();
        let mut losses: Vec<(String, f64)> = Vec::new();
        if let Some(val) = val {
            let tasks = val.tasks.iter().filter_map(|task| Some((task.task.clone(), task.all.logloss?)));
            losses.extend(tasks);
        } else {
            let units = self.config.objective.units().names(layout);
            let sums = &self.step.weighting().epoch;
            let units = units.enumerate().map(|(unit, name)| (name, self.only_binary(unit)));
            for (((unit, only_binary), sums), last) in units.zip(sums).zip(&self.step.loss().units) {
                if !only_binary {
                    continue;
                }
                // High losses at the start of the epoch do not count.
                losses.extend(sums.mean_loss().zip(*last).map(|(mean, last)| (unit, mean.min(last))));
            }
        }
        let (of, loss) = losses.into_iter().find(|(_, loss)| *loss > HUGE_LOSS)?;
        Some(StopReason::HugeLoss { step: self.state.report.steps, of, loss })
    }

    /// Whether all labels of a unit are those of binary tasks. The losses of other tasks have no largest sensible value.
    fn only_binary(&self, unit: usize) -> bool {
        let (layout, tasks) = (self.model.layout(), self.model.layout().tasks.len());
        match self.config.objective.units() {
            Units::Domains => layout.all_binary(),
            Units::Tasks | Units::DomainsAndTasks => layout.target(unit % tasks).kind() == TaskKind::Binary,
        }
    }

    /// [`StopReason::Diverged`], if a parameter or moving average is not finite.
    fn diverged(&self) -> Option<StopReason> {
        let tensor = first_bad_tensor(self.model)?;
        Some(StopReason::Diverged { step: self.state.report.steps, tensor })
    }
}

/// The first row and task whose score is not finite.
fn first_non_finite(model: &Model, rows: &Batch) -> (usize, usize) {
    let logits = model.score(rows);
    let found = logits.indexed_iter().find(|(_, logit)| !logit.is_finite());
    found.map(|(at, _)| at).expect("the evaluation met a score that is not finite")
}

/// The name of the first tensor with a value that is not finite.
fn first_bad_tensor(model: &Model) -> Option<String> {
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

/// Calls every callback, also those after one that breaks.
fn any_breaks(callbacks: &mut [Box<dyn Callback>], mut tell: impl FnMut(&mut dyn Callback) -> ControlFlow<()>) -> bool {
    let mut breaks = false;
    for callback in callbacks {
        breaks |= tell(&mut **callback).is_break();
    }
    breaks
}

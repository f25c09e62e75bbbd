//! Trains every contender with every seed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use starple::data::Splits;
use starple::metrics::Report;
use starple::train::{
    Callback, EpochReport, FitReport, StepDone, StopReason, TrainConfig, TrainConfigBuilder, Trainer, evaluate, in_pool,
};
use starple::{Error, ErrorKind, Result};

use super::journal::{Journal, RowsKey, RunKey};
use super::{CompareConfig, Comparison, Contender, Observer, RunName, Standing};

/// One contender trained with one seed.
///
/// It serialises as `{"seed", "epochs", "best_epoch", "stop", "failed", "seconds": {"train", "evaluate"},
/// "train_rows_per_s", "test"}`, `best_epoch` counted from 1 and `test` as a [`Report`] does.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// The seed of starting values, batch order and dropout.
    pub seed: u64,
    /// The report of the training.
    pub fit: FitReport,
    /// Why the run failed: the value that was not finite, and where, or the error that ended the run. The test metrics of a failed run enter no
    /// figure.
    pub failed: Option<String>,
    /// The metrics of the test rows; `None` if a score was not finite or an error ended the run before.
    pub test: Option<Report>,
}

impl RunResult {
    /// The metrics of the test rows, unless the run failed.
    pub fn judged(&self) -> Option<&Report> {
        self.test.as_ref().filter(|_| self.failed.is_none())
    }
}

impl Serialize for RunResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { seed, fit, failed, test } = self;
        let mut run = serializer.serialize_struct("RunResult", 8)?;
        run.serialize_field("seed", seed)?;
        run.serialize_field("epochs", &fit.epochs.len())?;
        run.serialize_field("best_epoch", &fit.best_epoch.map(|best| best + 1))?;
        run.serialize_field("stop", &fit.stop)?;
        run.serialize_field("failed", failed)?;
        let seconds = BTreeMap::from([("train", fit.train_seconds), ("evaluate", fit.evaluate_seconds)]);
        run.serialize_field("seconds", &seconds)?;
        run.serialize_field("train_rows_per_s", &fit.rows_per_second())?;
        run.serialize_field("test", test)?;
        run.end()
    }
}

/// Trains each contender with each seed on the same rows, and scores all of them on the same test rows.
///
/// All results except seconds are the same for any number of threads and of [parallel
/// runs](super::CompareConfigBuilder::parallel_runs). A run that diverges or ends in an error is [marked](RunResult::failed)
/// and enters no figure; the other runs continue. See the [module](super) for an example.
///
/// # Errors
/// Before anything is trained: [`ErrorKind::Layout`] or [`ErrorKind::Data`] if rows do not have the layout;
/// [`ErrorKind::Config`], naming the contender, if it has no settings for the layout, its training settings name units,
/// tasks, domains or tensors that the model does not have, its monitored metric is undefined on the validation rows, or the parallel runs
/// need more memory than is available; [`ErrorKind::Io`] or [`ErrorKind::Foreign`] if the journal cannot be opened, is in use or is
/// another file.
///
/// Later: [`ErrorKind::Interrupted`] if the [observer](Observer::stopped) stopped the comparison; [`ErrorKind::Io`] if a run cannot be
/// written to the journal. No further run starts then.
pub fn compare(config: &CompareConfig, splits: &Splits, observer: impl Observer + 'static) -> Result<Comparison> {
    let CompareConfig(settings) = config;
    let Splits { layout, train: rows, val, test, .. } = splits;
    for rows in [&**rows, val, test] {
        rows.check_for(layout)?;
    }
    rows.counts().check()?;
    let mut standings = Vec::new();
    let mut jobs = Vec::new();
    let mut epochs = 0;
    let mut warned = Vec::new();
    for contender in &settings.contenders {
        let train = contender.own_train().unwrap_or(&settings.train);
        let checked = train.check(layout).and_then(|()| train.check_val(layout, Some(val)));
        checked.map_err(|error| contender.blame(&error))?;
        let (standing, warnings) = contender.enter(splits, settings.seeds[0], train, settings.parallel_runs)?;
        standings.push(standing);
        warned.extend(warnings.into_iter().map(|warning| (contender.name(), warning)));
        let train = TrainConfigBuilder::from(train.clone());
        for &seed in &settings.seeds {
            contender.check(layout, seed)?;
            let train = train.clone().seed(seed).build()?;
            epochs += train.epochs();
            jobs.push(Job { contender, train });
        }
    }

    let mut results: Vec<Option<RunResult>> = vec![None; jobs.len()];
    let mut journal = settings.journal.as_deref().map(Journal::open).transpose()?;
    let observer = Arc::new(Mutex::new(observer));
    lock(&observer).comparison_started(jobs.len(), epochs);
    for (contender, warning) in warned {
        lock(&observer).warned(contender, &warning);
    }
    let mut keys: Vec<Option<RunKey>> = vec![None; jobs.len()];
    if journal.is_some() {
        let rows = RowsKey::of(splits);
        for (index, (key, job)) in keys.iter_mut().zip(&jobs).enumerate() {
            let Standing { kind, model, train, .. } = &standings[index / settings.seeds.len()];
            *key = Some(RunKey::new(kind, job.train.seed(), model, train, rows));
        }
    }
    if let Some((journal, found)) = &mut journal {
        for (result, key) in results.iter_mut().zip(keys.iter().flatten()) {
            *result = journal.take(key);
        }
        let taken = results.iter().flatten().count();
        lock(&observer).journal_read(taken, found.runs - taken, found.damaged);
    }
    for (job, run) in jobs.iter().zip(&results) {
        if let Some(run) = run {
            lock(&observer).run_done(&job.name(), run);
        }
    }
    let left: Vec<usize> = (0..jobs.len()).filter(|&index| results[index].is_none()).collect();
    let (next, ended) = (AtomicUsize::new(0), Mutex::new(None));
    let (results, journal) = (Mutex::new(results), Mutex::new(journal.map(|(journal, _)| journal)));
    let work = || {
        while let Some(&index) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lock(&ended).is_some() {
                break;
            }
            let done = jobs[index].run(splits, &observer).and_then(|(run, lasting)| {
                if let (Some(journal), Some(key), true) = (&mut *lock(&journal), &keys[index], lasting) {
                    journal.add(jobs[index].contender.name(), key.clone(), &run)?;
                }
                // After the journal: an observer may rely on the line.
                lock(&observer).run_done(&jobs[index].name(), &run);
                Ok(run)
            });
            match done {
                Ok(run) => lock(&results)[index] = Some(run),
                Err(error) => _ = lock(&ended).get_or_insert(error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..settings.parallel_runs.min(left.len()) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = ended.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (index, run) in results.into_iter().flatten().enumerate() {
        standings[index / settings.seeds.len()].runs.push(run);
    }
    Ok(Comparison { level: settings.level, baseline: settings.baseline.clone(), contenders: standings })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a comparison that was stopped.
fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "the comparison was asked to end; runs that are done are in its journal, if it has one",
    )
}

/// A run to be done.
struct Job<'a> {
    contender: &'a Contender,
    train: TrainConfig,
}

impl Job<'_> {
    fn name(&self) -> RunName<'_> {
        let Self { contender, train } = self;
        RunName { contender: contender.name(), seed: train.seed(), epochs: train.epochs() }
    }

    /// Runs it. Returns the result, and whether it is reproducible: a run that ended in an error may succeed another time.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`].
    fn run<O: Observer + 'static>(&self, splits: &Splits, observer: &Arc<Mutex<O>>) -> Result<(RunResult, bool)> {
        if lock(observer).stopped() {
            return Err(interrupted());
        }
        lock(observer).run_started(&self.name());
        let (run, lasting) = match self.judge(splits, observer) {
            Ok(run) => (run, true),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let (seed, failed) = (self.train.seed(), Some(error.to_string()));
                (RunResult { seed, fit: FitReport::default(), failed, test: None }, false)
            }
        };
        Ok((run, lasting))
    }

    fn judge<O: Observer + 'static>(&self, splits: &Splits, observer: &Arc<Mutex<O>>) -> Result<RunResult> {
        let Self { contender, train } = self;
        let mut model = contender.model(&splits.layout, train.seed())?;
        let relay = Relay { contender: contender.name().into(), train: train.clone(), observer: Arc::clone(observer) };
        let mut trainer = Trainer::new(train.clone()).callback(relay);
        let fit = trainer.fit(&mut model, Arc::clone(&splits.train), Some(&splits.val))?;
        if fit.stop == StopReason::Callback {
            return Err(interrupted());
        }
        let mut failed = fit.stop.diverged().then(|| fit.stop.to_string());
        let test = match in_pool(train.threads(), || evaluate(&model, &splits.test))? {
            Err(error) if error.kind() == ErrorKind::NonFinite => {
                failed.get_or_insert_with(|| format!("the test rows: {error}"));
                None
            }
            test => Some(test?),
        };
        Ok(RunResult { seed: train.seed(), fit, failed, test })
    }
}

/// Passes the callbacks of the training loop on to an observer.
struct Relay<O> {
    contender: String,
    train: TrainConfig,
    observer: Arc<Mutex<O>>,
}

impl<O: Observer> Callback for Relay<O> {
    fn step_done(&mut self, _: &StepDone) -> ControlFlow<()> {
        if lock(&self.observer).stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let name = RunName { contender: &self.contender, seed: self.train.seed(), epochs: self.train.epochs() };
        lock(&self.observer).epoch_done(&name, report);
        ControlFlow::Continue(())
    }
}

//! Trains every contender with every seed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::{CompareConfig, Comparison, Contender, Observer, RunName, Standing};
use crate::data::Splits;
use crate::metrics::Report;
use crate::train::{Callback, EpochReport, FitReport, StopReason, TrainConfig, TrainConfigBuilder, Trainer, in_pool};
use crate::{ErrorKind, Result};

/// One contender trained with one seed.
///
/// It serialises as `{"seed", "epochs", "best_epoch", "stop", "diverged", "seconds": {"train", "evaluate"},
/// "train_rows_per_s", "test"}`, `test` as a [`Report`] does.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The seed of starting values, batch order and dropout.
    pub seed: u64,
    /// How training went.
    pub fit: FitReport,
    /// Why the run is not judged: what was not finite, where. Its test metrics, if it has any, enter no figure.
    pub diverged: Option<String>,
    /// The metrics of the test rows; `None` where a score was not finite.
    pub test: Option<Report>,
}

impl Run {
    /// The rows trained on in a second, a row counted as often as it was seen.
    pub fn rows_per_second(&self) -> f64 {
        if self.fit.train_seconds > 0.0 { self.fit.rows as f64 / self.fit.train_seconds } else { 0.0 }
    }

    /// The metrics of the test rows, if the run is judged.
    pub fn judged(&self) -> Option<&Report> {
        self.test.as_ref().filter(|_| self.diverged.is_none())
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { seed, fit, diverged, test } = self;
        let mut run = serializer.serialize_struct("Run", 8)?;
        run.serialize_field("seed", seed)?;
        run.serialize_field("epochs", &fit.epochs.len())?;
        run.serialize_field("best_epoch", &fit.best_epoch)?;
        run.serialize_field("stop", &fit.stop)?;
        run.serialize_field("diverged", diverged)?;
        let seconds = BTreeMap::from([("train", fit.train_seconds), ("evaluate", fit.evaluate_seconds)]);
        run.serialize_field("seconds", &seconds)?;
        run.serialize_field("train_rows_per_s", &self.rows_per_second())?;
        run.serialize_field("test", test)?;
        run.end()
    }
}

/// Trains each contender with each seed on the same rows, and judges all of them by the same test rows.
///
/// Everything but seconds is the same whatever the number of threads and of [parallel
/// runs](super::CompareConfigBuilder::parallel_runs). A run that diverges is [noted](Run::diverged) and enters no
/// figure; the others go on. See the [module](super) for an example.
///
/// # Errors
/// [`ErrorKind::Layout`] or [`ErrorKind::Data`] if rows do not have the layout; [`ErrorKind::Config`] if a contender
/// has no settings for it, or its training settings name a task, domain or metric that the rows do not have. The text
/// names the contender. Settings are checked before anything is trained.
pub fn compare(config: &CompareConfig, splits: &Splits, observer: impl Observer + 'static) -> Result<Comparison> {
    let CompareConfig(settings) = config;
    splits.test.check(&splits.layout)?;
    let mut standings = Vec::new();
    let mut jobs = Vec::new();
    let mut epochs = 0;
    for contender in &settings.contenders {
        let train = contender.own_train().or(settings.train.as_ref());
        let train = train.cloned().map_or_else(TrainConfig::builder, TrainConfigBuilder::from);
        for &seed in &settings.seeds {
            let kind = contender.check(&splits.layout, seed)?;
            if seed == settings.seeds[0] {
                standings.push(Standing { name: contender.name().into(), kind, parameters: 0, runs: Vec::new() });
            }
            let train = train.clone().seed(seed).build()?;
            epochs += train.epochs();
            jobs.push(Job { contender, train });
        }
    }

    let observer = Arc::new(Mutex::new(observer));
    lock(&observer).comparison_started(jobs.len(), epochs);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Outcome>>> = Mutex::new((0..jobs.len()).map(|_| None).collect());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { break };
            let result = job.run(splits, &observer);
            if result.is_err() {
                // Nobody starts another run.
                next.store(jobs.len(), Ordering::Relaxed);
            }
            lock(&results)[index] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..settings.parallel_runs.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (index, result) in results.into_iter().flatten().enumerate() {
        let (parameters, run) = result?;
        let standing = &mut standings[index / settings.seeds.len()];
        standing.parameters = parameters;
        standing.runs.push(run);
    }
    Ok(Comparison { level: settings.level, baseline: settings.baseline.clone(), contenders: standings })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run, and the model's number of parameters.
type Outcome = Result<(usize, Run)>;

/// One run to do.
struct Job<'a> {
    contender: &'a Contender,
    train: TrainConfig,
}

impl Job<'_> {
    fn run<O: Observer + 'static>(&self, splits: &Splits, observer: &Arc<Mutex<O>>) -> Outcome {
        let Self { contender, train } = self;
        let name = RunName { contender: contender.name(), seed: train.seed(), epochs: train.epochs() };
        lock(observer).run_started(&name);
        let mut model = contender.model(&splits.layout, train.seed())?;
        let relay = Relay { contender: contender.name().into(), train: train.clone(), observer: Arc::clone(observer) };
        let mut trainer = Trainer::new(train.clone()).callback(relay);
        let fit = model.fit(&mut trainer, Arc::clone(&splits.train), &splits.val);
        let fit = fit.map_err(|error| contender.blame(&error))?;
        let mut diverged = match &fit.stop {
            stop @ (StopReason::NonFinite { .. } | StopReason::Diverged { .. }) => Some(stop.to_string()),
            _ => None,
        };
        let test = match in_pool(train.threads(), || model.evaluate(&splits.test))? {
            Err(error) if error.kind() == ErrorKind::NonFinite => {
                diverged.get_or_insert_with(|| format!("the test rows: {error}"));
                None
            }
            test => Some(test.map_err(|error| contender.blame(&error))?),
        };
        let run = Run { seed: train.seed(), fit, diverged, test };
        lock(observer).run_done(&name, &run);
        Ok((model.parameters(), run))
    }
}

/// Hangs an observer into the training loop.
struct Relay<O> {
    contender: String,
    train: TrainConfig,
    observer: Arc<Mutex<O>>,
}

impl<O: Observer> Callback for Relay<O> {
    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let name = RunName { contender: &self.contender, seed: self.train.seed(), epochs: self.train.epochs() };
        lock(&self.observer).epoch_done(&name, report);
        ControlFlow::Continue(())
    }
}

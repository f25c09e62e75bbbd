//! A run that was interrupted goes on as if it had not been.

mod bits;
#[allow(dead_code, reason = "the tests of model files need more of it")]
#[path = "model_file/forge.rs"]
mod forge;

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bits::bits;
use forge::Forge;
use serde_json::{Value, json};
use starple::data::synthetic::{SyntheticConfig, SyntheticLog};
use starple::data::{Batch, Layout};
use starple::loss::{Objective, Units, Weighting};
use starple::model::Net;
use starple::optim::{OptimizerConfig, Schedule};
use starple::persist::Saved;
use starple::train::{
    Callback, Checkpoints, CheckpointsBuilder, EpochReport, FitReport, StepDone, StopReason, TrainConfig,
    TrainConfigBuilder, Trainer,
};
use starple::{AnyConfig, AnyModel, Error, ErrorKind, Model, Ple, PleConfig, Star, StarConfig};

/// Steps of an epoch: 1500 rows in batches of 256.
const EPOCH: u64 = 6;

fn log() -> (Layout, Batch, Batch) {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let rows = log.batch();
    (log.layout(), rows.slice(0..1500), rows.slice(4000..5000))
}

fn star(layout: &Layout, seed: u64) -> Star {
    Star::new(StarConfig::builder(layout).embedding_dim(4).hidden([8]).dropout(0.1).seed(seed).build().unwrap())
}

fn ple(layout: &Layout, seed: u64) -> Ple {
    let config = PleConfig::builder(layout).embedding_dim(4).expert_hidden([8]).tower_hidden([4]);
    Ple::new(config.dropout(0.1).seed(seed).build().unwrap())
}

fn settings(seed: u64, optimizer: OptimizerConfig) -> TrainConfigBuilder {
    TrainConfig::builder().epochs(3).batch_rows(256).optimizer(optimizer).seed(seed)
}

fn adam() -> OptimizerConfig {
    OptimizerConfig::adam(0.005).unwrap()
}

/// Stops behind a step, or behind an epoch.
struct StopAt {
    step: Option<u64>,
    epoch: Option<usize>,
}

impl Callback for StopAt {
    fn step_done(&mut self, done: &StepDone) -> ControlFlow<()> {
        if self.step == Some(done.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_done(&mut self, done: &EpochReport) -> ControlFlow<()> {
        if self.epoch == Some(done.epoch) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn after(steps: u64) -> StopAt {
    StopAt { step: Some(steps - 1), epoch: None }
}

/// The report without what a clock says.
fn timeless(mut report: FitReport) -> FitReport {
    report.epochs.iter_mut().for_each(|epoch| (epoch.train_seconds, epoch.evaluate_seconds) = (0.0, 0.0));
    FitReport { train_seconds: 0.0, evaluate_seconds: 0.0, ..report }
}

fn folder(path: &Path) -> CheckpointsBuilder {
    Checkpoints::builder(path.join("run"))
}

/// Trains in one piece, and in pieces that end where `stops` say, each with another number of threads; the models' bits and the reports
/// are the same.
fn assert_resumes<N: Net>(
    start: &Model<N>,
    settings: &TrainConfigBuilder,
    stops: Vec<StopAt>,
    rows: (&Batch, Option<&Batch>),
) {
    let (train, val) = rows;
    let mut whole = start.clone();
    let expected = Trainer::new(settings.clone().build().unwrap()).fit(&mut whole, train.clone(), val).unwrap();

    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer =
        |threads| Trainer::new(settings.clone().threads(threads).build().unwrap()).checkpoints(checkpoints.clone());
    for (piece, stop) in stops.into_iter().enumerate() {
        let mut model = start.clone();
        let report = trainer(1 + piece % 2).callback(stop).resume(&mut model, train.clone(), val).unwrap();
        assert_eq!(report.stop, StopReason::Callback);
        assert!(report.steps < expected.steps);
    }
    let mut model = start.clone();
    let report = trainer(2).resume(&mut model, train.clone(), val).unwrap();
    assert_eq!(timeless(report), timeless(expected.clone()));
    assert!(bits(&model) == bits(&whole), "the weights are those of the run in one piece");
    // And once more: a run that is over is over.
    let mut model = start.clone();
    trainer(1).resume(&mut model, train.clone(), val).unwrap();
    assert!(bits(&model) == bits(&whole));
    if expected.best_epoch.is_some() && val.is_some() {
        let best: Saved<N> = Saved::load(checkpoints.best()).unwrap();
        assert!(bits(&best.model) == bits(&whole), "the file of the best epoch has what the run ends with");
    }
}

#[test]
fn a_run_in_pieces_has_the_bits_of_a_run_in_one() {
    let (layout, train, val) = log();
    // In the middle of epochs, at their ends, and twice in one.
    let stops = || {
        let end = StopAt { step: None, epoch: Some(1) };
        vec![after(2), after(EPOCH - 1), after(EPOCH), end, after(2 * EPOCH + 1)]
    };
    for seed in 1..=3 {
        for optimizer in [adam(), OptimizerConfig::rowwise_adagrad(0.05).unwrap()] {
            let settings = settings(seed, optimizer);
            assert_resumes(&star(&layout, seed), &settings, stops(), (&train, Some(&val)));
            assert_resumes(&ple(&layout, seed), &settings, stops(), (&train, Some(&val)));
        }
    }
}

#[test]
fn schedules_weightings_and_two_optimizers_go_on_too() {
    let (layout, train, val) = log();
    let stops = || vec![after(3), after(EPOCH + 4)];
    for weighting in [Weighting::gradnorm(1.5, 0.05), Weighting::uncertainty(0.05), Weighting::dwa(0.5)] {
        let objective = Objective::builder().units(Units::Domains).weighting(weighting.unwrap()).build().unwrap();
        let settings = settings(1, adam()).objective(objective).embedding_optimizer(OptimizerConfig::sgd(0.1).unwrap());
        assert_resumes(&star(&layout, 1), &settings, stops(), (&train, Some(&val)));
    }
    let plateau = settings(2, adam()).schedule(Schedule::plateau(0.5, 1, 0.01).unwrap());
    assert_resumes(&star(&layout, 2), &plateau, stops(), (&train, Some(&val)));
    assert_resumes(&star(&layout, 3), &settings(3, adam()), stops(), (&train, None));
}

#[test]
fn every_kind_of_model_goes_on() {
    let (layout, train, val) = log();
    for &kind in AnyConfig::KINDS {
        let config = serde_json::json!({ "kind": kind, "embedding_dim": 4 });
        let model = AnyModel::new(AnyConfig::from_settings(config, &layout, 1).unwrap());
        let settings = settings(1, adam()).epochs(1);
        assert_resumes(&model, &settings, vec![after(4)], (&train, Some(&val)));
    }
}

#[test]
fn checkpoints_come_as_often_as_asked_and_the_latest_are_kept() {
    let (layout, train, val) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).every_steps(2).keep(3).build().unwrap();
    let mut model = star(&layout, 1);
    let mut trainer = Trainer::new(settings(1, adam()).build().unwrap()).checkpoints(checkpoints.clone());
    trainer = trainer.callback(after(2 * EPOCH + 5));
    trainer.fit(&mut model, train.clone(), Some(&val)).unwrap();
    let names = |checkpoints: &Checkpoints| {
        let paths = checkpoints.list().unwrap();
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Every second step after the end of the second epoch at step 12, and where the callback ended the run.
    let expected = [14, 16, 17].map(|steps| format!("step-{steps:010}.safetensors"));
    assert_eq!(names(&checkpoints), expected);
    assert_eq!(fs::read_dir(checkpoints.folder()).unwrap().count(), 5, "three checkpoints, the best and the lock");

    // What was not finished is not overwritten by a run from the start.
    let error = trainer.fit(&mut model, train, Some(&val)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("Trainer::resume"), "{error}");
    assert_eq!(names(&checkpoints), expected);
}

#[test]
fn time_that_has_passed_makes_a_checkpoint_too() {
    let (layout, train, _) = log();
    let temporary = tempfile::tempdir().unwrap();
    // No step is so short.
    let checkpoints = folder(temporary.path()).every_minutes(1e-9).keep(100).build().unwrap();
    let mut trainer = Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());
    trainer.fit(&mut star(&layout, 1), train.clone(), None).unwrap();
    assert_eq!(checkpoints.list().unwrap().len() as u64, EPOCH);
    // A day has not passed.
    let checkpoints =
        Checkpoints::builder(temporary.path().join("other")).every_minutes(1440.0).keep(100).build().unwrap();
    let mut trainer = Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());
    trainer.fit(&mut star(&layout, 1), train, None).unwrap();
    assert_eq!(checkpoints.list().unwrap().len(), 1, "the end of the epoch alone");
}

#[test]
fn a_run_is_not_resumed_with_another_model_other_settings_or_other_rows() {
    let (layout, train, val) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer =
        |settings: TrainConfigBuilder| Trainer::new(settings.build().unwrap()).checkpoints(checkpoints.clone());
    let first = settings(1, adam());
    trainer(first.clone()).callback(after(3)).fit(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap();

    let refused = |result: starple::Result<FitReport>, part: &str| {
        let error: Error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout, "{error}");
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
        assert_eq!(error.path(), Some(&*checkpoints.list().unwrap()[0]));
    };
    let mut other = star(&layout, 2);
    refused(trainer(first.clone()).resume(&mut other, train.clone(), Some(&val)), "the same model");
    let mut other = ple(&layout, 1);
    refused(trainer(first.clone()).resume(&mut other, train.clone(), Some(&val)), "kind \"star\"");
    let slower = settings(2, OptimizerConfig::adam(0.004).unwrap());
    let mut model = star(&layout, 1);
    refused(trainer(slower).resume(&mut model, train.clone(), Some(&val)), "seed 1, now 2");
    refused(trainer(first.clone()).resume(&mut model, train.slice(1..1500), Some(&val)), "the same rows");
    refused(trainer(first.clone()).resume(&mut model, train.clone(), None), "the same rows");
    let mut moved = train.clone();
    moved.labels[[7, 0]] = 1.0 - moved.labels[[7, 0]];
    refused(trainer(first.clone()).resume(&mut model, moved, Some(&val)), "the same rows");

    // More epochs may be asked for.
    let report = trainer(first.epochs(4)).resume(&mut model, train, Some(&val)).unwrap();
    assert_eq!(report.epochs.len(), 4);
}

/// Notes what a trainer says of checkpoints.
#[derive(Default, Clone)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Callback for Notes {
    fn resumed(&mut self, from: &Path, steps: u64) {
        let name = from.file_name().unwrap().to_str().unwrap();
        self.0.lock().unwrap().push(format!("from {name} after {steps}"));
    }

    fn checkpoint_damaged(&mut self, error: &Error) {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let name = error.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        self.0.lock().unwrap().push(format!("damaged {name}"));
    }
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_the_run_goes_on_from_the_one_before() {
    let (layout, train, val) = log();
    let mut whole = star(&layout, 1);
    Trainer::new(settings(1, adam()).build().unwrap()).fit(&mut whole, train.clone(), Some(&val)).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).every_steps(2).build().unwrap();
    let notes = Notes::default();
    let trainer = || {
        let trainer = Trainer::new(settings(1, adam()).build().unwrap()).checkpoints(checkpoints.clone());
        trainer.callback(notes.clone())
    };
    trainer().callback(after(5)).fit(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap();
    assert_eq!(notes.take(), [""; 0]);
    let paths = checkpoints.list().unwrap();
    let sound = fs::read(&paths[1]).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    // Of two, 4 and 5: the latest is damaged, then both.
    fs::write(&paths[1], &flipped).unwrap();
    let mut model = star(&layout, 1);
    trainer().callback(after(5)).resume(&mut model, train.clone(), Some(&val)).unwrap();
    assert_eq!(notes.take(), ["damaged step-0000000005.safetensors", "from step-0000000004.safetensors after 4"]);
    let aside = checkpoints.folder().join("step-0000000005.safetensors.damaged");
    assert!(fs::read(&aside).unwrap() == flipped, "it is there to be looked at");
    assert_eq!(checkpoints.list().unwrap(), paths);
    for path in &paths {
        fs::write(path, &flipped).unwrap();
    }
    let error = trainer().resume(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(&*paths[1])));
    assert_eq!((notes.take().len(), checkpoints.list().unwrap()), (0, paths.clone()), "nothing is renamed for nothing");
    // The sound one again: the bits are those of a run in one piece.
    fs::write(&paths[1], &sound).unwrap();
    trainer().resume(&mut model, train, Some(&val)).unwrap();
    assert_eq!(notes.take(), ["from step-0000000005.safetensors after 5"]);
    assert!(bits(&model) == bits(&whole));
}

#[test]
fn the_only_checkpoint_being_damaged_is_an_error_that_names_it() {
    let (layout, train, _) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer = || Trainer::new(settings(1, adam()).build().unwrap()).checkpoints(checkpoints.clone());
    trainer().callback(after(3)).fit(&mut star(&layout, 1), train.clone(), None).unwrap();
    let path = checkpoints.list().unwrap().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..9], b""] {
        fs::write(&path, damaged).unwrap();
        let error = trainer().resume(&mut star(&layout, 1), train.clone(), None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign), "{error}");
        assert_eq!(error.path(), Some(&*path));
    }
    // A model is no checkpoint.
    let error = Saved::<starple::model::StarNet>::load(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign), "{error}");
    fs::write(&path, &whole).unwrap();
    let error = Saved::<starple::model::StarNet>::load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Kind, "{error}");
}

/// The places of all numbers in a JSON value.
fn numbers(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(place.to_owned()),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| numbers(value, &format!("{place}/{i}"), found));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| numbers(value, &format!("{place}/{key}"), found)),
        _ => {}
    }
}

/// Each number in the state of a run, in turn, is what it cannot be, under a right checksum.
#[test]
fn a_number_that_cannot_be_is_an_error_or_harmless() {
    let (layout, train, val) = log();
    let (train, val) = (train.slice(0..300), val.slice(0..200));
    let objective = Objective::builder().weighting(Weighting::gradnorm(1.5, 0.05).unwrap()).build().unwrap();
    let settings = settings(1, adam()).batch_rows(64).epochs(4).objective(objective);
    let settings = settings.schedule(Schedule::plateau(0.5, 1, 0.0).unwrap()).build().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).keep(1).build().unwrap();
    let trainer = || Trainer::new(settings.clone()).checkpoints(checkpoints.clone());
    let start = star(&layout, 1);
    trainer().callback(after(13)).fit(&mut start.clone(), train.clone(), Some(&val)).unwrap();
    let path = checkpoints.list().unwrap().pop().unwrap();
    let forge = Forge::of(&fs::read(&path).unwrap());
    let state: Value =
        serde_json::from_str(&forge.metadata.iter().find(|(key, _)| key == "starple.run").unwrap().1).unwrap();
    let mut places = Vec::new();
    numbers(&state, "", &mut places);
    // The metrics of past epochs are there to be shown.
    places.retain(|place| !place.contains("/val/") && !place.starts_with("/settings/"));
    let strict = [
        "/place/epoch",
        "/place/batch",
        "/place/rows",
        "/place/goodness",
        "/place/plateau/",
        "/place/report/steps",
        "/place/report/rows",
        "/place/report/best_epoch",
    ];
    let (mut refused, mut harmless) = (0, Vec::new());
    for place in &places {
        for wrong in [
            json!(0),
            json!(-1),
            json!(1e308),
            json!(-1e308),
            json!(1e-308),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(1_u64 << 53),
        ] {
            let mut changed = state.clone();
            let number = changed.pointer_mut(place).unwrap();
            if *number == wrong || number.as_f64() == wrong.as_f64() {
                continue;
            }
            *number = wrong.clone();
            let _ = fs::remove_dir_all(checkpoints.folder());
            fs::create_dir(checkpoints.folder()).unwrap();
            fs::write(&path, forge.clone().metadata("starple.run", &changed.to_string()).file()).unwrap();
            let mut model = start.clone();
            let result = catch_unwind(AssertUnwindSafe(|| {
                // It stops soon: what is to be seen is how it starts.
                trainer().callback(after(14)).resume(&mut model, train.clone(), Some(&val))
            }));
            let result = result.unwrap_or_else(|_| panic!("{place} = {wrong}"));
            match result {
                Err(error) => {
                    use ErrorKind::{Config, Corrupt, Layout, Missing, Unknown};
                    let expected = [Corrupt, Config, Layout, Missing, Unknown].contains(&error.kind());
                    assert!(expected, "{place} = {wrong}: {error}");
                    assert_eq!(error.path(), Some(&*path));
                    refused += 1;
                }
                Ok(_) => {
                    assert!(!strict.iter().any(|strict| place.starts_with(strict)), "{place} = {wrong}");
                    harmless.push(format!("{place} = {wrong}"));
                }
            }
        }
    }
    println!("{} numbers, {refused} refused, harmless: {harmless:#?}", places.len());
    assert!(places.len() > 40 && refused > 300, "{} numbers, {refused} refused", places.len());
    // Infinity has no place in JSON, and so is not a number.
    let text = state.to_string().replace("\"loss\":0.", "\"loss\":1e999");
    fs::write(&path, forge.metadata("starple.run", &text).file()).unwrap();
    assert_eq!(trainer().resume(&mut start.clone(), train, Some(&val)).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn one_run_at_a_time_saves_into_a_folder() {
    let (layout, train, _) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer = || Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());

    /// Tries to run in the same folder while a run is under way.
    struct Second(Box<dyn FnMut() + Send>);
    impl Callback for Second {
        fn step_done(&mut self, _: &StepDone) -> ControlFlow<()> {
            (self.0)();
            ControlFlow::Continue(())
        }
    }
    let (second, rows) = (checkpoints.clone(), train.clone());
    let folder = checkpoints.folder().to_owned();
    let refused = move || {
        let mut model = star(&log().0, 1);
        let mut trainer = Trainer::new(settings(1, adam()).build().unwrap()).checkpoints(second.clone());
        let results = [trainer.fit(&mut model, rows.clone(), None), trainer.resume(&mut model, rows.clone(), None)];
        for error in results.into_iter().map(Result::unwrap_err).chain([second.check().unwrap_err()]) {
            assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*folder)));
            let text = format!("another run, process {}, saves its checkpoints into this folder", std::process::id());
            assert!(error.to_string().contains(&text), "{error}");
        }
    };
    let mut model = star(&layout, 1);
    trainer().callback(Second(Box::new(refused))).fit(&mut model, train.clone(), None).unwrap();
    // It is over: the next one may.
    checkpoints.check().unwrap();
    trainer().resume(&mut model, train, None).unwrap();
}

#[test]
fn what_a_killed_run_had_half_written_is_deleted_by_the_next() {
    let (layout, train, _) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer = || Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());
    let at = |name: &str| checkpoints.folder().join(name);
    let left = [".step-0000000003.safetensors.abcdefGHI012.tmp", ".best.safetensors.ABCDEFghi345.tmp"];
    let others = [".step-x.safetensors.abcdefGHI012.tmp", "notes.tmp", ".best.safetensors.tmp"];
    for resumes in [false, true] {
        fs::create_dir_all(checkpoints.folder()).unwrap();
        for name in left.iter().chain(&others) {
            fs::write(at(name), "half").unwrap();
        }
        let (mut trainer, mut model) = (trainer(), star(&layout, 1));
        if resumes {
            trainer.resume(&mut model, train.clone(), None).unwrap();
        } else {
            trainer.fit(&mut model, train.clone(), None).unwrap();
        }
        assert_eq!(left.map(|name| at(name).exists()), [false; 2]);
        assert_eq!(others.map(|name| at(name).exists()), [true; 3], "what is not ours stays");
    }
}

#[test]
fn the_file_of_the_best_weights_says_whether_the_run_finished() {
    let (layout, train, val) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer = || Trainer::new(settings(7, adam()).build().unwrap()).checkpoints(checkpoints.clone());
    let record = || Saved::<starple::model::StarNet>::load(checkpoints.best()).unwrap().run().unwrap().clone();
    let end = StopAt { step: None, epoch: Some(0) };
    trainer().callback(end).resume(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap();
    let first = record();
    assert_eq!((first.finished, first.stop, first.best_epoch), (false, None, Some(1)));
    assert_eq!((first.epochs, first.steps, first.rows, first.seed), (1, EPOCH, 1500, 7));
    let fit = trainer().resume(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap();
    let last = record();
    assert!(last.finished && fit.ended_well());
    assert_eq!((last.stop, last.best_epoch), (Some(fit.stop), fit.best_epoch.map(|best| best + 1)));
    assert_eq!((last.epochs, last.steps, last.rows), (fit.epochs.len(), fit.steps, fit.rows));

    // A run that goes bad after a good epoch: the file of that epoch stays, and says so.
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let objective = Objective::builder().weights([1.0; 2]).decays([1e30; 2]).build().unwrap();
    let worse = settings(7, OptimizerConfig::sgd(0.1).unwrap()).objective(objective);
    let mut trainer = Trainer::new(worse.build().unwrap()).checkpoints(checkpoints.clone());
    let mut model = star(&layout, 1);
    let fit = trainer.fit(&mut model, train, Some(&val)).unwrap();
    assert!(fit.stop.diverged() && fit.best_epoch == Some(0) && !fit.ended_well(), "{:?}", fit.stop);
    let saved = Saved::<starple::model::StarNet>::load(checkpoints.best()).unwrap();
    assert!(bits(&saved.model) == bits(&model));
    let record = saved.run().unwrap();
    assert_eq!((record.finished, record.stop.as_ref(), record.best_epoch), (false, Some(&fit.stop), Some(1)));
}

#[test]
fn settings_that_cannot_be_are_named() {
    let error = Checkpoints::builder("").every_steps(0).every_minutes(-1.0).keep(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "Checkpoints: folder: a path that is not empty; every_steps: at least 1, found 0; every_minutes: above 0, found -1; \
         keep: at least 1, found 0"
    );
    let text = r#"{"folder": "runs", "every_minutes": 5.0}"#;
    let read: Checkpoints = serde_json::from_str(text).unwrap();
    assert_eq!(read, Checkpoints::builder("runs").every_minutes(5.0).build().unwrap());
    assert!(serde_json::from_str::<Checkpoints>(r#"{"folder": "runs", "every": 5.0}"#).is_err());
}

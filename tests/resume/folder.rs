//! The folder of checkpoints: what is in it when, and who may write there.

use std::fs;
use std::ops::ControlFlow;

use starple::loss::Objective;
use starple::optim::OptimizerConfig;
use starple::persist::Saved;
use starple::train::{Callback, Checkpoints, StepDone, Trainer};
use starple::{ErrorKind, StarConfig};

use crate::bits::bits;
use crate::world::{EPOCH, StopAt, adam, after, folder, log, settings, star};

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
        Checkpoints::builder().folder(temporary.path().join("other")).every_minutes(1440.0).keep(100).build().unwrap();
    let mut trainer = Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());
    trainer.fit(&mut star(&layout, 1), train, None).unwrap();
    assert_eq!(checkpoints.list().unwrap().len(), 1, "the end of the epoch alone");
}

/// Tries to run in the same folder while a run is under way.
struct Second(Box<dyn FnMut() + Send>);

impl Callback for Second {
    fn step_done(&mut self, _: &StepDone) -> ControlFlow<()> {
        (self.0)();
        ControlFlow::Continue(())
    }
}

#[test]
fn one_run_at_a_time_saves_into_a_folder() {
    let (layout, train, _) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer = || Trainer::new(settings(1, adam()).epochs(1).build().unwrap()).checkpoints(checkpoints.clone());
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
    let record = || Saved::load_as::<StarConfig>(checkpoints.best()).unwrap().run().unwrap().clone();
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
    let saved = Saved::load_as::<StarConfig>(checkpoints.best()).unwrap();
    assert!(bits(&saved.model) == bits(&model));
    let record = saved.run().unwrap();
    assert_eq!((record.finished, record.stop.as_ref(), record.best_epoch), (false, Some(&fit.stop), Some(1)));
}

#[test]
fn settings_that_cannot_be_are_named() {
    let error = Checkpoints::builder().folder("").every_steps(0).every_minutes(-1.0).keep(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "Checkpoints: folder: a path that is not empty; every_steps: at least 1, found 0; \
         every_minutes: a finite number above 0, found -1; keep: at least 1, found 0"
    );
    let text = r#"{"folder": "runs", "every_minutes": 5.0}"#;
    let read: Checkpoints = serde_json::from_str(text).unwrap();
    assert_eq!(read, Checkpoints::builder().folder("runs").every_minutes(5.0).build().unwrap());
    assert!(serde_json::from_str::<Checkpoints>(r#"{"folder": "runs", "every": 5.0}"#).is_err());
}

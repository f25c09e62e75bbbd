//! Checkpoints that were damaged, or made to do harm.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use starple::loss::{GradNormConfig, Objective, Weighting};
use starple::optim::{LrSchedule, PlateauLr};
use starple::persist::Saved;
use starple::train::{Callback, Trainer};
use starple::{Error, ErrorKind, StarConfig};

use crate::bits::bits;
use crate::forge::Forge;
use crate::world::{adam, after, folder, log, settings, star};

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
    let error = Saved::load_as::<StarConfig>(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign), "{error}");
    fs::write(&path, &whole).unwrap();
    let error = Saved::load_as::<StarConfig>(&path).unwrap_err();
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
    use ErrorKind::{Config, Corrupt, Layout, Missing, Unknown};
    let (layout, train, val) = log();
    let (train, val) = (train.slice(0..300), val.slice(0..200));
    let objective = Objective::builder()
        .weighting(Weighting::GradNorm(GradNormConfig::builder().lr(0.05).build().unwrap()))
        .build()
        .unwrap();
    let settings = settings(1, adam()).batch_rows(64).epochs(4).objective(objective);
    let settings = settings
        .schedule(LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(1).build().unwrap()))
        .build()
        .unwrap();
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
        "/state/epoch",
        "/state/batch",
        "/state/rows",
        "/state/goodness",
        "/state/plateau/",
        "/state/report/steps",
        "/state/report/rows",
        "/state/report/best_epoch",
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
            if let Err(error) = result {
                let expected = [Corrupt, Config, Layout, Missing, Unknown].contains(&error.kind());
                assert!(expected, "{place} = {wrong}: {error}");
                assert_eq!(error.path(), Some(&*path));
                refused += 1;
            } else {
                assert!(!strict.iter().any(|strict| place.starts_with(strict)), "{place} = {wrong}");
                harmless.push(format!("{place} = {wrong}"));
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

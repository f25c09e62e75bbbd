//! What stands in a file, and that it comes back.

use std::fs;
use std::io::{Cursor, Seek, SeekFrom};

use safetensors::{Dtype, SafeTensors};
use starple::data::Layout;
use starple::loss::weighting::Learned;
use starple::model::{AnyConfig, Model};
use starple::nn::{Leaf, StarLinear};
use starple::persist::{ModelFile, RunRecord, Saved, check_writable};
use starple::serve::{Calibration, CalibrationSettings, Method};
use starple::train::{EpochReport, FitReport, StopReason};
use starple::{ErrorKind, Star, StarConfig};

use crate::forge::Forge;
use crate::world::{bytes, encoder, error, file, load, load_as, shake, star, table};

#[test]
fn another_reader_finds_every_tensor_of_the_model() {
    let mut star = star(1);
    shake(&mut star);
    let file = bytes(&ModelFile::new(&star).encoder(&encoder()));
    let read = SafeTensors::deserialize(&file).unwrap();
    let mut tensors = 1;
    star.visit(|path, leaf| {
        let view = read.tensor(&path.name(star.layout())).unwrap();
        let (dtype, shape, bytes): (_, &[usize], Vec<u8>) = match leaf {
            Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape) => {
                (Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Leaf::Count(count) => (Dtype::U64, &[], count.to_le_bytes().to_vec()),
        };
        assert_eq!((view.dtype(), view.shape(), view.data()), (dtype, shape, &bytes[..]));
        tensors += 1;
    });
    assert_eq!(read.len(), tensors);
    let json = serde_json::to_vec(&encoder()).unwrap();
    assert_eq!(
        (read.tensor("encoder").unwrap().dtype(), read.tensor("encoder").unwrap().data()),
        (Dtype::U8, &json[..])
    );
    // Every tensor is aligned to its numbers.
    let (header, metadata) = SafeTensors::read_metadata(&file).unwrap();
    for info in metadata.tensors().values() {
        assert_eq!((8 + header + info.data_offsets.0) % (info.dtype.bitsize() / 8), 0);
    }
    let forged = Forge::of(&file);
    let keys: Vec<&str> = forged.metadata.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["starple.format", "starple.config", "starple.kind", "starple.what"]);
    assert_eq!(
        forged.config(),
        serde_json::from_str::<serde_json::Value>(&serde_json::to_string(&**star.config()).unwrap()).unwrap()
    );
}

#[test]
fn the_checksum_is_that_of_the_file_with_zeros_in_its_place() {
    let mut file = file();
    let at = 8 + file[8..].windows(8).position(|text| text == b"checksum").unwrap() + "checksum\":\"".len();
    let written = String::from_utf8(file[at..at + 8].to_vec()).unwrap();
    file[at..at + 8].fill(b'0');
    assert_eq!(written, format!("{:08x}", crc32fast::hash(&file)));
}

#[test]
fn a_model_comes_back_with_its_encoder_and_scores_raw_rows_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let (mut star, mut encoder) = (star(1), encoder());
    shake(&mut star);
    star.add_domain("näu \"1\"").unwrap();
    encoder.add_domain("näu \"1\"").unwrap();
    ModelFile::new(&star).encoder(&encoder).save(&path).unwrap();
    let saved = Saved::load_as::<StarConfig>(&path).unwrap();
    assert_eq!(saved.encoder.as_ref(), Some(&encoder));
    let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,se/ar.ch,0\nnew,7,\"näu \"\"1\"\"\",1\n";
    let encoded = |encoder: &starple::data::Encoder| {
        let table = table(encoder.schema(), log);
        encoder.encode(&table, &table.all()).unwrap()
    };
    let (before, after) = (encoded(&encoder), encoded(&saved.encoder.unwrap()));
    assert_eq!(saved.model.score(&after), star.score(&before));
    assert_eq!(fs::read(&path).unwrap(), bytes(&ModelFile::new(&star).encoder(&encoder)));
}

#[test]
fn a_file_with_encoder_and_calibration_makes_a_predictor() {
    let (mut star, encoder) = (star(1), encoder());
    shake(&mut star);
    let lines: Vec<String> = (0..12).map(|i| format!("lamp,{i},home,{}\n", u8::from(i % 3 == 0))).collect();
    let table = table(encoder.schema(), &format!("item,price,page,click\n{}", lines.concat()));
    let rows = encoder.encode(&table, &table.all()).unwrap();
    let logits = star.score(&rows);
    let settings = CalibrationSettings { min_rows: 5, ..Method::Platt.into() };
    let calibration = Calibration::fit(settings, &logits, &rows, star.layout()).unwrap();
    let file = bytes(&ModelFile::new(&star).encoder(&encoder).calibration(&calibration));
    let saved: Saved = load(&file).unwrap();
    assert_eq!(saved.calibration.as_ref(), Some(&calibration));
    let p = saved.predictor().unwrap().build().unwrap().predict_batch(&rows).unwrap();
    for ((&p, &logit), &domain) in p.iter().zip(&logits).zip(&rows.domains) {
        let expected = calibration.probability(logit, domain, 0);
        assert!((f64::from(p) - expected).abs() < 1e-5, "{p} {expected}");
    }

    // One of another model, and a file that has no encoder.
    let other = Layout { tasks: vec!["buy".into()], ..star.layout().clone() };
    let other = Calibration::fit(settings, &logits, &rows, &other).unwrap();
    let error = ModelFile::new(&star).calibration(&other).write_to(Cursor::new(Vec::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);
    let saved: Saved = load(&bytes(&ModelFile::new(&star))).unwrap();
    assert_eq!(saved.predictor().unwrap_err().kind(), ErrorKind::Missing);
}

#[test]
fn a_file_says_whether_its_run_finished() {
    let fit = |stop: StopReason, best_epoch| {
        let epoch = |epoch| EpochReport { epoch, ..epoch_report() };
        FitReport { stop, epochs: vec![epoch(0), epoch(1)], best_epoch, steps: 12, rows: 900, ..FitReport::default() }
    };
    let diverged = StopReason::Diverged { step: 3, tensor: "net.bias".into() };
    for (stop, best, finished) in [
        (StopReason::Epochs, Some(1), true),
        (StopReason::NoImprovement { waited: 2 }, Some(0), true),
        (StopReason::Epochs, None, false),
        (StopReason::Callback, Some(1), false),
        (diverged.clone(), Some(0), false),
    ] {
        let record = RunRecord::new(&fit(stop.clone(), best), 7);
        let saved: Saved = load(&bytes(&ModelFile::new(&star(1)).run(record.clone()))).unwrap();
        assert_eq!(saved.run(), Some(&record));
        assert_eq!(
            (record.finished, record.stop, record.best_epoch),
            (finished, Some(stop), best.map(|best| best + 1))
        );
        assert_eq!((record.epochs, record.steps, record.rows, record.seed), (2, 12, 900, 7));
    }
    // What another reader finds, and what is not a record.
    let record = RunRecord::new(&fit(StopReason::Epochs, Some(1)), 7);
    let forge = Forge::of(&bytes(&ModelFile::new(&star(1)).run(record.clone())));
    let json =
        r#"{"finished":true,"stop":{"reason":"epochs"},"best_epoch":2,"epochs":2,"steps":12,"rows":900,"seed":7}"#;
    assert_eq!(forge.metadata.iter().find(|(key, _)| key == "starple.run").unwrap().1, json);
    for (from, to) in [
        ("true", "1"),
        ("\"epochs\"}", "\"whim\"}"),
        ("\"steps\":12", "\"steps\":-1"),
        ("\"seed\"", "\"seeds\""),
        ("\"best_epoch\":2", "\"best_epoch\":3"),
        ("\"best_epoch\":2", "\"best_epoch\":0"),
        ("{\"reason\":\"epochs\"}", "{\"reason\":\"diverged\",\"step\":1,\"tensor\":\"a\"}"),
    ] {
        let error = error(&forge.clone().metadata("starple.run", &json.replace(from, to)).file());
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("the record of the run"), "{error}");
    }
    let mut wrong = RunRecord::new(&fit(diverged, Some(1)), 7);
    wrong.finished = true;
    let error = ModelFile::new(&star(1)).run(wrong).write_to(Cursor::new(Vec::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    // A file without a record.
    assert!(load_as::<StarConfig>(&file()).unwrap().run().is_none());
}

fn epoch_report() -> EpochReport {
    EpochReport {
        epoch: 0,
        loss: 0.5,
        units: Vec::new(),
        weighting: Learned::Nothing,
        lr: 0.001,
        train_seconds: 0.0,
        evaluate_seconds: 0.0,
        val: None,
        monitored: None,
        best: false,
    }
}

#[test]
fn a_file_may_stand_inside_another() {
    let (star, mut out) = (star(1), Cursor::new(b"in front".to_vec()));
    out.seek(SeekFrom::End(0)).unwrap();
    ModelFile::new(&star).write_to(&mut out).unwrap();
    assert_eq!(out.position(), out.get_ref().len() as u64);
    assert!(load_as::<StarConfig>(&out.into_inner()[8..]).is_ok());
}

#[test]
fn any_names_of_fields_domains_and_tasks_work() {
    let names = ["a.b", "a/b", "a%2Eb", "\"", "\\", "ü\u{0}\n", "__metadata__", "encoder", "net"];
    let layout =
        names.iter().fold(Layout::new(names, names), |layout, &name| layout.field(name, 2)).numeric(["number"]);
    for &kind in AnyConfig::KINDS {
        let config = AnyConfig::from_settings(serde_json::json!({ "kind": kind, "embedding_dim": 1 }), &layout, 1);
        let mut model = Model::new(config.unwrap());
        shake(&mut model);
        let saved = load(&bytes(&ModelFile::new(&model))).unwrap();
        assert_eq!(saved.model.net(), model.net(), "{kind}");
        assert_eq!(saved.model.embeddings(), model.embeddings(), "{kind}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_has_the_mode_of_any_new_file_or_of_the_one_it_replaces() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    fs::write(folder.path().join("plain"), "").unwrap();
    let (star, path) = (star(1), folder.path().join("model"));
    ModelFile::new(&star).save(&path).unwrap();
    assert_eq!(mode("model"), mode("plain"));
    for old in [0o640, 0o444, 0o600] {
        fs::set_permissions(&path, fs::Permissions::from_mode(old)).unwrap();
        ModelFile::new(&star).save(&path).unwrap();
        assert_eq!(mode("model"), old);
    }
    let link = folder.path().join("link");
    symlink("model", &link).unwrap();
    ModelFile::new(&crate::world::star(2)).save(&link).unwrap();
    assert!(link.is_symlink());
    assert_eq!(Saved::load_as::<StarConfig>(&path).unwrap().model.config().seed(), 2);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "model", "plain"], "no temporary file stays");
}

/// What is not a regular file is refused, before a run and at its end, and stays what it is.
#[cfg(unix)]
#[test]
fn a_model_is_saved_into_a_regular_file_or_not_at_all() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    symlink("/dev/null", at("to a device")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("round", at("round")).unwrap();
    let (star, long) = (star(1), "n".repeat(256));
    for (path, found) in [
        ("/dev/null".into(), "found a device"),
        (at("to a device"), "found a device"),
        (at("pipe"), "found a pipe"),
        (folder.path().into(), "found a folder"),
        (at("dangling"), "found a link to a file that is not there"),
        (at("new/"), "found that of a folder"),
        (at(".."), "found a folder"),
        ("".into(), "found that of a folder"),
        (at("round"), ""),
        (at("no such folder/model"), ""),
        (at(&long), ""),
        ("/proc/model".into(), ""),
    ] {
        for result in [check_writable(&path), ModelFile::new(&star).save(&path)] {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*path)), "{error}");
            assert!(error.to_string().contains(found), "{error}");
        }
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    assert!(at("dangling").is_symlink() && !at("nowhere").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing new is there");
    // The longest name there may be, also in letters of more than one byte.
    for name in [&long[1..], &"ü".repeat(127)] {
        check_writable(at(name)).unwrap();
        assert!(!at(name).exists());
        ModelFile::new(&star).save(at(name)).unwrap();
        assert!(Saved::load_as::<StarConfig>(at(name)).is_ok());
    }
}

/// Root may give files away; others keep the group if it is one of theirs.
#[cfg(unix)]
#[test]
fn a_file_stays_with_its_owner() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    fs::write(&path, "").unwrap();
    if chown(&path, Some(12_345), Some(54_321)).is_err() {
        return;
    }
    ModelFile::new(&star(1)).save(&path).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
    assert!(found.len() > 1000);
}

#[test]
fn what_cannot_be_saved_leaves_the_old_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let mut star = star(1);
    ModelFile::new(&star).save(&path).unwrap();
    let before = fs::read(&path).unwrap();

    star.embeddings_mut().tables_mut()[0][[1, 0]] = f32::NAN;
    star.net_mut().get_mut::<StarLinear>(("layers", 0)).unwrap().shared.bias[2] = f32::INFINITY;
    let error = ModelFile::new(&star).save(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    let text = error.to_string();
    assert!(text.ends_with(
        "star.safetensors: not saved: values that are not finite in \"embeddings.item\", \"net.layers.0.shared.bias\" \
         (save an earlier state, and train with a lower learning rate)"
    ));

    let other = Star::new(
        StarConfig::builder(&Layout { tasks: vec!["buy".into()], ..encoder().layout().clone() }).build().unwrap(),
    );
    let error = ModelFile::new(&other).encoder(&encoder()).save(&path).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Layout, Some(&*path)));
    assert!(error.to_string().contains("other fields, domains or tasks than the encoder gives"));

    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    let nowhere = folder.path().join("no such folder").join("star.safetensors");
    let error = ModelFile::new(&crate::world::star(1)).save(&nowhere).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*nowhere)));
    let error = Saved::load_as::<StarConfig>(&nowhere).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*nowhere)));
}

#[test]
fn the_page_shows_the_script_as_it_is() {
    let page = include_str!("../../docs/model-file.md");
    assert!(page.contains(&format!("```python\n{}```", include_str!("../../docs/read_star.py"))));
}

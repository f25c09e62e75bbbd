//! Every way in which a file can be wrong is an error of its own kind, and its text says what to do.

use starple::data::Layout;
use starple::persist::{ModelFile, Saved};
use starple::{ErrorKind, Ple, PleConfig, StarConfig};

use crate::forge::{Forge, Tensor, signed};
use crate::world::{bytes, encoder, error, file, load, load_as};

/// The error of a good file that was changed so.
#[track_caller]
fn changed(change: impl FnOnce(&mut Forge)) -> starple::Error {
    let mut forge = Forge::of(&file());
    change(&mut forge);
    error(&forge.file())
}

#[track_caller]
fn assert_error(error: &starple::Error, kind: ErrorKind, texts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for text in texts {
        assert!(error.to_string().contains(text), "{error}\n  lacks {text}");
    }
}

#[test]
fn a_forged_file_that_is_not_changed_is_read() {
    let forge = Forge::of(&file());
    assert!(load_as::<StarConfig>(&forge.file()).is_ok());
    // Whose key is not ours may be anybody's.
    assert!(load_as::<StarConfig>(&forge.metadata("note", "trained on Monday").file()).is_ok());
}

#[test]
fn every_flipped_bit_is_an_error() {
    let mut file = file();
    assert!(file.len() < 20_000, "{} bytes", file.len());
    for byte in 0..file.len() {
        for bit in 0..8 {
            file[byte] ^= 1 << bit;
            let error = load_as::<StarConfig>(&file).expect_err("damaged");
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign), "byte {byte}, bit {bit}: {error}");
            file[byte] ^= 1 << bit;
        }
    }
    assert!(load_as::<StarConfig>(&file).is_ok());
}

#[test]
fn every_truncation_and_anything_appended_is_an_error() {
    let file = file();
    for length in 0..file.len() {
        assert_error(&load(&file[..length]).unwrap_err(), ErrorKind::Corrupt, &["(copy it again"]);
    }
    for more in [&b"\0"[..], b" ", &file] {
        assert_error(&error(&[&file, more].concat()), ErrorKind::Corrupt, &["its checksum is"]);
        // Also where it was meant.
        let appended = signed([&file, more].concat());
        assert_error(&error(&appended), ErrorKind::Corrupt, &["bytes of values announced, found"]);
    }
}

#[test]
fn other_files_are_not_ours() {
    let header = br#"{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let other = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    for file in [&other[..], b"item,price,page,click\nlamp,20,home,1\n", &[0; 4096], &[255; 4096]] {
        let texts = [
            "not a starple file: it does not start with the bytes that every starple file starts with (models are saved by ModelFile::save)",
        ];
        assert_error(&error(file), ErrorKind::Foreign, &texts);
    }
}

#[test]
fn a_newer_format_asks_for_an_upgrade() {
    let texts = ["format 2; this version of starple reads formats up to 1 (upgrade starple)"];
    assert_error(&changed(|forge| *forge = forge.clone().metadata("starple.format", "2")), ErrorKind::Version, &texts);
    for wrong in ["0", "", "x", "-1", "99999999999"] {
        let error = changed(|forge| *forge = forge.clone().metadata("starple.format", wrong));
        assert_error(&error, ErrorKind::Corrupt, &["no format number"]);
    }
}

#[test]
fn another_kind_is_named_beside_the_expected_one() {
    let error = load_as::<PleConfig>(&file()).unwrap_err();
    let texts = ["the file holds a model of kind \"star\", expected one of PleConfig (Saved::load reads every kind"];
    assert_error(&error, ErrorKind::Kind, &texts);
    let unknown = changed_any(|forge| forge.metadata("starple.kind", "stra"));
    assert_error(&unknown, ErrorKind::Kind, &["of kind \"stra\", expected \"single\", \"pooled\", \"star\""]);
    let checkpoint = changed(|forge| *forge = forge.clone().metadata("starple.what", "checkpoint"));
    assert_error(&checkpoint, ErrorKind::Kind, &["the file holds a checkpoint, expected a model"]);
    // The settings of one kind under the name of another.
    let ple = changed_any(|forge| forge.metadata("starple.kind", "ple"));
    assert_error(&ple, ErrorKind::Config, &["the settings of a model of kind \"ple\" cannot be read: unknown field"]);
}

/// The same for readers that expect different things.
fn changed_any(change: impl FnOnce(Forge) -> Forge) -> starple::Error {
    load(&change(Forge::of(&file())).file()).unwrap_err()
}

#[test]
fn missing_unknown_and_misshaped_tensors_are_all_listed() {
    let missing = changed(|forge| {
        forge.tensors.retain(|tensor| !tensor.name.starts_with("embeddings") && !tensor.name.ends_with("steps"));
    });
    let texts = [
        "missing: \"embeddings.item\", \"net.norm.domain.home.moving.steps\", \"net.norm.domain.se%2Far%2Ech.moving.steps\"",
        "(the file was changed after it was saved; copy the original again)",
    ];
    assert_error(&missing, ErrorKind::Missing, &texts);

    let one = |name: &str| Tensor { name: name.into(), dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
    let unknown = changed(|forge| forge.tensors.extend([one("net.more"), one("embeddings.user")]));
    assert_error(&unknown, ErrorKind::Unknown, &["; unknown: \"embeddings.user\", \"net.more\" ("]);

    let shape = changed(|forge| {
        forge.tensor("embeddings.item").shape.reverse();
        let bias = forge.tensor("net.layers.0.shared.bias");
        (bias.dtype, bias.shape) = ("U8".into(), vec![12]);
        forge.tensor("net.norm.domain.home.moving.steps").shape = vec![1];
    });
    let texts = [
        "of another shape: \"embeddings.item: found F32 [2, 4], expected F32 [4, 2]\"",
        "\"net.layers.0.shared.bias: found U8 [12], expected F32 [3]\"",
        "\"net.norm.domain.home.moving.steps: found U64 [1], expected U64 []\"",
    ];
    assert_error(&shape, ErrorKind::Shape, &texts);

    let half = changed(|forge| {
        let table = forge.tensor("embeddings.item");
        (table.dtype, table.bytes) = ("F16".into(), vec![0; 16]);
    });
    assert_error(&half, ErrorKind::Shape, &["found F16 [4, 2], expected F32 [4, 2]"]);

    let renamed = changed(|forge| forge.tensor("embeddings.item").name = "embeddings.user".into());
    let texts = ["missing: \"embeddings.item\"; unknown: \"embeddings.user\""];
    assert_error(&renamed, ErrorKind::Missing, &texts);
}

#[test]
fn missing_and_unknown_metadata_are_named() {
    for key in ["starple.kind", "starple.config", "starple.what"] {
        let error = changed(|forge| forge.metadata.retain(|(known, _)| known != key));
        assert_error(&error, ErrorKind::Missing, &[&format!("the file has no metadata \"{key}\"")]);
    }
    let error = changed(|forge| *forge = forge.clone().metadata("starple.b", "").metadata("starple.a", ""));
    assert_error(
        &error,
        ErrorKind::Unknown,
        &["metadata that this version does not know: \"starple.a\", \"starple.b\""],
    );
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for (name, wrong) in [("embeddings.item", f32::NAN), ("net.norm.domain.home.moving.var", f32::NEG_INFINITY)] {
        let error = changed(|forge| forge.tensor(name).bytes[4..8].copy_from_slice(&wrong.to_le_bytes()));
        assert_error(&error, ErrorKind::NonFinite, &[&format!("tensor {name:?} has a value that is not finite")]);
    }
    let error = changed(|forge| forge.tensor("net.norm.domain.home.moving.steps").bytes.fill(0xff));
    assert_error(
        &error,
        ErrorKind::NonFinite,
        &["at most 274877906944 updates of a moving average, found 18446744073709551615"],
    );
}

#[test]
fn settings_and_encoders_that_cannot_be_are_refused() {
    let error = changed(|forge| {
        let mut config = forge.config();
        config["dropout"] = 2.into();
        config["norm_rate"] = 0.into();
        *forge = forge.clone().metadata("starple.config", &config.to_string());
    });
    let texts = ["a model of kind \"star\" cannot be read", "dropout: 0 <= dropout < 1, found 2", "norm_rate: 0 <"];
    assert_error(&error, ErrorKind::Config, &texts);

    let error = changed(|forge| {
        let encoder = forge.tensor("encoder");
        (encoder.bytes, encoder.shape) = (b"{}".to_vec(), vec![2]);
    });
    assert_error(&error, ErrorKind::Config, &["the encoder cannot be read: missing field `schema`"]);

    let mut grown = encoder();
    grown.add_domain("cart").unwrap();
    let error = changed(|forge| {
        let encoder = forge.tensor("encoder");
        encoder.bytes = serde_json::to_vec(&grown).unwrap();
        encoder.shape = vec![encoder.bytes.len()];
    });
    assert_error(&error, ErrorKind::Layout, &["the model was built for other fields, domains or tasks"]);
}

#[test]
fn an_error_says_which_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("star.safetensors");
    let mut file = file();
    *file.last_mut().unwrap() ^= 1;
    std::fs::write(&path, file).unwrap();
    let error = Saved::load_as::<StarConfig>(&path).unwrap_err();
    assert_eq!(error.path(), Some(&*path));
    assert!(error.to_string().starts_with(&format!("{}: damaged: its checksum is ", path.display())), "{error}");
}

#[test]
fn long_lists_of_names_are_cut() {
    let domains = (0..200).map(|i| format!("d{i}")).collect();
    let layout = Layout { domains, ..encoder().layout().clone() };
    let ple = Ple::new(PleConfig::builder(&layout).branches(starple::model::Branches::Domains).build().unwrap());
    let mut forge = Forge::of(&bytes(&ModelFile::new(&ple)));
    forge.tensors.retain(|tensor| !tensor.name.contains(".d17"));
    let text = load_as::<PleConfig>(&forge.file()).unwrap_err().to_string();
    assert!(text.contains(" more (the file was changed") && text.len() < 3000, "{text}");
}

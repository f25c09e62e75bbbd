//! Files that somebody made to do harm: an error, soon, and in little memory.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use starple::data::Layout;
use starple::model::{AnyConfig, Model};
use starple::persist::ModelFile;
use starple::{ErrorKind, StarConfig};

use crate::forge::{Forge, raw, signed};
use crate::memory::peak;
use crate::world::{bytes, file, load, load_as};

/// Memory in proportion to the file, and a little for everybody.
const SHARE: usize = 30;
const FREE: usize = 4 << 20;

/// Loads a file in bounded memory.
#[track_caller]
fn bounded(file: &[u8]) -> Option<starple::Error> {
    let (result, bytes) = peak(|| load(file).err());
    assert!(bytes <= SHARE * file.len() + FREE, "{bytes} bytes for a file of {}: {result:?}", file.len());
    result
}

#[track_caller]
fn refused(file: &[u8], kind: ErrorKind) {
    let error = bounded(file).expect("the file is hostile");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().len() < 40_000, "{} bytes of text", error.to_string().len());
}

/// A file whose header has these entries behind the metadata.
fn with_entries(entries: &str, values: usize) -> Vec<u8> {
    let metadata = r#"{"__metadata__":{"starple.checksum":"00000000","starple.format":"1"}"#;
    raw(format!("{metadata}{entries}}}").as_bytes(), &vec![0; values])
}

#[test]
fn lengths_of_headers_that_cannot_be() {
    let file = file();
    for length in [u64::MAX, i64::MAX as u64, 1 << 40, 100_000_001, file.len() as u64, file.len() as u64 - 7, 0, 1, 60]
    {
        let mut file = file.clone();
        file[..8].copy_from_slice(&length.to_le_bytes());
        refused(&file, ErrorKind::Corrupt);
        refused(&signed(file), ErrorKind::Corrupt);
    }
}

#[test]
fn offsets_and_shapes_that_cannot_be() {
    let entry = |shape: &str, start: u64, end: u64| {
        format!(r#","t{start}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let max = u64::MAX;
    let two = |a: (u64, u64), b: (u64, u64)| entry("[1]", a.0, a.1) + &entry("[1]", b.0, b.1).replace("\"t", "\"u");
    for entries in [
        entry("[9223372036854775808,2]", 0, 8),
        entry("[18446744073709551615,18446744073709551615]", 0, 8),
        entry("[4294967296,4294967296]", 0, 0),
        entry("[2]", 8, 0),
        entry("[2]", max - 7, max),
        entry("[2]", 4, 12),
        entry("[3]", 0, 8),
        entry("[1]", 0, 4),
        entry("[2]", 0, 8) + &entry("[0]", max, max),
        entry("[-1]", 0, 8),
        entry("[1e9]", 0, 8),
        two((0, 4), (0, 4)),
        two((0, 4), (2, 6)),
        two((0, 4), (8, 12)),
        // A gap and an overlap, the last byte where it should be.
        entry("[1]", 4, 8),
        entry("[2]", 0, 8) + &entry("[1]", 4, 8),
        entry("[1]", 0, 4) + &entry("[1]", 0, 4),
        entry("[2]", 0, 8).replace("F32", "F16").replace("[0,8]", "[0,9]"),
        entry("[2]", 0, 8).replace("shape", "shapes"),
        r#","t":[]"#.into(),
        r#","__metadata__":{}"#.into(),
        ",".into(),
    ] {
        refused(&with_entries(&entries, 8), ErrorKind::Corrupt);
    }
    let twice = r#"{"__metadata__":{"starple.checksum":"00000000","starple.format":"1","starple.what":"a","starple.what":"b"}}"#;
    refused(&raw(twice.as_bytes(), &[]), ErrorKind::Corrupt);
    let number = r#"{"__metadata__":{"starple.checksum":"00000000","starple.format":"1","starple.what":1}}"#;
    refused(&raw(number.as_bytes(), &[]), ErrorKind::Corrupt);
    refused(
        &raw(b"{\"__metadata__\":{\"starple.checksum\":\"00000000\",\"starple.format\":\"1\"}}\xff", &[]),
        ErrorKind::Corrupt,
    );
}

#[test]
fn brackets_without_end() {
    for deep in ["[".repeat(500_000), "{\"a\":".repeat(200_000)] {
        refused(&with_entries(&format!(r#","t":{deep}"#), 8), ErrorKind::Corrupt);
        let forge = Forge::of(&file());
        refused(&forge.clone().metadata("starple.config", &deep).file(), ErrorKind::Config);
        refused(&forge.clone().metadata("starple.config", &format!("{{\"layout\":{deep}")).file(), ErrorKind::Config);
        let mut forge = forge;
        let encoder = forge.tensor("encoder");
        (encoder.bytes, encoder.shape) = (deep.clone().into_bytes(), vec![deep.len()]);
        refused(&forge.file(), ErrorKind::Config);
    }
}

fn layout(domains: usize, tasks: usize) -> Layout {
    Layout::new((0..domains).map(|i| format!("d{i}")), (0..tasks).map(|i| format!("t{i}")))
        .field("item", 3)
        .numeric(["price"])
}

/// A small file of every kind of model.
fn of_all_kinds() -> impl Iterator<Item = Forge> {
    AnyConfig::KINDS.iter().map(|kind| {
        let config = AnyConfig::from_settings(json!({ "kind": kind, "embedding_dim": 2 }), &layout(2, 2), 1).unwrap();
        Forge::of(&bytes(&ModelFile::new(&Model::new(config))))
    })
}

/// Settings whose size is no size of a model.
const HARMLESS: [&str; 2] = ["seed", "norm_min_rows"];

#[test]
fn settings_of_giants_in_small_files() {
    let mut tried = 0;
    for forge in of_all_kinds() {
        let config = forge.config();
        let mut attempt = |changed: &Value, harmless: bool| {
            let file = forge.clone().metadata("starple.config", &changed.to_string()).file();
            let error = bounded(&file);
            assert!(error.is_some() || harmless, "{changed}");
            tried += 1;
        };
        for giant in [1_u64 << 31, 1 << 40, i64::MAX as u64, u64::MAX] {
            let mut changed = config.clone();
            changed["layout"]["fields"][0]["rows"] = giant.into();
            attempt(&changed, false);
            for (key, value) in config.as_object().unwrap() {
                let mut changed = config.clone();
                match value {
                    Value::Number(number) if number.is_u64() => changed[key] = giant.into(),
                    Value::Array(_) => changed[key] = json!([giant, giant]),
                    _ => continue,
                }
                attempt(&changed, HARMLESS.contains(&key.as_str()));
                if value.is_array() {
                    changed[key] = vec![1; 100_000].into();
                    attempt(&changed, false);
                }
            }
        }
        for combination in [json!({"low_rank": {"rank": u64::MAX}}), json!("concatenation"), json!("sigmoid_gate")] {
            let mut changed = config.clone();
            if config.get("combination").is_some() {
                changed["combination"] = combination;
                attempt(&changed, false);
            }
        }
    }
    assert!(tried > 14 * 4 * 3, "{tried}");
}

#[test]
fn layouts_of_giants_in_small_files() {
    let mut many = Vec::new();
    for forge in of_all_kinds() {
        let mut config = forge.config();
        config["layout"] = serde_json::to_value(layout(3000, 3000)).unwrap();
        let branches: &[&str] =
            if config.get("branches").is_some() { &["tasks", "domains", "domains_and_tasks"] } else { &[""] };
        for &branches in branches {
            if !branches.is_empty() {
                config["branches"] = branches.into();
            }
            many.push(forge.clone().metadata("starple.config", &config.to_string()).file());
            if config.get("reads").is_some() {
                // Nine million branches, none of which has such a name.
                let mut config = config.clone();
                config["reads"] = json!({ "d1/t1": (0..3000).map(|i| format!("d{i}/x")).collect::<Vec<_>>() });
                many.push(forge.clone().metadata("starple.config", &config.to_string()).file());
            }
        }
    }
    assert!(many.len() > 30);
    for file in many {
        let error = bounded(&file).expect("the file is hostile");
        assert!(matches!(error.kind(), ErrorKind::Shape | ErrorKind::Config | ErrorKind::Missing), "{error}");
    }
}

#[test]
fn changes_behind_a_right_checksum_never_panic() {
    let (mut file, mut rng) = (file(), ChaCha8Rng::seed_from_u64(1));
    let (mut loaded, mut kinds) = (0, std::collections::BTreeSet::new());
    for byte in 0..file.len() {
        let was = file[byte];
        for value in [was ^ (1 << rng.random_range(0..8)), rng.random(), b'9', b'"'] {
            file[byte] = value;
            match load_as::<StarConfig>(&signed(file.clone())) {
                Ok(_) => loaded += 1,
                Err(error) => _ = kinds.insert(format!("{:?}", error.kind())),
            }
        }
        file[byte] = was;
    }
    // Another value of a weight is as good as any.
    assert!(loaded > 100 && kinds.len() >= 8, "{loaded} loaded, {kinds:?}");
}

//! Checks settings that need more memory than there is: an error before anything is allocated, which says how much and what to make smaller.

#[path = "model_file/memory.rs"]
mod memory;

use memory::peak;
use serde_json::{Value, json};
use starple::data::Layout;
use starple::model::{AnyConfig, Model};
use starple::optim::OptimizerConfig;
use starple::train::{TrainConfig, Trainer, in_pool};
use starple::{Error, ErrorKind};
use starple_lab::compare::{CompareConfig, Contender};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

fn layout() -> Layout {
    Layout::new(["search", "feed", "mail"], ["click", "buy"]).field("item", 50).numeric(["price"])
}

fn config(kind: &str, key: &str, value: &Value) -> Result<AnyConfig, Error> {
    AnyConfig::from_settings(json!({ "kind": kind, key: value }), &layout(), 1)
}

/// The default settings of a kind.
fn settings(kind: &str) -> serde_json::Map<String, Value> {
    let config = AnyConfig::from_settings(json!({ "kind": kind }), &layout(), 1).unwrap();
    let Value::Object(mut settings) = serde_json::to_value(config).unwrap() else { panic!("settings have keys") };
    settings.retain(|key, _| !["kind", "layout", "seed"].contains(&key.as_str()));
    settings
}

/// Settings that are lists of names, not of widths.
const NAMES: [&str; 1] = ["priors"];

/// The error of `work`, which must allocate little memory.
#[track_caller]
fn refused<T>(work: impl FnOnce() -> Result<T, Error>) -> String {
    let (result, bytes) = peak(|| work().map(drop));
    let error = result.expect_err("it asks for too much");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(bytes < 8 << 20, "{bytes} bytes on the way to: {error}");
    error.to_string()
}

#[test]
fn every_number_of_every_kind_has_a_limit() {
    let mut tried = 0;
    for kind in AnyConfig::KINDS {
        for (key, value) in settings(kind).into_iter().filter(|(key, _)| !NAMES.contains(&&**key)) {
            let hostile: Vec<Value> = match value {
                // The number of rows for batch statistics is not a size.
                Value::Number(number) if number.is_u64() && key != "norm_min_rows" => {
                    [1_000_000, 100_000_000, 1 << 40, 1_000_000_000_000_000_000, i64::MAX as u64, u64::MAX]
                        .map(Value::from)
                        .into()
                }
                Value::Array(_) => [1_000_000, 1 << 40, i64::MAX as u64, u64::MAX]
                    .into_iter()
                    .flat_map(|n| [json!([n]), json!([n, n]), json!([8, n]), json!([n, 8])])
                    .chain([vec![1; 100_000].into()])
                    .collect(),
                _ => continue,
            };
            for hostile in hostile {
                let text = refused(|| config(kind, &key, &hostile));
                assert!(text.contains(&*key) || key == "hidden", "{kind}: {text}");
                assert!(text.len() < 2000, "{} bytes of text", text.len());
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
    let names: Vec<Value> = (0..20_000).map(|i| format!("no field {i}").into()).collect();
    for hostile in [names.into(), vec!["item"; 20_000].into()] {
        let text = refused(|| config("pepnet", "priors", &hostile));
        assert!(text.contains("priors: expected categorical or multi-valued features (\"item\"), each once"), "{text}");
        assert!(text.len() < 2000, "{} bytes of text", text.len());
    }
    let rank = |rank: u64| config("star", "combination", &json!({ "low_rank": { "rank": rank } }));
    assert!(refused(|| rank(u64::MAX)).contains("combination.low_rank.rank: 1 to 65536"));
}

#[test]
fn numbers_that_are_too_large_together_are_refused_with_their_names_and_bytes() {
    // For each kind, lists of widths of the largest length and width: terabytes.
    for kind in AnyConfig::KINDS {
        let lists: Vec<String> = settings(kind)
            .into_iter()
            .filter(|(key, v)| v.is_array() && !NAMES.contains(&&**key))
            .map(|(key, _)| key)
            .collect();
        assert!(!lists.is_empty());
        for key in lists {
            let text = refused(|| config(kind, &key, &vec![65_536; 256].into()));
            assert!(text.contains("memory: the parameters take ") && text.contains(" TB, there is "), "{kind}: {text}");
            assert!(text.contains("; make smaller: ") && text.contains(&format!("{key} = [65536")), "{kind}: {text}");
            assert!(text.contains("STARPLE_MEMORY_GIB"), "{text}");
        }
    }
    // Very many very small layers: more memory for the layers than for their values.
    let many = json!({
        "kind": "ple", "levels": 256, "shared_experts": 2000, "own_experts": 2000, "expert_hidden": vec![1; 256], "embedding_dim": 1,
    });
    let text = refused(|| AnyConfig::from_settings(many, &layout(), 1));
    assert!(text.contains("memory: ") && text.contains("levels = 256"), "{text}");
    // The layers before it do not change.
    let fine =
        json!({ "kind": "ple", "levels": 3, "shared_experts": 12, "expert_hidden": [512, 256], "embedding_dim": 64 });
    AnyConfig::from_settings(fine, &layout(), 1).unwrap();
}

#[test]
fn a_table_that_is_too_large_is_refused_by_its_name() {
    for kind in AnyConfig::KINDS {
        let mut layout = layout();
        layout = layout.field("user", 4_000_000_000);
        let settings = json!({ "kind": kind, "embedding_dim": 1024 });
        let text = refused(|| AnyConfig::from_settings(settings, &layout, 1));
        assert!(text.contains("the table \"user\" (4000000000 rows)"), "{text}");
        assert!(text.contains("embedding_dim = 1024"), "{text}");
        layout.tables[1].rows = usize::MAX;
        let text = refused(|| AnyConfig::from_settings(json!({ "kind": kind }), &layout, 1));
        assert!(text.contains("layout.tables.user: at most 4294967295 rows"), "{text}");
    }
}

#[test]
fn a_batch_that_is_too_large_is_refused_before_the_model_is_made() {
    let many = Layout { numeric: (0..2000).map(|i| format!("n{i}")).collect(), ..layout() };
    let mran = AnyConfig::from_settings(json!({ "kind": "mran" }), &many, 1).unwrap();
    let train = TrainConfig::builder().batch_rows(1 << 20).build().unwrap();
    let text = refused(|| train.check_memory(&*mran, 1 << 30, 1000));
    assert!(text.contains("a batch of 1048576 rows") && text.contains(" TB"), "{text}");
    assert!(text.contains("batch_rows = 1048576") && text.contains("the number of numeric features (2000)"), "{text}");
    // A batch cannot have more rows than the data set.
    train.check_memory(&*mran, 10, 10).unwrap();
    let wide = json!({ "kind": "star", "hidden": [65536] });
    let star = AnyConfig::from_settings(wide, &layout(), 1).unwrap();
    let train = TrainConfig::builder().batch_rows(1 << 28).build().unwrap();
    let text = refused(|| train.check_memory(&*star, 1 << 30, 1000));
    assert!(text.contains("batch_rows = 268435456"), "{text}");
}

#[test]
fn numbers_of_a_run_have_bounds() {
    for (settings, expected) in [
        (json!({ "threads": 100_000 }), "threads: at most 1024, found 100000"),
        (json!({ "threads": u64::MAX }), "threads: at most 1024"),
        (json!({ "batch_rows": 1_000_000_000_000_000_000_u64 }), "batch_rows: at most 4294967295"),
        (json!({ "epochs": u64::MAX }), "epochs: at most 4294967295"),
    ] {
        let error = serde_json::from_value::<TrainConfig>(settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(refused(|| in_pool(100_000, || ())).contains("threads: at most 1024, found 100000"));
    let star = || Contender::from_settings(json!({ "kind": "star" })).unwrap();
    let runs = CompareConfig::builder().contender(star()).parallel_runs(100_000).build();
    assert!(refused(|| runs).contains("parallel_runs: at most 1024, found 100000"));
}

/// The peak memory of a run of two steps on batches of `batch_rows` rows, in bytes, without the model and its rows.
fn measured(model: &AnyConfig, batch_rows: usize) -> usize {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let rows = log.data_set().slice(0..2 * batch_rows);
    let settings = TrainConfig::builder().epochs(1).batch_rows(batch_rows);
    let settings = settings.optimizer(OptimizerConfig::sgd(0.1).unwrap()).build().unwrap();
    let (mut model, mut trainer) = (Model::new(model.clone()), Trainer::new(settings));
    peak(|| trainer.fit(&mut model, rows, None).unwrap()).1
}

#[test]
fn the_estimated_memory_of_a_batch_is_close_to_the_measured_one() {
    let layout = SyntheticLog::generate(&SyntheticConfig::toy()).layout();
    let mut wrong = Vec::new();
    for kind in AnyConfig::KINDS {
        for branches in ["tasks", "domains", "domains_and_tasks"] {
            for (norm, activation, dropout) in [("none", "relu", 0.0), ("layer", "gelu", 0.2), ("batch", "dice", 0.0)] {
                let mut settings = json!({
                    "kind": kind, "embedding_dim": 8, "norm": norm, "activation": activation, "dropout": dropout,
                });
                if !["star", "pooled", "pepnet"].contains(kind) {
                    settings["branches"] = branches.into();
                } else if branches != "tasks" {
                    continue;
                }
                if *kind == "pepnet" {
                    settings["priors"] = json!(["user"]);
                }
                let config = AnyConfig::from_settings(settings, &layout, 1).unwrap();
                let need = |rows: usize| {
                    let train = TrainConfig::builder().batch_rows(rows).build().unwrap();
                    train.memory(&*config, 100_000, 0).total()
                };
                let (said, took) = (need(320) - need(80), (measured(&config, 320) - measured(&config, 80)) as f64);
                let ratio = said / took;
                if !(0.8..3.0).contains(&ratio) {
                    wrong.push(format!("{kind}, {branches}, {norm}: said {said}, took {took}: {ratio:.2}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

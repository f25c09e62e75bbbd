//! The `train` example as a user runs it: its report, and its errors word by word.

mod example;

use std::path::Path;
use std::process::Output;

use example::LOG;
use serde_json::Value;

fn train(arguments: &[&str]) -> Output {
    example::run("train", arguments)
}

const RUN: &str = concat!(
    example::columns!(),
    r#"
[model]
kind = "star"
hidden = [4]

[train]
epochs = 1
"#
);

fn complaint(run: &str, log: &[u8]) -> String {
    example::complaint("train", run, log)
}

#[test]
fn the_report_has_what_the_documentation_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let output = train(&[
        "examples/runs/toy-ple.toml",
        "--set",
        "train.epochs=1",
        "--set",
        "train.seed=7",
        "--report",
        path.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("checkout") && table.contains("mean of domains"), "{table}");
    assert_report(&path);
}

fn assert_report(path: &Path) {
    let report: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(report["model"], "ple");
    assert_eq!(report["seed"], 7);
    // Epochs count from 1, as on the screen.
    assert_eq!((&report["epochs"], &report["best_epoch"]), (&1.into(), &1.into()));
    assert_eq!((&report["history"][0]["epoch"], &report["finished"]), (&1.into(), &true.into()));
    assert_eq!(report["stop"]["reason"], "epochs");
    assert!(report["parameters"].as_u64().unwrap() > 1000);
    for part in ["read", "train", "evaluate"] {
        assert!(report["seconds"][part].as_f64().unwrap() >= 0.0);
    }
    assert!(report["train_rows_per_s"].as_f64().unwrap() > 0.0);
    for split in ["val", "test"] {
        for task in ["click", "cart"] {
            let measures = &report[split][task];
            for key in ["auc", "logloss", "pcoc", "mean_domain_auc"] {
                assert!(measures[key].is_f64(), "{split} {task} {key}");
            }
            let search = &measures["by_domain"]["search"];
            assert!(search["auc"].is_f64() && search["logloss"].is_f64() && search["pcoc"].is_f64());
            assert!(search["rows"].as_u64().unwrap() > 1000);
        }
        assert!(report[split]["cart"]["by_domain"]["partner"]["auc"].is_null(), "undefined is null");
    }
}

#[test]
fn an_unknown_key_is_named_with_what_was_expected() {
    let text = complaint(&RUN.replace("split = \"split\"", "splits = \"split\""), LOG.as_bytes());
    assert!(text.starts_with("error: file.toml: TOML parse error at line 4, column 1"), "{text}");
    assert!(text.contains("unknown field `splits`, expected one of `path`, `split`, `train`"), "{text}");

    assert_eq!(
        complaint(&RUN.replace("epochs = 1", "epoch = 1"), LOG.as_bytes()),
        "error: file.toml: [train]: unknown field `epoch`, expected one of `epochs`, `batch_rows`, `batches`, `optimizer`, \
         `embedding_optimizer`, `schedule`, `clip`, `freeze`, `objective`, `early_stop`, `seed`, `threads`"
    );
    let text = complaint(&RUN.replace("hidden = [4]", "hiden = [4]"), LOG.as_bytes());
    assert!(
        text.contains("[model]: unknown field `hiden`, expected one of `layout`, `seed`, `embedding_dim`"),
        "{text}"
    );
}

#[test]
fn settings_that_cannot_be_are_named() {
    let kinds = starple::AnyConfig::KINDS.join(", ");
    assert_eq!(
        complaint(&RUN.replace("kind = \"star\"", "kind = \"stra\""), LOG.as_bytes()),
        format!("error: file.toml: [model]: unknown kind \"stra\", expected one of {kinds}")
    );
    assert_eq!(
        complaint(&RUN.replace("kind = \"star\"", ""), LOG.as_bytes()),
        format!("error: file.toml: [model]: expected `kind`, one of {kinds}")
    );
    let text = complaint(&RUN.replace("hidden = [4]", "hidden = [0]\ndropout = 2.0"), LOG.as_bytes());
    assert!(text.contains("dropout: 0 <= dropout < 1, found 2; hidden: every width at least 1, found [0]"), "{text}");
    let text = complaint(&RUN.replace("epochs = 1", "epochs = 0"), LOG.as_bytes());
    assert!(text.contains("[train]: TrainConfig: epochs: at least 1, found 0"), "{text}");
    let text = complaint(&RUN.replace("split = \"split\"\n", ""), LOG.as_bytes());
    assert_eq!(text, "error: [data]: expected `path` and `split`, or `train`, `val` and `test`, and not both");
}

#[test]
fn bad_rows_are_named_with_file_line_column_and_value() {
    let text = complaint(&RUN.replace("\"item\"", "\"itme\""), LOG.as_bytes());
    assert!(text.contains("log.csv:1: column \"itme\"") && text.contains("item"), "{text}");
    let text = complaint(RUN, LOG.replace("lamp,25", "lamp,cheap").as_bytes());
    assert!(text.contains("log.csv:4: column \"price\": found \"cheap\""), "{text}");
    let text = complaint(RUN, LOG.replace("home,0,train", "home,2,train").as_bytes());
    assert!(text.contains("log.csv:3: column \"click\": found \"2\""), "{text}");
    let text = complaint(RUN, LOG.replace(",val", ",valid").as_bytes());
    assert!(text.contains("\"split\"") && text.contains("valid"), "{text}");
}

#[test]
fn a_diverging_run_fails_and_says_where() {
    let arguments = ["examples/runs/toy-star.toml", "--set", "train.optimizer={kind=\"sgd\",lr=1e30}"];
    let output = train(&arguments);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not finite at step") && text.contains("for task \"click\""), "{text}");
    assert!(text.contains("best epoch none") && text.lines().count() == 1, "no table of untrained weights: {text}");
}

#[test]
fn wrong_arguments_show_the_usage() {
    for arguments in [&[][..], &["--fast"], &["a.toml", "b.toml"], &["a.toml", "--set"]] {
        let output = train(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage: train RUN.toml"));
    }
}

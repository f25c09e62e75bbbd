//! Runs the example `train` as a user does, and checks its report and the texts of its errors.

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
fn tasks_that_predict_numbers_are_trained_saved_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let [report, model] = ["report.json", "model.safetensors"].map(|name| folder.path().join(name));
    let output = train(&[
        "examples/runs/toy-numbers.toml",
        "--set",
        "train.epochs=2",
        "--report",
        report.to_str().unwrap(),
        "--save",
        model.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("XAUC") && table.contains("log loss"), "{table}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let price = &report["test"]["price"];
    assert_eq!(price["kind"], "regression");
    assert!(["mse", "mae", "r2", "xauc", "pcoc"].iter().all(|key| price[key].is_f64()), "{price}");
    assert!(price["auc"].is_null() && report["test"]["click"]["auc"].is_f64());
    let saved = starple::persist::Saved::load(model).unwrap();
    let mean = |target| matches!(target, starple::data::Target::Regression { mean, .. } if mean > 20.0);
    assert!(mean(saved.model.layout().target(1)), "{:?}", saved.model.layout().targets);

    let run = RUN.replace(r#"labels = ["click"]"#, r#"labels = ["click", { name = "price", kind = "number" }]"#);
    let text = complaint(&run, LOG.as_bytes());
    assert!(text.contains("unknown variant `number`, expected one of `binary`, `regression`, `count`"), "{text}");
    let run = RUN.replace(r#"labels = ["click"]"#, r#"labels = [{ name = "click", kind = "count" }]"#);
    let text = complaint(&run, LOG.as_bytes());
    assert!(
        text.contains("metric: no task has the metric AUC; a count task has PCOC, MSE, MAE, R², XAUC, deviance"),
        "{text}"
    );
}

#[test]
fn an_unknown_key_is_named_with_what_was_expected() {
    let text = complaint(&RUN.replace("split = \"split\"", "splits = \"split\""), LOG.as_bytes());
    assert!(text.starts_with("error: file.toml: TOML parse error at line 4, column 1"), "{text}");
    assert!(text.contains("unknown field `splits`, expected one of `path`, `split`, `train`"), "{text}");

    assert_eq!(
        complaint(&RUN.replace("epochs = 1", "epoch = 1"), LOG.as_bytes()),
        "error: file.toml: [train]: unknown field `epoch`, expected one of `epochs`, `batch_rows`, `batches`, `optimizer`, \
         `embedding_optimizer`, `schedule`, `clip`, `freeze`, `objective`, `early_stop`, `statistics_rows`, `average`, `unknown`, `id_l2`, \
         `seed`, `threads` (did you mean `epochs`?)"
    );
    let text = complaint(&RUN.replace("hidden = [4]", "hiden = [4]"), LOG.as_bytes());
    assert!(
        text.contains("[model]: unknown field `hiden`, expected one of `seed`, `embedding_dim`")
            && text.ends_with("(did you mean `hidden`?)"),
        "{text}"
    );
}

#[test]
fn invalid_settings_are_named() {
    let kinds = starple::AnyConfig::KINDS.join(", ");
    assert_eq!(
        complaint(&RUN.replace("kind = \"star\"", "kind = \"stra\""), LOG.as_bytes()),
        format!("error: file.toml: [model]: unknown kind \"stra\", expected one of {kinds} (did you mean `star`?)")
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
    assert!(
        text.contains("\"split\": expected train, val or test")
            && text.contains("\"valid\" (2 rows; did you mean \"val\"?)"),
        "{text}"
    );
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
fn wrong_arguments_are_refused() {
    for arguments in [&[][..], &["--fast"], &["a.toml", "b.toml"], &["a.toml", "--set"]] {
        let output = train(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("try '--help'"));
    }
}

#[test]
fn a_value_of_another_form_is_named_with_its_key_and_an_example() {
    let with = |line: &str| complaint(&RUN.replace("epochs = 1", line), LOG.as_bytes());
    for (line, says) in [
        (
            "optimizer = { kind = \"adam\", lr = 0 }",
            "[train] optimizer: AdamConfig: lr: a finite number above 0, found 0",
        ),
        ("optimizer = 3", "[train] optimizer: invalid type: integer `3`, expected a table with `kind` (for example"),
        (
            "optimizer = { kind = \"adm\", lr = 0.1 }",
            "[train] optimizer.kind: unknown variant `adm`, expected one of `sgd`, `adam`, `adamw`, `adagrad`, `rowwise_adagrad` (did you mean `adam`?)",
        ),
        (
            "optimizer = { kind = \"adam\", lr = 0.1, beta = 0.5 }",
            "[train] optimizer: unknown field `beta`, expected one of `lr`, `beta1`",
        ),
        ("optimizer = { lr = 0.1 }", "[train] optimizer: found { lr = 0.1 }: missing field `kind`"),
        (
            "clip = 5.0",
            "[train] clip: found 5.0: expected a name, or a table with one key (for example `clip = { norm = 5.0 }`",
        ),
        (
            "early_stop = 3",
            "[train] early_stop: invalid type: integer `3`, expected a table (for example `early_stop = { patience = 3 }`)",
        ),
        (
            "early_stop = { patience = \"3\" }",
            "[train] early_stop.patience: invalid type: string \"3\", expected a whole number, at least 0",
        ),
        (
            "early_stop = { monitor = \"acu\" }",
            "[train] early_stop.monitor.metric: unknown variant `acu`, expected one of",
        ),
        ("schedule = \"cosine\"", "[train]: CosineLr: total_steps: above warm_up_steps (0), found 0"),
        ("early_stop = { patience = 0 }", "[train] early_stop: EarlyStop: patience: at least 1, found 0"),
        (
            "batches = \"one-domain\"",
            "[train] batches: unknown variant `one-domain`, expected `mixed` or `one_domain` (did you mean `one_domain`?)",
        ),
        (
            "objective = { weighting = \"gradnrm\" }",
            "[train] objective.weighting.kind: unknown variant `gradnrm`, expected one of",
        ),
        ("batch_rows = -1", "[train] batch_rows: invalid value: integer `-1`, expected a whole number, at least 0"),
    ] {
        let text = with(line);
        assert!(text.starts_with("error: file.toml: ") && text.contains(says), "{line}: {text}");
        for of_rust in ["enum", "struct", "usize", "u64", "f64", "File", "::"] {
            assert!(!text.contains(of_rust), "{line}: {text}");
        }
    }
    for (line, says) in [
        ("dropuot = 0.1", "[model]: unknown field `dropuot`"),
        ("combination = \"prodct\"", "[model] combination: unknown variant `prodct`"),
        ("activation = \"rleu\"", "[model] activation: unknown variant `rleu`"),
        ("dropout = \"0.1\"", "[model] dropout: invalid type: string \"0.1\", expected a number"),
        ("norm_epsilon = [1]", "[model] norm_epsilon: "),
    ] {
        let text = complaint(&RUN.replace("hidden = [4]", line), LOG.as_bytes());
        assert!(text.starts_with("error: file.toml: ") && text.contains(says), "{line}: {text}");
        assert!(!line.contains("rleu") || text.ends_with("(did you mean `relu`?)"), "{text}");
        assert!(!text.contains("f32") && !text.contains("enum"), "{text}");
    }
    for (old, new, says) in [
        ("numeric = [\"price\"]", "numeric = \"price\"", "expected a list"),
        (
            "numeric = [\"price\"]",
            "numeric = [{ name = \"price\", transform = \"bucket\" }]",
            "(did you mean `buckets`?)",
        ),
        ("domain = \"page\"", "domian = \"page\"", "(did you mean `domain`?)"),
        (
            "domain = \"page\"",
            "unknown_domain = \"share\"",
            "expected one of `error`, `shared`, `drop` (did you mean `shared`?)",
        ),
        (
            "domain = \"page\"",
            "read.quote = \"<<\"",
            "ReadOptions: quote: one ASCII character that is not a line break",
        ),
    ] {
        let text = complaint(&RUN.replace(old, new), LOG.as_bytes());
        assert!(text.contains(says) && !text.contains("enum"), "{new}: {text}");
    }
}

/// Runs the example on these rows, with more keys in `[data]`. Returns its stderr and its report.
fn trained(rows: &str, keys: &str) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("log.csv"), rows).unwrap();
    let run = RUN.replace("LOG", &path("log.csv")).replace("[features]", &format!("{keys}\n[features]"));
    std::fs::write(path("run.toml"), run).unwrap();
    let output = train(&[&path("run.toml"), "--report", &path("report.json")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    (text, serde_json::from_str(&std::fs::read_to_string(path("report.json")).unwrap()).unwrap())
}

#[test]
fn rows_without_a_place_are_dropped_and_said_where_that_is_asked_for() {
    let log = LOG.to_owned() + "lamp,1,mail,0,test\nlamp,1,home,0,Test\n";
    let text = complaint(RUN, log.as_bytes());
    assert!(text.contains("log.csv:11: column \"split\"") && text.contains("unknown_split = \"drop\""), "{text}");
    let text = complaint(RUN, log.replace("Test", "test").as_bytes());
    assert!(text.contains("log.csv:10: column \"page\"") && text.contains("unknown_domain = \"shared\""), "{text}");
    let (text, report) = trained(&log, "unknown_split = \"drop\"\nunknown_domain = \"drop\"");
    assert!(text.contains("warning: left out: 1 row with \"Test\" in column \"split\""), "{text}");
    assert!(text.contains("warning: left out: 1 row of the test split with \"mail\" in column \"page\""), "{text}");
    assert_eq!((&report["data"]["rows"]["test"], &report["data"]["left_out"][1]["value"]), (&2.into(), &"mail".into()));
    let (text, report) = trained(&log, "unknown_split = \"drop\"\nunknown_domain = \"shared\"");
    assert!(text.contains("warning: scored by the shared path: 1 row of the test split with \"mail\""), "{text}");
    assert_eq!(report["test"]["click"]["by_domain"]["(shared)"]["rows"], 1);
}

#[test]
fn unknown_values_are_in_the_report_and_said_where_they_are_most() {
    let (text, report) =
        trained(&LOG.replace("lamp,21,home,1,test", "Lamp,21,home,1,test").replace("sofa,1,", "Sofa,1,"), "");
    assert!(
        text.contains("warning: feature \"item\": 2 of 2 values of the test split are in no training row"),
        "{text}"
    );
    assert_eq!(report["data"]["unknown"][0]["feature"], "item");
    assert_eq!(
        (&report["data"]["unknown"][0]["test"]["count"], &report["data"]["unknown"][0]["val"]["count"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn limits_quotes_and_escapes_are_keys() {
    let text = complaint(&RUN.replace("domain =", "read.max_rows = 7\ndomain ="), LOG.as_bytes());
    assert!(text.contains("log.csv:9: expected at most 7 rows (max_rows)"), "{text}");
    for (key, says) in
        [("max_bytes = 50", "max_bytes"), ("max_cell_bytes = 3", "max_cell_bytes"), ("max_columns = 4", "max_columns")]
    {
        let text = complaint(&RUN.replace("domain =", &format!("read.{key}\ndomain =")), LOG.as_bytes());
        assert!(text.contains(&format!("({says})")), "{text}");
    }
    let quoted = LOG.replace("lamp", "\"la\\\"mp\"");
    assert!(complaint(RUN, quoted.as_bytes()).contains("set escape = "), "no escape");
    trained(&quoted, "read.escape = \"\\\\\"");
    trained(&LOG.replace("lamp", "\"lamp"), "read.quote = \"\"");
}

/// A user without Rust shares a table, gives it a width and keeps a bag's values apart: the model file has one table of that shape.
#[test]
fn a_run_file_shares_a_table_and_keeps_a_history_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let row = |i: usize| {
        let split = ["train", "train", "train", "val", "test", "test"][i % 6];
        format!("i{},i{}|i{}|h{},s{},{},{split}\n", i % 7, i % 5, i % 3, i % 2, i % 2, i / 6 % 2)
    };
    let rows: String = (0..60).map(row).collect();
    std::fs::write(path("log.csv"), format!("item,history,scene,click,split\n{rows}")).unwrap();
    let run = format!(
        r#"
[data]
path = {:?}
split = "split"
domain = "scene"
labels = ["click"]

[features]
categorical = [{{ name = "item", dim = 5 }}]
[[features.bag]]
column = "history"
separator = "|"
pooling = {{ keep = 2 }}
table = "item"
dim = 5

[model]
kind = "star"
hidden = [4]

[train]
epochs = 1
"#,
        path("log.csv")
    );
    std::fs::write(path("run.toml"), &run).unwrap();
    let output = train(&[&path("run.toml"), "--save", &path("star.safetensors")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let saved = starple::persist::Saved::load(path("star.safetensors")).unwrap();
    let embeddings = saved.model.embeddings();
    // 7 items and 2 values that only histories have, and row 0.
    assert_eq!((embeddings.tables().len(), embeddings.tables()[0].dim()), (1, (10, 5)));
    assert_eq!(embeddings.width(), 5 + 2 * 5 + 1);

    std::fs::write(path("run.toml"), run.replace("dim = 5\n\n", "dim = 4\n\n")).unwrap();
    let output = train(&[&path("run.toml")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("\"item\" and \"history\" need the same dim"), "{text}");
}

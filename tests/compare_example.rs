//! The `compare` example as a user runs it: its report and picture, and its errors word by word.

mod example;

use serde_json::Value;

fn run(arguments: &[&str]) -> std::process::Output {
    example::run("compare", arguments)
}

const FILE: &str = concat!(
    "seeds = [1, 2]\n",
    example::columns!(),
    r#"
[train]
epochs = 1

[[models]]
kind = "single"
hidden = [4]

[[models]]
kind = "star"
hidden = [4]
"#
);

/// The toy log and five small models, an epoch each.
const TOY: &str = r#"
seeds = [7, 8]

[data]
path = "examples/data/toy.csv"
split = "split"
domain = "scene"
labels = ["click", "cart"]

[features]
categorical = ["user", "item"]

[train]
epochs = 1
batch_rows = 512

[model]
embedding_dim = 4

[[models]]
kind = "single"
hidden = [8]

[[models]]
kind = "shared_bottom"
bottom_hidden = [8]
tower_hidden = [4]

[[models]]
kind = "star"
hidden = [8]

[[models]]
kind = "mmoe"
expert_hidden = [8]
tower_hidden = [4]

[[models]]
kind = "ple"
expert_hidden = [8]
tower_hidden = [4]
"#;

/// Compares these five, with further arguments.
fn compare_toy(arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("toy.toml");
    std::fs::write(&file, TOY).unwrap();
    run(&[&[file.to_str().unwrap()], arguments].concat())
}

/// What the example says of this file, with the folder's name taken out.
fn complaint(file: &str) -> String {
    example::complaint("compare", file, example::LOG.as_bytes())
}

#[test]
fn tables_report_and_picture_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (report, svg) = (folder.path().join("report.json"), folder.path().join("report.svg"));
    let sets = ["models.1.name=one & all", "models.3.experts=2"];
    let mut arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    arguments.extend(["--report", report.to_str().unwrap(), "--svg", svg.to_str().unwrap()]);
    let output = compare_toy(&arguments);
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{progress}");
    assert!(progress.contains("single, seed 7 (run 1 of 10): best epoch 1 of 1, "), "{progress}");
    let tables = String::from_utf8(output.stdout).unwrap();
    assert!(tables.contains("click: gain in AUC") && tables.contains("cart: gain in AUC"), "{tables}");
    assert!(tables.contains("one & all") && tables.contains("paired Student's t-test"), "{tables}");

    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!((&report["baseline"], &report["level"]), (&"single".into(), &0.05.into()));
    let contenders = report["contenders"].as_array().unwrap();
    let names: Vec<&str> = contenders.iter().map(|contender| contender["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["single", "one & all", "star", "mmoe", "ple"]);
    for contender in contenders {
        assert_eq!(contender["seeds"], serde_json::json!([7, 8]));
        assert_eq!(contender["runs"].as_array().unwrap().len(), 2);
        assert!(contender["test"]["click"]["by_domain"]["search"]["auc"]["mean"].is_f64());
        assert!(contender["test"]["cart"]["by_domain"]["partner"]["auc"].is_null());
        assert_eq!(contender["gains"].is_null(), contender["name"] == "single");
    }
    let picture = std::fs::read_to_string(svg).unwrap();
    let picture = roxmltree::Document::parse(&picture).unwrap();
    let texts: Vec<&str> = picture.descendants().filter_map(|node| node.text()).collect();
    assert!(texts.contains(&"toy.csv: gain in AUC over single") && texts.contains(&"one & all"));
}

#[test]
fn what_a_file_gets_wrong_is_named() {
    let of = |from: &str, to: &str| complaint(&FILE.replace(from, to));
    assert!(
        of("kind = \"star\"", "kind = \"stra\"")
            .starts_with("error: file.toml: [[models]] 2: unknown kind \"stra\", expected one of single, pooled, star")
    );
    assert!(of("kind = \"star\"", "").starts_with("error: file.toml: [[models]] 2: expected `kind`, one of single"));
    assert_eq!(
        of("seeds = [1, 2]", "baseline = \"singel\""),
        "error: file.toml: CompareConfig: baseline: expected one of the contenders [\"single\", \"star\"], found \"singel\""
    );
    assert_eq!(
        of("kind = \"star\"", "kind = \"single\""),
        "error: file.toml: CompareConfig: contenders: \"single\" stands there twice; name one anew"
    );
    assert_eq!(of("seeds = [1, 2]", "seeds = []"), "error: file.toml: CompareConfig: seeds: at least one");
    assert_eq!(
        of("kind = \"star\"", "kind = \"star\"\nseed = 3"),
        "error: file.toml: [[models]] 2: star: seed: each run has its own; name it among the seeds"
    );
    assert_eq!(
        of("epochs = 1", "seed = 1"),
        "error: file.toml: [train]: unknown key `seed`: each run has its own; name it among `seeds`"
    );
    let text = of("kind = \"star\"", "kind = \"star\"\ntrain = { epoch = 3 }");
    assert!(
        text.contains("[[models]] 2: ") && text.contains("unknown field `epoch`, expected one of `epochs`"),
        "{text}"
    );
    let text = of("kind = \"star\"", "kind = \"star\"\ntrain = { seed = 3 }");
    assert_eq!(text, "error: file.toml: [[models]] 2: train.seed: each run has its own; name it among `seeds`");
    let text = of("kind = \"star\"\nhidden", "kind = \"star\"\nhiden");
    assert!(text.contains("contender \"star\": unknown field `hiden`, expected one of"), "{text}");
    let text = of("seeds = [1, 2]", "seed = 1");
    assert!(
        text.contains("unknown field `seed`, expected one of `data`, `features`, `train`, `model`, `models`, `seeds`"),
        "{text}"
    );
}

#[test]
fn sets_reach_into_lists() {
    let say = |set: &str| {
        let output = compare_toy(&["--set", set]);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap().trim_end().to_owned()
    };
    assert_eq!(
        say("models.9.dropout=0.1"),
        "error: --set models.9.dropout=0.1: `models` has 5 entries, from 0; found `9`"
    );
    assert!(say("models.0.kind.x=1").starts_with("error: --set models.0.kind.x=1: `kind` is not a table"));
    assert!(say("models.0.kind=moose").contains("[[models]] 1: unknown kind \"moose\""));
}

#[test]
fn the_file_of_the_toy_log_has_every_kind() {
    let file = "examples/compare/toy.toml";
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let kinds: Vec<&str> =
        table["models"].as_array().unwrap().iter().filter_map(|model| model["kind"].as_str()).collect();
    for kind in starple::AnyConfig::KINDS {
        assert!(kinds.contains(kind), "{kind}");
    }
    // The baseline is looked for when all models have been read, and before the log is.
    let output = run(&[file, "--set", "baseline=nobody"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("expected one of the contenders [\"single\", \"pooled\", \"shared_bottom\","), "{text}");
}

#[test]
fn a_model_that_diverges_with_every_seed_fails_the_command_and_stops_no_other() {
    let wild = "models.2.train={optimizer={kind=\"sgd\",lr=1e30}}";
    let output = compare_toy(&["--set", "seeds=[1]", "--set", wild]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("star, seed 1: left out; ") && text.contains("One seed tells no noise from gain"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ple ") && line.contains("0.")), "{text}");
}

#[test]
fn wrong_arguments_show_the_usage() {
    for arguments in [&[][..], &["--fast"], &["a.toml", "--svg"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage: compare COMPARE.toml"));
    }
}

#[test]
fn files_are_written_though_the_tables_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("log.csv"), example::LOG).unwrap();
    std::fs::write(at("file.toml"), FILE.replace("LOG", at("log.csv").to_str().unwrap())).unwrap();
    let mut command = example::command("compare");
    command.arg(at("file.toml")).arg("--report").arg(at("report.json")).arg("--svg").arg(at("report.svg"));
    assert!(example::deaf(&mut command).is_some(), "it ended by itself");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(at("report.json")).unwrap()).unwrap();
    assert!(report.is_object());
    assert!(std::fs::read_to_string(at("report.svg")).unwrap().starts_with("<svg"));
}

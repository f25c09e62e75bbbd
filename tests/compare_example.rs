//! Runs the example `compare` as a user does, and checks its report, its picture and the texts of its errors.

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

/// The toy log and five small models with one epoch each.
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

/// Compares these five models, with further arguments.
fn compare_toy(arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("toy.toml");
    std::fs::write(&file, TOY).unwrap();
    run(&[&[file.to_str().unwrap()], arguments].concat())
}

/// The error text of the example for this file, without the name of the folder.
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
fn errors_in_the_file_are_named() {
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
        "error: file.toml: CompareConfig: contenders: \"single\" is listed twice; rename one"
    );
    assert_eq!(of("seeds = [1, 2]", "seeds = []"), "error: file.toml: CompareConfig: seeds: at least one");
    assert_eq!(
        of("kind = \"star\"", "kind = \"star\"\nseed = 3"),
        "error: file.toml: [[models]] 2: star: seed: each run has its own; add it to the seeds of the comparison"
    );
    assert_eq!(
        of("epochs = 1", "seed = 1"),
        "error: file.toml: [train]: unknown key `seed`: every run has another seed; list seeds under `seeds`"
    );
    let text = of("kind = \"star\"", "kind = \"star\"\ntrain = { epoch = 3 }");
    assert!(
        text.contains("[[models]] 2: ") && text.contains("unknown field `epoch`, expected one of `epochs`"),
        "{text}"
    );
    let text = of("kind = \"star\"", "kind = \"star\"\ntrain = { seed = 3 }");
    assert_eq!(
        text,
        "error: file.toml: [[models]] 2: train.seed: every run has another seed; list seeds under `seeds`"
    );
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
    // The baseline is checked after all models are read and before the log is read.
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
fn wrong_arguments_are_refused() {
    for arguments in [&[][..], &["--fast"], &["a.toml", "--svg"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("try '--help'"));
    }
}

#[test]
fn files_are_written_even_if_the_tables_cannot_be() {
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

/// A comparison of these models that has started to train.
#[cfg(unix)]
fn started(arguments: &[&str], folder: &std::path::Path) -> std::process::Child {
    let file = folder.join("toy.toml");
    std::fs::write(&file, TOY).unwrap();
    let mut command = example::command("compare");
    command.arg(&file).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
}

#[cfg(unix)]
#[test]
fn an_interrupted_comparison_resumes_and_overwrites_nothing() {
    use std::io::{BufRead as _, BufReader, Read as _};

    let folder = tempfile::tempdir().unwrap();
    let (report, journal) = (folder.path().join("report.json"), folder.path().join("report.runs.jsonl"));
    let arguments = ["--set", "seeds=[7,8]", "--set", "train.epochs=3", "--report", report.to_str().unwrap()];
    let lines = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    let mut before = 0;
    for (signal, code, name) in [("-INT", Some(130), "Ctrl-C"), ("-TERM", Some(143), "SIGTERM"), ("-KILL", None, "")] {
        std::fs::write(&report, "an older report").unwrap();
        let mut child = started(&arguments, folder.path());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // Wait until the next run has started.
        let mut line = String::new();
        while lines() == before {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended");
        }
        assert!(std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{rest}");
        assert_eq!((std::fs::read_to_string(&report).unwrap(), output.stdout.len()), ("an older report".into(), 0));
        if code.is_some() {
            let last = format!("stopped by {name}; run the same command again to continue");
            assert_eq!(rest.lines().last(), Some(&*last), "{rest}");
        }
        assert!(lines() > before && lines() < 10, "{before} and {} of 10 runs", lines());
        before = lines();
    }
    let output = started(&arguments, folder.path()).wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains(&format!("journal: {before} of 10 runs are done")), "{stderr}");
    assert_eq!(lines(), 10);
    // Equal to an uninterrupted comparison, except for times.
    let other = folder.path().join("other.json");
    let arguments = ["--set", "seeds=[7,8]", "--set", "train.epochs=3", "--report", other.to_str().unwrap()];
    assert!(started(&arguments, folder.path()).wait().unwrap().success());
    let figures = |path: &std::path::Path| {
        let report: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let contenders = report["contenders"].as_array().unwrap();
        contenders
            .iter()
            .map(|c| (c["name"].clone(), c["test"].clone(), c["runs"][0]["test"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(figures(&report), figures(&other));
    // With other settings no run is reused, and a message says so.
    let slower = ["--set", "seeds=[7,8]", "--journal", journal.to_str().unwrap()];
    let output = started(&slower, folder.path()).wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("journal: 10 runs of other settings or rows are left alone"), "{stderr}");
    assert_eq!(lines(), 20);
}

#[test]
fn a_net_that_does_not_read_the_domain_is_warned_of() {
    let output = compare_toy(&["--set", "seeds=[7]"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let warned: Vec<&str> = stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warned.len(), 3, "{stderr}");
    assert!(warned[1].starts_with("warning: mmoe: branches = \"tasks\" ignores the domain"), "{stderr}");
}

//! Runs the example `inside` as a user does, and checks its errors.

mod example;

const RUN: &str = concat!(
    example::columns!(),
    r#"
[model]
kind = "pooled"

[train]
epochs = 5
"#
);

#[test]
fn a_model_without_gates_is_refused_before_it_is_trained() {
    assert_eq!(
        example::complaint("inside", RUN, example::LOG.as_bytes()),
        "error: file.toml: [model]: expected a model with gates, or star; found pooled, which has no gates"
    );
}

#[test]
fn a_diverging_run_fails_and_says_where() {
    let run = RUN.replace("pooled", "ple") + "optimizer = { kind = \"sgd\", lr = 3e38 }";
    let text = example::complaint("inside", &run, example::LOG.as_bytes());
    assert!(text.contains("error: ple: a ") && text.contains("that is not finite"), "{text}");
}

#[test]
fn files_are_written_even_if_the_tables_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let (report, svg) = (folder.path().join("report.json"), folder.path().join("picture.svg"));
    let mut command = example::command("inside");
    command.args(["examples/runs/toy-ple.toml", "--set", "train.epochs=1", "--report"]);
    let code = example::deaf(command.arg(&report).arg("--svg").arg(&svg));
    assert_eq!(code, Some(0));
    assert!(report.is_file() && std::fs::read_to_string(svg).unwrap().ends_with("</svg>\n"));
}

#[test]
fn arguments_are_checked_before_anything_is_read() {
    let output = example::run("inside", &["none.toml", "--svg"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: a value is required for '--svg <FILE>'"), "{text}");
    let output = example::run("inside", &["none.toml", "--svg", "no/such/folder/picture.svg"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "error: --svg no/such/folder/picture.svg: there is no folder no/such/folder\n");
}

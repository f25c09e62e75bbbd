//! Runs an example as a user does.

#![allow(dead_code, reason = "no test of an example needs all of it")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// A log to be refused or learned from in no time.
pub(crate) const LOG: &str = "item,price,page,click,split\nlamp,20,home,1,train\nsofa,400,home,0,train\nlamp,25,search,0,train\n\
                       sofa,300,search,1,train\nlamp,20,home,1,val\nsofa,20,home,0,val\nlamp,21,home,1,test\nsofa,1,search,0,test\n";

/// What a file says of that log.
macro_rules! columns {
    () => {
        r#"
[data]
path = "LOG"
split = "split"
domain = "page"
labels = ["click"]

[features]
categorical = ["item"]
numeric = ["price"]
"#
    };
}
pub(crate) use columns;

/// The example's binary, built with the features of this test; that takes no time where it is built already.
fn binary(example: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap();
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    if !built.iter().any(|name| name == example) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", example, "--no-default-features", "--target-dir"]);
        cargo.arg(profile.parent().unwrap());
        // `default` too: without its name, cargo takes the same features for others and builds all anew.
        let features = [
            ("default", cfg!(feature = "default")),
            ("progress", cfg!(feature = "progress")),
            ("parquet", cfg!(feature = "parquet")),
        ];
        for (feature, on) in features {
            if on {
                cargo.args(["--features", feature]);
            }
        }
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        built.push(example.to_owned());
    }
    profile.join("examples").join(example)
}

/// To run it in the project's folder.
pub(crate) fn command(example: &str) -> Command {
    let mut command = Command::new(binary(example));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs it.
pub(crate) fn run(example: &str, arguments: &[&str]) -> Output {
    command(example).args(arguments).output().unwrap()
}

/// Runs it with stdout and stderr closed at their other end. Gives the exit code.
pub(crate) fn deaf(command: &mut Command) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().unwrap().code()
}

/// What the example says of this file, in which `LOG` stands for the path of this log; the folder's name is taken out.
pub(crate) fn complaint(example: &str, file: &str, log: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (file_path, log_path) = (folder.path().join("file.toml"), folder.path().join("log.csv"));
    std::fs::write(&log_path, log).unwrap();
    std::fs::write(&file_path, file.replace("LOG", log_path.to_str().unwrap())).unwrap();
    let output = run(example, &[file_path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let folder = format!("{}/", folder.path().display());
    text.replace(&folder, "").trim_end().to_owned()
}

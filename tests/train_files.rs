//! Checks the files, exit codes and last messages of the example `train` for every way in which it can end.

mod example;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use starple::persist::Saved;
use starple::train::StopReason;

/// A folder that contains a good model file.
struct Place {
    folder: tempfile::TempDir,
    good: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("good.safetensors");
        let output = toy(&["train.epochs=1"]).arg("--save").arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let good = fs::read(path).unwrap();
        Self { folder, good }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Restores the good file and returns its path.
    fn good(&self) -> PathBuf {
        let path = self.at("good.safetensors");
        fs::write(&path, &self.good).unwrap();
        path
    }

    fn is_good(&self) -> bool {
        fs::read(self.at("good.safetensors")).unwrap() == self.good
    }

    fn report(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.at("report.json")).unwrap()).unwrap()
    }
}

/// The toy run with these settings.
fn toy(sets: &[&str]) -> Command {
    let mut command = example::command("train");
    command.arg("examples/runs/toy-star.toml");
    for set in sets {
        command.args(["--set", set]);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A run that has started to train.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("rows to train on"), "{line}");
        Self { child, stderr }
    }

    fn send(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its output after the first line.
    fn end(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.stderr.read_to_end(&mut stderr).unwrap();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        Output { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

/// Epochs of a thousand steps and more.
const LONG: &str = "train.batch_rows=8";

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_leaves_the_good_file() {
    let place = Place::new();
    for (signal, code, name) in [("-INT", 130, "Ctrl-C"), ("-TERM", 143, "SIGTERM")] {
        let mut command = toy(&[LONG]);
        let running =
            Running::start(command.arg("--save").arg(place.good()).arg("--report").arg(place.at("report.json")));
        running.send(signal);
        let output = running.end();
        assert_eq!(output.status.code(), Some(code));
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(place.is_good());
        assert!(stderr.contains("good.safetensors: not saved, the run did not finish"), "{stderr}");
        assert_eq!(stderr.lines().last(), Some(&*format!("stopped by {name}")), "{stderr}");
        let line = format!("star: stopped by {name}; best epoch none, ");
        assert!(stdout.starts_with(&line) && stdout.lines().count() == 1, "{stdout}");
        let report = place.report();
        assert_eq!(
            (&report["finished"], &report["test"], &report["best_epoch"]),
            (&false.into(), &Value::Null, &Value::Null)
        );
        assert_eq!(report["stop"]["reason"], "callback");
    }

    // With --save-unfinished the file is written, and says that its run did not finish.
    let running = Running::start(toy(&[LONG]).arg("--save").arg(place.good()).arg("--save-unfinished"));
    running.send("-INT");
    assert_eq!(running.end().status.code(), Some(130));
    let saved = Saved::load(place.at("good.safetensors")).unwrap();
    let record = saved.run().unwrap();
    assert_eq!((record.finished, record.stop.as_ref()), (false, Some(&StopReason::Callback)));
    assert_eq!((record.best_epoch, record.epochs), (None, 0));
    assert!(record.steps >= 1 && record.rows == 8 * record.steps);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_resumes_and_ends_with_the_same_bytes() {
    let place = Place::new();
    let sets = ["train.epochs=2", "train.batch_rows=64"];
    let whole = toy(&sets).arg("--save").arg(place.at("whole.safetensors")).output().unwrap();
    assert_eq!(whole.status.code(), Some(0));
    let folder = format!("checkpoints.folder={}", place.at("run").display());
    let command = || {
        let mut command = toy(&[sets[0], sets[1], &folder]);
        command.arg("--save").arg(place.at("pieces.safetensors"));
        command
    };
    for signal in ["-TERM", "-INT", "-KILL"] {
        let running = Running::start(&mut command());
        running.send(signal);
        let output = running.end();
        let code = match signal {
            "-TERM" => Some(143),
            "-INT" => Some(130),
            _ => None,
        };
        assert_eq!(output.status.code(), code);
        assert!(!place.at("pieces.safetensors").exists());
        if code.is_some() {
            let stderr = text(&output.stderr);
            assert!(stderr.trim_end().ends_with("; run the same command again to continue"), "{stderr}");
        }
    }
    let output = command().output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("star: resuming after step "), "{}", text(&output.stderr));
    let [whole, pieces] = ["whole", "pieces"].map(|name| fs::read(place.at(&format!("{name}.safetensors"))).unwrap());
    assert!(whole == pieces);
    let saved = Saved::load(place.at("pieces.safetensors")).unwrap();
    assert!(saved.run().unwrap().finished);
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let place = Place::new();
    // One step takes seconds; a second signal does not wait for it.
    let mut command = toy(&["train.batch_rows=100000", "model.hidden=[1024,1024]", "train.threads=1"]);
    let running = Running::start(command.arg("--report").arg(place.at("report.json")));
    running.send("-INT");
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.send("-TERM");
    let output = running.end();
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(143), ""));
    assert!(!place.at("report.json").exists());
}

#[test]
fn a_run_that_diverges_leaves_the_good_file() {
    let place = Place::new();
    let finite = ["model.activation=\"identity\"", "train.optimizer={kind=\"adam\",lr=1e5}"];
    for sets in [&["train.optimizer={kind=\"sgd\",lr=1e30}"][..], &finite] {
        let mut command = toy(sets);
        command.arg("--save").arg(place.good()).arg("--report").arg(place.at("report.json"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        assert!(place.is_good());
        assert!(!text(&output.stderr).contains("(best)"), "{}", text(&output.stderr));
        let report = place.report();
        assert_eq!((&report["finished"], &report["best_epoch"]), (&false.into(), &Value::Null));
        assert!(["non_finite", "diverged", "huge_loss"].contains(&report["stop"]["reason"].as_str().unwrap()));
    }
}

#[test]
fn paths_that_cannot_be_written_are_found_before_training() {
    let place = Place::new();
    let (log, run) = (place.at("log.csv"), place.at("run.toml"));
    fs::write(&log, example::LOG).unwrap();
    let file = concat!(example::columns!(), "[model]\nkind = \"pooled\"\n").replace("LOG", log.to_str().unwrap());
    fs::write(&run, &file).unwrap();
    let folder = place.folder.path();
    let refused = |arguments: &[(&str, &Path)], expected: &str| {
        let mut command = example::command("train");
        command.arg(&run);
        for (flag, path) in arguments {
            command.arg(flag).arg(path);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{expected}: {stderr}");
        assert!(output.stdout.is_empty());
    };
    refused(&[("--save", folder)], "found a folder");
    refused(&[("--report", folder)], "found a folder");
    refused(&[("--save", &place.at("none/model"))], "there is no folder");
    refused(&[("--save", &place.at("model")), ("--report", &place.at("./model"))], "--report names the same file");
    refused(&[("--save", &run)], "this file is read");
    refused(&[("--report", &log)], "this file is read");
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt as _, symlink};
        symlink("nowhere", place.at("dangling")).unwrap();
        symlink("log.csv", place.at("link")).unwrap();
        refused(&[("--save", "/dev/null".as_ref())], "found a device");
        refused(&[("--save", &place.at("dangling"))], "a link to a file that is not there");
        refused(&[("--report", &place.at("dangling"))], "a link to a file that is not there");
        refused(&[("--save", &place.at("link"))], "this file is read");
        refused(&[("--save", "/proc/model".as_ref())], "cannot be written in the folder /proc");
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
    assert_eq!((fs::read_to_string(&log).unwrap(), fs::read_to_string(&run).unwrap()), (example::LOG.to_owned(), file));
}

#[cfg(unix)]
#[test]
fn a_report_may_go_into_a_pipe_or_to_stdout() {
    let place = Place::new();
    let arguments = ["train.epochs=1", "train.batch_rows=4096", "--report", "/dev/stdout"];
    let mut command = toy(&arguments[..2]);
    let output = command.args(&arguments[2..]).output().unwrap();
    let stdout = text(&output.stdout);
    assert!(
        output.status.success() && stdout.starts_with("{\n  \"model\": \"star\"") && stdout.contains("mean of domains")
    );
    // Stdout is redirected to a file.
    let path = place.at("out");
    let mut command = toy(&arguments[..2]);
    let status = command.args(&arguments[2..]).stdout(File::create(&path).unwrap()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    let stdout = fs::read_to_string(&path).unwrap();
    assert!(stdout.starts_with("{\n  \"model\": \"star\"") && stdout.contains("mean of domains"), "{stdout}");
    let status = toy(&arguments[..2]).args(["--report", "/dev/null"]).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
}

#[test]
fn output_that_cannot_be_written_changes_nothing() {
    let place = Place::new();
    let (model, report) = (place.at("model"), place.at("report.json"));
    let command = || {
        let mut command = toy(&["train.epochs=1"]);
        command.arg("--save").arg(&model).arg("--report").arg(&report);
        command
    };
    assert_eq!(example::deaf(&mut command()), Some(0));
    assert!(fs::read(&model).unwrap() == place.good);
    assert_eq!(place.report()["finished"], true);
    if cfg!(target_os = "linux") {
        fs::remove_file(&model).unwrap();
        let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = command().stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(fs::read(&model).unwrap() == place.good);
        // The same for errors and usage.
        for (arguments, code) in [(&["none.toml"][..], 1), (&["--what"], 2), (&["--help"], 0)] {
            let mut command = example::command("train");
            let status = command.args(arguments).stdout(full()).stderr(full()).status().unwrap();
            assert_eq!(status.code(), Some(code));
        }
    }
}

#[cfg(unix)]
#[test]
fn only_one_run_at_a_time_uses_a_folder() {
    let place = Place::new();
    let folder = format!("checkpoints.folder={}", place.at("run").display());
    let running = Running::start(&mut toy(&["train.batch_rows=64", &folder, "checkpoints.every_steps=5"]));
    let pid = running.child.id();
    while !place.at("run").join("lock").exists() {
        std::thread::yield_now();
    }
    for _ in 0..5 {
        let output = toy(&["train.batch_rows=64", &folder]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("another run, process {pid}, saves its checkpoints into this folder (wait until it ends");
        assert!(text(&output.stderr).contains(&expected), "{}", text(&output.stderr));
    }
    running.send("-KILL");
    running.end();
    fs::write(place.at("run").join(".step-0000000005.safetensors.0123456789ab.tmp"), "half").unwrap();
    let next = Running::start(&mut toy(&["train.batch_rows=64", &folder]));
    next.send("-TERM");
    let output = next.end();
    assert_eq!(output.status.code(), Some(143), "{}", text(&output.stderr));
    let names = fs::read_dir(place.at("run")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let temporary: Vec<String> = names.filter(|name| name.contains(".tmp")).collect();
    assert!(temporary.is_empty(), "{temporary:?}");
}

#[test]
fn arguments_are_what_they_say() {
    let place = Place::new();
    let help = example::run("train", &["--help"]);
    assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0));
    assert!(text(&help.stdout).contains("Usage: train [OPTIONS] <FILE.toml>"), "{}", text(&help.stdout));
    for (arguments, expected) in [
        (&["a.toml", "--save", "b", "--save", "c"][..], "'--save <FILE>' cannot be used multiple times"),
        (&["a.toml", "--save-unfinished"], "not provided:\n  --save <FILE>"),
        (&["a.toml", "--save-unfinished=yes", "--save", "b"], "unexpected value 'yes' for '--save-unfinished'"),
        (&["a.toml", "--report"], "a value is required for '--report <FILE>'"),
    ] {
        let output = example::run("train", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    let path = place.at("a=b.safetensors");
    let output = toy(&[]).arg("--set=train.epochs=1").arg(format!("--save={}", path.display())).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(path).unwrap() == place.good);
}

//! The program itself: its signals, its log, its exit codes.
#![cfg(unix)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{Client, Raw, encoder, eventually, request, star};
use serde_json::Value;
use starple::persist::ModelFile;
use starple_serve::model::TOY_GIVEN;

/// A service in a process of its own, ended when it is dropped.
struct Service {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    address: SocketAddr,
    admin: SocketAddr,
}

fn command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starple-serve"));
    command.arg("--model").arg(path).args(["--given", &TOY_GIVEN.join(","), "--listen", "127.0.0.1:0"]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Service {
    fn start(path: &Path, arguments: &[&str]) -> Self {
        let mut child = command(path, arguments).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let addresses: Vec<SocketAddr> = line
            .split("http://")
            .skip(1)
            .map(|rest| {
                rest.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).next().unwrap().parse().unwrap()
            })
            .collect();
        let &[address, admin] = &addresses[..] else { panic!("two addresses, found {line}") };
        let service = Self { child, stderr: Some(stderr), address, admin };
        let client = service.client();
        eventually("it is ready", || client.get("/ready").0 == 200);
        service
    }

    fn client(&self) -> Client {
        Client::at(self.address, self.admin)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads the log up to a line that holds this.
    fn until(&mut self, text: &str) {
        let log = self.stderr.as_mut().unwrap();
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log ended without {text}");
        }
    }

    /// How it ends, within half a minute, and what is left of its log.
    fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        eventually("it has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut log = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (status.unwrap(), log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn saved(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    let (path, encoder) = (folder.path().join(name), encoder());
    ModelFile::new(&star(&encoder, 0)).encoder(&encoder).save(&path).unwrap();
    path
}

fn ends_requests_under_way(signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let patient = ["--timeout-ms", "60000", "--drain-seconds", "60"];
    let mut service = Service::start(&saved(&folder, "star.safetensors"), &patient);
    let body = request(2).to_string();
    let (begin, rest) = body.split_at(20);
    let mut under_way: Vec<Raw> = (0..40).map(|_| Raw::half_a_body(service.address, body.len(), begin)).collect();
    service.signal(signal);
    service.until("stopping");
    for raw in &mut under_way {
        raw.say(rest);
        let answer = raw.rest();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("probabilities"), "{answer}");
    }
    let address = service.address;
    let (status, log) = service.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(std::net::TcpStream::connect(address).is_err(), "it has stopped listening");
}

#[test]
fn sigterm_ends_requests_under_way() {
    ends_requests_under_way("TERM");
}

#[test]
fn ctrl_c_ends_requests_under_way() {
    ends_requests_under_way("INT");
}

#[test]
fn what_is_not_done_in_time_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--header-ms", "60000", "--timeout-ms", "1000", "--drain-seconds", "1"];
    let service = Service::start(&saved(&folder, "star.safetensors"), &arguments);
    let mut half = Raw::new(service.address);
    half.say("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-le");
    // The connection before this one has been accepted, too.
    assert_eq!(service.client().get("/health").0, 200);
    let asked = Instant::now();
    service.signal("TERM");
    let (status, log) = service.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(asked.elapsed() >= Duration::from_secs(1), "it had a second");
    assert!(log.contains("--drain-seconds"), "{log}");
    assert_eq!(half.rest(), "");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signals, code) in [(["TERM", "TERM"], 143), (["TERM", "INT"], 130)] {
        let folder = tempfile::tempdir().unwrap();
        let patient = ["--timeout-ms", "60000", "--drain-seconds", "60"];
        let mut service = Service::start(&saved(&folder, "star.safetensors"), &patient);
        let _half = Raw::half_a_body(service.address, 400, "{");
        let asked = Instant::now();
        service.signal(signals[0]);
        service.until("stopping");
        service.signal(signals[1]);
        let (status, log) = service.end();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(asked.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_log_that_no_one_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "star.safetensors");
    let mut service = Service::start(&path, &["--watch", "1", "--log-level", "debug"]);
    drop(service.stderr.take());
    let client = service.client();
    let version = || client.get("/ready").1;
    for seed in [1, 2] {
        // Each is refused or loaded with a line in the log.
        let before = version();
        std::fs::write(&path, "not a model").unwrap();
        eventually("a broken file is refused", || client.get("/health").1.contains("star.safetensors: "));
        let encoder = encoder();
        ModelFile::new(&star(&encoder, seed)).encoder(&encoder).save(&path).unwrap();
        eventually("a new model is in service", || version() != before);
        assert_eq!(client.post("/predict", &request(2).to_string()).0, 200);
    }
    service.signal("TERM");
    assert_eq!(service.end().0.code(), Some(0));
}

#[test]
fn a_request_has_a_line_with_all_that_is_known_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "star\x1b[31m.safetensors";
    let mut service = Service::start(&saved(&folder, hostile), &["--log", "json", "--log-level", "debug"]);
    let ask = |id: &str, body: &str| {
        let mut raw = Raw::new(service.address);
        let length = body.len();
        raw.say(&format!(
            "POST /predict HTTP/1.1\r\nhost: a\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        raw.rest()
    };
    let answer = ask("ours-7", &request(3).to_string());
    assert!(answer.contains("x-request-id: ours-7\r\n"), "{answer}");
    let mut named = request(2);
    named["request_id"] = "theirs-8\u{1b}[2J".into();
    let answer = ask("unused", &named.to_string());
    assert!(answer.contains(r#""request_id":"theirs-8"#), "{answer}");
    ask("wrong-9", "{\"a\x1b");
    service.signal("TERM");
    let stderr = service.stderr.take().unwrap();
    let mut log = String::new();
    BufReader::new(stderr).read_to_string(&mut log).unwrap();
    assert_eq!(service.end().0.code(), Some(0));
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |id: &str| {
        let found = lines.iter().find(|line| line["request_id"].as_str().is_some_and(|found| found.contains(id)));
        found.unwrap_or_else(|| panic!("no line of {id} in\n{log}"))
    };
    let ours = line("ours-7");
    for (field, value) in [
        ("level", Value::from("INFO")),
        ("method", "POST".into()),
        ("path", "/predict".into()),
        ("status", 200.into()),
        ("candidates", 3.into()),
    ] {
        assert_eq!(ours[field], value, "{ours}");
    }
    assert!(ours["milliseconds"].as_f64().unwrap() > 0.0, "{ours}");
    assert!(ours["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{ours}");
    let time = ours["timestamp"].as_str().unwrap();
    assert!(time.len() > 20 && time.ends_with('Z'), "{time}");
    assert_eq!(line("theirs-8")["candidates"], 2);
    let wrong = line("wrong-9");
    assert_eq!(wrong["status"], 400, "{wrong}");
    assert!(wrong["error"].as_str().unwrap().contains("not a request"), "{wrong}");
}

#[test]
fn a_service_that_cannot_work_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "star.safetensors");
    let fails = |path: &Path, arguments: &[&str], why: &str| {
        let output = command(path, arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(why), "{text}");
    };
    fails(&folder.path().join("none"), &[], "none: ");
    fails(&path, &["--given", "agent"], "not a column of a feature");
    fails(&path, &["--drain-seconds", "1", "--timeout-ms", "2000"], "--drain-seconds 1 is shorter");
    fails(&path, &["--admin", "nowhere"], "--admin nowhere: ");
}

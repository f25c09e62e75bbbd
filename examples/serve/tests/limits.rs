//! Clients that are slow, many, greedy or silent, and the texts they get.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Client, Raw, encoder, eventually, metric, model, request};
use starple_serve::limits::{Limits, open_files};
use starple_serve::model::Loader;
use starple_serve::server::Running;
use starple_serve::state::State;

/// Far away: a limit that a test is not about.
const NEVER: Duration = Duration::from_secs(3600);

fn patient() -> Limits {
    Limits { timeout: NEVER, header: NEVER, idle: NEVER, drain: NEVER, ..Limits::default() }
}

fn state(limits: Limits) -> Arc<State> {
    let encoder = encoder();
    let loader: Loader = Arc::new(move || Ok(model(&encoder, 0)));
    State::new(loader, limits)
}

fn start(limits: Limits) -> (Arc<State>, Running, Client) {
    let state = state(limits);
    let running = Running::start(&state, 2);
    let client = Client::new(&running);
    (state, running, client)
}

fn body() -> String {
    request(3).to_string()
}

#[test]
fn headers_that_do_not_come_to_their_end_are_not_waited_for() {
    let (_, running, client) = start(Limits { header: Duration::from_millis(200), ..patient() });
    let mut slow: Vec<Raw> = (0..60).map(|_| Raw::new(running.address)).collect();
    for (i, raw) in slow.iter_mut().enumerate() {
        raw.say(["", "P", "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-le"][i % 3]);
    }
    assert_eq!(client.post("/predict", &body()).0, 200);
    for raw in &mut slow {
        assert_eq!(raw.rest(), "");
    }
    eventually("all are counted", || metric(&client, r#"starple_connections_closed_total{why="Header"}"#) >= 60);
    assert_eq!(client.post("/predict", &body()).0, 200);
    drop(client);
    running.stop();
}

#[test]
fn a_connection_may_wait_longer_between_requests_than_inside_a_header() {
    let limits = Limits { header: Duration::from_millis(100), idle: Duration::from_millis(600), ..patient() };
    let (_, running, _) = start(limits);
    let mut raw = Raw::new(running.address);
    let asked = Instant::now();
    raw.say("GET /ready HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(asked.elapsed() >= Duration::from_millis(600), "it waits for another request");
    // The second header is held to the shorter time as the first is.
    let mut raw = Raw::new(running.address);
    raw.say("GET /ready HTTP/1.1\r\nhost: a\r\n\r\nGET /rea");
    assert!(raw.rest().starts_with("HTTP/1.1 200 OK"));
    running.stop();
}

#[test]
fn bodies_that_do_not_come_to_their_end_take_nothing_from_others() {
    let timeout = Duration::from_millis(500);
    let (state, running, client) = start(Limits { timeout, concurrent: 1, ..patient() });
    let mut slow: Vec<Raw> = (0..60).map(|_| Raw::half_a_body(running.address, 400, "0123456789")).collect();
    // None of them keeps the one that may be scored.
    assert_eq!(state.admission.available_permits(), 1);
    for raw in &mut slow {
        let answer = raw.rest();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout"), "{answer}");
        assert!(answer.contains("--timeout-ms"), "{answer}");
    }
    assert_eq!(client.post("/predict", &body()).0, 200);
    assert_eq!(state.bodies.available_permits(), Limits::default().all_body_bytes);
    drop(client);
    running.stop();
}

#[test]
fn silent_connections_make_room_for_those_that_ask() {
    let (_, running, client) = start(Limits { connections: 20, concurrent: 20, ..patient() });
    let mut first = Raw::new(running.address);
    first.say("POST /pre");
    let mut silent: Vec<Raw> = (0..50).map(|_| Raw::new(running.address)).collect();
    assert_eq!(client.get("/health").0, 200);
    assert_eq!(client.post("/predict", &body()).0, 200);
    assert_eq!(first.rest(), "", "the one that waited longest");
    assert_eq!(silent[0].rest(), "");
    // 52 came and 20 may stay.
    assert!(metric(&client, r#"starple_connections_closed_total{why="Evicted"}"#) >= 32);
    assert!(metric(&client, "starple_connections") <= 20);
    drop(client);
    running.stop();
}

#[test]
fn connections_with_requests_make_no_room() {
    let (_, mut running, _) =
        start(Limits { connections: 2, concurrent: 2, drain: Duration::from_millis(50), ..patient() });
    let mut busy: Vec<Raw> = (0..2).map(|_| Raw::half_a_body(running.address, 400, "0123456789")).collect();
    let answer = Raw::new(running.address).rest();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    // The operator's connections are counted for themselves.
    let mut operator = Raw::new(running.admin);
    operator.say("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(operator.rest().starts_with("HTTP/1.1 200 OK"));
    running.signal();
    assert_eq!(running.stop(), 2, "two that are not done in time are cut");
    assert_eq!(busy[0].rest(), "");
}

#[test]
fn bodies_together_are_bounded() {
    let all = 64 << 10;
    let limits = Limits { body_bytes: Some(32 << 10), all_body_bytes: all, ..patient() };
    let (state, running, client) = start(limits);
    let large = "x".repeat(30 << 10);
    let held: Vec<Raw> = (0..2).map(|_| Raw::half_a_body(running.address, 31 << 10, &large)).collect();
    eventually("both are read", || state.bodies.available_permits() == 0);
    let (code, answer) = client.post("/predict", &body());
    assert_eq!(code, 429, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("--max-all-bytes"), "{answer}");
    assert_eq!(client.get("/health").0, 200);
    drop(held);
    eventually("what they held is given back", || state.bodies.available_permits() == all);
    assert_eq!(client.post("/predict", &body()).0, 200);
    drop(client);
    running.stop();
}

#[test]
fn a_body_that_is_announced_too_large_is_not_read() {
    let (_, running, _) = start(Limits { body_bytes: Some(1000), ..patient() });
    let mut raw = Raw::new(running.address);
    raw.say("POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1001\r\nconnection: close\r\n\r\n");
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("more than 1000 bytes (--max-bytes)"), "{answer}");
    // In pieces that announce nothing it is read up to the limit.
    let mut raw = Raw::new(running.address);
    raw.say("POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    for _ in 0..3 {
        raw.say(&format!("190\r\n{}\r\n", "x".repeat(0x190)));
    }
    assert!(raw.rest().starts_with("HTTP/1.1 413 "));
    running.stop();
}

#[test]
fn error_texts_do_not_repeat_a_long_value() {
    let (_, running, client) = start(Limits { body_bytes: Some(2 << 20), ..patient() });
    // Written in JSON each takes six bytes, and would be escaped again in the text.
    let long = "\u{1b}".repeat(150_000);
    let mut all = Vec::new();
    let mut wrong = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = request(2);
        change(&mut body);
        let body = body.to_string();
        assert!(body.len() > 800_000);
        let (code, answer) = client.post("/predict", &body);
        all.push((code, answer["error"].as_str().unwrap().to_owned()));
    };
    wrong(&|body| body["candidates"][1]["price"] = long.as_str().into());
    wrong(&|body| body["candidates"][1][&long] = 1.into());
    wrong(&|body| body["given"][&long] = 1.into());
    wrong(&|body| body["domain"] = long.as_str().into());
    wrong(&|body| body[&long] = 1.into());
    wrong(&|body| body["candidates"] = long.as_str().into());
    let codes: Vec<u16> = all.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [422, 422, 422, 422, 400, 400]);
    for (_, text) in all {
        assert!(text.len() < 3000, "{} bytes", text.len());
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    drop(client);
    running.stop();
}

#[test]
fn limits_that_contradict_each_other_are_named() {
    assert_eq!(Limits::default().check(), Ok(()));
    let seconds = Duration::from_secs;
    let limits = Limits {
        body_bytes: Some(100),
        all_body_bytes: 50,
        candidates: 0,
        concurrent: 9,
        connections: 8,
        timeout: seconds(3),
        header: seconds(5),
        idle: seconds(4),
        drain: seconds(2),
    };
    let text = limits.check().unwrap_err();
    for part in [
        "--max-candidates 0: at least 1",
        "--max-bytes 100 is more than all bodies may have together, --max-all-bytes 50",
        "--max-concurrent 9 is never reached with --max-connections 8",
        "--header-ms 5000 is longer than --idle-seconds 4",
        "--drain-seconds 2 is shorter than --timeout-ms 3000",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    if let Some(files) = open_files() {
        let text = Limits { connections: files, ..Limits::default() }.check().unwrap_err();
        assert!(text.contains("ulimit -n"), "{text}");
    }
}

#[test]
fn a_body_may_be_as_large_as_the_most_candidates_make_it() {
    let limits = Limits { candidates: 30_000, ..patient() };
    let (_, running, client) = start(limits.clone());
    let body = request(30_000).to_string();
    assert!(body.len() > 1 << 20, "more than what is taken of any model: {}", body.len());
    assert_eq!(client.post("/predict", &body).0, 200);
    running.stop();
    // Where both are given and do not fit, it is said.
    let predictor = common::predictor(&encoder(), 0);
    assert_eq!(limits.misfit(&predictor), None);
    let text = Limits { body_bytes: Some(1 << 20), ..limits }.misfit(&predictor).unwrap();
    assert!(text.contains("--max-candidates 30000") && text.contains("--max-bytes"), "{text}");
}

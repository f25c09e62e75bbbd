//! Every endpoint, the limits, and models that are refused.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{Client, bits, encoder, model, predictor, request, star};
use serde_json::json;
use starple::data::Encoder;
use starple::persist::ModelFile;
use starple::{Error, ErrorKind};
use starple_serve::limits::Limits;
use starple_serve::model::{Loader, Model, TOY_GIVEN, Unfinished, load};
use starple_serve::reload;
use starple_serve::server::{Running, runtime};
use starple_serve::state::State;

fn always(encoder: Encoder) -> Loader {
    Arc::new(move || Ok(model(&encoder, 0)))
}

fn start(limits: Limits) -> (Running, Client) {
    let running = Running::start(&State::new(always(encoder()), limits), 2);
    let client = Client::new(&running);
    (running, client)
}

fn error(answer: &serde_json::Value) -> &str {
    answer["error"].as_str().expect("an error says what is wrong")
}

#[test]
fn a_prediction_is_that_of_the_predictor() {
    let (running, client) = start(Limits::default());
    let (code, answer) = client.post("/predict", &request(3).to_string());
    assert_eq!((code, answer["version"].as_str()), (200, Some("seed-0")));
    let rows = (0..3).map(|i| {
        let price = (9.5 + i as f64).to_string();
        [("user", "u16"), ("query", "q1"), ("hour", "h11"), ("age", ""), ("tags", "t1|t9"), ("scene", "feed")]
            .map(|(column, value)| (column, value.to_owned()))
            .into_iter()
            .chain([("item", format!("i{i}")), ("price", price)])
    });
    let expected = predictor(&encoder(), 0).predict(rows).unwrap();
    for (task, name) in ["click", "cart"].into_iter().enumerate() {
        let found = bits(&answer, name);
        assert_eq!(found.len(), 3);
        for (found, expected) in found.iter().zip(expected.column(task)) {
            assert!((f32::from_bits(*found) - expected).abs() < 1e-6);
        }
    }
    let (code, answer) = client.post("/predict", &request(0).to_string());
    assert_eq!((code, &answer["probabilities"]), (200, &json!({ "click": [], "cart": [] })));
    running.stop();
}

#[test]
fn it_is_alive_before_it_is_ready() {
    let state = State::new(always(encoder()), Limits::default());
    let running = Running::start_empty(&state, 1);
    let client = Client::new(&running);
    let health = r#"{"refused":null,"status":"alive","version":null}"#;
    assert_eq!(client.get("/health"), (200, health.into()));
    assert_eq!(client.get("/ready").0, 503);
    let (code, answer) = client.post("/predict", &request(1).to_string());
    assert_eq!((code, error(&answer)), (503, "no model is loaded yet"));
    assert_eq!(client.reload().0, 200);
    assert_eq!(client.get("/ready"), (200, r#"{"version":"seed-0"}"#.into()));
    assert_eq!(client.post("/predict", &request(1).to_string()).0, 200);
    running.stop();
    assert!(std::net::TcpStream::connect(client.address()).is_err(), "it has stopped listening");
}

#[test]
fn what_is_no_request_is_told_why() {
    let limits = Limits { body_bytes: Some(2000), candidates: 5, ..Limits::default() };
    let (running, client) = start(limits);
    let refused = |body: &str, code: u16, why: &str| {
        let (found, answer) = client.post("/predict", body);
        assert_eq!(found, code, "{answer}");
        assert!(error(&answer).contains(why), "{answer}");
    };
    refused("{", 400, "not a request: EOF");
    refused(r#"{"domain": "feed", "candidates": [], "user": "u1"}"#, 400, "unknown field `user`");
    refused(
        r#"{"domain": "feed", "candidates": [{"item": [1]}]}"#,
        400,
        "expected a text, a number, true, false, or null",
    );
    refused(&request(6).to_string(), 422, "6 candidates, 5 at most");
    refused(&"x".repeat(3000), 413, "more than 2000 bytes (--max-bytes)");
    let mut wrong = request(2);
    wrong["domain"] = "nowhere".into();
    refused(&wrong.to_string(), 422, "domain: found \"nowhere\": expected one of \"checkout\", \"email\"");
    let mut wrong = request(2);
    wrong["candidates"][1]["price"] = "cheap".into();
    refused(&wrong.to_string(), 422, "candidates:2: column \"price\": found \"cheap\": expected a number");
    let mut wrong = request(2);
    wrong["given"] = json!({});
    refused(&wrong.to_string(), 422, "given: column \"user\": the row has no value");
    assert_eq!(client.get("/predict").0, 405);
    assert_eq!(client.get("/nothing").0, 404);
    // After all of that it still serves.
    assert_eq!(client.post("/predict", &request(2).to_string()).0, 200);
    running.stop();
}

#[test]
fn too_many_requests_at_once_are_turned_away() {
    let state = State::new(always(encoder()), Limits { concurrent: 2, ..Limits::default() });
    let running = Running::start(&state, 1);
    let client = Client::new(&running);
    let both = Arc::clone(&state.admission).try_acquire_many_owned(2).unwrap();
    let (code, answer) = client.post("/predict", &request(1).to_string());
    assert_eq!(code, 429);
    assert!(error(&answer).contains("more than --max-concurrent requests"));
    drop(both);
    assert_eq!(client.post("/predict", &request(1).to_string()).0, 200);
    running.stop();
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    let encoder = encoder();
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let may_leave = Mutex::new(may_leave);
    let loader: Loader = Arc::new(move || {
        entered.send(()).unwrap();
        may_leave.lock().unwrap().recv().unwrap();
        Ok(model(&encoder, 0))
    });
    // No thread scores but the one that loads, and that is held up: the request cannot even begin.
    leave.send(()).unwrap();
    let state = State::new(loader, Limits { timeout: Duration::from_millis(20), ..Limits::default() });
    let running = Running::start(&state, 0);
    has_entered.recv().unwrap();
    let client = Client::new(&running);
    let reload = std::thread::spawn({
        let client = client.clone();
        move || client.reload().0
    });
    has_entered.recv().unwrap();
    let (code, answer) = client.post("/predict", &request(1).to_string());
    assert_eq!((code, error(&answer)), (503, "it took longer than --timeout-ms"));
    leave.send(()).unwrap();
    assert_eq!(reload.join().unwrap(), 200);
    running.stop();
}

/// Gives what is in `next`.
fn by_turns(next: &Arc<Mutex<starple::Result<Model>>>) -> Loader {
    let next = Arc::clone(next);
    let gone = || Err(Error::new(ErrorKind::Io, "nothing there"));
    Arc::new(move || std::mem::replace(&mut *next.lock().unwrap(), gone()))
}

#[test]
fn a_bad_model_is_refused_and_the_old_one_stays() {
    let encoder = encoder();
    let next = Arc::new(Mutex::new(Ok(model(&encoder, 0))));
    let running = Running::start(&State::new(by_turns(&next), Limits::default()), 1);
    let client = Client::new(&running);
    let body = request(4).to_string();
    let (_, before) = client.post("/predict", &body);

    let mut fewer: serde_json::Value = serde_json::to_value(&encoder).unwrap();
    fewer["domains"].as_array_mut().unwrap().pop();
    // They have labels of the domain.
    fewer.as_object_mut().unwrap().remove("statistics");
    let fewer: Encoder = serde_json::from_value(fewer).unwrap();
    let mut broken = starple::Star::new(starple::StarConfig::builder(encoder.layout()).build().unwrap());
    broken.embeddings_mut().tables_mut()[0].fill(f32::NAN);
    let broken = starple::serve::Predictor::builder(encoder.clone(), broken);
    let given = starple_serve::model::TOY_GIVEN;
    let other_given = starple::serve::Predictor::builder(
        encoder.clone(),
        starple::Star::new(starple::StarConfig::builder(encoder.layout()).build().unwrap()),
    );
    let bad = [
        (Err(Error::new(ErrorKind::Data, "expected a model, found half of one")), "half of one"),
        (Ok(model(&fewer, 1)), "it does not know domain"),
        (
            Ok(Model::new(broken.given(given).build().unwrap(), "broken")),
            "in domain \"checkout\" it cannot score: candidates:1: the score of task \"click\" is not a finite number",
        ),
        (Ok(Model::new(other_given.given(["user"]).build().unwrap(), "other")), "other columns"),
    ];
    let count = bad.len();
    for (model, why) in bad {
        *next.lock().unwrap() = model;
        let (code, answer) = client.reload();
        assert_eq!(code, 422);
        assert!(error(&answer).starts_with("the old model stays: ") && error(&answer).contains(why), "{answer}");
        assert_eq!(client.post("/predict", &body), (200, before.clone()));
    }
    let metrics = client.get("/metrics").1;
    assert!(metrics.contains(&format!("starple_reload_failures_total {count}")), "{metrics}");
    *next.lock().unwrap() = Ok(model(&encoder, 1));
    assert_eq!(client.reload().0, 200);
    assert_eq!(client.post("/predict", &body).1["version"], "seed-1");
    running.stop();
}

#[test]
fn a_file_is_served_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, encoder) = (folder.path().join("star.safetensors"), encoder());
    let save = |seed| ModelFile::new(&star(&encoder, seed)).encoder(&encoder).save(&path).unwrap();
    save(0);
    let (file, given) = (path.clone(), TOY_GIVEN.map(str::to_owned));
    let running =
        Running::start(&State::new(Arc::new(move || load(&file, &given, Unfinished::Refuse)), Limits::default()), 2);
    let client = Client::new(&running);
    let answer = || client.post("/predict", &request(3).to_string()).1;
    let first = answer();
    assert!(first["version"].as_str().unwrap().starts_with("star-"), "{first}");

    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 4], b"not a model"] {
        std::fs::write(&path, damaged).unwrap();
        let (code, refusal) = client.reload();
        assert_eq!(code, 422);
        assert!(error(&refusal).contains("star.safetensors"), "{refusal}");
        assert_eq!(answer(), first);
    }
    save(1);
    assert_eq!(client.reload().0, 200);
    let second = answer();
    assert!(second["version"] != first["version"] && second["probabilities"] != first["probabilities"], "{second}");
    running.stop();
}

#[test]
fn metrics_count_what_happened() {
    let (running, client) = start(Limits { candidates: 50, ..Limits::default() });
    for candidates in [1, 10, 30] {
        assert_eq!(client.post("/predict", &request(candidates).to_string()).0, 200);
    }
    assert_eq!(client.post("/predict", &request(51).to_string()).0, 422);
    client.get("/secret/42");
    let (code, text) = client.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        r#"starple_requests_total{path="/predict",code="200"} 3"#,
        r#"starple_requests_total{path="/predict",code="422"} 1"#,
        r#"starple_requests_total{path="other",code="404"} 1"#,
        "starple_rows_scored_total 41",
        "starple_predict_seconds_count 4",
        r#"starple_predict_seconds_bucket{le="+Inf"} 4"#,
        r#"starple_model{version="seed-0"} 1"#,
        "starple_reloads_total 1",
        "starple_reload_failures_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let loaded = text.lines().find_map(|line| line.strip_prefix("starple_model_loaded_seconds ")).unwrap();
    assert!(loaded.parse::<u64>().unwrap() > 1_700_000_000);
    running.stop();
}

#[test]
fn a_file_that_is_written_anew_is_loaded() {
    let encoder = encoder();
    let loads = AtomicUsize::new(0);
    let loader: Loader = Arc::new(move || Ok(model(&encoder, loads.fetch_add(1, Ordering::Relaxed) as u64)));
    let state = State::new(loader, Limits::default());
    let file = tempfile::NamedTempFile::new().unwrap();
    let version = || state.model.load_full().map(|model| model.version.clone());
    runtime(1).unwrap().block_on(async {
        reload::reload(&state).await.unwrap();
        let every = Duration::from_millis(5);
        let watch = tokio::spawn(reload::watch(Arc::clone(&state), file.path().into(), every));
        tokio::time::sleep(20 * every).await;
        assert_eq!(version().as_deref(), Some("seed-0"), "nothing was written");
        file.as_file().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        for _ in 0..2000 {
            if version().as_deref() == Some("seed-1") {
                break;
            }
            tokio::time::sleep(every).await;
        }
        assert_eq!(version().as_deref(), Some("seed-1"));
        watch.abort();
    });
}

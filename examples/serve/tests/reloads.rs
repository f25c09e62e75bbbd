//! Reloads: who may ask for them, how many there are, and files that must not be served.

mod common;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};

use common::{Client, encoder, metric, model, request, star};
use starple::data::Encoder;
use starple::persist::{ModelFile, RunRecord};
use starple::train::{TrainConfig, Trainer};
use starple::{Error, ErrorKind};
use starple_serve::limits::Limits;
use starple_serve::model::{Loader, TOY_GIVEN, Unfinished, load, toy_schema};
use starple_serve::reload::{Outcome, reload};
use starple_serve::server::{Running, runtime};
use starple_serve::state::State;

#[test]
fn clients_cannot_reload_and_the_operator_can() {
    let encoder = encoder();
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let loader: Loader = Arc::new(move || Ok(model(&encoder, counted.fetch_add(1, Ordering::Relaxed) as u64)));
    let running = Running::start(&State::new(loader, Limits::default()), 1);
    let client = Client::new(&running);
    let (code, answer) = client.post("/reload", "");
    assert_eq!((code, answer["error"].as_str()), (404, Some("no such path")));
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert!(running.admin.ip().is_loopback());
    let (code, answer) = client.reload();
    assert_eq!((code, answer["version"].as_str()), (200, Some("seed-1")));
    let operator = Client::at(running.admin, running.admin);
    assert_eq!(operator.post("/predict", &request(1).to_string()).0, 404);
    for path in ["/health", "/ready", "/model", "/metrics"] {
        assert_eq!((client.get(path).0, operator.get(path).0), (200, 200), "{path}");
    }
    running.stop();
}

#[test]
fn many_who_ask_at_once_share_an_answer() {
    let (encoder, loads) = (encoder(), Arc::new(AtomicUsize::new(0)));
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let may_leave = Mutex::new(may_leave);
    let counted = Arc::clone(&loads);
    let loader: Loader = Arc::new(move || {
        let load = counted.fetch_add(1, Ordering::Relaxed);
        entered.send(()).unwrap();
        may_leave.lock().unwrap().recv().unwrap();
        Ok(model(&encoder, load as u64))
    });
    let state = State::new(loader, Limits::default());
    let version = |outcome: Outcome| outcome.unwrap().version.clone();
    runtime(1).unwrap().block_on(async {
        type Call<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;
        let ask = |count: usize| -> Vec<Call> {
            let mut calls: Vec<Call> = (0..count).map(|_| Box::pin(reload(&state)) as Call).collect();
            // Each has asked when it was polled once.
            for call in &mut calls {
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            calls
        };
        let first = ask(1);
        has_entered.recv().unwrap();
        // One is under way: these want what the file has after it.
        let others = ask(100);
        leave.send(()).unwrap();
        has_entered.recv().unwrap();
        leave.send(()).unwrap();
        for call in first {
            assert_eq!(version(call.await), "seed-0");
        }
        for call in others {
            assert_eq!(version(call.await), "seed-1");
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 2);
}

/// What a run of one epoch says of itself.
fn record(encoder: &Encoder) -> RunRecord {
    let schema = toy_schema().unwrap();
    let table = starple::data::Table::read(common::LOG, &schema).unwrap();
    let rows = encoder.encode(&table, &table.split("train").unwrap()[..200]).unwrap();
    let settings = TrainConfig::builder().epochs(1).batch_rows(100).threads(1).build().unwrap();
    let fit = Trainer::new(settings).fit(&mut star(encoder, 0), rows, None).unwrap();
    RunRecord::new(&fit, 0)
}

#[test]
fn a_model_whose_training_did_not_finish_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, encoder) = (folder.path().join("star.safetensors"), encoder());
    let finished = record(&encoder);
    assert!(finished.finished);
    let save = |seed, record: Option<RunRecord>| {
        let star = star(&encoder, seed);
        let file = ModelFile::new(&star).encoder(&encoder);
        let file = match record {
            Some(record) => file.run(record),
            None => file,
        };
        file.save(&path).unwrap();
    };
    let serve = |unfinished| {
        let (file, given) = (path.clone(), TOY_GIVEN.map(str::to_owned));
        let running =
            Running::start(&State::new(Arc::new(move || load(&file, &given, unfinished)), Limits::default()), 1);
        let client = Client::new(&running);
        (running, client)
    };
    save(0, Some(finished.clone()));
    let (running, client) = serve(Unfinished::Refuse);
    let answer = || client.post("/predict", &request(3).to_string()).1;
    let good = answer();

    let mut stopped = finished.clone();
    stopped.finished = false;
    save(1, Some(stopped.clone()));
    let (code, refusal) = client.reload();
    assert_eq!((code, &refusal["version"]), (422, &good["version"]));
    let text = refusal["error"].as_str().unwrap();
    assert!(text.starts_with("the old model stays: ") && text.contains("star.safetensors"), "{text}");
    assert!(text.contains("did not finish") && text.contains("--allow-unfinished"), "{text}");
    assert_eq!(answer(), good);
    assert_eq!(metric(&client, "starple_reload_failures_total"), 1);
    assert_eq!(metric(&client, "starple_newest_model_refused"), 1);
    let health: serde_json::Value = serde_json::from_str(&client.get("/health").1).unwrap();
    assert_eq!((health["status"].as_str(), &health["version"]), (Some("alive"), &good["version"]));
    assert!(health["refused"]["error"].as_str().unwrap().contains("did not finish"), "{health}");
    assert_eq!(client.get("/ready").0, 200);

    // A better one takes its place, and what was refused is forgotten. One that says nothing is served, as ever.
    for (seed, record) in [(2, Some(finished)), (3, None)] {
        save(seed, record);
        assert_eq!(client.reload().0, 200);
        assert_ne!(answer()["version"], good["version"]);
        let health: serde_json::Value = serde_json::from_str(&client.get("/health").1).unwrap();
        assert!(health["refused"].is_null(), "{health}");
        assert_eq!(metric(&client, "starple_newest_model_refused"), 0);
    }
    running.stop();

    save(1, Some(stopped));
    let (running, client) = serve(Unfinished::Allow);
    assert_eq!(client.post("/predict", &request(3).to_string()).0, 200);
    running.stop();
}

#[test]
fn what_is_wrong_with_a_file_does_not_reach_a_terminal() {
    let encoder = encoder();
    let first = Mutex::new(Some(model(&encoder, 0)));
    let loader: Loader = Arc::new(move || {
        let hostile = "\x1b]0;owned\x07".to_owned() + &"x".repeat(100_000);
        first
            .lock()
            .unwrap()
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Data, format!("no domain {hostile}")).at_path(&hostile))
    });
    let running = Running::start(&State::new(loader, Limits::default()), 1);
    let client = Client::new(&running);
    let (code, answer) = client.reload();
    assert_eq!(code, 422);
    let text = answer["error"].as_str().unwrap();
    assert!(!text.contains(char::is_control) && text.len() < 3000, "{text:?}");
    let health: serde_json::Value = serde_json::from_str(&client.get("/health").1).unwrap();
    assert!(!health["refused"]["error"].as_str().unwrap().contains(char::is_control));
    running.stop();
}

//! How long requests take: percentiles at several numbers of candidates, as a Markdown table.
//!
//! ```text
//! cargo run --release -p starple-serve --bin load -- --train-toy examples/data/toy.csv
//! ```
//!
//! Without `--url` it starts a service in this process; client and service then share the processors.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use starple::data::RawValue;
use starple::serve::PredictorCache;
use starple_serve::api::{Cells, Request};
use starple_serve::limits::Limits;
use starple_serve::model::{Loader, train_toy};
use starple_serve::server::Running;
use starple_serve::state::State;

const SIZES: [usize; 3] = [1, 100, 500];
const DOMAINS: [&str; 5] = ["search", "feed", "checkout", "email", "partner"];

/// Measures POST /predict of a toy model.
#[derive(Parser)]
struct Arguments {
    /// Serve a model trained on this log, which has the columns of examples/data/toy.csv.
    #[arg(long, value_name = "LOG", required_unless_present = "url")]
    train_toy: Option<PathBuf>,
    /// Measure the service that listens here instead: http://127.0.0.1:8080
    #[arg(long, conflicts_with = "train_toy")]
    url: Option<String>,
    /// Requests of each size.
    #[arg(long, default_value = "2000")]
    requests: NonZeroUsize,
    /// Connections, each with one request at a time.
    #[arg(long, default_value = "1")]
    connections: NonZeroUsize,
    /// Threads that score, of a service in this process.
    #[arg(long, default_value = "1")]
    workers: NonZeroUsize,
}

/// A request with values like those of the toy log, some of them unknown to it.
fn request(number: usize, candidates: usize) -> String {
    let mix = |salt: usize, below: usize| (number * 7919 + salt * 104_729) % 1_000_003 % below;
    let candidate = |c: usize| -> Value {
        let tags = format!("t{}|t{}", mix(c + 1, 12), mix(c + 2, 12));
        json!({ "item": format!("i{}", mix(c, 320)), "price": mix(c, 9000) as f64 / 100.0, "tags": tags })
    };
    let candidates: Vec<Value> = (0..candidates).map(candidate).collect();
    let given = json!({ "user": format!("u{}", mix(0, 1100)), "query": "q1", "hour": "h11", "age": 31 });
    json!({ "domain": DOMAINS[number % 5], "given": given, "candidates": candidates }).to_string()
}

/// The times of these requests on one connection.
fn client(url: &str, bodies: &[String]) -> Vec<Duration> {
    let agent = ureq::Agent::new_with_defaults();
    let once = |body: &String| {
        let started = Instant::now();
        let mut response = agent.post(url).send(body.as_bytes()).expect("an answer");
        let answer = response.body_mut().read_to_vec().expect("its body");
        assert!(!answer.is_empty());
        started.elapsed()
    };
    // Connections, buffers and caches are there before the clock starts.
    bodies.iter().take(50).for_each(|body| _ = once(body));
    bodies.iter().map(once).collect()
}

fn line(what: &str, size: usize, mut times: Vec<Duration>, took: Duration) {
    times.sort_unstable();
    // The least time that this share of all requests did not exceed.
    let percentile = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        times[rank.max(1) - 1].as_secs_f64() * 1e3
    };
    let rows = (size * times.len()) as f64 / took.as_secs_f64();
    println!(
        "| {what} | {size} | {:.2} | {:.2} | {:.2} | {rows:.0} |",
        percentile(0.5),
        percentile(0.95),
        percentile(0.99)
    );
}

/// What scoring takes by itself, from raw values in memory.
fn without_http(state: &State, requests: usize) {
    let model = state.model.load_full().expect("a model");
    let mut cache = PredictorCache::default();
    for size in SIZES {
        let bodies: Vec<String> = (0..requests).map(|i| request(i, size)).collect();
        let parsed: Vec<Request> = bodies.iter().map(|body| serde_json::from_str(body).expect("JSON")).collect();
        let mut once = |request: &Request| {
            let started = Instant::now();
            let candidates = request.candidates.iter().map(Cells::raw);
            let given = request.given.raw().map(|(name, value): (&str, RawValue)| (name, value));
            model.predictor.score(&request.domain, given, candidates, &mut cache).expect("scores");
            started.elapsed()
        };
        parsed.iter().take(50).for_each(|request| _ = once(request));
        let started = Instant::now();
        let times = parsed.iter().map(&mut once).collect();
        line("library", size, times, started.elapsed());
    }
}

fn main() {
    let arguments = Arguments::parse();
    let (requests, connections) = (arguments.requests.get(), arguments.connections.get());
    let local = arguments.train_toy.map(|log| {
        let loader: Loader = Arc::new(move || train_toy(&log));
        let state = State::new(loader, Limits { concurrent: connections + 1, ..Limits::default() });
        let running = Running::start(&state, arguments.workers.get());
        (state, running)
    });
    let url = match (&arguments.url, &local) {
        (Some(url), _) => url.clone(),
        (None, Some((_, running))) => format!("http://{}", running.address),
        (None, None) => unreachable!("one of the two is required"),
    };
    let url = format!("{}/predict", url.trim_end_matches('/'));
    println!("{connections} connections, {requests} requests of each size\n");
    println!("| over | candidates | p50 ms | p95 ms | p99 ms | rows/s |");
    println!("|---|---:|---:|---:|---:|---:|");
    if let Some((state, _)) = &local {
        without_http(state, requests);
    }
    for size in SIZES {
        let bodies: Vec<String> = (0..requests).map(|i| request(i, size)).collect();
        let share = requests.div_ceil(connections);
        let started = Instant::now();
        let times = std::thread::scope(|scope| {
            let url = &url;
            let clients: Vec<_> = bodies.chunks(share).map(|part| scope.spawn(|| client(url, part))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        line("HTTP", size, times, started.elapsed());
    }
    if let Some((_, running)) = local {
        running.stop();
    }
}

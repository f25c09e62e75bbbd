//! Serves a model over HTTP.
//!
//! ```text
//! cargo run --release -p starple-serve -- --model star.safetensors --given user,query,hour,age
//! cargo run --release -p starple-serve -- --train-toy examples/data/toy.csv
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use starple_serve::model::{Loader, load, train_toy};
use starple_serve::server::{runtime, serve};
use starple_serve::state::{Limits, State};
use starple_serve::{reload, server};
use tokio::net::TcpListener;

/// Serves a model over HTTP: POST /predict, POST /reload, GET /health, /ready, /metrics.
#[derive(Parser)]
struct Arguments {
    /// Serve the model in this file, which has its encoder.
    #[arg(long, value_name = "FILE", required_unless_present = "train_toy")]
    model: Option<PathBuf>,
    /// The columns that a request gives once for all its candidates, with commas between them.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "model")]
    given: Vec<String>,
    /// Serve a model trained on this log, which has the columns of examples/data/toy.csv.
    #[arg(long, value_name = "LOG", conflicts_with = "model")]
    train_toy: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// Threads that score; by default as many as there are processors.
    #[arg(long)]
    workers: Option<usize>,
    /// Look at the file this often, in seconds, and reload when it was written; by default never.
    #[arg(long, value_name = "SECONDS")]
    watch: Option<u64>,
    /// Most candidates of a request.
    #[arg(long, default_value_t = Limits::default().candidates)]
    max_candidates: usize,
    /// Most bytes of a request.
    #[arg(long, default_value_t = Limits::default().body_bytes)]
    max_bytes: usize,
    /// Most requests at once.
    #[arg(long, default_value_t = Limits::default().concurrent)]
    max_concurrent: usize,
    /// Most milliseconds that a request may take.
    #[arg(long, default_value_t = Limits::default().timeout.as_millis() as u64)]
    timeout_ms: u64,
}

async fn run(arguments: Arguments) -> std::io::Result<()> {
    let limits = Limits {
        body_bytes: arguments.max_bytes,
        candidates: arguments.max_candidates,
        concurrent: arguments.max_concurrent,
        timeout: Duration::from_millis(arguments.timeout_ms),
    };
    let (file, loader): (PathBuf, Loader) = match (arguments.model, arguments.train_toy) {
        (Some(file), _) => (file.clone(), Arc::new(move || load(&file, &arguments.given))),
        (None, Some(log)) => (log.clone(), Arc::new(move || train_toy(&log))),
        (None, None) => unreachable!("one of the two is required"),
    };
    let state = State::new(loader, limits);
    let listener = TcpListener::bind(&arguments.listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    // It listens before it is ready; a first model that is refused may be replaced like any other.
    let first = Arc::clone(&state);
    tokio::spawn(async move {
        let _ = reload::reload(&first).await;
        if let Some(seconds) = arguments.watch {
            reload::watch(first, file, Duration::from_secs(seconds.max(1))).await;
        }
    });
    serve(listener, state, server::interrupted()).await
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let workers = arguments.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    match runtime(workers).and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

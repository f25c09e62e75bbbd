//! Serves a model over HTTP.
//!
//! ```text
//! cargo run --release -p starple-serve -- --model star.safetensors --given user,query,hour,age
//! cargo run --release -p starple-serve -- --train-toy examples/data/toy.csv
//! ```

mod signals;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use starple_serve::limits::Limits;
use starple_serve::logs::{self, Form, Level};
use starple_serve::model::{Loader, Unfinished, load, train_toy};
use starple_serve::reload;
use starple_serve::server::{Listeners, runtime, serve};
use starple_serve::state::State;
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::signals::Signals;

/// Serves a model over HTTP. For clients: POST /predict, GET /health, /ready, /model, /metrics. For the operator, on an address of its
/// own: POST /reload, and the same GETs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Serve the model in this file, which has its encoder.
    #[arg(long, value_name = "FILE", required_unless_present = "train_toy")]
    model: Option<PathBuf>,
    /// The columns that a request gives once for all its candidates, with commas between them.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "model")]
    given: Vec<String>,
    /// Serve a model too whose file says that its training did not finish (it was stopped, or diverged).
    #[arg(long, requires = "model")]
    allow_unfinished: bool,
    /// Serve a model trained on this log, which has the columns of examples/data/toy.csv.
    #[arg(long, value_name = "LOG", conflicts_with = "model")]
    train_toy: Option<PathBuf>,
    /// Where clients reach the service.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where the operator reaches it; by default 127.0.0.1, on the port after that of --listen. Whatever reaches it can reload the model.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Threads that score; by default as many as there are processors.
    #[arg(long)]
    workers: Option<usize>,
    /// Look at the file this often, in seconds, and reload when it was written; by default never.
    #[arg(long, value_name = "SECONDS")]
    watch: Option<u64>,
    /// Most candidates of a request.
    #[arg(long, default_value_t = Limits::default().candidates)]
    max_candidates: usize,
    /// Most bytes of a request's body; by default what --max-candidates of the model take, at least 1 MiB.
    #[arg(long)]
    max_bytes: Option<usize>,
    /// Most bytes of all bodies at once.
    #[arg(long, default_value_t = Limits::default().all_body_bytes)]
    max_all_bytes: usize,
    /// Most requests that are scored, or wait for it, at once.
    #[arg(long, default_value_t = Limits::default().concurrent)]
    max_concurrent: usize,
    /// Most connections of each address; by default as many as the process may open files, less 64, at most 1000.
    #[arg(long)]
    max_connections: Option<usize>,
    /// Most milliseconds from the end of a request's header to its answer.
    #[arg(long, default_value_t = Limits::default().timeout.as_millis() as u64)]
    timeout_ms: u64,
    /// Most milliseconds that a client takes for a request's header.
    #[arg(long, default_value_t = Limits::default().header.as_millis() as u64)]
    header_ms: u64,
    /// Most seconds that a connection stays open between two requests.
    #[arg(long, default_value_t = Limits::default().idle.as_secs())]
    idle_seconds: u64,
    /// Most seconds from SIGTERM or Ctrl-C to the end; requests that take longer are cut.
    #[arg(long, default_value_t = Limits::default().drain.as_secs())]
    drain_seconds: u64,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    log: Form,
    /// Which log lines are written.
    #[arg(long, value_enum, default_value = "info")]
    log_level: Level,
}

impl Arguments {
    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            body_bytes: self.max_bytes,
            all_body_bytes: self.max_all_bytes,
            candidates: self.max_candidates,
            concurrent: self.max_concurrent,
            connections: self.max_connections.unwrap_or(defaults.connections),
            timeout: Duration::from_millis(self.timeout_ms),
            header: Duration::from_millis(self.header_ms),
            idle: Duration::from_secs(self.idle_seconds),
            drain: Duration::from_secs(self.drain_seconds),
        }
    }
}

/// The address on this machine whose port is the next one; any free port if that is what clients get.
fn beside(listen: &str) -> String {
    let port: u16 = listen.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
    format!("127.0.0.1:{}", if port == 0 { 0 } else { port.wrapping_add(1) })
}

/// What the process ends with; an error is what keeps it from serving.
async fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let limits = arguments.limits();
    limits.check()?;
    let unfinished = if arguments.allow_unfinished { Unfinished::Allow } else { Unfinished::Refuse };
    let (file, loader): (PathBuf, Loader) = match (arguments.model, arguments.train_toy) {
        (Some(file), _) => (file.clone(), Arc::new(move || load(&file, &arguments.given, unfinished))),
        (None, Some(log)) => (log.clone(), Arc::new(move || train_toy(&log))),
        (None, None) => unreachable!("one of the two is required"),
    };
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let state = State::new(loader, limits);
    let admin = arguments.admin.unwrap_or_else(|| beside(&arguments.listen));
    let listeners = Listeners::bind(&arguments.listen, &admin).await?;
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|error| error.to_string());
    info!(
        "listening on http://{}, for the operator on http://{}",
        address(&listeners.public)?,
        address(&listeners.admin)?
    );
    // It listens before it is ready.
    let (failed, first_model_failed) = oneshot::channel();
    let first = Arc::clone(&state);
    tokio::spawn(async move {
        // Before it is loaded: what is written meanwhile is seen.
        let watching =
            arguments.watch.map(|seconds| reload::watch(Arc::clone(&first), file, Duration::from_secs(seconds.max(1))));
        let loaded = reload::reload(&first).await;
        match (loaded, watching) {
            (_, Some(watching)) => watching.await,
            // No other file is ever looked at but on demand, and a service without a model is of no use.
            (Err(error), None) => _ = failed.send(error),
            (Ok(_), None) => std::future::pending().await,
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let served = serve(listeners, Arc::clone(&state), async { _ = stopped.await });
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => unreachable!("it has not been told to stop"),
        Ok(error) = first_model_failed => return Err(error),
        signal = signals.next() => info!("{} received", signal.name),
    }
    drop(stop);
    tokio::select! {
        _cut = served => Ok(ExitCode::SUCCESS),
        again = signals.next() => {
            error!("{} received again: ending at once", again.name);
            Ok(again.code().into())
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let guard = logs::start(arguments.log, arguments.log_level);
    let workers = arguments.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let ended = runtime(workers).map_err(|error| error.to_string()).and_then(|runtime| {
        let ended = runtime.block_on(run(arguments));
        // A thread that still loads or scores is not waited for.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            // After the log's last line; where stderr is closed there is nothing to be said.
            drop(guard);
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

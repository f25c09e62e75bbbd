//! Log lines, on stderr.
//!
//! No line holds up a request, and none that cannot be written ends anything: lines go through a bounded queue to a thread of their own;
//! where the queue is full, as of a reader that has stopped, or stderr is closed, they are dropped.

use std::io::{self, Write};

use clap::ValueEnum;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// `2026-01-31T12:00:00Z  INFO answered method=POST path="/predict" status=200 …`
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Models that are refused, panics.
    Error,
    /// And requests that the service failed or turned away.
    Warn,
    /// And every other request of /predict and /reload, models, start and end.
    Info,
    /// And requests of /health, /ready, /model and /metrics, and connections that are closed.
    Debug,
}

/// Lines that wait to be written.
const QUEUE: usize = 10_000;

/// Starts to log; what is returned writes the last lines when it is dropped.
pub fn start(form: Form, level: Level) -> WorkerGuard {
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE)
        .thread_name("log")
        .finish(Dropping(io::stderr()));
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt().with_writer(lines).with_max_level(level).with_target(false).with_ansi(false);
    match form {
        Form::Text => lines.init(),
        Form::Json => lines.json().flatten_event(true).init(),
    }
    guard
}

/// Writes what can be written, and drops the rest.
struct Dropping<W>(W);

impl<W: Write> Write for Dropping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

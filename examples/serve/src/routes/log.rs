//! What is counted, timed and logged of every request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Level, event};

use crate::state::State;
use crate::text::shown;

/// When the request's header was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started(pub(super) Instant);

/// What a handler knows for the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    pub(super) candidates: Option<usize>,
    pub(super) request_id: Option<String>,
    pub(super) error: Option<String>,
}

/// The header that names a request, in the request and in its answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's name for a request, and of a path in the log.
const SHORT: usize = 100;

/// Counts every answer, times those of `/predict`, gives each request a name, and writes its line.
pub(super) async fn measure(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    // Paths that are none must not become labels.
    const PATHS: [&str; 6] = ["/health", "/ready", "/predict", "/reload", "/model", "/metrics"];
    let started = Instant::now();
    let known = PATHS.into_iter().find(|known| *known == request.uri().path()).unwrap_or("other");
    let id = request.headers().get(REQUEST_ID).and_then(named).unwrap_or_else(number);
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let (method, path) = (request.method().clone(), short(request.uri().path()));
    request.extensions_mut().insert(Started(started));
    let mut response = next.run(request).await;
    let took = started.elapsed();
    let status = response.status();
    state.metrics.answered(known, status.as_u16());
    if known == "/predict" {
        state.metrics.predicted_in(took);
    }
    let noted = response.extensions_mut().remove::<Noted>().unwrap_or_default();
    let id = noted.request_id.unwrap_or(id);
    let client = client.map(tracing::field::display);
    let milliseconds = took.as_micros() as f64 / 1e3;
    let candidates = noted.candidates;
    // Debug writes quotes and escapes what a terminal would obey.
    macro_rules! line {
        ($level:expr) => {
            event!(
                $level,
                %method, path, status = status.as_u16(), milliseconds, candidates, request_id = id.as_str(), client,
                error = noted.error.as_deref(), "answered"
            )
        };
    }
    let turned_away = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match known {
        _ if status.is_server_error() || turned_away => line!(Level::WARN),
        "/predict" | "/reload" | "other" => line!(Level::INFO),
        _ => line!(Level::DEBUG),
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A client's name for a request, if it is a plain one.
fn named(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= SHORT)?;
    Some(text.to_owned())
}

/// A name of our own: different for every request of this process.
fn number() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The beginning of a text, for the log.
pub(super) fn short(text: &str) -> String {
    shown(&text[..text.floor_char_boundary(SHORT)])
}

//! The endpoints.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response as HttpResponse;
use axum::routing::{get, post};
use starple::ErrorKind;
use starple::serve::PredictorCache;

use crate::api::{Cells, Problem, Request, Response};
use crate::model::Model;
use crate::reload;
use crate::state::{Limits, State};

type Refusal = (StatusCode, String);

/// All endpoints over this state.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/health", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/predict", post(predict))
        .route("/reload", post(reload_now))
        .route("/metrics", get(metrics))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async { problem(StatusCode::METHOD_NOT_ALLOWED, "no such method") })
        .layer(DefaultBodyLimit::max(state.limits.body_bytes))
        .layer(from_fn_with_state(Arc::clone(&state), measure))
        .with_state(state)
}

async fn ready(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    match state.model.load_full() {
        Some(model) => json(StatusCode::OK, version(&model)),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "no model is loaded yet"),
    }
}

async fn reload_now(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    match reload::reload(&state).await {
        Ok(model) => json(StatusCode::OK, version(&model)),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, &format!("the old model stays: {error}")),
    }
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", state.metrics.text().into())
}

async fn predict(Shared(state): Shared<Arc<State>>, body: Result<Bytes, BytesRejection>) -> HttpResponse {
    match within_limits(&state, body).await {
        Ok(response) => json(StatusCode::OK, response),
        Err((code, error)) => problem(code, &error),
    }
}

/// Hands the request to a thread that may block: parsing and scoring hundreds of candidates would hold up all other connections.
async fn within_limits(state: &Arc<State>, body: Result<Bytes, BytesRejection>) -> Result<Vec<u8>, Refusal> {
    let body = body.map_err(|rejection| (rejection.status(), rejection.body_text()))?;
    let too_many = |_| (StatusCode::TOO_MANY_REQUESTS, "too many requests at once; try again".to_owned());
    let permit = Arc::clone(&state.admission).try_acquire_owned().map_err(too_many)?;
    let none = || (StatusCode::SERVICE_UNAVAILABLE, "no model is loaded yet".to_owned());
    let model = state.model.load_full().ok_or_else(none)?;
    let worker = Arc::clone(state);
    let work = tokio::task::spawn_blocking(move || {
        // Given back when the work is done, even if nobody waits for it any more.
        let _permit = permit;
        score(&model, &worker, &body)
    });
    match tokio::time::timeout(state.limits.timeout, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err((StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string())),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "it took too long".to_owned())),
    }
}

/// From the body of a request to that of its response.
fn score(model: &Model, state: &State, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    thread_local! {
        static CACHE: RefCell<PredictorCache> = RefCell::default();
    }
    let request: Request =
        serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, format!("not a request: {error}")))?;
    check(&request, &state.limits)?;
    let tasks = &model.predictor.frozen().layout().tasks;
    let body = CACHE.with_borrow_mut(|cache| {
        let candidates = request.candidates.iter().map(Cells::raw);
        let scores = model.predictor.score(&request.domain, request.given.raw(), candidates, cache);
        let scores = scores.map_err(|error| match error.kind() {
            ErrorKind::Data | ErrorKind::UnknownDomain => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        })?;
        let by_task = tasks.iter().map(String::as_str).zip(scores.columns()).map(|(task, p)| (task, p.to_vec()));
        let response = Response { version: &model.version, probabilities: by_task.collect() };
        serde_json::to_vec(&response).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })?;
    state.metrics.scored(request.candidates.len());
    Ok(body)
}

fn check(request: &Request, limits: &Limits) -> Result<(), Refusal> {
    let (found, most) = (request.candidates.len(), limits.candidates);
    if found <= most {
        return Ok(());
    }
    Err((StatusCode::UNPROCESSABLE_ENTITY, format!("{found} candidates, {most} at most; send them in parts")))
}

/// Counts every answer, and times those of `/predict`.
async fn measure(Shared(state): Shared<Arc<State>>, request: HttpRequest, next: Next) -> HttpResponse {
    // Paths that are none must not become labels.
    const PATHS: [&str; 5] = ["/health", "/ready", "/predict", "/reload", "/metrics"];
    let path = PATHS.into_iter().find(|known| *known == request.uri().path()).unwrap_or("other");
    let started = Instant::now();
    let response = next.run(request).await;
    state.metrics.answered(path, response.status().as_u16());
    if path == "/predict" {
        state.metrics.predicted_in(started.elapsed());
    }
    response
}

fn version(model: &Model) -> Vec<u8> {
    serde_json::json!({ "version": model.version }).to_string().into_bytes()
}

fn problem(code: StatusCode, error: &str) -> HttpResponse {
    let body = serde_json::to_vec(&Problem { error: error.to_owned() });
    json(code, body.expect("a text is JSON"))
}

fn json(code: StatusCode, body: Vec<u8>) -> HttpResponse {
    answer(code, "application/json", body.into())
}

fn answer(code: StatusCode, content: &'static str, body: Body) -> HttpResponse {
    let response = HttpResponse::builder().status(code).header(header::CONTENT_TYPE, content).body(body);
    response.expect("these parts make a response")
}

//! The endpoints.

mod answers;
mod log;

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State as Shared};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response as HttpResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::json;
use starple::data::{DomainId, Target};
use starple::serve::PredictorCache;
use starple::{Error, ErrorKind, quoted};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;

use self::answers::{answer, json, problem};
use self::log::{Noted, Started};
use crate::api::{Cells, Request, Response};
use crate::body;
use crate::limits::Limits;
use crate::model::Model;
use crate::reload;
use crate::state::State;
use crate::text::shown;

/// Why there are no scores, for the client.
pub(crate) type Refusal = (StatusCode, String);

/// What clients reach: everything but reloads.
pub fn public(state: Arc<State>) -> Router {
    finish(common().route("/predict", post(predict)), state)
}

/// What the operator reaches: reloads, and what is said of the service.
pub fn admin(state: Arc<State>) -> Router {
    finish(common().route("/reload", post(reload_now)), state)
}

fn common() -> Router<Arc<State>> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/model", get(model))
        .route("/metrics", get(metrics))
}

fn finish(router: Router<Arc<State>>, state: Arc<State>) -> Router {
    router
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async { problem(StatusCode::METHOD_NOT_ALLOWED, "no such method") })
        .layer(CatchPanicLayer::custom(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the service failed")))
        .layer(from_fn_with_state(Arc::clone(&state), log::measure))
        .with_state(state)
}

/// 200 while the process lives, with what there is to say.
async fn health(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    let model = state.model.load_full();
    let refused = state.refused.load_full().map(|refused| {
        let seconds = SystemTime::now().duration_since(refused.at).unwrap_or_default().as_secs();
        json!({ "error": refused.error, "seconds_ago": seconds })
    });
    let status = if state.stopping() { "stopping" } else { "alive" };
    let body = json!({ "status": status, "version": model.map(|model| model.version.clone()), "refused": refused });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// 200 while requests should come: a model is in service, and the service does not end.
async fn ready(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    match state.model.load_full() {
        _ if state.stopping() => problem(StatusCode::SERVICE_UNAVAILABLE, "the service ends"),
        Some(model) => json(StatusCode::OK, version(&model)),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, &no_model(&state)),
    }
}

/// What the model in service reads and gives.
async fn model(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    let Some(model) = state.model.load_full() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, &no_model(&state));
    };
    let (predictor, layout) = (&model.predictor, model.predictor.scorer().layout());
    let body = json!({
        "version": model.version,
        "given": predictor.given().collect::<Vec<_>>(),
        "candidate": predictor.own().collect::<Vec<_>>(),
        "domains": layout.domains,
        "tasks": layout.tasks,
        "kinds": (0..layout.tasks.len()).map(|task| layout.target(task).kind()).collect::<Vec<_>>(),
        "calibrated": predictor.calibration().is_some(),
        "limits": { "candidates": state.limits.candidates, "bytes": state.limits.body_for(predictor) },
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

fn no_model(state: &State) -> String {
    match state.refused.load_full() {
        Some(refused) => format!("no model is loaded, the last one was refused: {}", refused.error),
        None => "no model is loaded yet".into(),
    }
}

async fn reload_now(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    match reload::reload(&state).await {
        Ok(model) => json(StatusCode::OK, version(&model)),
        Err(error) => {
            let served = state.model.load_full();
            let stays = if served.is_some() { "the old model stays" } else { "no model is in service" };
            let body = json!({
                "error": format!("{stays}: {error}"),
                "version": served.map(|model| model.version.clone()),
            });
            json(StatusCode::UNPROCESSABLE_ENTITY, body.to_string().into_bytes())
        }
    }
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> HttpResponse {
    answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", state.metrics.text().into())
}

async fn predict(
    Shared(state): Shared<Arc<State>>,
    Extension(Started(started)): Extension<Started>,
    request: HttpRequest,
) -> HttpResponse {
    let (mut response, noted) = match within_limits(&state, started, request.into_body()).await {
        Ok(Scored { body, noted }) => (json(StatusCode::OK, body), noted),
        Err((code, error)) => {
            let noted = Noted { error: Some(shown(&error)), ..Noted::default() };
            (problem(code, &error), noted)
        }
    };
    response.extensions_mut().insert(noted);
    response
}

/// The body of an answer, and what the log says of it.
struct Scored {
    body: Vec<u8>,
    noted: Noted,
}

/// Reads the body and hands it to a thread that may block: parsing and scoring hundreds of candidates would hold up all other
/// connections.
async fn within_limits(state: &Arc<State>, started: Instant, body: Body) -> Result<Scored, Refusal> {
    let until = (started + state.limits.timeout).into();
    let model = state.model.load_full().ok_or_else(|| (StatusCode::SERVICE_UNAVAILABLE, no_model(state)))?;
    let body = tokio::time::timeout_at(until, body::read(state, body)).await.map_err(|_| {
        let text = "the body did not come to its end within --timeout-ms";
        (StatusCode::REQUEST_TIMEOUT, text.to_owned())
    })??;
    let too_many = |_| {
        let text = "more than --max-concurrent requests at once; try again";
        (StatusCode::TOO_MANY_REQUESTS, text.to_owned())
    };
    let permit = Arc::clone(&state.admission).try_acquire_owned().map_err(too_many)?;
    let worker = Arc::clone(state);
    let work = tokio::task::spawn_blocking(move || {
        // Given back when the work is done, even if no client waits for it any more; the body with its permits, too.
        let (_permit, body) = (permit, body);
        if Instant::now() >= until.into_std() {
            return Err(too_late());
        }
        score(&model, &worker, &body.bytes)
    });
    match tokio::time::timeout_at(until, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => {
            error!("scoring failed: {}", shown(&panicked.to_string()));
            Err((StatusCode::INTERNAL_SERVER_ERROR, "the service failed".into()))
        }
        Err(_) => Err(too_late()),
    }
}

fn too_late() -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, "it took longer than --timeout-ms".into())
}

/// From the body of a request to that of its response.
fn score(model: &Model, state: &State, body: &[u8]) -> Result<Scored, Refusal> {
    thread_local! {
        static CACHE: RefCell<PredictorCache> = RefCell::default();
    }
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, shown(&format!("not a request: {error}"))))?;
    check(&request, &state.limits)?;
    let predictor = &model.predictor;
    let domain = predictor.encoder().domain(&request.domain);
    if domain.as_ref().map_or_else(|error| error.kind() == ErrorKind::UnknownDomain, |id| *id == DomainId::SHARED) {
        state.metrics.unknown_domain();
    }
    let layout = predictor.scorer().layout();
    let body = CACHE.with_borrow_mut(|cache| {
        let candidates = request.candidates.iter().map(Cells::raw);
        let scores = predictor
            .score(&request.domain, request.given.raw(), candidates, cache)
            .map_err(|error| refusal(&error, &request.domain, model))?;
        let by_task = layout.tasks.iter().map(String::as_str).zip(scores.columns()).enumerate();
        let (mut probabilities, mut predictions) = (Vec::new(), Vec::new());
        for (task, (name, answers)) in by_task {
            let binary = layout.target(task) == Target::Binary;
            if binary { &mut probabilities } else { &mut predictions }.push((name, answers.to_vec()));
        }
        let response = Response {
            request_id: request.request_id.as_deref().map(Cow::Borrowed),
            version: &model.version,
            probabilities,
            predictions,
        };
        let body = serde_json::to_vec(&response);
        state.metrics.unknown(predictor.unknown(cache));
        body.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })?;
    state.metrics.scored(request.candidates.len());
    let noted = Noted {
        candidates: Some(request.candidates.len()),
        request_id: request.request_id.as_deref().map(log::short),
        error: None,
    };
    Ok(Scored { body, noted })
}

/// What a client is told of an error.
fn refusal(error: &Error, domain: &str, model: &Model) -> Refusal {
    let text = match error.kind() {
        ErrorKind::UnknownDomain => {
            let domains = &model.predictor.scorer().layout().domains;
            let known: Vec<String> = domains.iter().take(30).map(|name| quoted(name).to_string()).collect();
            let more = domains.len() - known.len();
            let more = if more > 0 { format!(" and {more} more, see /model") } else { String::new() };
            format!("domain: found {}: expected one of {}{more}", quoted(domain), known.join(", "))
        }
        _ => error.to_string(),
    };
    let code = match error.kind() {
        ErrorKind::Data | ErrorKind::UnknownDomain | ErrorKind::NonFinite => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, shown(&text))
}

fn check(request: &Request, limits: &Limits) -> Result<(), Refusal> {
    let (found, most) = (request.candidates.len(), limits.candidates);
    if found <= most {
        return Ok(());
    }
    let text = format!("{found} candidates, {most} at most (--max-candidates); send them in parts");
    Err((StatusCode::UNPROCESSABLE_ENTITY, text))
}

fn version(model: &Model) -> Vec<u8> {
    json!({ "version": model.version }).to_string().into_bytes()
}

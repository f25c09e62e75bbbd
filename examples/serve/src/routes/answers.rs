//! Responses.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;

use crate::api::Problem;

pub(super) fn problem(code: StatusCode, error: &str) -> Response {
    let body = serde_json::to_vec(&Problem { error: error.to_owned() });
    let mut response = json(code, body.expect("a text is JSON"));
    if code == StatusCode::REQUEST_TIMEOUT {
        // What is left of the body is not waited for.
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}

pub(super) fn json(code: StatusCode, body: Vec<u8>) -> Response {
    answer(code, "application/json", body.into())
}

pub(super) fn answer(code: StatusCode, content: &'static str, body: Body) -> Response {
    let response = Response::builder().status(code).header(header::CONTENT_TYPE, content).body(body);
    response.expect("these parts make a response")
}

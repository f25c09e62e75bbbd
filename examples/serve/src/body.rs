//! Reading a body, within bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::routes::Refusal;
use crate::state::State;

/// What is asked for at first, and at least, so that few bytes at a time do not cost a step each.
const STEP: usize = 4 << 10;

/// A body, and the permits for the memory that it takes.
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    permits: OwnedSemaphorePermit,
}

/// Reads a body to its end.
///
/// Memory is asked for before it is taken and as bytes arrive: neither a client that announces much and sends little, nor a thousand
/// that send much, take it from others.
pub(crate) async fn read(state: &Arc<State>, mut body: Body) -> Result<Read, Refusal> {
    let most = state.body_bytes.load(Ordering::Relaxed);
    let too_large = || {
        let text = format!("the body has more than {most} bytes (--max-bytes); send the candidates in parts");
        (StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let none = Arc::clone(&state.bodies).try_acquire_many_owned(0).expect("the semaphore is never closed");
    let mut read = Read { bytes: Vec::new(), permits: none };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        // Trailers are not read.
        let Ok(data) = frame.into_data() else { continue };
        let length = read.bytes.len() + data.len();
        if length > most {
            return Err(too_large());
        }
        read.reserve(state, length, most)?;
        read.bytes.extend_from_slice(&data);
    }
    Ok(read)
}

impl Read {
    fn reserve(&mut self, state: &Arc<State>, length: usize, most: usize) -> Result<(), Refusal> {
        let held = self.bytes.capacity();
        if length <= held {
            return Ok(());
        }
        let wanted = (2 * held).max(length).max(STEP).min(most.max(length));
        let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
        let permits = Arc::clone(&state.bodies).try_acquire_many_owned(more).map_err(|_| {
            let text = "the bodies of all requests take more than --max-all-bytes; try again";
            (StatusCode::TOO_MANY_REQUESTS, text.to_owned())
        })?;
        self.permits.merge(permits);
        self.bytes.reserve_exact(wanted - self.bytes.len());
        Ok(())
    }
}

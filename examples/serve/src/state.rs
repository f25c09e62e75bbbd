//! What all requests share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, Semaphore};

use crate::metrics::Metrics;
use crate::model::{Loader, Model};

/// What a client may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a body; beyond, 413. Default 1 MiB.
    pub body_bytes: usize,
    /// Candidates of a request; beyond, 422. Default 1000.
    pub candidates: usize,
    /// Requests being scored or waiting for it; beyond, 429. Default 64.
    pub concurrent: usize,
    /// How long a request may take; beyond, 503. Default 1 s.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 1 << 20, candidates: 1000, concurrent: 64, timeout: Duration::from_secs(1) }
    }
}

/// The model in service, and what is needed around it.
pub struct State {
    /// Swapped as a whole: a request takes one model and keeps it to its end.
    pub model: ArcSwapOption<Model>,
    pub loader: Loader,
    pub limits: Limits,
    /// One permit for each request that may be under way.
    pub admission: Arc<Semaphore>,
    /// One reload at a time.
    pub reloading: Mutex<()>,
    pub metrics: Metrics,
}

impl State {
    /// A service without a model yet: see [`reload`](crate::reload::reload).
    pub fn new(loader: Loader, limits: Limits) -> Arc<Self> {
        let admission = Arc::new(Semaphore::new(limits.concurrent));
        let (model, metrics) = (ArcSwapOption::empty(), Metrics::default());
        Arc::new(Self { model, loader, limits, admission, reloading: Mutex::new(()), metrics })
    }
}

//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::model::{Loader, Model};
use crate::reload::Reloads;

/// The model in service, and what is needed around it.
pub struct State {
    /// Swapped as a whole: a request takes one model and keeps it to its end.
    pub model: ArcSwapOption<Model>,
    /// Why the newest model was refused; none if it is in service.
    pub refused: ArcSwapOption<Refused>,
    pub loader: Loader,
    pub limits: Limits,
    /// One permit for each request that may be scored or wait for it.
    pub admission: Arc<Semaphore>,
    /// One permit for each byte of a body that may be in memory.
    pub bodies: Arc<Semaphore>,
    /// The most bytes of one body: see [`Limits::body_for`].
    pub body_bytes: AtomicUsize,
    pub reloads: Reloads,
    pub metrics: Metrics,
    /// The service ends: nothing new should come.
    pub stopping: AtomicBool,
}

/// A model that was not put in service.
#[derive(Debug, Clone)]
pub struct Refused {
    pub error: String,
    pub at: SystemTime,
}

impl State {
    /// A service without a model yet: see [`reload`](crate::reload::reload).
    pub fn new(loader: Loader, limits: Limits) -> Arc<Self> {
        let body_bytes = limits.body_bytes.unwrap_or(1 << 20).into();
        let bodies = limits.all_body_bytes.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            model: ArcSwapOption::empty(),
            refused: ArcSwapOption::empty(),
            loader,
            admission: Arc::new(Semaphore::new(limits.concurrent.min(Semaphore::MAX_PERMITS))),
            bodies: Arc::new(Semaphore::new(bodies)),
            body_bytes,
            limits,
            reloads: Reloads::default(),
            metrics: Metrics::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Whether the service ends.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

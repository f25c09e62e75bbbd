//! What Prometheus reads.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::Model;

/// Upper bounds of the latency's buckets, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    path: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: String,
}

/// Counters and gauges, which any thread may move.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    latency: Histogram,
    rows: Counter,
    reloads: Counter,
    reload_failures: Counter,
    model: Family<Version, Gauge>,
    loaded: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("starple");
        let metrics = Self {
            requests: Family::default(),
            latency: Histogram::new(SECONDS),
            rows: Counter::default(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
            model: Family::default(),
            loaded: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests by path and status code", metrics.requests.clone());
        registry.register("predict_seconds", "Time from request to response of /predict", metrics.latency.clone());
        registry.register("rows_scored", "Candidates scored", metrics.rows.clone());
        registry.register("reloads", "Models put in service", metrics.reloads.clone());
        registry.register("reload_failures", "Models that were refused", metrics.reload_failures.clone());
        registry.register("model", "1 for the version in service", metrics.model.clone());
        registry.register("model_loaded_seconds", "Unix time at which it was put in service", metrics.loaded.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    pub fn answered(&self, path: &'static str, code: u16) {
        self.requests.get_or_create(&Answer { path, code }).inc();
    }

    pub fn predicted_in(&self, time: Duration) {
        self.latency.observe(time.as_secs_f64());
    }

    pub fn scored(&self, rows: usize) {
        self.rows.inc_by(rows as u64);
    }

    pub fn swapped(&self, model: &Model) {
        self.reloads.inc();
        self.model.clear();
        self.model.get_or_create(&Version { version: model.version.clone() }).set(1);
        let since = model.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.loaded.set(since.as_secs() as i64);
    }

    pub fn refused(&self) {
        self.reload_failures.inc();
    }

    /// The text of `GET /metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

//! What Prometheus reads.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use starple::serve::PredictorCache;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Feature {
    feature: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: Closed,
}

/// Why the service closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Closed {
    /// Its header took too long.
    Header,
    /// It waited too long for a next request.
    Idle,
    /// It made room for another.
    Evicted,
    /// All others had requests under way.
    NoPlace,
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
    newest_refused: Gauge,
    unknown_values: Family<Feature, Counter>,
    unknown_domains: Counter,
    connections: Gauge,
    closed: Family<Why, Counter>,
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
            newest_refused: Gauge::default(),
            unknown_values: Family::default(),
            unknown_domains: Counter::default(),
            connections: Gauge::default(),
            closed: Family::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests by path and status code", metrics.requests.clone());
        registry.register("predict_seconds", "Time from request to response of /predict", metrics.latency.clone());
        registry.register("rows_scored", "Candidates scored", metrics.rows.clone());
        registry.register("reloads", "Models put in service", metrics.reloads.clone());
        registry.register("reload_failures", "Models that were refused", metrics.reload_failures.clone());
        registry.register("model", "1 for the version in service", metrics.model.clone());
        registry.register("model_loaded_seconds", "Unix time at which it was put in service", metrics.loaded.clone());
        registry.register("newest_model_refused", "1 if the last reload was refused", metrics.newest_refused.clone());
        let unknown = "Values that training had not seen, by feature";
        registry.register("unknown_values", unknown, metrics.unknown_values.clone());
        let unknown = "Requests of a domain that training had not seen";
        registry.register("unknown_domains", unknown, metrics.unknown_domains.clone());
        registry.register("connections", "Connections that are open", metrics.connections.clone());
        registry.register("connections_closed", "Connections that the service closed", metrics.closed.clone());
        for why in [Closed::Header, Closed::Idle, Closed::Evicted, Closed::NoPlace] {
            let _ = metrics.closed.get_or_create(&Why { why });
        }
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

    /// Values and the domain of a request that training had not seen.
    pub fn unknown<'a>(&self, values: impl Iterator<Item = (&'a str, usize)>) {
        for (feature, count) in values.filter(|(_, count)| *count > 0) {
            self.unknown_values.get_or_create(&Feature { feature: feature.to_owned() }).inc_by(count as u64);
        }
    }

    pub fn unknown_domain(&self) {
        self.unknown_domains.inc();
    }

    pub fn opened(&self) {
        self.connections.inc();
    }

    pub fn gone(&self) {
        self.connections.dec();
    }

    pub fn closed(&self, why: Closed) {
        self.closed.get_or_create(&Why { why }).inc();
    }

    pub fn swapped(&self, model: &Model) {
        self.reloads.inc();
        self.newest_refused.set(0);
        for (feature, _) in model.predictor.unknown(&PredictorCache::default()) {
            // There from the first look on, with 0.
            let _ = self.unknown_values.get_or_create(&Feature { feature: feature.to_owned() });
        }
        self.model.clear();
        self.model.get_or_create(&Version { version: model.version.clone() }).set(1);
        let since = model.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.loaded.set(since.as_secs() as i64);
    }

    pub fn refused(&self) {
        self.reload_failures.inc();
        self.newest_refused.set(1);
    }

    /// The text of `GET /metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

//! Calibrated probabilities, by task and domain, of scores of their own.

use ndarray::Array2;
use serde::Deserialize;
use starple::data::{Batch, DomainId, Layout};
use starple::serve::{Calibration, CalibrationSettings, Method};

use crate::check::{Check, Golden, file};
use crate::models::Data;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    method: Method,
    min_rows: usize,
    domains: Vec<String>,
    logits: Golden,
    labels: Golden,
    weights: Option<Vec<f32>>,
    queries: Vec<f32>,
    /// By task, then domain; behind the last domain, rows of no known one.
    expected: Vec<Vec<Golden>>,
}

#[test]
fn calibrations() {
    let (data, mut check) = (Data::read(), Check::default());
    // Features play no part.
    let layout = Layout { fields: Vec::new(), numeric: Vec::new(), ..data.layout };
    for case in file::<Vec<Case>>("calibration.json") {
        let id = |name: &String| DomainId::new(layout.domains.iter().position(|domain| domain == name).unwrap());
        let rows = Batch {
            numeric: Array2::zeros((case.domains.len(), 0)),
            labels: case.labels.matrix(),
            domains: case.domains.iter().map(id).collect(),
            weights: case.weights.clone().unwrap_or_default(),
            ..Batch::default()
        };
        let settings = CalibrationSettings { method: case.method, min_rows: case.min_rows };
        let calibration = Calibration::fit(settings, &case.logits.matrix(), &rows, &layout).unwrap();
        for (task, by_domain) in case.expected.iter().enumerate() {
            assert_eq!(by_domain.len(), layout.domains.len() + 1);
            for (place, golden) in by_domain.iter().enumerate() {
                let domain = if place < layout.domains.len() { DomainId::new(place) } else { DomainId::SHARED };
                let found = case.queries.iter().map(|&logit| calibration.probability(logit, domain, task));
                check.close(format_args!("{}: task {task}, domain {place}", case.name), found, golden);
            }
        }
    }
    check.finish();
}

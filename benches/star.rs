//! STAR: a training step, a prediction, and a request to the scorer.

mod common;

use common::workload::Workload;
use common::{predictions, requests, train_steps};

/// STAR of medium size, with this number of rows and domains per batch.
fn workload((rows, domains): (usize, usize)) -> (Workload, String) {
    (Workload { domains, rows, ..Workload::star_mid() }, format!("rows={rows},domains={domains}"))
}

fn main() {
    common::criterion(|criterion| {
        train_steps(criterion, "star", [(512, 10), (2048, 10), (2048, 50), (8192, 10)].map(workload));
        predictions(criterion, "star", [(1, 10), (100, 10), (500, 10), (4096, 10)].map(workload));
        let request = |(rows, given)| (workload((rows, 10)).0, given);
        requests(criterion, "star", [(1, 0), (100, 0), (500, 0), (100, 10), (500, 10)].map(request));
    });
}

//! PLE: a training step, a prediction, and a request to the scorer.

mod common;

use common::workload::{Shape, Workload};
use common::{predictions, requests, train_steps};

/// PLE with this number of rows per batch, tasks and levels.
fn workload((rows, tasks, levels): (usize, usize, usize)) -> (Workload, String) {
    let net = Shape::Ple { levels, expert: 128, shared: 2, own: 1, tower: 64 };
    let workload = Workload { net, tasks, rows, ..Workload::ple_wide() };
    (workload, format!("rows={rows},tasks={tasks},levels={levels}"))
}

fn main() {
    common::criterion(|criterion| {
        train_steps(criterion, "ple", [(2048, 2, 1), (2048, 2, 2), (2048, 2, 3), (2048, 10, 2)].map(workload));
        predictions(criterion, "ple", [1, 100, 500, 4096].map(|rows| workload((rows, 2, 2))));
        let request = |(rows, given)| (workload((rows, 2, 2)).0, given);
        requests(criterion, "ple", [(1, 0), (100, 0), (500, 0), (100, 10), (500, 10)].map(request));
    });
}

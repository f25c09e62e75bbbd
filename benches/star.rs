//! STAR: a step of training, and a prediction.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};

use common::run::{Inference, Training};
use common::workload::Workload;

/// The sizes of batches, and how many domains they are of.
const SIZES: [(usize, usize); 4] = [(512, 10), (2048, 10), (2048, 50), (8192, 10)];

/// STAR of a middling size, with batches of so many rows and domains.
fn workload((rows, domains): (usize, usize)) -> (Workload, String) {
    (Workload { domains, rows, ..Workload::star_mid() }, format!("rows={rows},domains={domains}"))
}

fn train_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("star");
    for (workload, name) in SIZES.map(workload) {
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("train_step", name), |bencher| {
            let (training, batch) = warm.get_or_insert_with(|| (Training::new(workload.model()), workload.batch(1)));
            bencher.iter(|| training.step(batch));
        });
    }
}

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("star");
    for (workload, name) in [(1, 10), (100, 10), (500, 10), (4096, 10)].map(workload) {
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            let (inference, batch) = warm.get_or_insert_with(|| (Inference::new(workload.model()), workload.batch(1)));
            bencher.iter(|| inference.pass(batch)[[0, 0]]);
        });
    }
}

fn main() {
    common::criterion(|criterion| {
        train_step(criterion);
        forward(criterion);
    });
}

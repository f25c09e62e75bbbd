//! PLE: a step of training, and a prediction.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};

use common::run::{Inference, Training};
use common::workload::{Shape, Workload};

/// PLE with so many tasks and levels, a shared and an own expert more than the least.
fn workload((tasks, levels): (usize, usize)) -> (Workload, String) {
    let net = Shape::Ple { levels, expert: 128, shared: 2, own: 1, tower: 64 };
    let workload = Workload { net, tasks, ..Workload::ple_wide() };
    let name = format!("rows={},tasks={tasks},levels={levels}", workload.rows);
    (workload, name)
}

fn train_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ple");
    for (workload, name) in [(2, 1), (2, 2), (2, 3), (10, 2)].map(workload) {
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("train_step", name), |bencher| {
            let (training, batch) = warm.get_or_insert_with(|| (Training::new(workload.model()), workload.batch(1)));
            bencher.iter(|| training.step(batch));
        });
    }
}

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ple");
    for rows in [1, 100, 500, 4096] {
        let workload = Workload { rows, ..workload((2, 2)).0 };
        let mut warm = None;
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("forward", format!("rows={rows},tasks=2,levels=2")), |bencher| {
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

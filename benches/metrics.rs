//! Metrics: an exact AUC, and the evaluator's report by task and domain.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::Array2;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::DomainId;
use starple::metrics::{Evaluator, auc};

use common::workload::Workload;

/// Scores `[rows, tasks]`, and labels that depend on them.
fn scored(rows: usize, tasks: usize) -> (Array2<f32>, Array2<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let logits = Array2::from_shape_simple_fn((rows, tasks), || rng.random_range(-3.0..3.0_f32));
    let labels = logits.mapv(|logit| f32::from(u8::from(rng.random_range(-3.0..3.0) < logit)));
    (logits, labels)
}

fn auc_of_one_task(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    for rows in [10_000, 1_000_000] {
        let mut made = None;
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("auc", format!("rows={rows}")), |bencher| {
            let (logits, labels) = made.get_or_insert_with(|| {
                let (logits, labels) = scored(rows, 1);
                (logits.into_raw_vec_and_offset().0, labels.into_raw_vec_and_offset().0)
            });
            bencher.iter(|| auc(black_box(logits), black_box(labels)));
        });
    }
}

fn evaluator(criterion: &mut Criterion) {
    let (rows, tasks, domains) = (200_000, 2, 10);
    let layout = Workload { domains, tasks, ..Workload::star_mid() }.layout();
    let mut group = criterion.benchmark_group("metrics");
    let mut made = None;
    let mut made = || {
        made.get_or_insert_with(|| {
            let (logits, labels) = scored(rows, tasks);
            let of: Vec<_> = (0..rows).map(|row| DomainId::new(row % domains)).collect();
            let mut evaluator = Evaluator::new(&layout);
            evaluator.add(&logits, &labels, &of[..], &[], &[]).expect("scores that can be");
            (logits, labels, of, evaluator)
        })
        .clone()
    };
    group.throughput(Throughput::Elements(rows as u64));
    let name = format!("rows={rows},tasks={tasks},domains={domains}");
    group.bench_function(BenchmarkId::new("evaluator.add", &name), |bencher| {
        let (logits, labels, of, _) = made();
        bencher.iter(|| {
            let mut evaluator = Evaluator::new(&layout);
            evaluator.add(&logits, &labels, &of[..], &[], &[]).expect("scores that can be");
            evaluator
        });
    });
    group.bench_function(BenchmarkId::new("evaluator.report", &name), |bencher| {
        let (.., evaluator) = made();
        bencher.iter(|| evaluator.report());
    });
}

fn main() {
    common::criterion(|criterion| {
        auc_of_one_task(criterion);
        evaluator(criterion);
    });
}

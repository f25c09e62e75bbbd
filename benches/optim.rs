//! Optimizers: updates of a dense tensor, and of the rows of a table that were read.

mod common;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use starple::nn::{Decay, RowGrad};
use starple::optim::OptimizerConfig;

/// The number of values of the dense tensor.
const VALUES: usize = 1 << 20;

/// The width of the table.
const DIM: usize = 16;

fn optimizers() -> [(&'static str, OptimizerConfig); 4] {
    let made = |config: starple::Result<OptimizerConfig>| config.expect("a learning rate that can be");
    [
        ("sgd", made(OptimizerConfig::sgd(1e-3))),
        ("adagrad", made(OptimizerConfig::adagrad(1e-3))),
        ("rowwise_adagrad", made(OptimizerConfig::rowwise_adagrad(1e-3))),
        ("adam", made(OptimizerConfig::adam(1e-3))),
    ]
}

/// Gradients that change sign, so that values and moments stay in a realistic range.
fn gradient(values: usize) -> Vec<f32> {
    (0..values).map(|i| (i as f32).sin() * 1e-3).collect()
}

fn dense(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optim");
    group.throughput(Throughput::Elements(VALUES as u64));
    for (name, config) in optimizers() {
        group.bench_function(BenchmarkId::new("dense", format!("{name},values={VALUES}")), |bencher| {
            let (mut optimizer, mut values, gradient) = (config.build(), vec![0.1; VALUES], gradient(VALUES));
            // A step sets the gradient to 0.
            let step = |grad: &mut Vec<f32>| optimizer.dense(0, black_box(&mut values), grad, Decay::Towards(0.0));
            bencher.iter_batched_ref(|| gradient.clone(), step, BatchSize::LargeInput);
        });
    }
}

/// Rows spread over the table, as in a batch.
fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optim");
    for (name, config) in optimizers() {
        for (table, read) in [(10_000, 4_000), (1_000_000, 4_000), (1_000_000, 40_000)] {
            group.throughput(Throughput::Elements(read as u64));
            let mut warm = None;
            group.bench_function(BenchmarkId::new("rows", format!("{name},table={table},rows={read}")), |bencher| {
                let (optimizer, values, gradient) = warm.get_or_insert_with(|| {
                    let mut gradient = RowGrad::new(table, DIM);
                    for (i, d) in self::gradient(read * DIM).chunks_exact(DIM).enumerate() {
                        // A prime step visits rows in an order that prefetchers cannot predict.
                        let row = (i * 7919 % table) as u32;
                        gradient.touch(row).iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
                    }
                    (config.build(), vec![0.1; table * DIM], gradient)
                });
                // A step removes the rows of the gradient.
                let step = |grad: &mut RowGrad| optimizer.rows(0, black_box(values), grad);
                bencher.iter_batched_ref(|| gradient.clone(), step, BatchSize::LargeInput);
            });
        }
    }
}

fn main() {
    common::criterion(|criterion| {
        dense(criterion);
        rows(criterion);
    });
}

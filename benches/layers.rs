//! The affine map `y = x·W + b`, forward and backward, in shapes of CTR models. It takes most of the time of a step. `ndarray-…` is the same map
//! with ndarray's matrix product, for comparison.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis};
use starple::nn::{Init, InitRng, Linear, Params as _};

/// Input and output widths.
const SHAPES: [(usize, usize); 4] = [(324, 512), (512, 256), (256, 128), (128, 1)];

/// Numbers of rows: one candidate, a few, a page; the rows of a domain in a batch; whole batches.
const ROWS: [usize; 5] = [1, 32, 200, 2048, 4096];

fn linear(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear");
    for (input, output) in SHAPES {
        let layer = Linear::new(input, output, Init::FanIn, &mut InitRng::new(1));
        let mut gradient = layer.zeros_like();
        for rows in ROWS {
            let name = format!("rows={rows},in={input},out={output}");
            let matrix = |columns| Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 31 + j) as f32).sin());
            let (x, mut y, mut dx) = (matrix(input), matrix(output), matrix(input));
            let dy = y.clone();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new("forward", &name), |bencher| {
                bencher.iter(|| layer.forward(black_box(&x), &mut y));
            });
            group.bench_function(BenchmarkId::new("backward", &name), |bencher| {
                bencher.iter(|| layer.backward(black_box(&x), &dy, &mut gradient, Some(&mut dx)));
            });
            group.bench_function(BenchmarkId::new("ndarray-forward", &name), |bencher| {
                bencher.iter(|| {
                    y.assign(&layer.bias);
                    general_mat_mul(1.0, black_box(&x), &layer.weight, 1.0, &mut y);
                });
            });
            group.bench_function(BenchmarkId::new("ndarray-backward", &name), |bencher| {
                bencher.iter(|| {
                    general_mat_mul(1.0, &black_box(&x).t(), &dy, 1.0, &mut gradient.weight);
                    gradient.bias += &dy.sum_axis(Axis(0));
                    general_mat_mul(1.0, &dy, &layer.weight.t(), 0.0, &mut dx);
                });
            });
        }
    }
}

fn main() {
    common::criterion(linear);
}

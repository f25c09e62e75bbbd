//! Code that the benchmarks share: workloads, their runs, their least cost, and a pool for Criterion.

#![allow(dead_code, reason = "every benchmark takes what it needs")]

pub(crate) mod cost;
pub(crate) mod run;
pub(crate) mod workload;

use std::env;
use std::num::NonZero;
use std::thread::available_parallelism;

use criterion::{BenchmarkId, Criterion, Throughput};
use starple::train::in_pool;

use self::run::{Inference, Serving, Training};
use self::workload::Workload;

/// The default number of threads of a benchmark: `STARPLE_THREADS`, or all threads of the machine.
///
/// # Panics
/// If `STARPLE_THREADS` is not a number.
pub(crate) fn threads() -> usize {
    match env::var("STARPLE_THREADS") {
        Ok(threads) => threads.parse().expect("STARPLE_THREADS: a number of threads"),
        Err(_) => available_parallelism().map_or(1, NonZero::get),
    }
}

/// Runs Criterion's benchmarks inside a pool of [`threads`].
pub(crate) fn criterion(benches: impl FnOnce(&mut Criterion) + Send) {
    let run = || {
        let mut criterion = Criterion::default().configure_from_args();
        benches(&mut criterion);
        criterion.final_summary();
    };
    in_pool(threads(), run).expect("a pool of threads");
}

/// A training step of each workload, by name.
pub(crate) fn train_steps(
    criterion: &mut Criterion,
    group: &str,
    workloads: impl IntoIterator<Item = (Workload, String)>,
) {
    let mut group = criterion.benchmark_group(group);
    for (workload, name) in workloads {
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("train_step", name), |bencher| {
            let (training, batch) = warm.get_or_insert_with(|| (Training::new(workload.model()), workload.batch(1)));
            bencher.iter(|| training.step(batch));
        });
    }
}

/// A prediction of each workload, by name.
pub(crate) fn predictions(
    criterion: &mut Criterion,
    group: &str,
    workloads: impl IntoIterator<Item = (Workload, String)>,
) {
    let mut group = criterion.benchmark_group(group);
    for (workload, name) in workloads {
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            let (inference, batch) = warm.get_or_insert_with(|| (Inference::new(workload.model()), workload.batch(1)));
            bencher.iter(|| inference.pass(batch)[[0, 0]]);
        });
    }
}

/// A request to the scorer of each workload, by name. All rows are candidates of one domain. This number of fields, and a fifth as many
/// numbers, are given once.
pub(crate) fn requests(criterion: &mut Criterion, group: &str, workloads: impl IntoIterator<Item = (Workload, usize)>) {
    let mut group = criterion.benchmark_group(group);
    for (workload, given) in workloads {
        let name = format!("candidates={},given={given}", workload.rows);
        let mut warm = None;
        group.throughput(Throughput::Elements(workload.rows as u64));
        group.bench_function(BenchmarkId::new("scorer", name), |bencher| {
            let (serving, batch) = warm.get_or_insert_with(|| {
                let batch = workload.candidates(1);
                (Serving::new(workload.model(), given, &batch), batch)
            });
            bencher.iter(|| serving.pass(batch)[[0, 0]]);
        });
    }
}

/// Whether the benchmark should only be tested: Criterion's option `--test`.
pub(crate) fn only_tested() -> bool {
    env::args().any(|argument| argument == "--test")
}

/// The median; of two middle numbers, the larger.
///
/// # Panics
/// If there are no numbers.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

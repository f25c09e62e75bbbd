//! What the benchmarks share: workloads, warm runs of them, what they cost at least, and a pool for Criterion.

#![allow(dead_code, reason = "every benchmark takes what it needs")]

pub(crate) mod cost;
pub(crate) mod run;
pub(crate) mod workload;

use std::env;
use std::num::NonZero;
use std::thread::available_parallelism;

use criterion::Criterion;
use starple::train::in_pool;

/// How many threads a benchmark has unless an option says otherwise: `STARPLE_THREADS`, or all there are.
///
/// # Panics
/// If `STARPLE_THREADS` is no number.
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

/// Whether the benchmark is only to be seen to work: `--test`, as Criterion has it.
pub(crate) fn only_tested() -> bool {
    env::args().any(|argument| argument == "--test")
}

/// The middle one of some numbers, the upper of two.
///
/// # Panics
/// If there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

//! The sizes that grow, and the sizes that stay constant.

use crate::common::workload::{Shape, Workload};

/// Step time as a function of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// The sizes that stay constant.
    pub(crate) held: &'static str,
    pub(crate) values: &'static [usize],
    /// Small values, for a test of the benchmark.
    pub(crate) small: &'static [usize],
    pub(crate) workload: fn(usize) -> Workload,
}

/// The vocabulary that is measured only with `--large`: table and moments need 19 GB.
pub(crate) const LARGE_VOCABULARY: usize = 100_000_000;

pub(crate) const CURVES: [Curve; 5] = [
    Curve {
        name: "domains",
        held: "STAR, hidden layers 256, 128, 64, auxiliary network 64, 20 fields with 120,800 ids, 8192 rows a batch",
        values: &[4, 8, 16, 32, 64, 128, 256],
        small: &[2, 4],
        workload: |domains| Workload { domains, rows: 8192, ..star() },
    },
    Curve {
        name: "rows",
        held: "STAR as above, 10 domains",
        values: &[256, 512, 1024, 2048, 4096, 8192, 16384],
        small: &[64, 128],
        workload: |rows| Workload { rows, ..star() },
    },
    Curve {
        name: "vocabulary",
        held: "STAR as above, 10 domains, 2048 rows a batch; ids of 20 fields together, embeddings of 16 values",
        values: &[100_000, 1_000_000, 10_000_000],
        small: &[1_000, 10_000],
        workload: |vocabulary| Workload { fields: vec![vocabulary / 20; 20], ..star() },
    },
    Curve {
        name: "tasks",
        held: "PLE, 2 levels, 2 shared experts and 1 for each task, all of 128, towers 64, 20 fields with 120,800 ids, 2048 rows a batch",
        values: &[1, 2, 4, 8, 16],
        small: &[1, 2],
        workload: |tasks| Workload { tasks, ..Workload::ple_wide() },
    },
    Curve {
        name: "levels",
        held: "PLE as above, 2 tasks",
        values: &[1, 2, 3, 4, 6, 8],
        small: &[1, 2],
        workload: |levels| {
            let net = Shape::Ple { levels, expert: 128, shared: 2, own: 1, tower: 64 };
            Workload { net, tasks: 2, ..Workload::ple_wide() }
        },
    },
];

/// A smaller STAR than in the comparison with PyTorch, so that 256 domains fit into memory.
fn star() -> Workload {
    let net = Shape::Star { hidden: vec![256, 128, 64], auxiliary: 64 };
    Workload { net, ..Workload::star_mid() }
}

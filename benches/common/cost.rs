//! The least cost of a workload: arithmetic per row, memory traffic per step.

use starple::data::Batch;
use starple::nn::{Leaf, Params as _, Path};

use super::run::Training;
use super::workload::{Shape, Workload};

/// The least cost of a step or a prediction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Floating-point operations of the matrix products, for one row.
    ///
    /// An affine map from `in` to `out` values needs `2·in·out` forward (`x·W`) and twice that backward (`dx = dy·Wᵀ`,
    /// `dW = xᵀ·dy`): `6·in·out` in training, `2·in·out` in prediction. With `E` the embedded row's width,
    ///
    /// * STAR sums `in·out` over `E → hidden … → 1` and the auxiliary network `E + domain_dim → auxiliary → 1`;
    /// * PLE over the experts (`m_s + K·m_k` of each level), the gates (a branch's has `m_k + m_s` outputs, the shared one of all levels
    ///   but the last `K·m_k + m_s`) and the towers.
    ///
    /// Element-wise operations (normalisation, activation, combination of weights, mixtures, the optimizer) do not count: they
    /// are bound by memory.
    pub(crate) flops_per_row: f64,
    /// The bytes of parameters, gradients and Adam's moments that are read or written in one step or prediction.
    ///
    /// In training each dense value of the step is read by both passes, its gradient is written and read, and Adam reads
    /// and writes value and two moments: `(2 + 2 + 6)·4 = 40` bytes; a value of a table row that was read 36, since the
    /// backward pass does not read it. In prediction a value is read once, 4 bytes. What absent domains own is not counted,
    /// nor are activations, which a cache may hold.
    pub(crate) bytes: f64,
}

impl Cost {
    /// The cost of training on this batch.
    pub(crate) fn of_training(workload: &Workload, training: &mut Training, batch: &Batch) -> Self {
        let (dense, embedded) = values(training, batch);
        Self { flops_per_row: 6.0 * products(workload) as f64, bytes: (40 * dense + 36 * embedded) as f64 }
    }

    /// The cost of predicting this batch.
    pub(crate) fn of_prediction(workload: &Workload, training: &mut Training, batch: &Batch) -> Self {
        let (dense, embedded) = values(training, batch);
        Self { flops_per_row: 2.0 * products(workload) as f64, bytes: (4 * (dense + embedded)) as f64 }
    }
}

/// The number of values of the net that a batch uses, and the number of values of tables.
fn values(training: &mut Training, batch: &Batch) -> (usize, usize) {
    let gradient = training.gradient(batch);
    let mut dense = 0;
    gradient.net.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        if let (true, Leaf::Tensor(values, ..)) = (path.present(), leaf) {
            dense += values.len();
        }
    });
    let embedded = gradient.tables.iter().map(|table| table.values().len()).sum();
    gradient.zero();
    (dense, embedded)
}

/// `Σ in·out` over the affine maps that a row passes.
fn products(workload: &Workload) -> usize {
    let stack = |widths: &[usize]| widths.windows(2).map(|pair| pair[0] * pair[1]).sum::<usize>();
    let (width, tasks) = (workload.width(), workload.tasks);
    match &workload.net {
        Shape::Star { hidden, auxiliary } => {
            let main = [&[width][..], hidden, &[tasks]].concat();
            stack(&main) + stack(&[width + workload.dim, *auxiliary, tasks])
        }
        &Shape::Ple { levels, expert, shared, own, tower } => {
            let level = |index: usize| {
                let input = if index == 0 { width } else { expert };
                let experts = shared + tasks * own;
                let outputs = tasks * (own + shared) + if index + 1 < levels { experts } else { 0 };
                input * (experts * expert + outputs)
            };
            (0..levels).map(level).sum::<usize>() + tasks * stack(&[expert, tower, 1])
        }
    }
}

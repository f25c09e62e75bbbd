//! The passes over values, gradients and state: in blocks that run in parallel, compiled for wide vectors.
//!
//! Every value is updated independently of the others, so the cut into blocks changes no bit.

use super::RowUpdates;
use crate::nn::RowGrad;
use crate::parallel::{self, Cut, Divide};
use crate::simd::widest;

/// The number of values of a block: with two moments 128 kB, which stay in cache until the gradient is set to zero.
const BLOCK: usize = 1 << 13;
/// The number of values of a table's rows that a thread takes at a time: fewer, so that small tables keep all threads busy too.
const ROWS_BLOCK: usize = 1 << 12;

/// The update of an optimizer with `N` vectors of state, its constants filled in.
pub(super) trait Update<const N: usize>: Copy + Send + Sync {
    /// Updates `values`, all of a row or some of a dense tensor. Mark it `#[inline(always)]`, and let the loop be in a function that has
    /// each slice as an argument: then the compiler knows that they do not overlap.
    fn step(self, values: &mut [f32], grad: &[f32], state: [&mut [f32]; N]);
}

/// Updates a dense tensor and sets its gradient to zero.
pub(super) fn dense<const N: usize>(
    update: impl Update<N>,
    values: &mut [f32],
    grad: &mut [f32],
    state: [&mut [f32]; N],
) {
    parallel::wide_blocks(
        values.len(),
        BLOCK,
        (values, grad, state),
        #[inline(always)]
        move |(values, grad, state)| {
            update.step(values, grad, state);
            grad.fill(0.0);
        },
    );
}

/// Updates the rows of tables as [`RowUpdates`] says.
#[derive(Debug, Clone)]
pub(super) struct RowSweep {
    updates: RowUpdates,
    /// The gradient of a row that was not read.
    zeros: Vec<f32>,
    /// The rows that were read, each with its position in the gradient.
    read: Vec<(u32, u32)>,
}

impl RowSweep {
    pub(super) fn new(updates: RowUpdates) -> Self {
        Self { updates, zeros: Vec::new(), read: Vec::new() }
    }

    /// Updates the rows of `table` and clears the gradient. A row has an equal share of each vector of `state`.
    ///
    /// `idle` promises that a zero gradient would leave a row and its state as they are, so that such rows need no visit.
    pub(super) fn rows<const N: usize>(
        &mut self,
        update: impl Update<N>,
        table: &mut [f32],
        grad: &mut RowGrad,
        state: [&mut [f32]; N],
        idle: bool,
    ) {
        let dim = grad.dim();
        assert!(dim > 0 && table.len().is_multiple_of(dim), "a table of {} values has no rows of {dim}", table.len());
        let share = state.first().map_or(0, |part| part.len() / (table.len() / dim).max(1));
        let visits = if self.updates == RowUpdates::Lazy || idle {
            self.read.clear();
            // The cut changes no bit and takes time: with one thread there is none.
            if parallel::in_pool() {
                self.read.extend(grad.rows().iter().copied().zip(0..));
                Visits::Read(&mut self.read)
            } else {
                Visits::InTurn
            }
        } else {
            if self.zeros.len() < dim {
                self.zeros.resize(dim, 0.0);
            }
            Visits::All(&self.zeros[..dim])
        };
        parallel::each(TableRows { update, start: 0, table, state, share, grad, visits }, &|rows| {
            widest(
                rows,
                #[inline(always)]
                |rows: TableRows<'_, _, N>| rows.run(),
            );
        });
        grad.clear();
    }
}

/// Consecutive rows of a table.
struct TableRows<'a, U, const N: usize> {
    update: U,
    /// The first one's number.
    start: usize,
    table: &'a mut [f32],
    state: [&'a mut [f32]; N],
    /// The number of values of a row in each vector of the state.
    share: usize,
    grad: &'a RowGrad,
    visits: Visits<'a>,
}

/// The rows that are updated.
enum Visits<'a> {
    /// Those that were read, in the order of the gradient. They are not cut.
    InTurn,
    /// These, each with its position in the gradient, in any order.
    Read(&'a mut [(u32, u32)]),
    /// All. Those that were not read have this gradient, zero.
    All(&'a [f32]),
}

impl<U, const N: usize> TableRows<'_, U, N> {
    /// The number of visits of a block.
    fn block(&self) -> usize {
        ROWS_BLOCK.div_ceil(self.grad.dim())
    }
}

impl<U: Update<N>, const N: usize> Divide for TableRows<'_, U, N> {
    fn pieces(&self) -> usize {
        let visits = match &self.visits {
            Visits::InTurn => return 1,
            Visits::Read(read) => read.len(),
            Visits::All(_) => self.table.len() / self.grad.dim(),
        };
        visits.div_ceil(self.block())
    }

    fn divide(mut self, pieces: usize) -> (Self, Self) {
        let at = pieces * self.block();
        let (row, visits) = match &mut self.visits {
            Visits::InTurn => unreachable!("one piece is not cut"),
            Visits::Read(read) => {
                // Half of what is read lies before this row.
                let (_, &mut (row, _), _) = read.select_nth_unstable_by_key(at, |&(row, _)| row);
                (row as usize - self.start, Visits::Read(split_off(read, at)))
            }
            Visits::All(zeros) => (at, Visits::All(zeros)),
        };
        let (table, rest_table) = self.table.split_at_mut(row * self.grad.dim());
        let (state, rest_state) = self.state.cut(row * self.share);
        let rest = Self { start: self.start + row, table: rest_table, state: rest_state, visits, ..self };
        (Self { table, state, ..self }, rest)
    }
}

impl<U: Update<N>, const N: usize> TableRows<'_, U, N> {
    #[inline(always)]
    fn run(mut self) {
        let (grad, dim) = (self.grad, self.grad.dim());
        match std::mem::replace(&mut self.visits, Visits::InTurn) {
            Visits::InTurn => {
                for (&row, grad) in grad.rows().iter().zip(grad.values().chunks_exact(dim)) {
                    self.step(row as usize, grad);
                }
            }
            Visits::Read(read) => {
                for &mut (row, position) in read {
                    self.step(row as usize - self.start, &grad.values()[position as usize * dim..][..dim]);
                }
            }
            Visits::All(zeros) => {
                for row in 0..self.table.len() / dim {
                    self.step(row, grad.row(self.start + row).unwrap_or(zeros));
                }
            }
        }
    }

    #[inline(always)]
    fn step(&mut self, row: usize, grad: &[f32]) {
        let share = self.share;
        let state = self.state.each_mut().map(|part| &mut part[row * share..][..share]);
        self.update.step(&mut self.table[row * grad.len()..][..grad.len()], grad, state);
    }
}

/// Takes what lies from `at` on away from `slice`.
#[expect(clippy::mut_mut, reason = "the slice is shortened where it is kept")]
fn split_off<'a, T>(slice: &mut &'a mut [T], at: usize) -> &'a mut [T] {
    slice.split_off_mut(at..).expect("the cut lies inside")
}

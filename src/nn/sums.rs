//! Sums over rows.

use ndarray::ArrayRef2;

use crate::parallel::{self, Divide};
use crate::simd::{Work, widest};

/// Adds the column sums of `dy` to `db`, row after row.
///
/// # Panics
/// If there is not one sum for each column, or the rows of `dy` are not contiguous.
pub(crate) fn add_sums(dy: &ArrayRef2<f32>, db: &mut [f32]) {
    assert_eq!(dy.ncols(), db.len(), "a sum for each column");
    widest(AddSums { dy, db });
}

struct AddSums<'a> {
    dy: &'a ArrayRef2<f32>,
    db: &'a mut [f32],
}

impl Work for AddSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for row in self.dy.rows() {
            let row = row.to_slice().expect("the rows of a gradient are contiguous");
            self.db.iter_mut().zip(row).for_each(|(d, &g)| *d += g);
        }
    }
}

/// Adds one gradient to another and sets it to 0.
///
/// # Panics
/// If they differ in length.
pub(crate) fn fold(from: &mut [f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "two gradients of one tensor");
    parallel::each(Fold { from, to }, &widest);
}

struct Fold<'a> {
    from: &'a mut [f32],
    to: &'a mut [f32],
}

impl Work for Fold<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (from, to) in self.from.iter_mut().zip(self.to) {
            *to += *from;
            *from = 0.0;
        }
    }
}

impl Fold<'_> {
    /// Values that one thread takes at a time.
    const PIECE: usize = 1 << 15;
}

impl Divide for Fold<'_> {
    fn pieces(&self) -> usize {
        self.from.len().div_ceil(Self::PIECE)
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (from, rest_from) = self.from.split_at_mut(pieces * Self::PIECE);
        let (to, rest_to) = self.to.split_at_mut(pieces * Self::PIECE);
        (Self { from, to }, Self { from: rest_from, to: rest_to })
    }
}

//! Sums over rows.

use ndarray::ArrayRef2;

use crate::parallel;
use crate::simd::widest;

/// The number of values that a thread takes at a time.
const BLOCK: usize = 1 << 15;

/// Adds the column sums of `dy` to `db`, row after row.
///
/// # Panics
/// If there is not one sum for each column, or the rows of `dy` are not contiguous.
pub(crate) fn add_sums(dy: &ArrayRef2<f32>, db: &mut [f32]) {
    assert_eq!(dy.ncols(), db.len(), "a sum for each column");
    widest(
        db,
        #[inline(always)]
        |db| {
            for row in dy.rows() {
                let row = row.to_slice().expect("the rows of a gradient are contiguous");
                db.iter_mut().zip(row).for_each(|(d, &g)| *d += g);
            }
        },
    );
}

/// Adds one gradient to another and sets it to 0.
///
/// # Panics
/// If they differ in length.
pub(crate) fn fold(from: &mut [f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "two gradients of one tensor");
    parallel::wide_blocks(
        from.len(),
        BLOCK,
        (from, to),
        #[inline(always)]
        |(from, to)| {
            for (from, to) in from.iter_mut().zip(to) {
                *to += *from;
                *from = 0.0;
            }
        },
    );
}

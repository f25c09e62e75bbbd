//! The matrix product itself: tiles of up to 6 rows and 16 columns, whose sums stay in registers.
//!
//! Every value is summed in one order, `Σ_k` in blocks of 256, whatever the rows beside it: a row's result does not depend on
//! its batch, and rows may be cut between threads at any place.

use std::ops::Range;

use super::panels::{Panels, WIDTH};
use super::strided::Strided;
use crate::parallel::{self, Divide};
use crate::simd::{Work, fma, has_fma, widest};

/// Rows of a tile: 6 × 2 vectors of sums, 2 of the right operand and 1 value of the left fill 16 registers.
const TALLEST: usize = 6;
/// How many products are summed before the sums go to memory: 256 · 16 values of a panel stay in the first-level cache.
const DEPTH: usize = 256;
/// The most and the fewest rows that a thread takes at a time, and how many products they should come to.
const MOST: usize = 384;
const FEWEST: usize = 48;
const PRODUCTS: usize = 1 << 20;

/// Where products go.
pub(crate) trait Sink: Send {
    /// How many rows and columns it takes.
    fn dim(&self) -> (usize, usize);

    /// The rows before `row`, and those from it on.
    fn split(self, row: usize) -> (Self, Self)
    where
        Self: Sized;

    /// Tells that sums for this row are being computed, from `column` on.
    fn expect(&self, row: usize, column: usize);

    /// Takes sums of a row. Marked `#[inline(always)]`, it is compiled for the widest vectors.
    fn put(&mut self, at: Place, sums: &[f32; WIDTH]);
}

/// Where sums belong: `width` of them, the others are of no column.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
    /// Whether they are those of the first block of `k`, and of the last.
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// The right operand, in panels or as it stands.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    values: &'a [f32],
    k: usize,
    n: usize,
    /// How far apart panels, and rows of a panel, are.
    panel_step: usize,
    row_step: usize,
}

impl<'a> Right<'a> {
    pub(super) fn packed(panels: &'a Panels) -> Self {
        let (k, n) = (panels.rows(), panels.columns());
        Self { values: panels.values(), k, n, panel_step: k * WIDTH, row_step: WIDTH }
    }

    /// A row-major matrix whose width is a multiple of a panel's.
    pub(super) fn plain(values: &'a [f32], k: usize, n: usize) -> Self {
        assert!(n.is_multiple_of(WIDTH) && values.len() == k * n, "whole panels");
        Self { values, k, n, panel_step: WIDTH, row_step: n }
    }
}

/// `a · right`, into `sink`.
///
/// # Panics
/// If the shapes do not fit.
pub(super) fn multiply(a: Strided<'_>, (m, k): (usize, usize), right: Right<'_>, mut sink: impl Sink) {
    assert_eq!(k, right.k, "the left operand has a column for each row of the right one");
    assert_eq!(
        sink.dim(),
        (m, right.n),
        "the result has the rows of the left operand and the columns of the right one"
    );
    if k == 0 {
        // A sum of nothing: the kernel would put no sums at all.
        for row in 0..m {
            for column in (0..right.n).step_by(WIDTH) {
                let width = WIDTH.min(right.n - column);
                sink.put(Place { row, column, width, first: true, last: true }, &[0.0; WIDTH]);
            }
        }
        return;
    }
    if m > 0 && right.n > 0 {
        let most = (PRODUCTS / (k * right.n)).clamp(FEWEST, MOST);
        let block = m.div_ceil(m.div_ceil(most));
        parallel::each(Rows { a, right, start: 0, count: m, block, sink }, &|rows| Rows::run(rows));
    }
}

/// Some rows of a product.
struct Rows<'a, S> {
    a: Strided<'a>,
    right: Right<'a>,
    start: usize,
    count: usize,
    block: usize,
    sink: S,
}

impl<S: Sink> Divide for Rows<'_, S> {
    fn pieces(&self) -> usize {
        self.count.div_ceil(self.block)
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let rows = pieces * self.block;
        let (first, second) = self.sink.split(rows);
        let Self { a, right, start, block, .. } = self;
        let rest = Self { a, right, start: start + rows, count: self.count - rows, block, sink: second };
        (Self { a, right, start, count: rows, block, sink: first }, rest)
    }
}

impl<S: Sink> Rows<'_, S> {
    fn run(mut self) {
        let panels = self.right.n.div_ceil(WIDTH);
        for start in (0..self.right.k).step_by(DEPTH) {
            let depth = start..self.right.k.min(start + DEPTH);
            match self.count {
                // Few rows make few sums, each of which waits for its last addition: several panels at once are not slower
                // than one.
                1 => self.few::<1, 4>(panels, &depth),
                2 => self.few::<2, 2>(panels, &depth),
                3 => self.few::<3, 2>(panels, &depth),
                _ => (0..panels).for_each(|panel| self.column(panel, &depth)),
            }
        }
    }

    /// All rows, by so many panels at a time.
    fn few<const TALL: usize, const AT_ONCE: usize>(&mut self, panels: usize, depth: &Range<usize>) {
        let whole = panels - panels % AT_ONCE;
        (0..whole).step_by(AT_ONCE).for_each(|panel| self.tile::<TALL, AT_ONCE>(0, panel, depth));
        (whole..panels).for_each(|panel| self.tile::<TALL, 1>(0, panel, depth));
    }

    /// The tiles of one panel, as equally tall as can be.
    fn column(&mut self, panel: usize, depth: &Range<usize>) {
        let tiles = self.count.div_ceil(TALLEST);
        let (short, taller) = (self.count / tiles, self.count % tiles);
        let mut row = 0;
        for tile in 0..tiles {
            let tall = short + usize::from(tile < taller);
            match tall {
                1 => self.tile::<1, 1>(row, panel, depth),
                2 => self.tile::<2, 1>(row, panel, depth),
                3 => self.tile::<3, 1>(row, panel, depth),
                4 => self.tile::<4, 1>(row, panel, depth),
                5 => self.tile::<5, 1>(row, panel, depth),
                _ => self.tile::<TALLEST, 1>(row, panel, depth),
            }
            row += tall;
        }
    }

    fn tile<const TALL: usize, const AT_ONCE: usize>(&mut self, row: usize, panel: usize, depth: &Range<usize>) {
        let right = self.right;
        let block = self.a.block(self.start + row, TALL, depth.start, depth.len());
        let operands: [&[f32]; AT_ONCE] = std::array::from_fn(|i| {
            let first = (panel + i) * right.panel_step + depth.start * right.row_step;
            &right.values[first..first + (depth.len() - 1) * right.row_step + WIDTH]
        });
        // What the sums go to comes near while they are computed.
        for row in row..row + TALL {
            for panel in panel..panel + AT_ONCE {
                self.sink.expect(row, panel * WIDTH);
            }
        }
        let row_step = right.row_step;
        let sums = if has_fma() {
            widest(Tile::<true, TALL, AT_ONCE> { block, operands, row_step })
        } else {
            Tile::<false, TALL, AT_ONCE> { block, operands, row_step }.run()
        };
        self.put(row, panel, AT_ONCE, sums.as_flattened(), depth);
    }

    /// Hands a tile's sums on, row by row: `at_once` panels of each.
    fn put(&mut self, row: usize, panel: usize, at_once: usize, sums: &[[f32; WIDTH]], depth: &Range<usize>) {
        let (first, last) = (depth.start == 0, depth.end == self.right.k);
        widest(Put { sink: &mut self.sink, row, panel, at_once, sums, n: self.right.n, first, last });
    }
}

/// A tile's sums on their way to a sink.
struct Put<'a, S> {
    sink: &'a mut S,
    row: usize,
    panel: usize,
    at_once: usize,
    sums: &'a [[f32; WIDTH]],
    n: usize,
    first: bool,
    last: bool,
}

impl<S: Sink> Work for Put<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sink, mut row, panel, at_once, sums, n, first, last } = self;
        let mut i = 0;
        for sums in sums {
            let column = (panel + i) * WIDTH;
            sink.put(Place { row, column, width: WIDTH.min(n - column), first, last }, sums);
            i += 1;
            if i == at_once {
                (row, i) = (row + 1, 0);
            }
        }
    }
}

/// A tile: `Σ_k a[r, k] · panel[k, j]`.
struct Tile<'a, 'p, const FUSED: bool, const TALL: usize, const AT_ONCE: usize> {
    /// `TALL` rows of the left operand.
    block: Strided<'a>,
    operands: [&'p [f32]; AT_ONCE],
    row_step: usize,
}

impl<const FUSED: bool, const TALL: usize, const AT_ONCE: usize> Work for Tile<'_, '_, FUSED, TALL, AT_ONCE> {
    type Output = [[[f32; WIDTH]; AT_ONCE]; TALL];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { block, operands, row_step } = self;
        let depth = block.columns();
        assert!(operands.iter().all(|panel| panel.len() >= (depth - 1) * row_step + WIDTH), "a row for every k");
        let mut sums = [[[0.0; WIDTH]; AT_ONCE]; TALL];
        for k in 0..depth {
            for (i, panel) in operands.iter().enumerate() {
                // SAFETY: `panel` has a row of 16 values for every k below `depth`, checked above.
                #[allow(unsafe_code, reason = "a bounds check for each k would take as long as the products")]
                let b: &[f32; WIDTH] = unsafe { &*panel.as_ptr().add(k * row_step).cast() };
                for (r, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the block has `TALL` rows and `depth` columns.
                    #[allow(unsafe_code, reason = "as above")]
                    let a = unsafe { block.at(r, k) };
                    for (sum, &b) in sums[i].iter_mut().zip(b) {
                        *sum = fma::<FUSED>(a, b, *sum);
                    }
                }
            }
        }
        sums
    }
}

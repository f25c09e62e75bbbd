//! The matrix product itself, tile by tile.
//!
//! Every value is summed in one order, `Σ_k` in blocks of 256: a row's result does not depend on the other rows, and threads may divide the
//! rows at any place.

use std::ops::Range;

use super::panels::{Panels, WIDTH};
use super::strided::Strided;
use super::tile::{self, Operands, Sums, TileKernel};
use crate::parallel::{self, Cut};
use crate::simd::widest;

/// The number of products that are summed in registers before the sum is added to earlier ones: 256 · 16 values of a panel stay in the
/// first-level cache.
pub(super) const DEPTH: usize = 256;
/// The most and the fewest rows that a thread takes at a time, and the number of products to aim at.
const MOST: usize = 384;
const FEWEST: usize = 48;
const PRODUCTS: usize = 1 << 20;

/// Where products go.
pub(crate) trait Epilogue: Cut {
    /// The number of rows and columns that it takes.
    fn dim(&self) -> (usize, usize);

    /// Tells that sums for these rows and columns are being computed.
    fn expect(&self, rows: Range<usize>, columns: Range<usize>);

    /// Whether it does nothing with sums but overwrite: then it is given those of all blocks of `k` together.
    fn overwrites(&self) -> bool;

    /// Borrows the place: what belongs to a loop alone stays in registers.
    fn lend(&mut self) -> impl Epilogue;

    /// Takes sums of a row, of `width` columns, which is [`WIDTH`] where `WHOLE`. Marked `#[inline(always)]`, it is compiled for the widest
    /// vectors.
    fn put<const WHOLE: bool>(&mut self, at: PanelRow, sums: &[f32; WIDTH]);
}

/// Where sums belong: `width` of them, the others are of no column.
#[derive(Clone, Copy)]
pub(crate) struct PanelRow {
    pub(crate) row: usize,
    pub(crate) column: usize,
    width: usize,
    /// Whether they are those of the last block of `k`.
    pub(crate) last: bool,
}

impl PanelRow {
    /// The number of sums.
    #[inline(always)]
    pub(crate) fn width<const WHOLE: bool>(self) -> usize {
        if WHOLE { WIDTH } else { self.width }
    }
}

/// The right operand, in panels or as it stands.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    values: &'a [f32],
    k: usize,
    n: usize,
    /// How far apart panels, and rows of a panel, are.
    panel_step: usize,
    row_step: usize,
}

impl<'a> Right<'a> {
    pub(crate) fn packed(panels: &'a Panels) -> Self {
        let (k, n) = (panels.rows(), panels.columns());
        Self { values: panels.values(), k, n, panel_step: k * WIDTH, row_step: WIDTH }
    }

    /// A row-major matrix whose width is a multiple of a panel's.
    pub(super) fn plain(values: &'a [f32], k: usize, n: usize) -> Self {
        assert!(n.is_multiple_of(WIDTH) && values.len() == k * n, "whole panels");
        Self { values, k, n, panel_step: WIDTH, row_step: n }
    }
}

/// `a · right`, into `epilogue`; `last` unless more products are to be added to these.
///
/// # Panics
/// If the shapes do not fit.
pub(super) fn multiply(a: Strided<'_>, right: Right<'_>, mut epilogue: impl Epilogue, last: bool) {
    let (m, k) = a.dim();
    assert_eq!(k, right.k, "the left operand has a column for each row of the right one");
    assert_eq!(
        epilogue.dim(),
        (m, right.n),
        "the result has the rows of the left operand and the columns of the right one"
    );
    if k == 0 {
        // A sum of nothing: the kernel would put no sums at all.
        for row in 0..m {
            for column in (0..right.n).step_by(WIDTH) {
                let width = WIDTH.min(right.n - column);
                epilogue.put::<false>(PanelRow { row, column, width, last }, &[0.0; WIDTH]);
            }
        }
        return;
    }
    if m > 0 && right.n > 0 {
        let most = (PRODUCTS / (k * right.n)).clamp(FEWEST, MOST);
        let block = m.div_ceil(m.div_ceil(most));
        parallel::blocks(m, block, (0..m, epilogue), &|(rows, epilogue)| {
            RowBlock { a, right, start: rows.start, count: rows.len(), epilogue, last }.run();
        });
    }
}

/// Some rows of a product.
struct RowBlock<'a, S> {
    a: Strided<'a>,
    right: Right<'a>,
    start: usize,
    count: usize,
    epilogue: S,
    last: bool,
}

impl<S: Epilogue> RowBlock<'_, S> {
    fn run(mut self) {
        let panels = self.right.n.div_ceil(WIDTH);
        let (tallest, at_once) = tile::shape(self.count);
        let tiles = self.count.div_ceil(tallest);
        // Tiles of equal height, except that the first `taller` have one row more.
        let (short, taller) = (self.count / tiles, self.count % tiles);
        let kernels = |panels| [short, short + usize::from(taller > 0)].map(|rows| tile::kernel(rows, panels));
        let (whole, each) = (panels - panels % at_once, kernels(at_once));
        let left = kernels(1);
        let sums: &mut Sums = &mut [[0.0; WIDTH]; _];
        // What goes to the sink together.
        let (k, together) = (self.right.k, if self.epilogue.overwrites() { self.right.k } else { DEPTH });
        for start in (0..k).step_by(together) {
            let depth = start..k.min(start + together);
            let mut column = |panel, at_once, [kernel, taller_kernel]: [TileKernel; 2]| {
                let mut row = 0;
                for tile in 0..tiles {
                    let (tall, kernel) = if tile < taller { (short + 1, taller_kernel) } else { (short, kernel) };
                    if panel == 0 {
                        // For later panels the rows are in cache.
                        let next = self.start + row + tall;
                        self.a.prefetch(next..next + tall, depth.clone());
                    }
                    self.tile(kernel, row..row + tall, panel, at_once, &depth, sums);
                    row += tall;
                }
            };
            (0..whole).step_by(at_once).for_each(|panel| column(panel, at_once, each));
            (whole..panels).for_each(|panel| column(panel, 1, left));
        }
    }

    fn tile(
        &mut self,
        kernel: TileKernel,
        rows: Range<usize>,
        panel: usize,
        at_once: usize,
        depth: &Range<usize>,
        sums: &mut Sums,
    ) {
        // Where the sums go is prefetched while they are computed.
        self.epilogue.expect(rows.clone(), panel * WIDTH..(panel + at_once) * WIDTH);
        let Right { values, panel_step, row_step, .. } = self.right;
        for start in depth.clone().step_by(DEPTH) {
            let of = Operands {
                a: self.a.block(self.start + rows.start, rows.len(), start, DEPTH.min(depth.end - start)),
                panels: &values[panel * panel_step + start * row_step..],
                panel_step,
                row_step,
            };
            kernel(of, start > depth.start, sums);
        }
        self.put(rows.start, panel, at_once, &sums[..rows.len() * at_once], depth);
    }

    /// Hands a tile's sums on, row by row: `at_once` panels of each.
    fn put(&mut self, row: usize, panel: usize, at_once: usize, sums: &[[f32; WIDTH]], depth: &Range<usize>) {
        let last = self.last && depth.end == self.right.k;
        let n = self.right.n;
        widest(
            &mut self.epilogue,
            #[inline(always)]
            move |epilogue| {
                if (panel + at_once) * WIDTH <= n {
                    put_rows::<_, true>(epilogue, row, panel, at_once, sums, n, last);
                } else {
                    put_rows::<_, false>(epilogue, row, panel, at_once, sums, n, last);
                }
            },
        );
    }
}

/// Puts a tile's sums, row by row; `WHOLE` promises that no panel is cut off at the last column.
#[inline(always)]
fn put_rows<S: Epilogue, const WHOLE: bool>(
    epilogue: &mut S,
    row: usize,
    panel: usize,
    at_once: usize,
    sums: &[[f32; WIDTH]],
    n: usize,
    last: bool,
) {
    let mut epilogue = epilogue.lend();
    for (row, sums) in (row..).zip(sums.chunks_exact(at_once)) {
        for (panel, sums) in (panel..).zip(sums) {
            let column = panel * WIDTH;
            let width = if WHOLE { WIDTH } else { WIDTH.min(n - column) };
            epilogue.put::<WHOLE>(PanelRow { row, column, width, last }, sums);
        }
    }
}

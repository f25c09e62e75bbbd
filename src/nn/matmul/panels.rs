//! The right operand of a product, packed for the kernel.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use ndarray::{ArrayView2, Axis, s};

#[cfg(target_arch = "x86_64")]
use super::lanes::x86::Avx512;
use super::lanes::{Lanes, Plain};
use crate::parallel::{self, Cut, Lines};
use crate::simd::widest;
#[cfg(target_arch = "x86_64")]
use crate::simd::{has_avx512, with_avx512};

/// The number of columns of the right operand that the kernel takes at a time.
pub(crate) const WIDTH: usize = 16;

/// A row of a panel, in one line of the cache: a vector that lies in two takes twice as long to load.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; WIDTH]);

/// A matrix `[k, n]` in panels of 16 columns, the last filled up with zeros: panel by panel, and in it row by row.
#[derive(Debug, Default)]
pub(crate) struct Panels {
    lines: Vec<Line>,
    k: usize,
    n: usize,
}

/// What a packed matrix is made of.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// A matrix.
    One(ArrayView2<'a, f32>),
    /// The element-wise product of two.
    Product(ArrayView2<'a, f32>, ArrayView2<'a, f32>),
}

impl Operand<'_> {
    pub(crate) fn t(self) -> Self {
        match self {
            Self::One(a) => Self::One(a.reversed_axes()),
            Self::Product(a, b) => Self::Product(a.reversed_axes(), b.reversed_axes()),
        }
    }

    pub(super) fn dim(&self) -> (usize, usize) {
        match self {
            Self::One(a) => a.dim(),
            Self::Product(a, b) => {
                assert_eq!(a.dim(), b.dim(), "an element-wise product of matrices of one shape");
                a.dim()
            }
        }
    }

    pub(super) fn split_rows(self, at: usize) -> (Self, Self) {
        self.split(Axis(0), at)
    }

    fn split(self, axis: Axis, at: usize) -> (Self, Self) {
        match self {
            Self::One(a) => {
                let (first, second) = a.split_at(axis, at);
                (Self::One(first), Self::One(second))
            }
            Self::Product(a, b) => {
                let ((first, second), (other_first, other_second)) = (a.split_at(axis, at), b.split_at(axis, at));
                (Self::Product(first, other_first), Self::Product(second, other_second))
            }
        }
    }
}

impl Panels {
    /// Packs a matrix, replacing the one before. Allocates only if it has never been this large.
    pub(crate) fn pack(&mut self, operand: Operand<'_>) {
        let (k, n) = operand.dim();
        (self.k, self.n) = (k, n);
        let len = self.len();
        // It never shrinks: memory that is returned would be set to zero when it is allocated again.
        if self.lines.len() < len {
            self.lines.resize(len, Line([0.0; WIDTH]));
        }
        if len > 0 {
            let start = self.lines.as_mut_ptr().cast();
            // SAFETY: a line is 16 values and nothing else.
            #[allow(unsafe_code, reason = "no safe way leads from a vector of aligned arrays to a slice")]
            let out = unsafe { std::slice::from_raw_parts_mut(start, len * WIDTH) };
            let panels = (PIECE / (k * WIDTH)).max(1);
            let data = (ByPanel(operand), Lines(out, k * WIDTH));
            parallel::blocks(n.div_ceil(WIDTH), panels, data, &|(ByPanel(operand), Lines(out, _))| match operand {
                Operand::One(a) => pack(a, |a, _| a, a, out),
                Operand::Product(a, b) => pack(a, |a, b| a * b, b, out),
            });
        }
    }

    /// The number of lines of its panels.
    fn len(&self) -> usize {
        self.n.div_ceil(WIDTH) * self.k
    }

    /// `k`
    pub(crate) fn rows(&self) -> usize {
        self.k
    }

    /// `n`
    pub(crate) fn columns(&self) -> usize {
        self.n
    }

    pub(super) fn values(&self) -> &[f32] {
        // SAFETY: a line is 16 values and nothing else.
        #[allow(unsafe_code, reason = "as in `pack`")]
        unsafe {
            std::slice::from_raw_parts(self.lines[..self.len()].as_ptr().cast(), self.len() * WIDTH)
        }
    }
}

/// Values that one thread packs at a time.
const PIECE: usize = 1 << 15;

/// An operand that is cut between panels.
struct ByPanel<'a>(Operand<'a>);

impl Cut for ByPanel<'_> {
    fn cut(self, panel: usize) -> (Self, Self) {
        let (first, rest) = self.0.split(Axis(1), panel * WIDTH);
        (Self(first), Self(rest))
    }
}

/// Packs `value(a, b)`.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn pack<V: Fn(f32, f32) -> f32 + Copy>(a: ArrayView2<'_, f32>, value: V, b: ArrayView2<'_, f32>, out: &mut [f32]) {
    let (k, n) = a.dim();
    let (whole, rest) = out.split_at_mut(n / WIDTH * WIDTH * k);
    let columns = |m: &ArrayView2<'_, f32>| m.strides()[0] == 1;
    let rows = |m: &ArrayView2<'_, f32>| m.strides()[1] == 1;
    let mut packed = 0;
    if rows(&a) && rows(&b) {
        pack_rows(a, b, value, k, whole);
        packed = n / WIDTH;
    } else if columns(&a) && columns(&b) {
        for (panel, out) in whole.chunks_exact_mut(k * WIDTH).enumerate() {
            let a: [&[f32]; WIDTH] = std::array::from_fn(|j| contiguous(a, panel * WIDTH + j));
            let b: [&[f32]; WIDTH] = std::array::from_fn(|j| contiguous(b, panel * WIDTH + j));
            pack_columns(a, b, value, out);
        }
        packed = n / WIDTH;
    }
    // The rest: the last columns, or all where neither rows nor columns are contiguous.
    let left = if packed == 0 { whole.chunks_exact_mut(k * WIDTH) } else { [][..].chunks_exact_mut(k * WIDTH) };
    for (panel, out) in (packed..).zip(left.chain(rest.chunks_exact_mut(k * WIDTH))) {
        let columns = s![.., panel * WIDTH..n.min((panel + 1) * WIDTH)];
        let (a, b) = (a.slice(columns), b.slice(columns));
        for ((out, a), b) in out.chunks_exact_mut(WIDTH).zip(a.rows()).zip(b.rows()) {
            out.fill(0.0);
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = value(a, b);
            }
        }
    }
}

/// Rows that are packed at a time. Row by row, the next lines of the panels would be a panel apart, often a power of two, and evict each
/// other from the cache.
const PACKED: usize = 8;

/// Packs whole panels of `k` rows where rows are contiguous: a few rows at a time, in the order of memory.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn pack_rows<V: Fn(f32, f32) -> f32 + Copy>(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    value: V,
    k: usize,
    out: &mut [f32],
) {
    widest(
        (a, b, out),
        #[inline(always)]
        move |(a, b, out)| {
            let panels = out.as_chunks_mut::<WIDTH>().0;
            for start in (0..k).step_by(PACKED) {
                let rows = start..k.min(start + PACKED);
                for (panel, out) in panels.chunks_exact_mut(k).enumerate() {
                    for row in rows.clone() {
                        let (a, b) = (a.row(row), b.row(row));
                        let (a, b) = (a.to_slice().expect(CONTIGUOUS), b.to_slice().expect(CONTIGUOUS));
                        let (a, b) = (&a.as_chunks::<WIDTH>().0[panel], &b.as_chunks::<WIDTH>().0[panel]);
                        // Loaded before anything is stored: the compiler cannot know that they do not overlap.
                        let mut packed = [0.0; WIDTH];
                        for j in 0..WIDTH {
                            packed[j] = value(a[j], b[j]);
                        }
                        out[row] = packed;
                    }
                }
            }
        },
    );
}

const CONTIGUOUS: &str = "rows are contiguous";

/// Packs 16 columns that are contiguous.
fn pack_columns<V: Fn(f32, f32) -> f32 + Copy>(a: [&[f32]; WIDTH], b: [&[f32]; WIDTH], value: V, panel: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // SAFETY: the processor has AVX-512.
        #[allow(unsafe_code, reason = "there is no safe way to call a function with target features")]
        unsafe {
            with_avx512(
                panel,
                #[inline(always)]
                move |panel| turn::<Avx512, _>(a, b, value, panel),
            );
        }
        return;
    }
    widest(
        panel,
        #[inline(always)]
        move |panel| turn::<Plain<false>, _>(a, b, value, panel),
    );
}

/// Packs 16 columns that are contiguous, square by square.
#[inline(always)]
fn turn<L: Lanes, V: Fn(f32, f32) -> f32>(a: [&[f32]; WIDTH], b: [&[f32]; WIDTH], value: V, panel: &mut [f32]) {
    let k = a[0].len();
    let (squares, rest) = panel.as_chunks_mut::<WIDTH>().0.split_at_mut(k - k % WIDTH);
    for (square, out) in squares.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        let rows = square * WIDTH..(square + 1) * WIDTH;
        let mut columns = [L::zeros(); WIDTH];
        for (column, (a, b)) in columns.iter_mut().zip(a.iter().zip(b)) {
            let (a, b) = (&a[rows.clone()], &b[rows.clone()]);
            let mut values = [0.0; WIDTH];
            for i in 0..WIDTH {
                values[i] = value(a[i], b[i]);
            }
            *column = L::load(&values);
        }
        for (out, row) in out.iter_mut().zip(L::turn(columns)) {
            row.store(out);
        }
    }
    for (row, out) in (k - k % WIDTH..).zip(rest) {
        *out = std::array::from_fn(|j| value(a[j][row], b[j][row]));
    }
}

/// A column that is contiguous.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn contiguous(m: ArrayView2<'_, f32>, column: usize) -> &[f32] {
    m.index_axis_move(Axis(1), column).to_slice().expect("columns are contiguous")
}

thread_local! {
    /// Panels that are not in use. A stack: while one product waits for another thread's half, this one may begin a second.
    static IDLE: RefCell<Vec<Panels>> = const { RefCell::new(Vec::new()) };
}

/// Panels of this thread, lent.
pub(super) struct Lent(Panels);

impl Lent {
    pub(super) fn new() -> Self {
        Self(IDLE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Deref for Lent {
    type Target = Panels;

    fn deref(&self) -> &Panels {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Panels {
        &mut self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        IDLE.with_borrow_mut(|idle| idle.push(std::mem::take(&mut self.0)));
    }
}

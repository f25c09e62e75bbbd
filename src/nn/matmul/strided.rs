//! Matrices for the kernel: a pointer, two strides, and the shape that accesses are checked against.

#![allow(unsafe_code, reason = "the kernel reads operands through strides, without a bounds check for each value")]

use std::marker::PhantomData;
use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::panels::WIDTH;
use crate::parallel::Cut;
use crate::simd::prefetch;

/// A matrix that is read, of any strides.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    start: *const f32,
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
    values: PhantomData<&'a f32>,
}

// SAFETY: it is a shared borrow of f32 values.
unsafe impl Send for Strided<'_> {}
// SAFETY: as above.
unsafe impl Sync for Strided<'_> {}

impl<'a> Strided<'a> {
    #[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
    pub(super) fn new(view: ArrayView2<'a, f32>) -> Self {
        let (rows, columns) = view.dim();
        let strides = view.strides();
        Self {
            start: view.as_ptr(),
            rows,
            columns,
            row_stride: strides[0],
            column_stride: strides[1],
            values: PhantomData,
        }
    }

    pub(super) fn dim(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// `rows` rows from `row` on, and of them `columns` columns from `column` on.
    ///
    /// # Panics
    /// If the matrix has fewer rows or columns.
    #[inline(always)]
    pub(super) fn block(&self, row: usize, rows: usize, column: usize, columns: usize) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns, "a block lies in its matrix");
        let start = self.start.wrapping_offset(row as isize * self.row_stride + column as isize * self.column_stride);
        Self { start, rows, columns, ..*self }
    }

    /// Prefetches a block.
    #[inline(always)]
    pub(super) fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        let rows = rows.start..rows.end.min(self.rows);
        let at = |row: usize, column: usize| {
            self.start.wrapping_offset(row as isize * self.row_stride + column as isize * self.column_stride)
        };
        if self.column_stride == 1 {
            for row in rows {
                for column in columns.clone().step_by(WIDTH) {
                    prefetch(at(row, column));
                }
            }
        } else if self.row_stride == 1 && !rows.is_empty() {
            for column in columns {
                prefetch(at(rows.end - 1, column));
            }
        }
    }

    /// The value at a place.
    ///
    /// # Safety
    /// The place lies in the matrix.
    #[inline(always)]
    pub(super) unsafe fn at(&self, row: usize, column: usize) -> f32 {
        debug_assert!(row < self.rows && column < self.columns);
        // SAFETY: the caller's promise, and pointer, strides and shape are those of a view or of a block inside of one.
        unsafe { *self.start.offset(row as isize * self.row_stride + column as isize * self.column_stride) }
    }
}

/// A matrix that is read, whose rows are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct RowMajor<'a> {
    start: *const f32,
    height: usize,
    columns: usize,
    stride: usize,
    values: PhantomData<&'a f32>,
}

// SAFETY: it is a shared borrow of f32 values.
unsafe impl Send for RowMajor<'_> {}

impl<'a> RowMajor<'a> {
    /// # Panics
    /// If rows are not contiguous.
    #[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
    pub(crate) fn new(view: ArrayView2<'a, f32>) -> Self {
        Self::at(view.as_ptr(), view.dim(), view.strides())
    }

    fn at(start: *const f32, (height, columns): (usize, usize), strides: &[isize]) -> Self {
        assert!(height == 0 || columns <= 1 || strides[1] == 1, "rows are contiguous");
        assert!(height <= 1 || strides[0] >= 0, "rows are in order");
        let stride = if height <= 1 { columns } else { strides[0] as usize };
        Self { start, height, columns, stride, values: PhantomData }
    }

    pub(crate) fn dim(&self) -> (usize, usize) {
        (self.height, self.columns)
    }

    /// Prefetches these columns of these rows, as far as they exist.
    #[inline(always)]
    pub(crate) fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        // Prefetches the cache line of each chunk's last value; the line of its first value was prefetched with the chunk before.
        let (rows, columns) = (rows.start..rows.end.min(self.height), columns.start..columns.end.min(self.columns));
        for row in rows {
            for column in columns.clone().step_by(WIDTH) {
                prefetch(self.start.wrapping_add(row * self.stride + column + WIDTH - 1));
            }
        }
    }

    /// `width` values of a row, from `column` on, and zeros.
    #[inline(always)]
    pub(crate) fn load(&self, row: usize, column: usize, width: usize) -> [f32; WIDTH] {
        // SAFETY: `part` has checked the place; the values do not change while they are borrowed here.
        load(unsafe { std::slice::from_raw_parts(self.part(row, column, width), width) })
    }

    /// Where `width` values of a row start, from `column` on.
    #[inline(always)]
    fn part(&self, row: usize, column: usize, width: usize) -> *const f32 {
        assert!(row < self.height && column + width <= self.columns, "a part of a row lies in its matrix");
        self.start.wrapping_add(row * self.stride + column)
    }
}

impl Cut for RowMajor<'_> {
    fn cut(self, row: usize) -> (Self, Self) {
        assert!(row <= self.height, "a matrix is cut inside");
        let rest = self.start.wrapping_add(row * self.stride);
        (Self { height: row, ..self }, Self { start: rest, height: self.height - row, ..self })
    }
}

/// A matrix that is written, whose rows are contiguous.
pub(crate) struct RowMajorMut<'a> {
    /// Made from a view that may be written, and not copied out of here.
    rows: RowMajor<'a>,
    exclusive: PhantomData<&'a mut f32>,
}

impl<'a> RowMajorMut<'a> {
    /// # Panics
    /// If rows are not contiguous.
    pub(crate) fn new(mut view: ArrayViewMut2<'a, f32>) -> Self {
        let start = view.as_mut_ptr();
        Self::over(RowMajor::at(start, view.dim(), view.strides()))
    }

    fn over(rows: RowMajor<'a>) -> Self {
        Self { rows, exclusive: PhantomData }
    }

    pub(crate) fn dim(&self) -> (usize, usize) {
        self.rows.dim()
    }

    /// As [`RowMajor::prefetch`].
    #[inline(always)]
    pub(crate) fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        self.rows.prefetch(rows, columns);
    }

    /// Borrows the rows.
    #[inline(always)]
    pub(crate) fn lend(&mut self) -> RowMajorMut<'_> {
        RowMajorMut { rows: self.rows, exclusive: PhantomData }
    }

    /// As [`RowMajor::load`].
    #[inline(always)]
    pub(crate) fn load(&self, row: usize, column: usize, width: usize) -> [f32; WIDTH] {
        self.rows.load(row, column, width)
    }

    /// Writes the first `width` of these values into a row, from `column` on.
    #[inline(always)]
    pub(crate) fn store(&mut self, row: usize, column: usize, width: usize, values: [f32; WIDTH]) {
        let start = self.rows.part(row, column, width).cast_mut();
        // SAFETY: `part` has checked the place; the pointer is that of a view that may be written, borrowed exclusively.
        let part = unsafe { std::slice::from_raw_parts_mut(start, width) };
        match part.as_mut_array() {
            Some(whole) => *whole = values,
            None => part.copy_from_slice(&values[..width]),
        }
    }
}

impl Cut for RowMajorMut<'_> {
    fn cut(self, row: usize) -> (Self, Self) {
        let (first, rest) = self.rows.cut(row);
        (Self::over(first), Self::over(rest))
    }
}

/// At most 16 values, and zeros.
#[inline(always)]
pub(super) fn load(values: &[f32]) -> [f32; WIDTH] {
    values.as_array().copied().unwrap_or_else(|| {
        let mut padded = [0.0; WIDTH];
        padded[..values.len()].copy_from_slice(values);
        padded
    })
}

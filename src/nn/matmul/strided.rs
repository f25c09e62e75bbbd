//! Matrices as the kernel sees them: a pointer, two strides, and the shape they were checked against.

#![allow(unsafe_code, reason = "the kernel reads operands through strides, without a bounds check for each value")]

use std::marker::PhantomData;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::panels::WIDTH;
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

// SAFETY: it stands for a shared borrow of f32 values.
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

    /// A reader of `rows` rows from `row` on and of `columns` columns from `column` on.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline(always)]
    pub(super) fn block(&self, row: usize, rows: usize, column: usize, columns: usize) -> Block<'a> {
        assert!(row + rows <= self.rows && column + columns <= self.columns, "a block lies in its matrix");
        Block {
            // SAFETY: the block's first value lies in the matrix, or the block is empty and is never read.
            start: unsafe { self.start.offset(row as isize * self.row_stride + column as isize * self.column_stride) },
            rows,
            columns,
            row_stride: self.row_stride,
            column_stride: self.column_stride,
            values: PhantomData,
        }
    }
}

/// A part of a [`Strided`].
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    start: *const f32,
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
    values: PhantomData<&'a f32>,
}

impl Block<'_> {
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The value at a place.
    ///
    /// # Safety
    /// The place lies in the block.
    #[inline(always)]
    pub(super) unsafe fn at(&self, row: usize, column: usize) -> f32 {
        debug_assert!(row < self.rows && column < self.columns);
        // SAFETY: the place lies in the block, and the block in its matrix.
        unsafe { *self.start.offset(row as isize * self.row_stride + column as isize * self.column_stride) }
    }
}

/// A matrix that is written, whose rows are contiguous.
pub(crate) struct RowsMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    values: PhantomData<&'a mut f32>,
}

// SAFETY: it stands for an exclusive borrow of f32 values.
unsafe impl Send for RowsMut<'_> {}

impl<'a> RowsMut<'a> {
    /// # Panics
    /// If the values of a row do not stand side by side.
    pub(crate) fn new(mut view: ArrayViewMut2<'a, f32>) -> Self {
        let (rows, columns) = view.dim();
        assert!(rows == 0 || columns <= 1 || view.strides()[1] == 1, "the rows of a product are contiguous");
        assert!(rows <= 1 || view.strides()[0] >= 0, "the rows of a product stand in order");
        let stride = if rows <= 1 { columns } else { view.strides()[0] as usize };
        Self { start: view.as_mut_ptr(), rows, columns, stride, values: PhantomData }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The rows before `row` and those from it on.
    pub(crate) fn split(self, row: usize) -> (Self, Self) {
        assert!(row <= self.rows, "a matrix is split inside");
        // SAFETY: the two parts have no value in common; the second starts inside of the matrix or is empty.
        let second = unsafe { self.start.add(row * self.stride) };
        (Self { rows: row, ..self }, Self { start: second, rows: self.rows - row, ..self })
    }

    /// Has a part of a row brought near, as far as there is one.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, column: usize) {
        if row < self.rows && column < self.columns {
            // The line of its last value: that of its first one came with the part before it, if the two differ.
            prefetch(self.start.wrapping_add(row * self.stride + column + WIDTH - 1));
        }
    }

    /// `width` values of a row, from `column` on, and zeros.
    #[inline(always)]
    pub(crate) fn load(&self, row: usize, column: usize, width: usize) -> [f32; WIDTH] {
        assert!(row < self.rows && column + width <= self.columns, "a part of a row lies in its matrix");
        // SAFETY: checked above; the values of a row stand side by side, and nobody changes them while `self` is borrowed.
        load(unsafe { std::slice::from_raw_parts(self.start.add(row * self.stride + column), width) })
    }

    /// Writes the first `width` of these values into a row, from `column` on.
    #[inline(always)]
    pub(crate) fn store(&mut self, row: usize, column: usize, width: usize, values: [f32; WIDTH]) {
        assert!(row < self.rows && column + width <= self.columns, "a part of a row lies in its matrix");
        // SAFETY: checked above; the values of a row stand side by side, and `self` is borrowed exclusively.
        let part = unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + column), width) };
        match part.as_mut_array() {
            Some(whole) => *whole = values,
            None => part.copy_from_slice(&values[..width]),
        }
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

/// A matrix that is read, whose rows are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    start: *const f32,
    height: usize,
    columns: usize,
    stride: usize,
    values: PhantomData<&'a f32>,
}

// SAFETY: it stands for a shared borrow of f32 values.
unsafe impl Send for Rows<'_> {}

impl<'a> Rows<'a> {
    /// # Panics
    /// If the values of a row do not stand side by side.
    #[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
    pub(crate) fn new(view: ArrayView2<'a, f32>) -> Self {
        let (rows, columns) = view.dim();
        let strides = view.strides();
        assert!(rows == 0 || columns <= 1 || strides[1] == 1, "the rows of a matrix are contiguous");
        assert!(rows <= 1 || strides[0] >= 0, "the rows of a matrix stand in order");
        let stride = if rows <= 1 { columns } else { strides[0] as usize };
        Self { start: view.as_ptr(), height: rows, columns, stride, values: PhantomData }
    }

    pub(crate) fn dim(&self) -> (usize, usize) {
        (self.height, self.columns)
    }

    /// The rows before `row` and those from it on.
    pub(crate) fn split(self, row: usize) -> (Self, Self) {
        assert!(row <= self.height, "a matrix is split inside");
        // SAFETY: the second part starts inside of the matrix or is empty.
        let second = unsafe { self.start.add(row * self.stride) };
        (Self { height: row, ..self }, Self { start: second, height: self.height - row, ..self })
    }

    /// Has a part of a row brought near, as far as there is one.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, column: usize) {
        if row < self.height && column < self.columns {
            // The line of its last value: that of its first one came with the part before it, if the two differ.
            prefetch(self.start.wrapping_add(row * self.stride + column + WIDTH - 1));
        }
    }

    /// `width` values of a row, from `column` on, and zeros.
    #[inline(always)]
    pub(crate) fn load(&self, row: usize, column: usize, width: usize) -> [f32; WIDTH] {
        assert!(row < self.height && column + width <= self.columns, "a part of a row lies in its matrix");
        // SAFETY: checked above; the values of a row stand side by side.
        load(unsafe { std::slice::from_raw_parts(self.start.add(row * self.stride + column), width) })
    }
}

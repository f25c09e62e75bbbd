//! The output of a product: the matrix that it is written or added to, and the operations before that.

use std::ops::Range;

use ndarray::ArrayRef2;

use super::kernel::{Epilogue, PanelRow};
use super::panels::WIDTH;
use super::strided::{RowMajor, RowMajorMut, load};
use crate::nn::InputGrad;
use crate::parallel::Cut;

/// A product that becomes a matrix, or is added to one.
pub(crate) struct Output<'y, 't> {
    y: RowMajorMut<'y>,
    add: bool,
    post_op: PostOp<'t>,
}

/// What follows a product `p`.
#[derive(Clone, Copy)]
pub(crate) enum PostOp<'a> {
    /// `y = p`.
    Nothing,
    /// `y = p + b`.
    Bias(&'a [f32]),
    /// `y = max(p + b, 0)`.
    BiasRelu(&'a [f32]),
    /// `y = max(p + b, floor)`, column by column: a ReLU where the floor is 0, none where it is −∞.
    BiasFloor(&'a [f32], &'a [f32]),
    /// `y = p · scale` where `h > 0`, 0 elsewhere: the gradient before a ReLU, and a dropout, whose output is `h`.
    WherePositive(RowMajor<'a>, f32),
}

impl<'a> PostOp<'a> {
    /// `y = p + b`, followed by a ReLU if `rectify`.
    pub(crate) fn bias(b: &'a [f32], rectify: bool) -> Self {
        if rectify { Self::BiasRelu(b) } else { Self::Bias(b) }
    }
}

impl<'y, 't> Output<'y, 't> {
    /// `y = p`.
    pub(crate) fn set(y: &'y mut ArrayRef2<f32>) -> Self {
        Self { y: RowMajorMut::new(y.view_mut()), add: false, post_op: PostOp::Nothing }
    }

    /// `y += p`.
    pub(crate) fn add(y: &'y mut ArrayRef2<f32>) -> Self {
        Self { add: true, ..Self::set(y) }
    }

    /// `dx = p` or `dx += p`.
    pub(crate) fn to(InputGrad { dx, add }: InputGrad<'y>) -> Self {
        Self { y: RowMajorMut::new(dx), add, post_op: PostOp::Nothing }
    }

    /// Applies this to the product as well.
    pub(crate) fn post_op(self, post_op: PostOp<'t>) -> Self {
        match post_op {
            PostOp::Bias(b) | PostOp::BiasRelu(b) => assert_eq!(b.len(), self.y.dim().1, "a bias for each column"),
            PostOp::BiasFloor(b, floor) => {
                assert_eq!((b.len(), floor.len()), (self.y.dim().1, b.len()), "a bias and a floor for each column");
            }
            PostOp::WherePositive(h, _) => assert_eq!(h.dim(), self.y.dim(), "a value for each gradient"),
            PostOp::Nothing => {}
        }
        Self { post_op, ..self }
    }
}

impl Cut for Output<'_, '_> {
    fn cut(self, row: usize) -> (Self, Self) {
        let Self { y, add, post_op } = self;
        let (y, rest) = y.cut(row);
        let (first_op, rest_op) = match post_op {
            PostOp::WherePositive(h, scale) => {
                let (h, rest) = h.cut(row);
                (PostOp::WherePositive(h, scale), PostOp::WherePositive(rest, scale))
            }
            post_op => (post_op, post_op),
        };
        (Self { y, add, post_op: first_op }, Self { y: rest, add, post_op: rest_op })
    }
}

impl Epilogue for Output<'_, '_> {
    fn dim(&self) -> (usize, usize) {
        self.y.dim()
    }

    #[inline(always)]
    fn expect(&self, rows: Range<usize>, columns: Range<usize>) {
        if let PostOp::WherePositive(h, _) = self.post_op {
            h.prefetch(rows.clone(), columns.clone());
        }
        self.y.prefetch(rows, columns);
    }

    fn overwrites(&self) -> bool {
        !self.add
    }

    #[inline(always)]
    fn lend(&mut self) -> impl Epilogue {
        Output { y: self.y.lend(), ..*self }
    }

    #[inline(always)]
    fn put<const WHOLE: bool>(&mut self, at: PanelRow, sums: &[f32; WIDTH]) {
        let (PanelRow { row, column, last, .. }, width) = (at, at.width::<WHOLE>());
        // Every operand is loaded before anything is stored: the compiler cannot know that they do not overlap.
        let mut y = *sums;
        // For each block of `k` separately: the mask is not for the values that the product is added to.
        if let PostOp::WherePositive(h, scale) = self.post_op {
            y.iter_mut().zip(h.load(row, column, width)).for_each(|(y, h)| {
                let kept = *y * scale;
                *y = if h > 0.0 { kept } else { 0.0 };
            });
        }
        if self.add {
            let before = self.y.load(row, column, width);
            y.iter_mut().zip(before).for_each(|(y, before)| *y += before);
        }
        match self.post_op {
            PostOp::Bias(b) if last => {
                y.iter_mut().zip(load(&b[column..column + width])).for_each(|(y, b)| *y += b);
            }
            // Not `max`, which would turn NaN into 0 and hide a net that has diverged.
            PostOp::BiasRelu(b) if last => {
                y.iter_mut().zip(load(&b[column..column + width])).for_each(|(y, b)| {
                    let z = *y + b;
                    *y = if z < 0.0 { 0.0 } else { z };
                });
            }
            PostOp::BiasFloor(b, floor) if last => {
                let (b, floor) = (load(&b[column..column + width]), load(&floor[column..column + width]));
                y.iter_mut().zip(b).zip(floor).for_each(|((y, b), floor)| {
                    let z = *y + b;
                    *y = if z < floor { floor } else { z };
                });
            }
            _ => {}
        }
        self.y.store(row, column, width, y);
    }
}

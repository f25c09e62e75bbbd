//! Where the gradient of a layer's input goes.

use ndarray::{ArrayRef2, ArrayViewMut2};

use super::buffer::clear;

/// The matrix to which a backward pass writes the gradient `dx` of an input, and whether it overwrites the matrix or adds to it. If several
/// layers read one input, the gradient is a sum: the first of their backward passes overwrites the matrix, the others add to it.
#[derive(Debug)]
pub struct InputGrad<'a> {
    pub(crate) dx: ArrayViewMut2<'a, f32>,
    pub(crate) add: bool,
}

impl<'a> InputGrad<'a> {
    /// The backward pass overwrites `dx`. Use it for the first layer that writes the gradient of an input, or the only one.
    pub fn overwrite(dx: &'a mut ArrayRef2<f32>) -> Self {
        Self { dx: dx.view_mut(), add: false }
    }

    /// The backward pass adds to `dx`. Use it for every further layer that reads the same input.
    pub fn add(dx: &'a mut ArrayRef2<f32>) -> Self {
        Self { dx: dx.view_mut(), add: true }
    }

    /// Borrows it, for a shorter time.
    pub(crate) fn lend(&mut self) -> InputGrad<'_> {
        InputGrad { dx: self.dx.view_mut(), add: self.add }
    }

    /// The matrix, to add to: zero where it would have been overwritten.
    pub(crate) fn for_adding(mut self) -> ArrayViewMut2<'a, f32> {
        if !self.add {
            clear(&mut self.dx);
        }
        self.dx
    }

    /// Takes this gradient.
    pub(crate) fn assign(mut self, dx: &ArrayRef2<f32>) {
        if self.add { *self.dx += dx } else { self.dx.assign(dx) }
    }
}

//! The size of parameters, before they are allocated.

use std::iter::Sum;
use std::ops::{Add, Mul};

/// The bytes that a tensor takes beside its values: shape, list entries, the allocator's own.
const TENSOR: f64 = 256.0;

/// How large the parameters of a net are, moving averages included. [`Net::size`](crate::net::Net::size) computes it before any memory is
/// allocated. The numbers are `f64`, so that even huge settings do not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Size {
    /// The number of values (`f32` numbers) in all tensors together, moving averages included. It is infinite if the net is too large to be
    /// built.
    pub values: f64,
    /// The number of tensors (matrices and vectors of parameters), or an estimate somewhat above it.
    pub tensors: f64,
}

impl Size {
    /// The size of one tensor that holds `values` numbers.
    pub fn tensor(values: f64) -> Self {
        Self { values, tensors: 1.0 }
    }

    /// About how many bytes of memory such parameters take: 4 for each value, and 256 more for each tensor. Gradients and optimizer states
    /// come in addition.
    pub fn bytes(self) -> f64 {
        4.0 * self.values + TENSOR * self.tensors
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { values: self.values + other.values, tensors: self.tensors + other.tensors }
    }
}

impl Mul<Size> for f64 {
    type Output = Size;

    /// The size of several equal parts: `self` is their number, and `size` the size of each.
    fn mul(self, size: Size) -> Size {
        Size { values: self * size.values, tensors: self * size.tensors }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}

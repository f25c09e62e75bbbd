//! How large parameters are, before they are made.

use std::iter::Sum;
use std::ops::{Add, Mul};

/// What a tensor takes beside its values: its shape, the entries of lists, what the allocator keeps.
const TENSOR: f64 = 256.0;

/// How many values parameters hold, moving averages included, and in how many tensors. The numbers are f64, so that no settings are
/// too large for them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Size {
    /// The values.
    pub values: f64,
    /// The tensors that they are in, or more.
    pub tensors: f64,
}

impl Size {
    /// One tensor of this many values.
    pub fn tensor(values: f64) -> Self {
        Self { values, tensors: 1.0 }
    }

    /// The bytes that parameters of this size take.
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

    /// That many times the same.
    fn mul(self, size: Size) -> Size {
        Size { values: self * size.values, tensors: self * size.tensors }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}

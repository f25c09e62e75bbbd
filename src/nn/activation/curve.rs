//! Activations that learn nothing: a curve and its slope.

use ndarray::{ArrayRef2, Zip};

use crate::math::{sigmoid_f32, tanh};
use crate::parallel;

/// How many values a thread takes at a time.
const BLOCK: usize = 1 << 13;

/// A curve `φ`. Both its functions are marked `#[inline(always)]`, so that loops over them run in wide vectors.
pub(super) trait Curve: Copy + Send + Sync {
    /// `φ(z)`.
    fn at(self, z: f32) -> f32;

    /// `φ'(z)`.
    fn slope(self, z: f32) -> f32;

    /// `y = φ(z)`.
    fn forward(self, z: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
        if let (Some(z), Some(y)) = (z.as_slice(), y.as_slice_mut()) {
            assert_eq!(z.len(), y.len(), "one activation for each value");
            parallel::wide_blocks(
                z.len(),
                BLOCK,
                (z, y),
                #[inline(always)]
                |(z, y)| y.iter_mut().zip(z).for_each(|(y, &z)| *y = self.at(z)),
            );
        } else {
            Zip::from(y).and(z).for_each(|y, &z| *y = self.at(z));
        }
    }

    /// `dz = dy ⊙ φ'(z)`.
    fn backward(self, z: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, dz: &mut ArrayRef2<f32>) {
        if let (Some(z), Some(dy), Some(dz)) = (z.as_slice(), dy.as_slice(), dz.as_slice_mut()) {
            assert!(z.len() == dz.len() && dy.len() == dz.len(), "one gradient for each value");
            parallel::wide_blocks(
                z.len(),
                BLOCK,
                (z, dy, dz),
                #[inline(always)]
                |(z, dy, dz)| {
                    for ((dz, &z), &g) in dz.iter_mut().zip(z).zip(dy) {
                        *dz = g * self.slope(z);
                    }
                },
            );
        } else {
            Zip::from(dz).and(z).and(dy).for_each(|dz, &z, &g| *dz = g * self.slope(z));
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn at(self, z: f32) -> f32 {
        // Not `z.max(0.0)`, which would turn NaN into 0 and hide a net that has diverged.
        if z < 0.0 { 0.0 } else { z }
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        f32::from(u8::from(z > 0.0))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Gelu {
    /// √(2/π)
    const SCALE: f32 = 0.797_884_6;

    #[inline(always)]
    fn tanh(z: f32) -> f32 {
        tanh(Self::SCALE * (z + 0.044_715 * z * z * z))
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn at(self, z: f32) -> f32 {
        0.5 * z * (1.0 + Self::tanh(z))
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        let t = Self::tanh(z);
        0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * Self::SCALE * (1.0 + 3.0 * 0.044_715 * z * z)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn at(self, z: f32) -> f32 {
        z * sigmoid_f32(z)
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        let s = sigmoid_f32(z);
        s * (1.0 + z * (1.0 - s))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn at(self, z: f32) -> f32 {
        tanh(z)
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        let t = tanh(z);
        1.0 - t * t
    }
}

//! The loops of activations without parameters.

use ndarray::{ArrayRef2, Zip};

use crate::parallel;

/// The number of values that a thread takes at a time.
const BLOCK: usize = 1 << 13;

/// An activation without parameters: a curve `φ` and its slope. Mark both functions `#[inline(always)]`, so that loops over them run in
/// wide vectors.
pub(super) trait Curve: Copy + Send + Sync {
    /// `φ(z)`.
    fn at(self, z: f32) -> f32;

    /// `φ'(z)`.
    fn slope(self, z: f32) -> f32;

    /// `y = φ(z)`.
    fn forward(self, z: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
        assert_eq!(z.dim(), y.dim(), "one activation for each value");
        if let (Some(z), Some(y)) = (z.as_slice(), y.as_slice_mut()) {
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
        assert!(z.dim() == dz.dim() && dy.dim() == dz.dim(), "one gradient for each value");
        if let (Some(z), Some(dy), Some(dz)) = (z.as_slice(), dy.as_slice(), dz.as_slice_mut()) {
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::{Activation, ActivationCache};
    use crate::nn::Infer;

    #[test]
    #[should_panic(expected = "one activation for each value")]
    fn another_shape_with_as_many_values_is_refused() {
        let (z, mut y) = (Array2::zeros((2, 3)), Array2::zeros((3, 2)));
        Activation::Relu.forward(&z, Infer.into(), &mut ActivationCache::default(), &mut y);
    }
}

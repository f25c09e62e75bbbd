//! The ReLU with a learned slope.

use ndarray::{Array1, ArrayRef2, Axis};

use super::ActivationCache;
use crate::nn::{Decay, Mode};

/// PReLU (He et al. 2015): `y = z` if `z > 0`, otherwise `y = α_j·z`. There is one learned slope `α_j` for each column j of the input; it
/// starts at 0.25.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Activation, ActivationCache, Infer, Params as _, Prelu};
///
/// let (prelu, z) = (Activation::Prelu(Prelu::new(2)), array![[-4.0, 2.0]]); // two columns
/// let (mut y, mut dz, mut grad) = (Array2::zeros((1, 2)), Array2::zeros((1, 2)), prelu.zeros_like());
/// prelu.forward(&z, Infer.into(), &mut ActivationCache::default(), &mut y);
/// assert_eq!(y, array![[-1.0, 2.0]]);
/// prelu.backward(&z, &array![[1.0, 1.0]], &mut ActivationCache::default(), &mut grad, &mut dz);
/// assert_eq!(dz, array![[0.25, 1.0]]);
/// assert_eq!(grad, Activation::Prelu(Prelu { alpha: array![-4.0, 0.0] }));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Prelu {
    /// The learned slopes α, `[width]`: one for each column, 0.25 at the start. A value of 0 or less is multiplied by the slope of its
    /// column; other values do not change.
    pub alpha: Array1<f32>,
}

crate::params!(Prelu { alpha: Decay::None });

impl Prelu {
    /// A PReLU for matrices of `width` columns. All slopes α are 0.25.
    pub fn new(width: usize) -> Self {
        Self { alpha: Array1::from_elem(width, 0.25) }
    }

    /// `y = max(z, 0) + α ⊙ min(z, 0)`.
    pub(super) fn forward(
        &self,
        z: &ArrayRef2<f32>,
        _mode: Mode<'_>,
        _cache: &mut ActivationCache,
        y: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((z.ncols(), z.dim()), (self.alpha.len(), y.dim()), "one slope for each column");
        for (z, mut y) in z.axis_iter(Axis(0)).zip(y.axis_iter_mut(Axis(0))) {
            for ((y, &z), &alpha) in y.iter_mut().zip(&z).zip(&self.alpha) {
                *y = if z > 0.0 { z } else { alpha * z };
            }
        }
    }

    /// `dz = dy ⊙ (1 or α)`, `dα += Σ dy ⊙ min(z, 0)`.
    pub(super) fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        _cache: &mut ActivationCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((z.dim(), z.dim()), (dy.dim(), dz.dim()), "one gradient for each value");
        for ((z, g), mut dz) in z.axis_iter(Axis(0)).zip(dy.axis_iter(Axis(0))).zip(dz.axis_iter_mut(Axis(0))) {
            for ((((dz, &z), &g), &alpha), dalpha) in
                dz.iter_mut().zip(&z).zip(&g).zip(&self.alpha).zip(&mut grad.alpha)
            {
                *dz = if z > 0.0 { g } else { alpha * g };
                *dalpha += g * z.min(0.0);
            }
        }
    }
}

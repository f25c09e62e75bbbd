//! Values scaled element by element by a sigmoid gate.

use ndarray::{Array2, ArrayRef2, Zip};

use super::InputGrad;
use super::buffer::resize;
use crate::math::sigmoid_f32;

/// The values that [`scale`] keeps for [`scale_backward`]. Make it by `Default::default()`, and pass the same cache to both.
#[derive(Debug, Default)]
pub struct ScaleCache {
    /// `δ = γ·σ(z)`, `[rows, width]`.
    delta: Array2<f32>,
    /// The gradient of the gate's input `z`, `[rows, width]`. Each call of [`scale_backward`] overwrites it.
    pub dz: Array2<f32>,
}

/// Multiplies each value of `x` by a gate δ between 0 and γ: `y = δ ⊙ x` with `δ = γ·σ(z)`, where γ is the argument `factor` and σ the
/// sigmoid. `x`, `z` and `y` are `[rows, width]`. It is the last step of a gate ("Gate NU") of PEPNet (Chang et al., "PEPNet", KDD 2023,
/// section 3.2). For γ = 2 and z = 0, δ is 1. `cache` keeps δ for the backward pass.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{InputGrad, ScaleCache, scale, scale_backward};
///
/// let (x, z) = (array![[3.0, 4.0]], array![[0.0, 0.0]]);
/// let (mut cache, mut y, mut dx) = (ScaleCache::default(), Array2::zeros((1, 2)), Array2::zeros((1, 2)));
/// scale(2.0, &x, &z, &mut cache, &mut y);
/// assert_eq!(y, x); // 2·σ(0) = 1
/// scale_backward(2.0, &x, &array![[1.0, 1.0]], &mut cache, InputGrad::overwrite(&mut dx));
/// assert_eq!((dx, cache.dz), (array![[1.0, 1.0]], array![[1.5, 2.0]])); // dz = x·δ·(1 − δ/2)
/// ```
///
/// # Panics
/// If `x`, `z` and `y` differ in shape.
pub fn scale(factor: f32, x: &ArrayRef2<f32>, z: &ArrayRef2<f32>, cache: &mut ScaleCache, y: &mut ArrayRef2<f32>) {
    resize(&mut cache.delta, x.nrows(), x.ncols());
    Zip::from(y).and(&mut cache.delta).and(x).and(z).for_each(|y, delta, &x, &z| {
        *delta = factor * sigmoid_f32(z);
        *y = *delta * x;
    });
}

/// The backward pass of [`scale`]. `factor` (γ), `x` and `cache` are those of the forward pass, and `dy` is the gradient of its output. The
/// gradient of `x`, `dx = dy ⊙ δ`, goes to `dx`; [`InputGrad`] says whether it overwrites the matrix or is added to it. The gradient of `z`,
/// `dz = dy ⊙ x ⊙ δ ⊙ (1 − δ/γ)`, goes to [`ScaleCache::dz`].
///
/// # Panics
/// If `x`, `dy`, `dx` and the `z` of the forward pass differ in shape.
pub fn scale_backward(factor: f32, x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, cache: &mut ScaleCache, dx: InputGrad<'_>) {
    let InputGrad { dx, add } = dx;
    let ScaleCache { delta, dz } = cache;
    resize(dz, x.nrows(), x.ncols());
    Zip::from(dz).and(&*delta).and(x).and(dy).for_each(|dz, &delta, &x, &dy| {
        *dz = dy * x * delta * (1.0 - delta / factor);
    });
    Zip::from(dx).and(&*delta).and(dy).for_each(|dx, &delta, &dy| {
        let d = dy * delta;
        *dx = if add { *dx + d } else { d };
    });
}

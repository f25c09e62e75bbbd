//! Layer normalisation, row by row.

use ndarray::{Array1, ArrayRef2, Axis};

use crate::nn::Decay;

/// Layer normalisation (Ba et al. 2016): `y = γ ⊙ (z − μ)/√(σ² + ε) + β`. μ and σ² are the mean and the variance of the values of each row
/// of the input z. γ and β are a learned scale and shift, and ε is 1e-5. Training and inference do the same.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{LayerNorm, LayerNormCache};
///
/// let mut norm = LayerNorm::new(2); // for matrices of two columns
/// norm.gamma.fill(3.0);
/// let (z, mut y) = (array![[0.0, 2.0], [10.0, 30.0]], Array2::zeros((2, 2)));
/// norm.forward(&z, &mut LayerNormCache::default(), &mut y);
/// // Each row is normalised to −1 and 1; γ is 3 and β is 0.
/// assert!((y - array![[-3.0, 3.0], [-3.0, 3.0]]).iter().all(|d: &f32| d.abs() < 1e-4));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// The learned scale γ, `[width]`: one value for each column, 1 at the start. Each normalised value is multiplied by it.
    pub gamma: Array1<f32>,
    /// The learned shift β, `[width]`: one value for each column, 0 at the start. It is added after the multiplication by γ.
    pub beta: Array1<f32>,
}

crate::params!(LayerNorm { gamma: Decay::Towards(1.0), beta: Decay::None });

/// The values that the forward pass of [`LayerNorm`] keeps for its backward pass: the mean μ and `1/√(σ² + ε)` of each row. Make it by
/// `Default::default()`, and pass the same cache to both passes.
#[derive(Debug, Default)]
pub struct LayerNormCache {
    rows: Vec<(f32, f32)>,
}

impl LayerNorm {
    /// ε.
    pub(crate) const EPSILON: f32 = 1e-5;

    /// A normalisation for matrices of `width` columns, with scale 1 and shift 0.
    pub fn new(width: usize) -> Self {
        Self { gamma: Array1::ones(width), beta: Array1::zeros(width) }
    }

    /// The forward pass, `y = γ ⊙ (z − μ)/√(σ² + ε) + β`, where μ and σ² are the mean and the variance of each row. `z` and `y` are
    /// `[rows, width]`. `cache` keeps the mean and `1/√(σ² + ε)` of each row for the backward pass.
    ///
    /// # Panics
    /// If `z` or `y` has another shape.
    pub fn forward(&self, z: &ArrayRef2<f32>, cache: &mut LayerNormCache, y: &mut ArrayRef2<f32>) {
        assert_eq!((z.ncols(), z.dim()), (self.gamma.len(), y.dim()), "one column for each scale");
        let n = z.ncols() as f64;
        cache.rows.clear();
        for (z, mut y) in z.axis_iter(Axis(0)).zip(y.axis_iter_mut(Axis(0))) {
            let mean = z.iter().map(|&z| f64::from(z)).sum::<f64>() / n;
            let var = z.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>() / n;
            let (mean, r) = (mean as f32, (1.0 / (var + f64::from(Self::EPSILON)).sqrt()) as f32);
            cache.rows.push((mean, r));
            for (((y, &z), &gamma), &beta) in y.iter_mut().zip(&z).zip(&self.gamma).zip(&self.beta) {
                *y = gamma * ((z - mean) * r) + beta;
            }
        }
    }

    /// The backward pass. `z` and `cache` are those of the forward pass, and `dy` is the gradient of its output. With `x̂ = (z − μ)/s`,
    /// `s = √(σ² + ε)` and `h = γ ⊙ dy`:
    ///
    /// - `dγ += Σ dy ⊙ x̂` and `dβ += Σ dy`, sums over all rows, are added to `grad`.
    /// - `dz = (1/s)·(h − mean(h) − x̂·mean(h ⊙ x̂))` is written, where mean is the mean over the columns of a row.
    ///
    /// # Panics
    /// If `z`, `dy` or `dz` is not `[rows, width]`, as in the forward pass.
    pub fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &LayerNormCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((z.dim(), z.dim()), (dy.dim(), dz.dim()), "one gradient for each value");
        let n = z.ncols() as f64;
        let rows = z.axis_iter(Axis(0)).zip(dy.axis_iter(Axis(0))).zip(dz.axis_iter_mut(Axis(0))).zip(&cache.rows);
        for (((z, g), mut dz), &(mean, r)) in rows {
            let (mut sum_h, mut sum_hx) = (0.0_f64, 0.0_f64);
            for (j, (&z, &g)) in z.iter().zip(&g).enumerate() {
                let x = (z - mean) * r;
                let h = self.gamma[j] * g;
                sum_h += f64::from(h);
                sum_hx += f64::from(h * x);
                grad.gamma[j] += g * x;
                grad.beta[j] += g;
            }
            let (mean_h, mean_hx) = ((sum_h / n) as f32, (sum_hx / n) as f32);
            for (((dz, &z), &g), &gamma) in dz.iter_mut().zip(&z).zip(&g).zip(&self.gamma) {
                *dz = r * (gamma * g - mean_h - (z - mean) * r * mean_hx);
            }
        }
    }
}

//! Batch normalisation, over all rows of the batch.

use ndarray::{Array1, ArrayRef2};

use super::Columns;
use crate::nn::{Decay, InputGrad, Mode, MovingAverage};

const RATE: f32 = 0.1;

/// Batch normalisation (Ioffe & Szegedy 2015): `y = γ ⊙ (z − μ)/√(σ² + ε) + β`. z is a row of the input, and μ and σ² are the mean and the
/// variance of each column: in training over the rows of the batch, in inference as moving averages. γ and β are a learned scale and shift. ε
/// is 1e-5.
///
/// In inference, a column whose moving variance is below 1e-8 counts as constant: `(z − μ)/√(σ² + ε)` is set to 0 for all its values, as it
/// is in training. So a new value of such a column cannot become very large.
///
/// The statistics are those of all domains together. At the input of a net for several domains, use
/// [`PartitionedNorm`](super::PartitionedNorm) instead.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{BatchNorm, BatchNormCache, Mode, Params as _, Train};
///
/// let mut norm = BatchNorm::new(1); // for matrices of one column
/// norm.beta[0] = 5.0;
/// let (z, mut y, mut cache) = (array![[0.0], [2.0]], Array2::zeros((2, 1)), BatchNormCache::default());
/// norm.forward(&z, Train::default().into(), &mut cache, &mut y);
/// assert!((&y - &array![[4.0], [6.0]]).iter().all(|d: &f32| d.abs() < 1e-4)); // the batch has mean 1 and deviation 1; β is 5
///
/// let (mut grad, mut dz) = (norm.zeros_like(), Array2::zeros((2, 1)));
/// norm.backward(&z, &array![[1.0], [1.0]], &mut cache, &mut grad, &mut dz);
/// assert_eq!((grad.beta[0], dz), (2.0, array![[0.0], [0.0]])); // a shift of all rows of z does not change y
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// The learned scale γ, `[width]`: one value for each column, 1 at the start. Each normalised value is multiplied by it.
    pub gamma: Array1<f32>,
    /// The learned shift β, `[width]`: one value for each column, 0 at the start. It is added after the multiplication by γ.
    pub beta: Array1<f32>,
    /// The moving averages of the mean μ and the variance σ² of each column over the batches of the training. Their rate is 0.1
    /// ([`MovingAverage::new`]). Inference uses them; training updates them at each optimizer step ([`Model::apply`](crate::Model::apply)).
    pub moving: MovingAverage,
}

crate::params!(BatchNorm { gamma: Decay::Towards(1.0), beta: Decay::None, moving });

/// The values that the forward pass of [`BatchNorm`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to both passes.
#[derive(Debug, Default)]
pub struct BatchNormCache {
    columns: Columns,
}

impl BatchNorm {
    /// ε.
    pub(crate) const EPSILON: f32 = 1e-5;

    /// A normalisation for matrices of `width` columns, with scale 1 and shift 0. Before the first training step, its moving averages are a
    /// mean of 0 and a variance of 1.
    pub fn new(width: usize) -> Self {
        Self { gamma: Array1::ones(width), beta: Array1::zeros(width), moving: MovingAverage::new(width, RATE) }
    }

    /// The forward pass, `y = γ ⊙ (z − μ)/√(σ² + ε) + β`. `z` and `y` are `[rows, width]`. `cache` keeps values for the backward pass.
    ///
    /// `mode` decides which μ and σ² it uses. In training, these are the mean and the (biased) variance of each column over the rows of `z`.
    /// In inference, these are the moving averages. A training batch of fewer than 2 rows has no variance, so it uses the moving averages
    /// too.
    ///
    /// # Panics
    /// If `z` or `y` has another shape, or if one of their rows is not contiguous in memory.
    pub fn forward(&self, z: &ArrayRef2<f32>, mode: Mode<'_>, cache: &mut BatchNormCache, y: &mut ArrayRef2<f32>) {
        if mode.batch_statistics() && z.nrows() >= 2 {
            cache.columns.take_rows(z, |_| Self::EPSILON);
        } else {
            cache.columns.take_constants(&self.moving.mean, &self.moving.var, |_| Self::EPSILON);
        }
        cache.columns.forward(z, &self.gamma, &self.beta, y);
    }

    /// The backward pass. `z` and `cache` are those of the forward pass, and `dy` is the gradient of its output. With `x̂ = (z − μ)/s` and
    /// `s = √(σ² + ε)`:
    ///
    /// - `dγ += Σ dy ⊙ x̂` and `dβ += Σ dy`, sums over all rows, are added to `grad`.
    /// - `dz = (γ/s) ⊙ (dy − mean(dy) − x̂ ⊙ mean(dy ⊙ x̂))` overwrites `dz`, where mean is the mean over all rows. If the forward pass used
    ///   the moving averages, `dz = (γ/s) ⊙ dy`.
    ///
    /// It also adds the mean and the unbiased variance of the batch to `grad.moving`, if the batch has 2 rows or more.
    /// [`Model::apply`](crate::Model::apply) later moves the moving averages of the layer towards them; this method does not change the
    /// layer.
    ///
    /// # Panics
    /// If `z`, `dy` or `dz` is not `[rows, width]`, as in the forward pass.
    pub fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut BatchNormCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        cache.columns.backward(z, &self.gamma, dy, InputGrad::overwrite(dz));
        for (j, (gx, g)) in cache.columns.sum_gx().zip(cache.columns.sum_g()).enumerate() {
            grad.gamma[j] += gx;
            grad.beta[j] += g;
        }
        cache.columns.note(&mut grad.moving);
    }
}

//! Batch normalisation, over all rows of the batch.

use ndarray::{Array1, ArrayRef2};

use super::Columns;
use crate::nn::{Decay, InputGrad, Mode, MovingAverage};

const RATE: f32 = 0.1;

/// Batch normalisation (Ioffe & Szegedy 2015): `y = γ ⊙ (z − μ)/√(σ² + ε) + β`, statistics of the batch in training,
/// moving averages in inference. ε is 1e-5 and the rate of the averages is 0.1.
///
/// Its statistics are those of all domains together; at the input of a multi-domain net use
/// [`PartitionedNorm`](super::PartitionedNorm).
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{BatchNorm, BatchNormCache, Mode, Params as _, Train};
///
/// let mut norm = BatchNorm::new(1);
/// norm.beta[0] = 5.0;
/// let (z, mut y, mut cache) = (array![[0.0], [2.0]], Array2::zeros((2, 1)), BatchNormCache::default());
/// norm.forward(&z, Train::default().into(), &mut cache, &mut y);
/// assert!((&y - &array![[4.0], [6.0]]).iter().all(|d: &f32| d.abs() < 1e-4)); // mean 1, deviation 1
///
/// let (mut grad, mut dz) = (norm.zeros_like(), Array2::zeros((2, 1)));
/// norm.backward(&z, &array![[1.0], [1.0]], &mut cache, &mut grad, &mut dz);
/// assert_eq!((grad.beta[0], dz), (2.0, array![[0.0], [0.0]])); // a shift of all rows changes nothing
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// γ, `[width]`: the learned scale of each column, 1 at the start.
    pub gamma: Array1<f32>,
    /// β, `[width]`: the learned shift of each column, 0 at the start.
    pub beta: Array1<f32>,
    /// The moving averages of μ and σ², which inference uses.
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

    /// A normalisation for matrices of `width` columns, with scale 1, shift 0 and empty moving averages.
    pub fn new(width: usize) -> Self {
        Self { gamma: Array1::ones(width), beta: Array1::zeros(width), moving: MovingAverage::new(width, RATE) }
    }

    /// The forward pass, `y = γ ⊙ (z − μ)/√(σ² + ε) + β`: `z` and `y` are `[rows, width]`. In training, μ and σ² are those of the batch; in
    /// inference, they are the moving averages. A training batch of one row uses the moving averages instead of its own μ and σ².
    ///
    /// # Panics
    /// If an argument does not have the shape `[rows, width]`.
    pub fn forward(&self, z: &ArrayRef2<f32>, mode: Mode<'_>, cache: &mut BatchNormCache, y: &mut ArrayRef2<f32>) {
        if mode.batch_statistics() && z.nrows() >= 2 {
            cache.columns.take_rows(z, |_| Self::EPSILON);
        } else {
            cache.columns.take_constants(&self.moving.mean, &self.moving.var, |_| Self::EPSILON);
        }
        cache.columns.forward(z, &self.gamma, &self.beta, y);
    }

    /// The backward pass, given the gradient `dy` of the output. With `g = dy`, `s = √(σ² + ε)` and means over rows: `dγ += Σ g⊙x̂`, `dβ +=
    /// Σ g`, `dz = (γ/s) ⊙ (g − mean g − x̂ ⊙ mean(g⊙x̂))`. `grad` also takes μ and σ² of the batch, by which
    /// [`Model::apply`](crate::Model::apply) moves the moving averages.
    ///
    /// # Panics
    /// If an argument does not have the shape `[rows, width]`.
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

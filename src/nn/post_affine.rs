//! Normalisation, activation and dropout after the affine map of a hidden layer.

use ndarray::{Array2, ArrayRef2};
use serde::{Deserialize, Serialize};

use super::buffer::resize;
use super::{
    Activation, ActivationCache, ActivationKind, BatchNorm, BatchNormCache, Dropout, DropoutCache, HiddenSettings,
    InitRng, LayerNorm, LayerNormCache, Mode, Size,
};

/// The name of the normalisation between the affine map of a hidden layer and its activation. Settings select the normalisation by this
/// name; [`Norm`] is the normalisation itself, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// No normalisation, the default.
    #[default]
    None,
    /// Batch normalisation ([`BatchNorm`]): `γ·(z − μ)/√(σ² + ε) + β`, where μ and σ² are the mean and the variance of the column of z, in
    /// training over the rows of the batch, in inference as moving averages. γ and β are learned.
    Batch,
    /// Layer normalisation ([`LayerNorm`]): `γ·(z − μ)/√(σ² + ε) + β`, where μ and σ² are the mean and the variance of the values in the row
    /// of z. γ and β are learned.
    Layer,
}

/// A normalisation of hidden values, with its parameters. [`NormKind`] in the settings selects the variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Norm {
    /// Batch normalisation: each column is normalised by its mean and variance, in training over the rows of the batch, in inference by
    /// moving averages.
    Batch(BatchNorm),
    /// Layer normalisation: each row is normalised by the mean and variance of its values, in training and in inference.
    Layer(LayerNorm),
}

crate::params!(
    enum Norm {
        Batch,
        Layer,
    }
);

/// The part of a hidden layer after its affine map: `y = dropout(φ(norm(z)))`. z is the output of the affine map, norm a normalisation or
/// none, and φ an activation.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{ActivationKind, Infer, InitRng, NormKind, PostAffine, PostAffineCache};
///
/// // Two columns, layer normalisation, ReLU, and a dropout with probability 0.5.
/// let post = PostAffine::new(2, NormKind::Layer, ActivationKind::Relu, 0.5, &mut InitRng::new(1));
/// let (z, mut y) = (array![[0.0, 2.0]], Array2::zeros((1, 2)));
/// post.forward(&z, Infer.into(), &mut PostAffineCache::default(), &mut y);
/// // The normalisation gives −1 and 1, the ReLU 0 and 1. Dropout does nothing in inference.
/// assert!((y - array![[0.0, 1.0]]).iter().all(|d: &f32| d.abs() < 1e-4));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PostAffine {
    /// The normalisation, which is applied to the output of the affine map. `None` if the layer has none.
    pub norm: Option<Norm>,
    /// The activation φ, which is applied to the normalised values.
    pub activation: Activation,
    dropout: Dropout,
}

crate::params!(PostAffine { norm, activation });

/// The values that the forward pass of [`PostAffine`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to both passes.
#[derive(Debug, Default)]
pub struct PostAffineCache {
    batch_norm: BatchNormCache,
    layer_norm: LayerNormCache,
    activation: ActivationCache,
    dropout: DropoutCache,
    normed: Array2<f32>,
    dnormed: Array2<f32>,
}

impl PostAffine {
    /// A layer for matrices of `width` columns, with the normalisation `norm` and the activation `activation`. `dropout` is the probability
    /// with which a value is set to 0 in training, 0 ≤ dropout < 1; 0 means no dropout. The dropout takes the number of its random stream
    /// from `rng`, so that different layers set different values to 0.
    ///
    /// # Panics
    /// If `dropout` is below 0, or 1 or more, or NaN.
    pub fn new(width: usize, norm: NormKind, activation: ActivationKind, dropout: f32, rng: &mut InitRng) -> Self {
        let norm = match norm {
            NormKind::None => None,
            NormKind::Batch => Some(Norm::Batch(BatchNorm::new(width))),
            NormKind::Layer => Some(Norm::Layer(LayerNorm::new(width))),
        };
        Self { norm, activation: Activation::new(activation, width), dropout: Dropout::new(dropout, rng) }
    }

    /// The size of what [`PostAffine::new`] makes.
    pub(crate) fn size(width: f64, norm: NormKind, activation: ActivationKind) -> Size {
        let norm = match norm {
            NormKind::None => 0.0,
            NormKind::Batch => 4.0,
            NormKind::Layer => 2.0,
        };
        let activation = match activation {
            ActivationKind::Prelu => 1.0,
            ActivationKind::Dice => 3.0,
            _ => 0.0,
        };
        // Each of these vectors is a tensor.
        (norm + activation) * Size::tensor(width)
    }

    /// The number of values that a hidden layer of this width keeps for a row from forward to backward, those of its affine map included.
    pub(crate) fn row(width: f64, style: HiddenSettings) -> f64 {
        let HiddenSettings { activation, norm, .. } = style;
        let plain = norm == NormKind::None && activation == ActivationKind::Relu;
        // Output and its gradient; else also those of the affine map, of the norm, and Dice's own.
        let maps = if plain { 2.0 } else { 4.0 };
        let norm = if norm == NormKind::None { 0.0 } else { 2.0 };
        let dice = if activation == ActivationKind::Dice { 3.0 } else { 0.0 };
        // Dropout keeps two bytes for each value.
        width * (maps + norm + dice + 0.5)
    }

    /// If it is a ReLU, perhaps with a dropout, the scale of that dropout. The backward pass then needs its output `y` alone:
    /// `dz = dy · scale` where `y > 0`, 0 elsewhere.
    pub(crate) fn rectifies(&self) -> Option<f32> {
        let rectifies = self.norm.is_none() && matches!(self.activation, Activation::Relu);
        rectifies.then(|| self.dropout.scale())
    }

    /// The dropout alone, in place.
    pub(crate) fn drop_out(&self, mode: Mode<'_>, cache: &mut PostAffineCache, y: &mut ArrayRef2<f32>) {
        self.dropout.forward(mode, &mut cache.dropout, y);
    }

    /// The forward pass, `y = dropout(φ(norm(z)))`. `z` and `y` are `[rows, width]`. `mode` decides whether there is dropout, and whether the
    /// normalisation uses the statistics of the batch. `cache` keeps values for the backward pass.
    ///
    /// # Panics
    /// If `z` and `y` differ in shape, or if the normalisation or a learned activation was made for another number of columns than `z` has.
    pub fn forward(&self, z: &ArrayRef2<f32>, mode: Mode<'_>, cache: &mut PostAffineCache, y: &mut ArrayRef2<f32>) {
        match &self.norm {
            None => self.activation.forward(z, mode, &mut cache.activation, y),
            Some(norm) => {
                resize(&mut cache.normed, z.nrows(), z.ncols());
                match norm {
                    Norm::Batch(norm) => norm.forward(z, mode, &mut cache.batch_norm, &mut cache.normed),
                    Norm::Layer(norm) => norm.forward(z, &mut cache.layer_norm, &mut cache.normed),
                }
                self.activation.forward(&cache.normed, mode, &mut cache.activation, y);
            }
        }
        self.dropout.forward(mode, &mut cache.dropout, y);
    }

    /// The backward pass. `z` and `cache` are those of the forward pass, and `dy` is the gradient of its output. Adds the gradient of the
    /// parameters to `grad` and writes the gradient of `z` to `dz`. It overwrites `dy`: do not read it afterwards.
    ///
    /// # Panics
    /// If `z`, `dy` and `dz` differ in shape.
    pub fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &mut ArrayRef2<f32>,
        cache: &mut PostAffineCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        self.dropout.backward(&cache.dropout, dy);
        let Some(norm) = &self.norm else {
            self.activation.backward(z, dy, &mut cache.activation, &mut grad.activation, dz);
            return;
        };
        resize(&mut cache.dnormed, z.nrows(), z.ncols());
        let PostAffineCache { normed, dnormed, activation, .. } = cache;
        self.activation.backward(normed, dy, activation, &mut grad.activation, dnormed);
        match (norm, &mut grad.norm) {
            (Norm::Batch(norm), Some(Norm::Batch(grad))) => {
                norm.backward(z, &cache.dnormed, &mut cache.batch_norm, grad, dz);
            }
            (Norm::Layer(norm), Some(Norm::Layer(grad))) => {
                norm.backward(z, &cache.dnormed, &cache.layer_norm, grad, dz);
            }
            _ => unreachable!("a gradient has the type of its parameters"),
        }
    }
}

//! Activations, element by element; two of them learn.

mod curve;
mod dice;
mod prelu;

use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};

use curve::{Curve, Gelu, Relu, Silu, Tanh};
pub use dice::Dice;
use dice::DiceCache;
pub use prelu::Prelu;

use super::Mode;

/// Which activation a layer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationKind {
    /// `max(z, 0)`, the default.
    #[default]
    Relu,
    /// `z` where positive, `α_j·z` elsewhere, `α_j` learned for each column from 0.25 (He et al. 2015).
    Prelu,
    /// A rectifier that adapts to its input's distribution (Zhou et al. 2018, "Deep Interest Network", section 5.2).
    Dice,
    /// `z·Φ(z)` in its tanh form (Hendrycks & Gimpel 2016).
    Gelu,
    /// `z·σ(z)`, also called swish.
    Silu,
    /// `tanh z`.
    Tanh,
    /// `z`: no activation.
    Identity,
}

/// An activation `y = φ(z)` of `[rows, width]` values.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Activation, ActivationCache, Infer};
///
/// let (relu, z, mut cache) = (Activation::Relu, array![[-1.0, 2.0]], ActivationCache::default());
/// let (mut y, mut dz) = (Array2::zeros((1, 2)), Array2::zeros((1, 2)));
/// relu.forward(&z, Infer.into(), &mut cache, &mut y);
/// assert_eq!(y, array![[0.0, 2.0]]);
/// relu.backward(&z, &array![[5.0, 5.0]], &mut cache, &mut relu.clone(), &mut dz);
/// assert_eq!(dz, array![[0.0, 5.0]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// See [`Prelu`].
    Prelu(Prelu),
    /// See [`Dice`].
    Dice(Dice),
    /// `½z·(1 + tanh(√(2/π)·(z + 0.044715 z³)))`.
    Gelu,
    /// `z·σ(z)`.
    Silu,
    /// `tanh z`.
    Tanh,
    /// `z`.
    Identity,
}

crate::params!(
    enum Activation {
        Prelu,
        Dice,
    }
);

/// What an [`Activation`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct ActivationCache {
    dice: DiceCache,
}

impl Activation {
    /// The activation of this kind for `width` columns.
    pub fn new(kind: ActivationKind, width: usize) -> Self {
        match kind {
            ActivationKind::Relu => Self::Relu,
            ActivationKind::Prelu => Self::Prelu(Prelu::new(width)),
            ActivationKind::Dice => Self::Dice(Dice::new(width)),
            ActivationKind::Gelu => Self::Gelu,
            ActivationKind::Silu => Self::Silu,
            ActivationKind::Tanh => Self::Tanh,
            ActivationKind::Identity => Self::Identity,
        }
    }

    /// `y = φ(z)`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(&self, z: &ArrayRef2<f32>, mode: Mode<'_>, cache: &mut ActivationCache, y: &mut ArrayRef2<f32>) {
        match self {
            Self::Prelu(prelu) => prelu.forward(z, y),
            Self::Dice(dice) => dice.forward(z, mode, &mut cache.dice, y),
            Self::Relu => Curve::forward(Relu, z, y),
            Self::Gelu => Curve::forward(Gelu, z, y),
            Self::Silu => Curve::forward(Silu, z, y),
            Self::Tanh => Curve::forward(Tanh, z, y),
            Self::Identity => y.assign(z),
        }
    }

    /// `dz = dy ⊙ φ'(z)`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut ActivationCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        match (self, grad) {
            (Self::Prelu(prelu), Self::Prelu(grad)) => prelu.backward(z, dy, grad, dz),
            (Self::Dice(dice), Self::Dice(grad)) => dice.backward(z, dy, &mut cache.dice, grad, dz),
            (Self::Relu, _) => Curve::backward(Relu, z, dy, dz),
            (Self::Gelu, _) => Curve::backward(Gelu, z, dy, dz),
            (Self::Silu, _) => Curve::backward(Silu, z, dy, dz),
            (Self::Tanh, _) => Curve::backward(Tanh, z, dy, dz),
            (Self::Identity, _) => dz.assign(dy),
            (Self::Prelu(_) | Self::Dice(_), _) => unreachable!("a gradient has the type of its parameters"),
        }
    }
}

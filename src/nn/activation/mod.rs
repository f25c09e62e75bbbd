//! Activations, element by element; two of them learn.

mod dice;
mod prelu;

use ndarray::{ArrayRef2, Zip};
use serde::{Deserialize, Serialize};

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
    pub fn forward<M: Mode>(&self, z: &ArrayRef2<f32>, mode: M, cache: &mut ActivationCache, y: &mut ArrayRef2<f32>) {
        match self {
            Self::Prelu(prelu) => prelu.forward(z, y),
            Self::Dice(dice) => dice.forward(z, mode, &mut cache.dice, y),
            // Not `z.max(0.0)`, which would turn NaN into 0 and hide a net that has diverged.
            Self::Relu => map(z, y, |z| if z < 0.0 { 0.0 } else { z }),
            Self::Gelu => map(z, y, |z| 0.5 * z * (1.0 + gelu_tanh(z))),
            Self::Silu => map(z, y, |z| z * sigmoid(z)),
            Self::Tanh => map(z, y, f32::tanh),
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
            (Self::Gelu, _) => slope(z, dy, dz, |z| {
                let t = gelu_tanh(z);
                0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * GELU * (1.0 + 3.0 * 0.044_715 * z * z)
            }),
            (Self::Silu, _) => slope(z, dy, dz, |z| {
                let s = sigmoid(z);
                s * (1.0 + z * (1.0 - s))
            }),
            (Self::Tanh, _) => slope(z, dy, dz, |z| 1.0 - z.tanh().powi(2)),
            (Self::Identity, _) => dz.assign(dy),
            (Self::Relu, _) => slope(z, dy, dz, |z| f32::from(u8::from(z > 0.0))),
            (Self::Prelu(_) | Self::Dice(_), _) => unreachable!("a gradient has the type of its parameters"),
        }
    }
}

/// √(2/π)
const GELU: f32 = 0.797_884_6;

fn gelu_tanh(z: f32) -> f32 {
    (GELU * (z + 0.044_715 * z * z * z)).tanh()
}

/// `σ(z)` in f32.
pub(super) fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn map(z: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>, f: impl Fn(f32) -> f32) {
    Zip::from(y).and(z).for_each(|y, &z| *y = f(z));
}

fn slope(z: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, dz: &mut ArrayRef2<f32>, f: impl Fn(f32) -> f32) {
    Zip::from(dz).and(z).and(dy).for_each(|dz, &z, &g| *dz = g * f(z));
}

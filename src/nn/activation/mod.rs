//! Activations, element by element; two of them have parameters.

mod curve;
mod dice;
mod prelu;

use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};

use crate::math::{sigmoid_f32, tanh};
use crate::nn::Mode;
use curve::Curve;
pub use dice::Dice;
use dice::DiceCache;
pub use prelu::Prelu;

/// Writes [`ActivationKind`] and [`Activation`] from the list of activations. A learned one is a type with parameters; a curve implements
/// [`Curve`].
macro_rules! activations {
    (
        learned { $($(#[$about_learned:meta])* $learned:ident,)+ }
        curves { $($(#[$about_curve:meta])* $curve:ident,)+ }
    ) => {
        /// Which activation a layer uses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ActivationKind {
            $($(#[$about_learned])* $learned,)+
            $($(#[$about_curve])* $curve,)+
        }

        impl ActivationKind {
            /// All activations.
            pub const ALL: &[Self] = &[$(Self::$learned,)+ $(Self::$curve,)+];
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
        #[derive(Debug, Clone, PartialEq, Default)]
        pub enum Activation {
            $($(#[$about_learned])* $learned($learned),)+
            $($(#[$about_curve])* $curve,)+
        }

        crate::params!(enum Activation { $($learned),+ });

        $(
            #[derive(Clone, Copy)]
            struct $curve;
        )+

        impl Activation {
            /// The activation of this kind for `width` columns.
            pub fn new(kind: ActivationKind, width: usize) -> Self {
                match kind {
                    $(ActivationKind::$learned => Self::$learned($learned::new(width)),)+
                    $(ActivationKind::$curve => Self::$curve,)+
                }
            }

            /// `y = φ(z)`.
            ///
            /// # Panics
            /// If the shapes do not fit.
            pub fn forward(
                &self,
                z: &ArrayRef2<f32>,
                mode: Mode<'_>,
                cache: &mut ActivationCache,
                y: &mut ArrayRef2<f32>,
            ) {
                match self {
                    $(Self::$learned(learned) => learned.forward(z, mode, cache, y),)+
                    $(Self::$curve => $curve.forward(z, y),)+
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
                    $((Self::$learned(learned), Self::$learned(grad)) => learned.backward(z, dy, cache, grad, dz),)+
                    $((Self::$curve, _) => $curve.backward(z, dy, dz),)+
                    ($(Self::$learned(_))|+, _) => unreachable!("a gradient has the type of its parameters"),
                }
            }
        }
    };
}

activations! {
    learned {
        /// `z` where `z > 0`, `α_j·z` elsewhere; `α_j` is learned for each column and starts at 0.25 (He et al. 2015).
        Prelu,
        /// An activation that adapts to its input's distribution (Zhou et al. 2018, "Deep Interest Network", section 5.2).
        Dice,
    }
    curves {
        /// `max(z, 0)`, the default.
        #[default]
        Relu,
        /// `½z·(1 + tanh(√(2/π)·(z + 0.044715 z³)))`, which approximates `z·Φ(z)` (Hendrycks & Gimpel 2016).
        Gelu,
        /// `z·σ(z)`, also called swish.
        Silu,
        /// `tanh z`.
        Tanh,
        /// `z`: no activation.
        Identity,
    }
}

/// What an [`Activation`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct ActivationCache {
    dice: DiceCache,
}

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

impl Curve for Identity {
    #[inline(always)]
    fn at(self, z: f32) -> f32 {
        z
    }

    #[inline(always)]
    fn slope(self, _z: f32) -> f32 {
        1.0
    }
}

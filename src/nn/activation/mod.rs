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
        /// The name of an activation function φ. The settings of hidden layers select the function by this name; [`Activation`] is the
        /// function itself, with its parameters. In a settings file the name is in `snake_case`, such as `"relu"`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ActivationKind {
            $($(#[$about_learned])* $learned,)+
            $($(#[$about_curve])* $curve,)+
        }

        impl ActivationKind {
            /// All activations of this crate. Each is listed once.
            pub const ALL: &[Self] = &[$(Self::$learned,)+ $(Self::$curve,)+];
        }

        /// An activation function φ with its parameters. It is applied to each value of a matrix: `y = φ(z)`, where `z` and `y` are
        /// `[rows, width]`. [`ActivationKind`] lists the functions.
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
            /// The activation with the name `kind`, for matrices of `width` columns. [`Prelu`] and [`Dice`] have one learned slope for each
            /// column, which starts at its initial value; the other activations have no parameters and ignore `width`.
            pub fn new(kind: ActivationKind, width: usize) -> Self {
                match kind {
                    $(ActivationKind::$learned => Self::$learned($learned::new(width)),)+
                    $(ActivationKind::$curve => Self::$curve,)+
                }
            }

            /// The forward pass, `y = φ(z)`. `z` and `y` are `[rows, width]`.
            ///
            /// `mode` and `cache` matter for [`Dice`] alone: `mode` says whether it uses the statistics of the batch, and `cache` keeps
            /// values for the backward pass.
            ///
            /// # Panics
            /// If `z` and `y` differ in shape, or if a learned activation ([`Prelu`], [`Dice`]) was made for another number of columns than
            /// `z` has.
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

            /// The backward pass. `z` and `cache` are those of the forward pass, and `dy` is the gradient of its output. Writes the gradient
            /// of `z` to `dz` and adds the gradient of the parameters, if there are any, to `grad`. For an activation without parameters,
            /// `dz = dy ⊙ φ'(z)`, where φ' is the derivative of φ and ⊙ the elementwise product.
            ///
            /// # Panics
            /// If `z`, `dy` and `dz` differ in shape, or if a learned activation ([`Prelu`], [`Dice`]) was made for another number of
            /// columns than `z` has.
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
        /// PReLU (He et al. 2015): `z` if `z > 0`, otherwise `α_j·z`. The slope `α_j` of column j is learned and starts at 0.25.
        Prelu,
        /// Dice (Zhou et al. 2018, "Deep Interest Network", section 5.2): `p·z + (1 − p)·α_j·z` with `p = σ((z − E)/√(Var + ε))`. σ is the
        /// sigmoid, and E and Var are the mean and the variance of column j. Small values are multiplied by a learned slope `α_j`, as in
        /// PReLU, but the change to the slope 1 is smooth and happens at the mean of the column. [`Dice`] explains the details.
        Dice,
    }
    curves {
        /// ReLU, the default: `max(z, 0)`.
        #[default]
        Relu,
        /// GELU (Hendrycks & Gimpel 2016): `z·Φ(z)`, where Φ is the distribution function of the standard normal distribution. It is
        /// computed by the approximation `½z·(1 + tanh(√(2/π)·(z + 0.044715 z³)))`.
        Gelu,
        /// Swish, also called `SiLU`: `z·σ(z)`, where σ is the sigmoid.
        Silu,
        /// The hyperbolic tangent, `tanh z`.
        Tanh,
        /// No activation: the output is `z` itself.
        Identity,
    }
}

/// The values that the forward pass of [`Activation`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to both passes.
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

//! The data-adaptive activation of the Deep Interest Network.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::ActivationCache;
use crate::math::sigmoid_f32;
use crate::nn::buffer::resize;
use crate::nn::norm::Columns;
use crate::nn::{Decay, InputGrad, Mode, MovingAverage};

const RATE: f32 = 0.1;

/// Dice (Zhou et al. 2018, section 5.2), an activation with a smooth change between two slopes: `y = p(z)·z + (1 − p(z))·α_j·z` with
/// `p(z) = σ((z − E)/√(Var + ε))`.
///
/// z is a value of column j and σ is the sigmoid. E and Var are the mean and the variance of column j: in training over all rows of the
/// batch, in inference as moving averages. ε is 1e-8. The slope `α_j` of column j is learned and starts at 0.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Activation, ActivationCache, Dice, Infer};
///
/// let mut dice = Dice::new(1); // for matrices of one column
/// dice.alpha[0] = 0.5;
/// let mut y = Array2::zeros((3, 1));
/// // The moving averages of a new layer are a mean of 0 and a variance of 1: p(±30) is 1 and 0, p(0) is ½.
/// Activation::Dice(dice).forward(&array![[-30.0], [0.0], [30.0]], Infer.into(), &mut ActivationCache::default(), &mut y);
/// assert_eq!(y, array![[-15.0], [0.0], [30.0]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dice {
    /// The learned slopes α, `[width]`: one for each column, 0 at the start. In `y = p·z + (1 − p)·α·z`, a value z far below the mean of its
    /// column has p near 0, so that it is multiplied by the slope; far above the mean, p is near 1 and z does not change.
    pub alpha: Array1<f32>,
    /// The moving averages of E and Var, the mean and the variance of each column. Inference uses them. Their rate is 0.1
    /// ([`MovingAverage::new`]).
    pub moving: MovingAverage,
}

crate::params!(Dice { alpha: Decay::None, moving });

/// The values that the forward pass of [`Dice`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache to
/// both passes.
#[derive(Debug, Default)]
pub(super) struct DiceCache {
    columns: Columns,
    /// `p(z)`
    p: Array2<f32>,
    /// The gradient of the standardised input, and of z through it.
    dx: Array2<f32>,
    through: Array2<f32>,
    ones: Array1<f32>,
    zeros: Array1<f32>,
}

impl Dice {
    /// ε, that of the paper.
    pub(crate) const EPSILON: f32 = 1e-8;

    /// A Dice for matrices of `width` columns. All slopes α are 0.
    pub fn new(width: usize) -> Self {
        Self { alpha: Array1::zeros(width), moving: MovingAverage::new(width, RATE) }
    }

    /// `y = z ⊙ (α + (1 − α) ⊙ p)`.
    pub(super) fn forward(
        &self,
        z: &ArrayRef2<f32>,
        mode: Mode<'_>,
        cache: &mut ActivationCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let cache = &mut cache.dice;
        let (rows, width) = z.dim();
        if cache.ones.len() != width {
            (cache.ones, cache.zeros) = (Array1::ones(width), Array1::zeros(width));
        }
        if mode.batch_statistics() && rows >= 2 {
            cache.columns.take_rows(z, |_| Self::EPSILON);
        } else {
            cache.columns.take_constants(&self.moving.mean, &self.moving.var, |_| Self::EPSILON);
        }
        resize(&mut cache.p, rows, width);
        cache.columns.forward(z, &cache.ones, &cache.zeros, &mut cache.p);
        cache.p.mapv_inplace(sigmoid_f32);
        let alpha = self.alpha.broadcast((rows, width)).expect("one alpha a column");
        Zip::from(y).and(z).and(&cache.p).and(&alpha).for_each(|y, &z, &p, &a| *y = z * (a + (1.0 - a) * p));
    }

    /// `dα += Σ dy ⊙ z ⊙ (1 − p)`; `dz = dy ⊙ (α + (1 − α) ⊙ p)` plus what flows through p:
    /// `dx̂ = dy ⊙ z ⊙ (1 − α) ⊙ p ⊙ (1 − p)`, taken back through the standardisation.
    pub(super) fn backward(
        &self,
        z: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut ActivationCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        let cache = &mut cache.dice;
        let (rows, width) = z.dim();
        resize(&mut cache.dx, rows, width);
        resize(&mut cache.through, rows, width);
        let alpha = self.alpha.broadcast((rows, width)).expect("one alpha a column");
        Zip::from(&mut *dz).and(&mut cache.dx).and(z).and(dy).and(&cache.p).and(&alpha).for_each(
            |dz, dx, &z, &g, &p, &a| {
                *dz = g * (a + (1.0 - a) * p);
                *dx = g * z * (1.0 - a) * p * (1.0 - p);
            },
        );
        for ((z, g), p) in z.rows().into_iter().zip(dy.rows()).zip(cache.p.rows()) {
            for (((dalpha, &z), &g), &p) in grad.alpha.iter_mut().zip(&z).zip(&g).zip(&p) {
                *dalpha += g * z * (1.0 - p);
            }
        }
        cache.columns.backward(z, &cache.ones, &cache.dx, InputGrad::overwrite(&mut cache.through));
        Zip::from(dz).and(&cache.through).for_each(|dz, &through| *dz += through);
        cache.columns.note(&mut grad.moving);
    }
}

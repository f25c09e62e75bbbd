//! `W*_d = W + W_d·diag(α_d)`, `b*_d = b + α_d ⊙ b_d`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::weights::{DWeights, Weights};
use crate::nn::{Decay, Linear};

/// The parameters of one domain d in a star layer that combines by [`Combination::AdaptiveAdd`](super::Combination::AdaptiveAdd).
///
/// The output for a row x of the domain is `y = x·W + b + α_d ⊙ (x·W_d + b_d)`. W and b are the weight and the bias that all domains share.
/// `W_d` and `b_d` are the domain's own, and the vector `α_d` has a factor for each output. As one affine map, it has the weight
/// `W + W_d·diag(α_d)` and the bias `b + α_d ⊙ b_d`.
///
/// At the start `α_d` is 1, and `W_d` and `b_d` are 0, so that the output is that of the shared map. Weight decay pulls `W_d` to 0 and
/// `α_d` to 1. If it did not pull `α_d`, a growing `α_d` could compensate for the decay of `W_d`.
///
/// The formula is this crate's reading of the "adaptive add" of Star+ (Yeşil & Turgut 2024).
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{AdaptiveSummand, Combination, DomainLinear, Init, InitRng, Linear, Segment, StarLinear, StarLinearCache};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::AdaptiveAdd, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = AdaptiveSummand { weight: array![[3.0]], bias: array![1.0], alpha: array![0.5] };
/// *layer.domain.member_mut(0) = DomainLinear::AdaptiveAdd(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[3.5]], bias: array![1.5] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[8.5]]); // 2·2 + 1 + ½·(2·3 + 1)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptiveSummand {
    /// The weight `W_d` of the domain's own map `x·W_d + b_d`, `[in, out]`; 0 at the start.
    pub weight: Array2<f32>,
    /// The bias `b_d` of the domain's own map `x·W_d + b_d`, `[out]`; 0 at the start.
    pub bias: Array1<f32>,
    /// The factors `α_d`, `[out]`: one for each output of the domain's map `x·W_d + b_d`. They are 1 at the start.
    pub alpha: Array1<f32>,
}

crate::params!(AdaptiveSummand { weight: Decay::Towards(0.0), bias: Decay::None, alpha: Decay::Towards(1.0) });

impl AdaptiveSummand {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::zeros((input, output)), bias: Array1::zeros(output), alpha: Array1::ones(output) }
    }
}

impl Weights for AdaptiveSummand {
    /// `W* = W + W_d·diag(α_d)`, `b* = b + α_d ⊙ b_d`.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>) {
        let rows = weight.rows_mut().into_iter().zip(shared.weight.rows()).zip(self.weight.rows());
        let rows = rows.map(|((c, w), w_d)| (c, w, w_d));
        for (c, w, w_d) in rows.chain([(bias.view_mut(), shared.bias.view(), self.bias.view())]) {
            Zip::from(c).and(w).and(w_d).and(&self.alpha).for_each(|c, &w, &w_d, &alpha| *c = w + alpha * w_d);
        }
    }

    /// `dW += dW*`, `dW_d += dW*·diag(α_d)`, `db_d += α_d ⊙ db*`, `dα_d += Σ_in dW* ⊙ W_d + db* ⊙ b_d`.
    fn take_apart(&self, _: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>) {
        *dw += &*d.weight;
        let rows = grad.weight.rows_mut().into_iter().zip(d.weight.rows()).zip(self.weight.rows());
        let rows = rows.map(|((dw_d, g), w_d)| (dw_d, g, w_d));
        for (dw_d, g, w_d) in rows.chain([(grad.bias.view_mut(), d.bias.view(), self.bias.view())]) {
            Zip::from(dw_d).and(&mut grad.alpha).and(g).and(w_d).and(&self.alpha).for_each(
                |dw_d, dalpha, &g, &w_d, &alpha| {
                    *dw_d += alpha * g;
                    *dalpha += g * w_d;
                },
            );
        }
    }
}

//! `W*_d = W + W_d`, `b*_d = b + b_d`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::weights::{DWeights, Weights};
use crate::nn::{Decay, Linear};

/// The parameters of one domain d in a star layer that combines by [`Combination::Add`](super::Combination::Add).
///
/// The weight for rows of the domain is `W + W_d` and the bias `b + b_d`. W and b are shared by all domains; `W_d` and `b_d` are the
/// domain's own. They are 0 at the start, and weight decay pulls `W_d` to 0. It is the "add" of Star+ (Yeşil & Turgut 2024).
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, DomainLinear, Init, InitRng, Linear, Segment, StarLinear, StarLinearCache, Summand};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::Add, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = Summand { weight: array![[3.0]], bias: array![0.5] };
/// *layer.domain.member_mut(0) = DomainLinear::Add(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[5.0]], bias: array![1.5] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[11.5]]); // 2·(2 + 3) + 1 + 0.5
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Summand {
    /// The weight `W_d`, `[in, out]`, which is added to the shared weight; 0 at the start.
    pub weight: Array2<f32>,
    /// The bias `b_d`, `[out]`, which is added to the shared bias; 0 at the start.
    pub bias: Array1<f32>,
}

crate::params!(Summand { weight: Decay::Towards(0.0), bias: Decay::None });

impl Summand {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::zeros((input, output)), bias: Array1::zeros(output) }
    }
}

impl Weights for Summand {
    /// `W* = W + W_d`, `b* = b + b_d`.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>) {
        Zip::from(weight).and(&shared.weight).and(&self.weight).for_each(|c, &w, &w_d| *c = w + w_d);
        Zip::from(bias).and(&shared.bias).and(&self.bias).for_each(|c, &b, &b_d| *c = b + b_d);
    }

    /// `dW, dW_d += dW*`, `db_d += db*`.
    fn take_apart(&self, _: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>) {
        Zip::from(dw).and(&mut grad.weight).and(&d.weight).for_each(|dw, dw_d, &g| {
            *dw += g;
            *dw_d += g;
        });
        grad.bias += &d.bias;
    }
}

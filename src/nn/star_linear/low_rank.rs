//! `W*_d = W ⊙ (1 + U_d·V_dᵀ)`, `b*_d = b + b_d`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::weights::{DWeights, Weights};
use crate::nn::buffer::resize;
use crate::nn::matmul::{matmul_grad, matmul_transposed};
use crate::nn::{Decay, InitRng, Linear};

/// The parameters of one domain d in a star layer that combines by [`Combination::LowRank`](super::Combination::LowRank).
///
/// The weight for rows of the domain is `W ⊙ (1 + U_d·V_dᵀ)`, where ⊙ is the elementwise product, and the bias is `b + b_d`. W and b are
/// shared by all domains; `U_d`, `V_d` and `b_d` are the domain's own. For many domains this saves memory: a domain has
/// `(in + out)·rank + out` values instead of the `in·out + out` values of [`Factor`](super::Factor), where `in` and `out` are the numbers
/// of inputs and outputs and `rank` is the number of columns of `U_d` and `V_d`.
///
/// At the start `V_d` is 0, so that the factor `1 + U_d·V_dᵀ` is 1. `U_d` is drawn from a normal distribution of variance `1/rank`: a step
/// of `V_d` then changes the factor about as much as the same step of a `W_d` in [`Factor`](super::Factor). Weight decay pulls `V_d` to 0,
/// and so the factor to 1. It does not pull `U_d`: a domain whose `U_d` and `V_d` are both 0 could never learn again.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, DomainLinear, Init, InitRng, Linear, LowRankFactor, Segment, StarLinear, StarLinearCache};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::LowRank { rank: 1 }, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = LowRankFactor { u: array![[1.0]], v: array![[0.5]], bias: array![0.5] };
/// *layer.domain.member_mut(0) = DomainLinear::LowRank(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[3.0]], bias: array![1.5] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[7.5]]); // 2·(2·1.5) + 1 + 0.5
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankFactor {
    /// The matrix `U_d` of the factor `1 + U_d·V_dᵀ`, `[in, rank]`. Its initial values follow a normal distribution of mean 0 and variance
    /// `1/rank`.
    pub u: Array2<f32>,
    /// The matrix `V_d` of the factor `1 + U_d·V_dᵀ`, `[out, rank]`; 0 at the start.
    pub v: Array2<f32>,
    /// The bias `b_d`, `[out]`, which is added to the shared bias; 0 at the start.
    pub bias: Array1<f32>,
}

crate::params!(LowRankFactor { u: Decay::None, v: Decay::Towards(0.0), bias: Decay::None });

impl LowRankFactor {
    /// Parameters with which the layer is the shared one; the rank is at most the smaller width.
    pub(super) fn neutral(input: usize, output: usize, rank: usize, rng: &mut InitRng) -> Self {
        let rank = rank.min(input).min(output);
        let u = rng.normal(input, rank, (1.0 / rank as f32).sqrt());
        Self { u, v: Array2::zeros((output, rank)), bias: Array1::zeros(output) }
    }
}

impl Weights for LowRankFactor {
    /// `W* = W ⊙ (1 + U_d·V_dᵀ)`, `b* = b + b_d`.
    fn combine(&self, shared: &Linear, weight: &mut Array2<f32>, bias: &mut Array1<f32>) {
        matmul_transposed(&self.u, &self.v, weight);
        Zip::from(weight).and(&shared.weight).for_each(|c, &w| *c = w * (1.0 + *c));
        Zip::from(bias).and(&shared.bias).and(&self.bias).for_each(|c, &b, &b_d| *c = b + b_d);
    }

    /// With `F = U_d·V_dᵀ` and `dF = dW* ⊙ W`: `dW += dW* ⊙ (1 + F)`, `dU_d += dF·V_d`, `dV_d += dFᵀ·U_d`, `db_d += db*`.
    fn take_apart(&self, shared: &Linear, d: &mut DWeights, grad: &mut Self, dw: &mut ArrayRef2<f32>) {
        let (input, output) = shared.weight.dim();
        // Computed again instead of kept: a product of this rank takes little time, a matrix for each segment much memory.
        resize(&mut d.factor, input, output);
        matmul_transposed(&self.u, &self.v, &mut d.factor);
        Zip::from(dw).and(&mut d.weight).and(&d.factor).and(&shared.weight).for_each(|dw, g, &f, &w| {
            *dw += *g * (1.0 + f);
            *g *= w;
        });
        let df = &d.weight;
        matmul_grad(&df.t(), &self.v, &mut grad.u);
        matmul_grad(df, &self.u, &mut grad.v);
        grad.bias += &d.bias;
    }
}

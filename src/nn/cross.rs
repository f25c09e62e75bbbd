//! A cross layer of DCN-v2: `y = x₀ ⊙ (x·W + b) + x`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::buffer::resize;
use super::linear::{values, values_mut};
use super::matmul::{Operand, Output, PostOp, matmul, matmul_grad, matmul_transposed, product};
use super::sums::add_sums;
use super::{Decay, InitRng, InputGrad, Linear, Size};
use crate::parallel::join;

/// A cross layer (Wang et al., "DCN V2: Improved Deep & Cross Network", WWW 2021, section 3.2, equations 1 and 2):
/// `y = x₀ ⊙ (x·W + b) + x`.
///
/// `x₀` is the embedded row, `x` the output of the layer before (in the first layer, `x₀` itself), all of `[rows, n]`. A stack of `l` layers
/// contains products of up to `l + 1` values of the row.
///
/// W is `[n, n]` ([`CrossLayer::Full`]), or `U·V` of rank r ([`CrossLayer::LowRank`], section 3.4), which has `2·n·r` weights instead of `n²`.
/// The paper's mixture of such products is not implemented.
///
/// At the start `W = 0` and `b = 0`, so that the layer passes `x` on unchanged. In a product of low rank V is 0, and U is uniform in
/// `±√(6/(n + r))`: V learns from the first step, U from the second.
///
/// ```
/// use ndarray::{Array1, Array2, array};
/// use starple::nn::{CrossCache, CrossLayer, InitRng, InputGrad, Linear, Params as _};
///
/// let (x0, x) = (array![[2.0, 3.0]], array![[5.0, 7.0]]);
/// let (mut layer, mut y, mut cache) = (CrossLayer::new(2, None, &mut InitRng::new(1)), Array2::zeros((1, 2)), CrossCache::default());
/// layer.forward(&x0, &x, &mut cache, &mut y);
/// assert_eq!(y, x); // x as it is, at the start
///
/// layer = CrossLayer::Full(Linear { weight: array![[1.0, 0.0], [0.0, 10.0]], bias: array![0.5, 0.0] });
/// layer.forward(&x0, &x, &mut cache, &mut y);
/// assert_eq!(y, array![[2.0 * 5.5 + 5.0, 3.0 * 70.0 + 7.0]]);
///
/// let (mut grad, mut dx0, mut dx) = (layer.zeros_like(), Array2::zeros((1, 2)), Array2::zeros((1, 2)));
/// layer.backward_first(&x0, &array![[1.0, 1.0]], &mut cache, InputGrad::overwrite(&mut dx0));
/// layer.backward(&x, &array![[1.0, 1.0]], &mut cache, &mut grad, InputGrad::overwrite(&mut dx));
/// assert_eq!((dx0, dx), (array![[5.5, 70.0]], array![[3.0, 31.0]]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum CrossLayer {
    /// W is one matrix.
    Full(Linear),
    /// W is the product of two.
    LowRank(LowRankLinear),
}

crate::params!(
    enum CrossLayer {
        Full,
        LowRank,
    }
);

/// An affine map of low rank: `y = x·U·V + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankLinear {
    /// `U`, `[in, rank]`.
    pub u: Array2<f32>,
    /// `V`, `[rank, out]`.
    pub v: Array2<f32>,
    /// `b`, `[out]`.
    pub bias: Array1<f32>,
}

crate::params!(LowRankLinear { u: Decay::Towards(0.0), v: Decay::Towards(0.0), bias: Decay::None });

/// What a [`CrossLayer`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct CrossCache {
    /// `x·W + b`, `[rows, n]`, and its gradient.
    z: Array2<f32>,
    dz: Array2<f32>,
    /// In a layer of low rank: `x·U`, `[rows, rank]`, and its gradient.
    t: Array2<f32>,
    dt: Array2<f32>,
}

impl CrossLayer {
    /// A layer for `width` columns: with a matrix of this rank, at most `width`, or with a full matrix (`None`).
    pub fn new(width: usize, rank: Option<usize>, rng: &mut InitRng) -> Self {
        match rank {
            None => Self::Full(Linear::zeros(width, width)),
            Some(rank) => {
                let rank = rank.min(width);
                let u = super::Init::Xavier.weight(width, rank, rng);
                Self::LowRank(LowRankLinear { u, v: Array2::zeros((rank, width)), bias: Array1::zeros(width) })
            }
        }
    }

    /// The size of what [`CrossLayer::new`] makes.
    pub(crate) fn size(width: f64, rank: Option<usize>) -> Size {
        match rank.map(|rank| (rank as f64).min(width)) {
            None => Linear::size(width, width),
            Some(rank) => 2.0 * Size::tensor(width * rank) + Size::tensor(width),
        }
    }

    /// The number of values that a training step keeps for a row: output, cache, and their gradients.
    pub(crate) fn row(width: f64, rank: Option<usize>) -> f64 {
        4.0 * width + 2.0 * rank.map_or(0.0, |rank| (rank as f64).min(width))
    }

    /// `y = x₀ ⊙ (x·W + b) + x`, all of `[rows, n]`.
    ///
    /// # Panics
    /// If a matrix has another shape.
    pub fn forward(&self, x0: &ArrayRef2<f32>, x: &ArrayRef2<f32>, cache: &mut CrossCache, y: &mut ArrayRef2<f32>) {
        let CrossCache { z, t, .. } = cache;
        resize(z, x.nrows(), x.ncols());
        match self {
            Self::Full(linear) => linear.forward(x, z),
            Self::LowRank(LowRankLinear { u, v, bias }) => {
                resize(t, x.nrows(), u.ncols());
                matmul(x, u, t);
                let post_op = PostOp::bias(values(bias), false);
                product(t.view(), Operand::One(v.view()), Output::set(z).post_op(post_op));
            }
        }
        Zip::from(y).and(x0).and(x).and(&*z).for_each(|y, &x0, &x, &z| *y = x0 * z + x);
    }

    /// The part of the backward pass that goes to `x₀`: `dx₀ = dy ⊙ (x·W + b)`. It also keeps `dz = dy ⊙ x₀` in the cache, for
    /// [`CrossLayer::backward`], which must follow.
    ///
    /// # Panics
    /// If a matrix has another shape than in the forward pass.
    pub fn backward_first(&self, x0: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, cache: &mut CrossCache, dx0: InputGrad<'_>) {
        let CrossCache { z, dz, .. } = cache;
        resize(dz, dy.nrows(), dy.ncols());
        Zip::from(dz).and(x0).and(dy).for_each(|dz, &x0, &dy| *dz = dy * x0);
        let InputGrad { dx: dx0, add } = dx0;
        Zip::from(dx0).and(&*z).and(dy).for_each(|dx0, &z, &dy| *dx0 = if add { *dx0 + dy * z } else { dy * z });
    }

    /// The rest of the backward pass, after [`CrossLayer::backward_first`]: with `dz = dy ⊙ x₀`, `dW += xᵀ·dz` and `db += Σ dz`, the sum over
    /// rows, in `grad`, and `dx = dy + dz·Wᵀ`. For `W = U·V` and `t = x·U`: `dV += tᵀ·dz`, `dt = dz·Vᵀ`, `dU += xᵀ·dt`, `dx = dy + dt·Uᵀ`.
    ///
    /// # Panics
    /// If a matrix has another shape than in the forward pass, or `grad` is of the other kind.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut CrossCache,
        grad: &mut Self,
        mut dx: InputGrad<'_>,
    ) {
        dx.lend().assign(dy);
        let CrossCache { dz, t, dt, .. } = cache;
        match (self, grad) {
            (Self::Full(linear), Self::Full(grad)) => {
                linear.backward_into(x, dz, grad, Some(Output::add(&mut dx.dx)));
            }
            (Self::LowRank(LowRankLinear { u, v, .. }), Self::LowRank(grad)) => {
                resize(dt, dz.nrows(), u.ncols());
                matmul_transposed(dz, v, dt);
                let input_grad = || product(dt.view(), Operand::One(u.t()), Output::add(&mut dx.dx));
                let parameter_grad = || {
                    matmul_grad(t, dz, &mut grad.v);
                    matmul_grad(x, dt, &mut grad.u);
                    add_sums(dz, values_mut(&mut grad.bias));
                };
                join(parameter_grad, input_grad);
            }
            _ => panic!("a gradient has the form of its layer"),
        }
    }
}

//! A cross layer of DCN-v2: `y = x₀ ⊙ (x·W + b) + x`.

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::buffer::resize;
use super::linear::{values, values_mut};
use super::matmul::{Operand, Output, PostOp, matmul, matmul_grad, matmul_transposed, product};
use super::sums::add_sums;
use super::{Decay, InitRng, InputGrad, Linear, Size};
use crate::parallel::join;

/// A cross layer of Deep & Cross Network version 2 (Wang et al., "DCN V2: Improved Deep & Cross Network", WWW 2021, section 3.2, equations 1
/// and 2). It multiplies values of the row by each other: `y = x₀ ⊙ (x·W + b) + x`.
///
/// - `x₀` is the embedded row: the input of the first cross layer of a stack.
/// - x is the output of the layer before; in the first layer it is `x₀` itself. y is the output of this layer.
/// - W is a learned matrix, `[n, n]`, and b a learned bias, `[n]`. `x₀`, x and y are `[rows, n]`.
/// - ⊙ is the elementwise product.
///
/// A stack of l layers computes products of up to l + 1 values of the row.
///
/// The variant says how W is stored. At the start the layer passes x on unchanged, because W and b are 0.
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
    /// W is one learned matrix, `[n, n]`, where n is the number of columns of the row. It is 0 at the start.
    Full(Linear),
    /// W is the product `U·V` of two learned matrices, `[n, r]` and `[r, n]`, where n is the number of columns of the row and r the rank. It
    /// has `2·n·r` weights instead of `n²` (section 3.4 of the paper; the paper's mixture of several such products is not implemented). V is
    /// 0 at the start. U is drawn uniformly between `−√(6/(n + r))` and `√(6/(n + r))`.
    LowRank(LowRankLinear),
}

crate::params!(
    enum CrossLayer {
        Full,
        LowRank,
    }
);

/// An affine map whose weight is a product of two matrices: `y = x·U·V + b`, where x is a row of `in` values and y has `out` values. The rank
/// is the number of columns of U.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankLinear {
    /// The learned matrix U of `y = x·U·V + b`, `[in, rank]`.
    pub u: Array2<f32>,
    /// The learned matrix V of `y = x·U·V + b`, `[rank, out]`.
    pub v: Array2<f32>,
    /// The learned bias b of `y = x·U·V + b`, `[out]`.
    pub bias: Array1<f32>,
}

crate::params!(LowRankLinear { u: Decay::Towards(0.0), v: Decay::Towards(0.0), bias: Decay::None });

/// The values that the forward pass of [`CrossLayer`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to [`CrossLayer::forward`], [`CrossLayer::backward_first`] and [`CrossLayer::backward`].
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
    /// A layer for rows of `width` columns. With `Some(r)` the weight W is a product of rank r ([`CrossLayer::LowRank`]); an r above `width`
    /// counts as `width`. With `None` it is a full matrix ([`CrossLayer::Full`]). `rng` gives the random initial values of a product; a full
    /// matrix has none. At the start, the output of the layer is its input x.
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

    /// The forward pass, `y = x₀ ⊙ (x·W + b) + x`. `x0` is the embedded row `x₀`, `x` the output of the layer before. `x0`, `x` and `y` are
    /// `[rows, n]`. `cache` keeps `x·W + b` for the backward pass.
    ///
    /// # Panics
    /// If `x0`, `x` or `y` has another shape.
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

    /// The first half of the backward pass: the gradient of `x₀`. `x0` is that of the forward pass and `dy` the gradient of its output. Call
    /// [`CrossLayer::backward`] after it with the same cache, for the rest of the backward pass.
    ///
    /// The gradient is `dx₀ = dy ⊙ (x·W + b)`. It goes to `dx0`; [`InputGrad`] says whether it overwrites the matrix or is added to it. In
    /// the first layer of a stack, where x is `x₀`, the gradient of the input is the sum of the gradients that both methods write.
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

    /// The second half of the backward pass: the gradients of the parameters and of x. Call [`CrossLayer::backward_first`] before it with the
    /// same cache. `x` is that of the forward pass and `dy` the gradient of its output.
    ///
    /// With `dz = dy ⊙ x₀`, the gradient of `x·W + b`:
    ///
    /// - `dW += xᵀ·dz` and `db += Σ dz`, a sum over all rows, are added to `grad`. If `W = U·V`, these are `dU += xᵀ·(dz·Vᵀ)`,
    ///   `dV += (x·U)ᵀ·dz` and `db += Σ dz`.
    /// - `dx = dy + dz·Wᵀ` goes to `dx`; [`InputGrad`] says whether it overwrites the matrix or is added to it.
    ///
    /// # Panics
    /// If a matrix has another shape than in the forward pass, or if `grad` is not of the same variant as the layer.
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

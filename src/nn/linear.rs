//! `y = x·W + b`.

use ndarray::{Array1, Array2, ArrayRef, ArrayRef1, ArrayRef2, Axis, Dimension};

use super::matmul::{Operand, Output, PostOp, matmul_grad, product};
use super::sums::add_sums;
use super::{Decay, Init, InitRng, Size};
use crate::parallel::join;

/// An affine map with a bias: `y = x·W + b`, where x is a row, W a learned matrix and b a learned vector.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Linear, Params as _};
///
/// let layer = Linear { weight: array![[1.0, 2.0], [3.0, 4.0]], bias: array![0.5, 0.0] };
/// let (x, mut y) = (array![[1.0, 1.0]], Array2::zeros((1, 2)));
/// layer.forward(&x, &mut y);
/// assert_eq!(y, array![[4.5, 6.0]]);
///
/// let (mut grad, mut dx) = (layer.zeros_like(), Array2::zeros((1, 2)));
/// layer.backward(&x, &array![[1.0, 0.0]], &mut grad, Some(&mut dx));
/// assert_eq!((grad.weight, grad.bias), (array![[1.0, 0.0], [1.0, 0.0]], array![1.0, 0.0]));
/// assert_eq!(dx, array![[1.0, 3.0]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// The weight matrix W of `y = x·W + b`, `[in, out]`: one row for each input, one column for each output.
    pub weight: Array2<f32>,
    /// The bias b of `y = x·W + b`, `[out]`: one number for each output.
    pub bias: Array1<f32>,
}

crate::params!(Linear { weight: Decay::Towards(0.0), bias: Decay::None });

impl Linear {
    /// A map from rows of `input` values to rows of `output` values. `rng` gives the initial weight, which follows the distribution `init`.
    /// The bias starts at 0.
    pub fn new(input: usize, output: usize, init: Init, rng: &mut InitRng) -> Self {
        Self { weight: init.weight(input, output, rng), bias: Array1::zeros(output) }
    }

    /// The size of what [`Linear::new`] makes.
    pub(crate) fn size(input: f64, output: f64) -> Size {
        Size::tensor(input * output) + Size::tensor(output)
    }

    /// A map whose weight and bias are 0.
    pub(crate) fn zeros(input: usize, output: usize) -> Self {
        Self { weight: Array2::zeros((input, output)), bias: Array1::zeros(output) }
    }

    /// The forward pass, `y = x·W + b`. `x` is `[rows, in]` and `y` is `[rows, out]`, where `in` and `out` are the numbers of inputs and
    /// outputs of the map.
    ///
    /// # Panics
    /// If `x` or `y` has another shape.
    pub fn forward(&self, x: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
        self.forward_into(x, y, false);
    }

    /// [`Linear::forward`], followed by a ReLU if `rectify`: `y = max(·, 0)`.
    pub(crate) fn forward_into(&self, x: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>, rectify: bool) {
        let post_op = PostOp::bias(values(&self.bias), rectify);
        product(x.view(), Operand::One(self.weight.view()), Output::set(y).post_op(post_op));
    }

    /// The backward pass. `x` is the input of the forward pass and `dy` the gradient of its output. Adds the gradients of the parameters,
    /// `dW += xᵀ·dy` and `db += Σ dy`, the sum over all rows, to `grad`. Overwrites `dx` by the gradient of the input, `dx = dy·Wᵀ`. Pass
    /// `None` for `dx` if you do not need it.
    ///
    /// # Panics
    /// If `x`, `dy` or `dx` has another shape than `x`, `y` and `x` of the forward pass.
    pub fn backward(&self, x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, grad: &mut Self, dx: Option<&mut ArrayRef2<f32>>) {
        self.backward_into(x, dy, grad, dx.map(Output::set));
    }

    /// [`Linear::backward`], with the [`Output`] that `dy·Wᵀ` becomes (`None` if it is not needed).
    pub(crate) fn backward_into(
        &self,
        x: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        grad: &mut Self,
        dx: Option<Output<'_, '_>>,
    ) {
        let input_grad = || dx.map(|dx| product(dy.view(), Operand::One(self.weight.t()), dx));
        let parameter_grad = || {
            matmul_grad(x, dy, &mut grad.weight);
            add_sums(dy, values_mut(&mut grad.bias));
        };
        join(parameter_grad, input_grad);
    }
}

impl Linear {
    /// This map after `scale ⊙ x + shift`, as one map of `x`: `W' = diag(scale)·W`, `b' = b + shift·W`.
    pub(crate) fn after(&self, scale: &[f64], shift: &[f64]) -> Self {
        let mut bias = self.bias.mapv(f64::from);
        let mut weight = self.weight.clone();
        for ((mut row, &scale), &shift) in weight.rows_mut().into_iter().zip(scale).zip(shift) {
            for (w, b) in row.iter_mut().zip(&mut bias) {
                *b += shift * f64::from(*w);
                *w = (scale * f64::from(*w)) as f32;
            }
        }
        Self { weight, bias: bias.mapv(|b| b as f32) }
    }

    /// This map for rows whose last columns have these values, as a map of the first columns alone.
    pub(crate) fn with_last(&self, last: &ArrayRef1<f32>) -> Self {
        let first = self.weight.nrows() - last.len();
        let (weight, rest) = self.weight.view().split_at(Axis(0), first);
        let mut bias = self.bias.mapv(f64::from);
        for (row, &x) in rest.rows().into_iter().zip(last) {
            bias.iter_mut().zip(row).for_each(|(b, &w)| *b += f64::from(x) * f64::from(w));
        }
        Self { weight: weight.to_owned(), bias: bias.mapv(|b| b as f32) }
    }
}

/// The values of a parameter.
pub(crate) fn values<D: Dimension>(parameter: &ArrayRef<f32, D>) -> &[f32] {
    parameter.as_slice().expect("parameters are kept in standard layout")
}

/// The values of a parameter, to change them.
pub(crate) fn values_mut<D: Dimension>(parameter: &mut ArrayRef<f32, D>) -> &mut [f32] {
    parameter.as_slice_mut().expect("parameters are kept in standard layout")
}

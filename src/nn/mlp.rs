//! A stack of layers: experts, towers, auxiliary networks.

use ndarray::{Array2, ArrayRef2, Zip};
use serde::{Deserialize, Serialize};

use super::buffer::{grow, resize};
use super::matmul::{Output, PostOp, RowMajor};
use super::{ActivationKind, Init, InitRng, InputGrad, Linear, Mode, NormKind, PostAffine, PostAffineCache, Size};

/// The settings that all hidden layers of a stack share. A hidden layer computes `dropout(φ(norm(x·W + b)))`: an affine map of its input x
/// with a learned weight W and bias b, a normalisation, an activation φ, and a dropout.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenSettings {
    /// The activation φ; default [`ActivationKind::Relu`].
    pub activation: ActivationKind,
    /// The normalisation between the affine map and φ; default [`NormKind::None`].
    pub norm: NormKind,
    /// The probability with which the dropout sets a value to 0 in training, 0 ≤ dropout < 1; default 0, which means no dropout.
    pub dropout: f32,
    /// The distribution of the initial weights of the hidden layers; default [`Init::FanIn`].
    pub init: Init,
}

/// A multilayer perceptron: a stack of hidden layers, optionally followed by an output layer.
///
/// Hidden layer i computes `h_i = dropout(φ(norm(h_{i−1}·W_i + b_i)))`, where `h_0` is the input x, `W_i` and `b_i` are the weight and the
/// bias of the layer, and φ is the activation. The output layer is an affine map without activation. Without an output layer, the output of
/// the stack is that of the last hidden layer.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{HiddenSettings, InitRng, Linear, Mlp, MlpCache, Mode, Params as _, Train};
///
/// // 2 inputs, one hidden layer of width 2, an output layer to 1 value; φ is the default, ReLU.
/// let mut mlp = Mlp::new(2, &[2], Some(1), HiddenSettings::default(), &mut InitRng::new(1));
/// mlp.layers[0] = Linear { weight: array![[1.0, 0.0], [0.0, 1.0]], bias: array![0.0, 0.0] };
/// mlp.layers[1] = Linear { weight: array![[2.0], [3.0]], bias: array![0.5] };
/// let (x, mut y, mut cache) = (array![[1.0, -1.0]], Array2::zeros((1, 1)), MlpCache::default());
/// mlp.forward(&x, Train::default().into(), &mut cache, &mut y);
/// assert_eq!(y, array![[2.5]]); // h_1 = [1, 0]; y = 2·1 + 3·0 + 0.5
///
/// let (mut grad, mut dx) = (mlp.zeros_like(), Array2::zeros((1, 2)));
/// mlp.backward(&x, &array![[1.0]], &mut cache, &mut grad, Some(&mut dx));
/// assert_eq!((&grad.layers[1].weight, dx), (&array![[1.0], [0.0]], array![[2.0, 0.0]]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// The affine maps, each with its weight `W_i` and bias `b_i`: one for each hidden layer, in order, then that of the output layer, if
    /// there is one.
    pub layers: Vec<Linear>,
    /// The part after the affine map of each hidden layer, in order: normalisation, activation and dropout.
    pub hidden: Vec<PostAffine>,
}

crate::params!(Mlp { layers, hidden });

/// The values that the forward pass of [`Mlp`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache to
/// both passes.
#[derive(Debug, Default)]
pub struct MlpCache {
    /// For each hidden layer, its affine map's output, where its backward pass needs it, and its own output.
    z: Vec<Array2<f32>>,
    h: Vec<Array2<f32>>,
    hidden: Vec<PostAffineCache>,
    /// The gradient of each hidden layer's output; of its affine map's, where the layer rectifies.
    dh: Vec<Array2<f32>>,
    dz: Array2<f32>,
    /// For [`Mlp::forward`] and [`Mlp::backward`] of a stack that ends with a ReLU: its output, and a copy of the output's gradient.
    y: Array2<f32>,
    dy: Array2<f32>,
}

impl Mlp {
    /// A stack that reads rows of `input` values. `widths` lists the widths of the hidden layers, and `style` has their other settings. If
    /// `output` is `Some(n)`, an output layer to n values follows; its initial weight follows [`Init::Xavier`]. If it is `None`, there is no
    /// output layer. `rng` gives the random initial values.
    ///
    /// # Panics
    /// If `widths` is empty and `output` is `None`, or if the dropout of `style` is not in 0 ≤ dropout < 1 and there is a hidden layer.
    pub fn new(
        input: usize,
        widths: &[usize],
        output: Option<usize>,
        style: HiddenSettings,
        rng: &mut InitRng,
    ) -> Self {
        assert!(!widths.is_empty() || output.is_some(), "a stack has at least one layer");
        let mut layers = Vec::with_capacity(widths.len() + 1);
        let mut hidden = Vec::with_capacity(widths.len());
        let mut from = input;
        for &width in widths {
            layers.push(Linear::new(from, width, style.init, rng));
            hidden.push(PostAffine::new(width, style.norm, style.activation, style.dropout, rng));
            from = width;
        }
        if let Some(output) = output {
            layers.push(Linear::new(from, output, Init::Xavier, rng));
        }
        Self { layers, hidden }
    }

    /// The size of what [`Mlp::new`] makes.
    pub(crate) fn size(input: f64, widths: &[usize], output: Option<usize>, style: HiddenSettings) -> Size {
        let mut from = input;
        let mut layer =
            |to: usize, after: Size| Linear::size(std::mem::replace(&mut from, to as f64), to as f64) + after;
        let hidden: Size = widths
            .iter()
            .map(|&width| layer(width, PostAffine::size(width as f64, style.norm, style.activation)))
            .sum();
        hidden + output.map_or(Size::default(), |output| layer(output, Size::default()))
    }

    /// About the number of values that a training step keeps for a row.
    pub(crate) fn row(widths: &[usize], output: Option<usize>, style: HiddenSettings) -> f64 {
        let hidden: f64 = widths.iter().map(|&width| PostAffine::row(width as f64, style)).sum();
        hidden + 2.0 * output.map_or(0.0, |output| output as f64)
    }

    /// Sets the last affine map to 0.
    pub(crate) fn start_from_zero(&mut self) {
        if let Some(last) = self.layers.last_mut() {
            last.weight.fill(0.0);
            last.bias.fill(0.0);
        }
    }

    /// The number of values that the stack computes for a row: the width of its last layer.
    pub fn output(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    /// The forward pass, `y = mlp(x)`. `x` is `[rows, in]` and `y` is `[rows, out]`, where `in` is the number of inputs and `out` is
    /// [`Mlp::output`]. `mode` is for normalisation and dropout of the hidden layers. `cache` keeps values for the backward pass.
    ///
    /// # Panics
    /// If `x` or `y` has another shape.
    pub fn forward(&self, x: &ArrayRef2<f32>, mode: Mode<'_>, cache: &mut MlpCache, y: &mut ArrayRef2<f32>) {
        self.forward_into(x, mode, cache, y);
        if self.ends_rectified().is_some() {
            resize(&mut cache.y, y.nrows(), y.ncols());
            cache.y.assign(y);
        }
    }

    /// [`Mlp::forward`] for a caller that keeps `y` until the backward pass.
    pub(crate) fn forward_into(
        &self,
        x: &ArrayRef2<f32>,
        mode: Mode<'_>,
        cache: &mut MlpCache,
        y: &mut ArrayRef2<f32>,
    ) {
        self.forward_after(|first, rectify, z| first.forward_into(x, z, rectify), mode, cache, y);
    }

    /// [`Mlp::forward_into`] with a first affine map that the caller computes: `first(layer, rectify, z)` writes `z`, after a ReLU if
    /// `rectify`.
    pub(crate) fn forward_after(
        &self,
        mut first: impl FnMut(&Linear, bool, &mut ArrayRef2<f32>),
        mode: Mode<'_>,
        cache: &mut MlpCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let rows = y.nrows();
        let depth = self.hidden.len();
        let mut map =
            |layer: &Linear, rectify: bool, before: Option<&Array2<f32>>, out: &mut ArrayRef2<f32>| match before {
                Some(h) => layer.forward_into(h, out, rectify),
                None => first(layer, rectify, out),
            };
        let MlpCache { z, h, hidden, .. } = cache;
        grow(z, depth);
        grow(h, depth);
        grow(hidden, depth);
        for (i, (layer, post)) in self.layers.iter().zip(&self.hidden).enumerate() {
            let (before, after) = h.split_at_mut(i);
            let input = before.last();
            let out: &mut ArrayRef2<f32> = if i + 1 == self.layers.len() {
                y
            } else {
                resize(&mut after[0], rows, layer.bias.len());
                &mut after[0]
            };
            if post.rectifies().is_some() {
                map(layer, true, input, out);
                post.drop_out(mode, &mut hidden[i], out);
            } else {
                resize(&mut z[i], rows, layer.bias.len());
                map(layer, false, input, &mut z[i]);
                post.forward(&z[i], mode, &mut hidden[i], out);
            }
        }
        if self.layers.len() > depth {
            map(&self.layers[depth], false, depth.checked_sub(1).map(|i| &h[i]), y);
        }
    }

    /// The backward pass through every layer. `x` and `cache` are those of the forward pass, and `dy` is the gradient of its output. Adds the
    /// gradient of the parameters to `grad` and writes the gradient of `x` to `dx`. Pass `None` for `dx` if you do not need it.
    ///
    /// # Panics
    /// If `x`, `dy` or `dx` has another shape than `x`, `y` and `x` of the forward pass.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut MlpCache,
        grad: &mut Self,
        dx: Option<&mut ArrayRef2<f32>>,
    ) {
        let mut above = std::mem::take(&mut cache.dy);
        resize(&mut above, dy.nrows(), dy.ncols());
        above.assign(dy);
        self.rectify_back(&cache.y, &mut above);
        self.backward_into(x, &mut above, cache, grad, dx.map(InputGrad::overwrite));
        cache.dy = above;
    }

    /// If the stack ends with a ReLU, the scale of [`PostAffine::rectifies`].
    pub(crate) fn ends_rectified(&self) -> Option<f32> {
        (self.layers.len() == self.hidden.len()).then(|| self.hidden.last()?.rectifies()).flatten()
    }

    /// Makes of `dy` the gradient before the ReLU that ends the stack, if one does.
    fn rectify_back(&self, y: &ArrayRef2<f32>, dy: &mut ArrayRef2<f32>) {
        if let Some(scale) = self.ends_rectified() {
            Zip::from(dy).and(y).for_each(|dy, &y| {
                let kept = *dy * scale;
                *dy = if y > 0.0 { kept } else { 0.0 };
            });
        }
    }

    /// [`Mlp::backward`], which may add to `dx`. If the stack ends with a ReLU, `above` is the gradient before it: that of the last affine
    /// map's output. The pass changes `above`.
    pub(crate) fn backward_into(
        &self,
        x: &ArrayRef2<f32>,
        above: &mut ArrayRef2<f32>,
        cache: &mut MlpCache,
        grad: &mut Self,
        dx: Option<InputGrad<'_>>,
    ) {
        self.backward_after(|first, dz, grad| first.backward_into(x, dz, grad, dx.map(Output::to)), above, cache, grad);
    }

    /// [`Mlp::backward_into`] with a backward pass of the first affine map by the caller.
    pub(crate) fn backward_after(
        &self,
        first: impl FnOnce(&Linear, &ArrayRef2<f32>, &mut Linear),
        above: &mut ArrayRef2<f32>,
        cache: &mut MlpCache,
        grad: &mut Self,
    ) {
        let mut first = Some(first);
        let MlpCache { z, h, hidden, dh, dz, .. } = cache;
        grow(dh, self.hidden.len());
        for i in (0..self.layers.len()).rev() {
            let (below, from) = dh.split_at_mut(i);
            let from: &mut ArrayRef2<f32> = if i + 1 == self.layers.len() { above } else { &mut from[0] };
            let dz: &ArrayRef2<f32> = match self.hidden.get(i) {
                Some(post) if post.rectifies().is_none() => {
                    resize(dz, z[i].nrows(), z[i].ncols());
                    post.backward(&z[i], from, &mut hidden[i], &mut grad.hidden[i], dz);
                    dz
                }
                _ => from,
            };
            let (layer, layer_grad) = (&self.layers[i], &mut grad.layers[i]);
            let Some(dh) = below.last_mut() else {
                if let Some(first) = first.take() {
                    first(layer, dz, layer_grad);
                }
                continue;
            };
            let h = &h[i - 1];
            resize(dh, h.nrows(), h.ncols());
            let rectified = self.hidden[i - 1].rectifies();
            let post_op =
                rectified.map_or(PostOp::Nothing, |scale| PostOp::WherePositive(RowMajor::new(h.view()), scale));
            layer.backward_into(h, dz, layer_grad, Some(Output::set(dh).post_op(post_op)));
        }
    }
}

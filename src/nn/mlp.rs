//! A stack of layers: experts, towers, auxiliary networks.

use ndarray::{Array2, ArrayRef2};
use serde::{Deserialize, Serialize};

use super::buffer::{grow, resize};
use super::{ActivationKind, Draws, Hidden, HiddenCache, Init, Linear, Mode, NormKind};

/// How the hidden layers of a stack are made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenStyle {
    /// φ; default ReLU.
    pub activation: ActivationKind,
    /// The normalisation before φ; default none.
    pub norm: NormKind,
    /// The share of values silenced in training, 0 ≤ dropout < 1; default 0.
    pub dropout: f32,
    /// What weights are drawn from; default the fan-in rule.
    pub init: Init,
}

/// Hidden layers `h_i = φ(h_{i−1}·W_i + b_i)`, and behind them, if there is an output, one affine map without activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// The affine maps, in order.
    pub layers: Vec<Linear>,
    /// What follows each hidden layer's map.
    pub hidden: Vec<Hidden>,
}

crate::params!(Mlp { layers, hidden });

/// What an [`Mlp`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct MlpCache {
    /// For each hidden layer, its affine map's output and its own.
    z: Vec<Array2<f32>>,
    h: Vec<Array2<f32>>,
    hidden: Vec<HiddenCache>,
    dz: Array2<f32>,
    dh: Array2<f32>,
}

impl Mlp {
    /// `widths` are those of the hidden layers; with `output`, a last affine map to that many values follows.
    ///
    /// # Panics
    /// If there is neither a hidden layer nor an output.
    pub fn new(input: usize, widths: &[usize], output: Option<usize>, style: HiddenStyle, draws: &mut Draws) -> Self {
        assert!(!widths.is_empty() || output.is_some(), "a stack has at least one layer");
        let mut layers = Vec::with_capacity(widths.len() + 1);
        let mut hidden = Vec::with_capacity(widths.len());
        let mut from = input;
        for &width in widths {
            layers.push(Linear::new(from, width, style.init, draws));
            hidden.push(Hidden::new(width, style.norm, style.activation, style.dropout, draws));
            from = width;
        }
        if let Some(output) = output {
            layers.push(Linear::new(from, output, Init::Xavier, draws));
        }
        Self { layers, hidden }
    }

    /// How many values it gives for a row.
    pub fn output(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    /// `y = mlp(x)`: `x` is `[rows, in]`, `y` is `[rows, out]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward<M: Mode>(&self, x: &ArrayRef2<f32>, mode: M, cache: &mut MlpCache, y: &mut ArrayRef2<f32>) {
        let rows = x.nrows();
        let depth = self.hidden.len();
        let MlpCache { z, h, hidden, .. } = cache;
        grow(z, depth);
        grow(h, depth);
        grow(hidden, depth);
        for (i, (layer, post)) in self.layers.iter().zip(&self.hidden).enumerate() {
            let width = layer.bias.len();
            resize(&mut z[i], rows, width);
            let (before, after) = h.split_at_mut(i);
            layer.forward(before.last().map_or(x, |h| &**h), &mut z[i]);
            if i + 1 == self.layers.len() {
                post.forward(&z[i], mode, &mut hidden[i], y);
            } else {
                resize(&mut after[0], rows, width);
                post.forward(&z[i], mode, &mut hidden[i], &mut after[0]);
            }
        }
        if self.layers.len() > depth {
            self.layers[depth].forward(depth.checked_sub(1).map_or(x, |i| &*h[i]), y);
        }
    }

    /// Takes `dy` back through every layer to `dx` (`None` when nobody needs it).
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        dy: &ArrayRef2<f32>,
        cache: &mut MlpCache,
        grad: &mut Self,
        dx: Option<&mut ArrayRef2<f32>>,
    ) {
        let depth = self.hidden.len();
        let MlpCache { z, h, hidden, dz, dh } = cache;
        let input = |i: usize| if i == 0 { x } else { &*h[i - 1] };
        // `dh` holds the gradient of the current hidden layer's output.
        if self.layers.len() > depth {
            let (layer, layer_grad) = (&self.layers[depth], &mut grad.layers[depth]);
            if depth == 0 {
                layer.backward(x, dy, layer_grad, dx);
                return;
            }
            resize(dh, x.nrows(), layer.weight.nrows());
            layer.backward(input(depth), dy, layer_grad, Some(dh));
        } else {
            resize(dh, dy.nrows(), dy.ncols());
            dh.assign(dy);
        }
        let mut dx = dx;
        for i in (0..depth).rev() {
            resize(dz, z[i].nrows(), z[i].ncols());
            self.hidden[i].backward(&z[i], dh, &mut hidden[i], &mut grad.hidden[i], dz);
            let (layer, layer_grad) = (&self.layers[i], &mut grad.layers[i]);
            if i == 0 {
                layer.backward(x, dz, layer_grad, dx.take());
            } else {
                resize(dh, x.nrows(), layer.weight.nrows());
                layer.backward(input(i), dz, layer_grad, Some(dh));
            }
        }
    }
}

/// One run of a stack: its cache, what it gave, and the gradient of that.
#[derive(Debug, Default)]
pub(crate) struct MlpRun {
    mlp: MlpCache,
    pub(crate) out: Array2<f32>,
    /// Set by whoever reads `out`, before [`MlpRun::backward`].
    pub(crate) dout: Array2<f32>,
}

impl MlpRun {
    /// `out = mlp(x)`.
    pub(crate) fn forward<M: Mode>(&mut self, mlp: &Mlp, x: &ArrayRef2<f32>, mode: M) {
        resize(&mut self.out, x.nrows(), mlp.output());
        mlp.forward(x, mode, &mut self.mlp, &mut self.out);
    }

    /// Takes `dout` back to `dx`.
    pub(crate) fn backward(&mut self, mlp: &Mlp, x: &ArrayRef2<f32>, grad: &mut Mlp, dx: &mut Array2<f32>) {
        resize(dx, x.nrows(), x.ncols());
        mlp.backward(x, &self.dout, &mut self.mlp, grad, Some(dx));
    }

    /// Sets `dout` to 0, to be added to.
    pub(crate) fn clear_dout(&mut self) {
        resize(&mut self.dout, self.out.nrows(), self.out.ncols());
        self.dout.fill(0.0);
    }

    /// Sets `dout`.
    pub(crate) fn set_dout(&mut self, dout: &ArrayRef2<f32>) {
        resize(&mut self.dout, dout.nrows(), dout.ncols());
        self.dout.assign(dout);
    }
}

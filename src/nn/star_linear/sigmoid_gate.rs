//! `y = (1 − g) ⊙ y_s + g ⊙ y_d` with `g = σ(x·G_d + c_d)`.

use ndarray::{ArrayRef2, Zip};

use super::layer::{InputSum, Scratch, SegmentBack, StarSegment};
use crate::math::sigmoid_f32;
use crate::nn::Linear;
use crate::nn::buffer::resize;

/// The parameters of one domain d in a star layer that combines by [`Combination::SigmoidGate`](super::Combination::SigmoidGate).
///
/// For a row x of the domain, a gate `g = σ(x·G_d + c_d)` mixes two outputs: `y = (1 − g) ⊙ y_s + g ⊙ y_d`. σ is the sigmoid, and `y_s` is
/// the output of the map that all domains share. `y_d = y_s + x·W_d + b_d` is the domain's output: its own map `W_d`, `b_d` is stored as
/// the difference from the shared map. So the formula becomes `y = y_s + g ⊙ (x·W_d + b_d)`.
///
/// At the start `W_d`, `b_d`, `G_d` and `c_d` are 0: the gate is ½, and both outputs are equal. Weight decay pulls `W_d` and `G_d` to 0.
/// The formula is this crate's reading of the "gating" of Star+ (Yeşil & Turgut 2024).
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, DomainLinear, Init, InitRng, Linear, Segment, SigmoidGate, StarLinear, StarLinearCache};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::SigmoidGate, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = SigmoidGate { own: Linear { weight: array![[3.0]], bias: array![1.0] }, gate: Linear { weight: array![[0.0]], bias: array![0.0] } };
/// *layer.domain.member_mut(0) = DomainLinear::SigmoidGate(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[5.0]], bias: array![2.0] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[8.5]]); // 2·2 + 1 + σ(0)·(2·3 + 1)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SigmoidGate {
    /// The domain's own map `x·W_d + b_d`, as the difference from the shared map: its weight `W_d`, `[in, out]`, and its bias `b_d`,
    /// `[out]`. Both are 0 at the start.
    pub own: Linear,
    /// The map whose output `x·G_d + c_d` becomes the gate through the sigmoid: its weight `G_d`, `[in, out]`, and its bias `c_d`, `[out]`.
    /// Both are 0 at the start.
    pub gate: Linear,
}

crate::params!(SigmoidGate { own, gate });

impl SigmoidGate {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { own: Linear::zeros(input, output), gate: Linear::zeros(input, output) }
    }

    /// The map if the gate is 1: `W + W_d`, `b + b_d`.
    pub(super) fn combined(&self, shared: &Linear) -> Linear {
        Linear { weight: &shared.weight + &self.own.weight, bias: &shared.bias + &self.own.bias }
    }

    /// `y = y_s + σ(x·G_d + c_d) ⊙ (x·W_d + b_d)`, followed by a ReLU if `rectify`.
    pub(super) fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut StarSegment,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let StarSegment { outputs, gate, .. } = cache;
        for (layer, out) in [(&self.own, &mut *outputs), (&self.gate, &mut *gate)] {
            resize(out, y.nrows(), y.ncols());
            layer.forward(x, out);
        }
        shared.forward(x, y);
        Zip::from(y).and(outputs).and(gate).for_each(|y, &mut own, g| {
            *g = sigmoid_f32(*g);
            *y += *g * own;
            // Not `max`, which would turn NaN into 0.
            *y = if rectify && *y < 0.0 { 0.0 } else { *y };
        });
    }

    /// `y = y_s + σ(z) ⊙ (x·W_d + b_d)`, of values that the caller has computed.
    pub(crate) fn join(shared: &ArrayRef2<f32>, own: &ArrayRef2<f32>, z: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
        Zip::from(y).and(shared).and(own).and(z).for_each(|y, &shared, &own, &z| *y = shared + sigmoid_f32(z) * own);
    }

    /// `dy_s = dy`; to the domain's layer `g ⊙ dy`, to the gate's `dy ⊙ (x·W_d + b_d) ⊙ g ⊙ (1 − g)`; `dx` from all three.
    pub(super) fn backward(&self, back: SegmentBack<'_, '_>, grad: &mut Self) {
        let SegmentBack { shared, x, dy, cache, scratch, dshared, mut dx } = back;
        let Scratch { doutputs, dgate, .. } = scratch;
        resize(doutputs, dy.nrows(), dy.ncols());
        resize(dgate, dy.nrows(), dy.ncols());
        Zip::from(&mut *doutputs).and(&mut *dgate).and(&dy).and(&cache.outputs).and(&cache.gate).for_each(
            |down, dz, &dy, &own, &g| {
                *down = g * dy;
                *dz = dy * own * g * (1.0 - g);
            },
        );
        shared.backward_into(&x, &dy, dshared, dx.as_mut().map(InputSum::next));
        self.own.backward_into(&x, doutputs, &mut grad.own, dx.as_mut().map(InputSum::next));
        self.gate.backward_into(&x, dgate, &mut grad.gate, dx.as_mut().map(InputSum::next));
    }
}

//! `y = [y_s, y_d]·M_d`.

use ndarray::{Array2, ArrayRef2, Axis, Zip, concatenate, s};

use super::layer::{InputSum, SegmentBack, StarSegment};
use crate::nn::buffer::resize;
use crate::nn::matmul::{matmul, matmul_grad, matmul_transposed};
use crate::nn::{Decay, Linear};

/// The parameters of one domain d in a star layer that combines by [`Combination::Concatenation`](super::Combination::Concatenation).
///
/// For a row x of the domain, two outputs are put side by side, and a matrix `M_d` maps them back to the width of the layer:
/// `y = [y_s, y_d]·M_d`. `y_s` is the output of the map that all domains share, and `y_d = x·W_d + b_d` that of the domain's own map.
///
/// `M_d` is stored as its difference `C_d` from an addition: `y = y_s + y_d + [y_s, y_d]·C_d`. At the start `W_d`, `b_d` and `C_d` are 0,
/// so that the output is that of the shared map. Weight decay pulls `W_d` and `C_d` to 0.
///
/// Since there is no activation between the two maps, the layer can express the same functions as with [`Add`](super::Combination::Add). It
/// trains differently: through `C_d`, a domain mixes the outputs of the shared map. The formula is this crate's reading of the
/// "concatenation" of Star+ (Yeşil & Turgut 2024).
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, Concatenated, DomainLinear, Init, InitRng, Linear, Segment, StarLinear, StarLinearCache};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::Concatenation, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = Concatenated { own: Linear { weight: array![[3.0]], bias: array![1.0] }, map: array![[1.0], [0.0]] };
/// *layer.domain.member_mut(0) = DomainLinear::Concatenation(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[7.0]], bias: array![3.0] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[17.0]]); // y_s = 5, y_d = 7, C_d = [1; 0]: 5 + 7 + (5·1 + 7·0)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Concatenated {
    /// The domain's own map: its weight `W_d`, `[in, out]`, and its bias `b_d`, `[out]`. Both are 0 at the start.
    pub own: Linear,
    /// The matrix `C_d`, `[2·out, out]`, which is 0 at the start. Its first `out` rows are multiplied by the output of the shared map, the
    /// other rows by that of the domain's map.
    pub map: Array2<f32>,
}

crate::params!(Concatenated { own, map: Decay::Towards(0.0) });

impl Concatenated {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { own: Linear::zeros(input, output), map: Array2::zeros((2 * output, output)) }
    }

    /// `W* = W + W_d + [W, W_d]·C_d`, likewise `b*`.
    pub(super) fn combined(&self, shared: &Linear) -> Linear {
        let Self { own, map } = self;
        let weight = concatenate![Axis(1), shared.weight, own.weight].dot(map);
        let bias = concatenate![Axis(0), shared.bias, own.bias].dot(map);
        Linear { weight: weight + &shared.weight + &own.weight, bias: bias + &shared.bias + &own.bias }
    }

    /// `y = y_s + y_d + [y_s, y_d]·C_d`, followed by a ReLU if `rectify`.
    pub(super) fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut StarSegment,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let (outputs, width) = (&mut cache.outputs, y.ncols());
        resize(outputs, y.nrows(), 2 * width);
        let (mut of_shared, mut of_own) = outputs.multi_slice_mut((s![.., ..width], s![.., width..]));
        shared.forward(x, &mut of_shared);
        self.own.forward(x, &mut of_own);
        matmul(outputs, &self.map, y);
        let (of_shared, of_own) = outputs.view().split_at(Axis(1), width);
        Zip::from(y).and(of_shared).and(of_own).for_each(|y, &shared, &own| {
            *y += shared + own;
            // Not `max`, which would turn NaN into 0.
            *y = if rectify && *y < 0.0 { 0.0 } else { *y };
        });
    }

    /// `dC_d += [y_s, y_d]ᵀ·dy`, `[dy_s, dy_d] = [dy, dy] + dy·C_dᵀ`; `dx` from both layers.
    pub(super) fn backward(&self, back: SegmentBack<'_, '_>, grad: &mut Self) {
        let SegmentBack { shared, x, dy, cache, scratch, dshared, mut dx } = back;
        let doutputs = &mut scratch.doutputs;
        let width = dy.ncols();
        matmul_grad(&cache.outputs, &dy, &mut grad.map);
        resize(doutputs, dy.nrows(), 2 * width);
        matmul_transposed(&dy, &self.map, doutputs);
        let (mut of_shared, mut of_own) = doutputs.multi_slice_mut((s![.., ..width], s![.., width..]));
        of_shared += &dy;
        of_own += &dy;
        shared.backward_into(&x, &of_shared, dshared, dx.as_mut().map(InputSum::next));
        self.own.backward_into(&x, &of_own, &mut grad.own, dx.as_mut().map(InputSum::next));
    }
}

//! `W*_d = W ⊙ W_d`, `b*_d = b + b_d`.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayRef2, Zip};

use super::layer::{SegmentBack, StarSegment};
use super::weights::DWeights;
use crate::nn::linear::values;
use crate::nn::matmul::{Epilogue, Operand, Output, PanelRow, PostOp, RowMajor, RowMajorMut, WIDTH, product};
use crate::nn::{Decay, Linear};
use crate::parallel::{Cut, join};

/// The parameters of one domain d in a star layer that combines by [`Combination::Product`](super::Combination::Product).
///
/// The weight for rows of the domain is `W ⊙ W_d`, the elementwise product, and the bias is `b + b_d` (Sheng et al. 2021, section 3.4,
/// equation 5). W and b are shared by all domains; `W_d` and `b_d` are the domain's own. At the start `W_d` is 1 and `b_d` is 0. Weight
/// decay pulls `W_d` to 1.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, DomainLinear, Factor, Init, InitRng, Linear, Segment, StarLinear, StarLinearCache};
///
/// // One input, one output, one domain.
/// let mut layer = StarLinear::new(1, 1, [DomainId::new(0)], Combination::Product, Init::He, &mut InitRng::new(1));
/// layer.shared = Linear { weight: array![[2.0]], bias: array![1.0] };
/// let own = Factor { weight: array![[3.0]], bias: array![0.5] };
/// *layer.domain.member_mut(0) = DomainLinear::Product(own);
/// assert_eq!(layer.combined(0), Linear { weight: array![[6.0]], bias: array![1.5] });
/// let (segments, mut y) = ([Segment { domain: DomainId::new(0), start: 0, end: 1 }], Array2::zeros((1, 1)));
/// layer.forward(&array![[2.0]], &segments, &mut StarLinearCache::default(), &mut y);
/// assert_eq!(y, array![[13.5]]); // 2·(2·3) + 1 + 0.5
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// The factors `W_d`, `[in, out]`, by which the shared weight is multiplied element by element; 1 at the start.
    pub weight: Array2<f32>,
    /// The bias `b_d`, `[out]`, which is added to the shared bias; 0 at the start.
    pub bias: Array1<f32>,
}

crate::params!(Factor { weight: Decay::Towards(1.0), bias: Decay::None });

impl Factor {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::ones((input, output)), bias: Array1::zeros(output) }
    }

    /// The layer as one map: `W* = W ⊙ W_d`, `b* = b + b_d`.
    pub(super) fn combined(&self, shared: &Linear) -> Linear {
        Linear { weight: &shared.weight * &self.weight, bias: &shared.bias + &self.bias }
    }

    fn operand<'a>(&'a self, shared: &'a Linear) -> Operand<'a> {
        Operand::Product(shared.weight.view(), self.weight.view())
    }

    /// `y = x·W* + b*`, followed by a ReLU if `rectify`. `W*` is never stored: it is multiplied while the product packs it.
    pub(super) fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut StarSegment,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let bias = &mut cache.bias;
        bias.clone_from(&shared.bias);
        Zip::from(&mut *bias).and(&self.bias).for_each(|c, &b_d| *c += b_d);
        product(x.view(), self.operand(shared), Output::set(y).post_op(PostOp::bias(values(bias), rectify)));
    }

    /// With `dW* = xᵀ·dy`: `dW += dW* ⊙ W_d`, `dW_d += dW* ⊙ W`, `db, db_d += Σ dy`, `dx = dy·(W*)ᵀ`.
    pub(super) fn backward(&self, back: SegmentBack<'_, '_>, grad: &mut Self) {
        let SegmentBack { shared, x, dy, scratch, dshared, dx, .. } = back;
        let d: &mut DWeights = &mut scratch.weights;
        let parameter_grad = || {
            d.sum_bias(&dy, dshared);
            grad.bias += &d.bias;
            let parts = Parts {
                dw: RowMajorMut::new(dshared.weight.view_mut()),
                dw_d: RowMajorMut::new(grad.weight.view_mut()),
                w: RowMajor::new(shared.weight.view()),
                w_d: RowMajor::new(self.weight.view()),
            };
            product(x.t(), Operand::One(dy.view()), parts);
        };
        let input_grad = || dx.map(|mut dx| product(dy.view(), self.operand(shared).t(), dx.next()));
        join(parameter_grad, input_grad);
    }
}

/// Splits `dW*` into the gradients of `W` and `W_d` while it is in registers.
struct Parts<'a, 'm> {
    dw: RowMajorMut<'m>,
    dw_d: RowMajorMut<'m>,
    w: RowMajor<'a>,
    w_d: RowMajor<'a>,
}

impl Cut for Parts<'_, '_> {
    fn cut(self, row: usize) -> (Self, Self) {
        let Self { dw, dw_d, w, w_d } = self;
        let (first, rest) = (dw, dw_d, w, w_d).cut(row);
        let parts = |(dw, dw_d, w, w_d)| Self { dw, dw_d, w, w_d };
        (parts(first), parts(rest))
    }
}

impl Epilogue for Parts<'_, '_> {
    fn dim(&self) -> (usize, usize) {
        self.w.dim()
    }

    #[inline(always)]
    fn expect(&self, rows: Range<usize>, columns: Range<usize>) {
        self.w.prefetch(rows.clone(), columns.clone());
        self.w_d.prefetch(rows.clone(), columns.clone());
        self.dw.prefetch(rows.clone(), columns.clone());
        self.dw_d.prefetch(rows, columns);
    }

    fn overwrites(&self) -> bool {
        false
    }

    #[inline(always)]
    fn lend(&mut self) -> impl Epilogue {
        Parts { dw: self.dw.lend(), dw_d: self.dw_d.lend(), ..*self }
    }

    #[inline(always)]
    fn put<const WHOLE: bool>(&mut self, at: PanelRow, sums: &[f32; WIDTH]) {
        let (PanelRow { row, column, .. }, width) = (at, at.width::<WHOLE>());
        let (w, w_d) = (self.w.load(row, column, width), self.w_d.load(row, column, width));
        let (mut dw, mut dw_d) = (self.dw.load(row, column, width), self.dw_d.load(row, column, width));
        for j in 0..WIDTH {
            dw[j] += sums[j] * w_d[j];
            dw_d[j] += sums[j] * w[j];
        }
        self.dw.store(row, column, width, dw);
        self.dw_d.store(row, column, width, dw_d);
    }
}

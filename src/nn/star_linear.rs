//! `y = x·(W ⊙ W_d) + b + b_d`: a layer of STAR's star topology.

use ndarray::{Array1, Array2, ArrayRef2, Zip, s};

use super::buffer::{grow, resize};
use super::linear::{add_rows, add_sums};
use super::matmul::{matmul, matmul_grad, matmul_transposed};
use super::{Decay, Draws, Init, Linear, PerDomain, Segment};
use crate::data::DomainId;

/// A layer that all domains share and each bends to its own: for a row of domain d,
/// `y = x·W*_d + b*_d` with `W*_d = W ⊙ W_d`, `b*_d = b + b_d` (Sheng et al. 2021, section 3.4, equations 5 and 6).
///
/// `W, b` learn from every row, `W_d, b_d` from rows of d alone. At the start `W_d = 1` and `b_d = 0`, so that the layer is
/// the shared one. A row of no known domain takes the shared layer.
#[derive(Debug, Clone, PartialEq)]
pub struct StarLinear {
    /// `W` and `b`.
    pub shared: Linear,
    /// `W_d` and `b_d`.
    pub domain: PerDomain<Factor>,
}

/// What one domain owns of a [`StarLinear`].
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// `W_d`, `[in, out]`, around 1.
    pub weight: Array2<f32>,
    /// `b_d`, `[out]`, around 0.
    pub bias: Array1<f32>,
}

crate::params!(StarLinear { shared, domain });
crate::params!(Factor { weight: Decay::To(1.0), bias: Decay::None });

/// What a [`StarLinear`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct StarLinearCache {
    /// `W*_d` of each segment.
    effective: Vec<Array2<f32>>,
    /// `b*_d` of one segment.
    bias: Array1<f32>,
    /// `dW*_d` of one segment.
    dw: Array2<f32>,
}

impl Factor {
    /// The factor that changes nothing: `W_d = 1`, `b_d = 0`.
    fn neutral(input: usize, output: usize) -> Self {
        Self { weight: Array2::ones((input, output)), bias: Array1::zeros(output) }
    }
}

impl StarLinear {
    /// A layer from `input` to `output` values for these domains.
    pub fn new(
        input: usize,
        output: usize,
        domains: impl IntoIterator<Item = DomainId>,
        init: Init,
        draws: &mut Draws,
    ) -> Self {
        let shared = Linear::new(input, output, init, draws);
        Self { shared, domain: PerDomain::new(domains, |_| Factor::neutral(input, output)) }
    }

    /// Gives a new domain its factor, which starts neutral.
    pub fn add_domain(&mut self, domain: DomainId) {
        let (input, output) = self.shared.weight.dim();
        self.domain.push(domain, Factor::neutral(input, output));
    }

    /// `y = x·(W ⊙ W_d) + b + b_d`, segment by segment: `x` is `[rows, in]`, `y` is `[rows, out]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        cache: &mut StarLinearCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let (input, output) = self.shared.weight.dim();
        grow(&mut cache.effective, segments.len());
        for (segment, effective) in segments.iter().zip(&mut cache.effective) {
            let x = x.slice(s![segment.rows(), ..]);
            let mut y = y.slice_mut(s![segment.rows(), ..]);
            let Some(d) = segment.domain else {
                self.shared.forward(&x, &mut y);
                continue;
            };
            let factor = &self.domain[d];
            resize(effective, input, output);
            Zip::from(&mut *effective).and(&self.shared.weight).and(&factor.weight).for_each(|e, &w, &f| *e = w * f);
            cache.bias.clone_from(&self.shared.bias);
            cache.bias += &factor.bias;
            matmul(&x, effective, &mut y);
            add_rows(&cache.bias, &mut y);
        }
    }

    /// With `dW* = xᵀ·dy`: `dW += dW* ⊙ W_d`, `dW_d += dW* ⊙ W`, `db, db_d += Σ dy`, `dx = dy·(W*)ᵀ`.
    ///
    /// # Panics
    /// If the shapes do not fit or a segment has no domain.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut StarLinearCache,
        grad: &mut Self,
        mut dx: Option<&mut ArrayRef2<f32>>,
    ) {
        let (input, output) = self.shared.weight.dim();
        resize(&mut cache.dw, input, output);
        for (segment, effective) in segments.iter().zip(&cache.effective) {
            let x = x.slice(s![segment.rows(), ..]);
            let dy = dy.slice(s![segment.rows(), ..]);
            let d = segment.trained_domain();
            matmul_grad(&x, &dy, 0.0, &mut cache.dw);
            let own = grad.domain.touch(d);
            Zip::from(&mut grad.shared.weight)
                .and(&mut own.weight)
                .and(&cache.dw)
                .and(&self.shared.weight)
                .and(&self.domain[d].weight)
                .for_each(|dw, dw_d, &g, &w, &w_d| {
                    *dw += g * w_d;
                    *dw_d += g * w;
                });
            add_sums(&dy, &mut grad.shared.bias);
            add_sums(&dy, &mut own.bias);
            if let Some(dx) = &mut dx {
                matmul_transposed(&dy, effective, &mut dx.slice_mut(s![segment.rows(), ..]));
            }
        }
    }
}

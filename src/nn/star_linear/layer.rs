//! The layer: who takes which path.

use ndarray::{Array1, Array2, ArrayRef2, ArrayView2, ArrayViewMut2, s};

use super::weights::DWeights;
use super::{Combination, DomainLinear};
use crate::data::DomainId;
use crate::nn::buffer::{grow, resize};
use crate::nn::{Draws, Init, Linear, PerDomain, Segment};

/// A layer that all domains share and each bends to its own (Sheng et al. 2021, section 3.4, equations 5 and 6), in one of
/// several ways: see [`Combination`].
///
/// What is shared learns from every row, what a domain owns from its own rows alone. At the start the layer is the
/// shared one for every domain. A row of no known domain takes the shared layer.
#[derive(Debug, Clone, PartialEq)]
pub struct StarLinear {
    /// `W` and `b`.
    pub shared: Linear,
    /// `W_d`, `b_d` and what else the combination asks of a domain.
    pub domain: PerDomain<DomainLinear>,
    combination: Combination,
}

crate::params!(StarLinear { shared, domain });

/// What a [`StarLinear`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct StarLinearCache {
    segments: Vec<SegmentCache>,
    scratch: Scratch,
}

/// What one segment keeps from forward to backward.
#[derive(Debug, Default)]
pub(super) struct SegmentCache {
    /// `W*_d` and `b*_d`, where weights are combined.
    pub(super) weight: Array2<f32>,
    pub(super) bias: Array1<f32>,
    /// What the domain's own layer gives, beside a gate; behind what the shared one gives, where they are joined.
    pub(super) outputs: Array2<f32>,
    /// How far a gate is open.
    pub(super) gate: Array2<f32>,
}

/// Buffers of a backward pass, used by one segment after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) weights: DWeights,
    pub(super) doutputs: Array2<f32>,
    pub(super) dgate: Array2<f32>,
    /// One of several gradients that add up to `dx`.
    pub(super) part: Array2<f32>,
}

/// One segment on its way back: what every combination is given.
pub(super) struct SegmentBack<'a> {
    pub(super) shared: &'a Linear,
    pub(super) x: ArrayView2<'a, f32>,
    pub(super) dy: ArrayView2<'a, f32>,
    pub(super) cache: &'a SegmentCache,
    pub(super) scratch: &'a mut Scratch,
    pub(super) dshared: &'a mut Linear,
    /// Overwritten; `None` when nobody needs it.
    pub(super) dx: Option<ArrayViewMut2<'a, f32>>,
}

impl StarLinear {
    /// A layer from `input` to `output` values for these domains; `init` draws the shared weight.
    pub fn new(
        input: usize,
        output: usize,
        domains: impl IntoIterator<Item = DomainId>,
        combination: Combination,
        init: Init,
        draws: &mut Draws,
    ) -> Self {
        let shared = Linear::new(input, output, init, draws);
        let domain = PerDomain::new(domains, |_| DomainLinear::neutral(combination, input, output, draws));
        Self { shared, domain, combination }
    }

    /// Gives a new domain its own part, which starts neutral.
    pub fn add_domain(&mut self, domain: DomainId, draws: &mut Draws) {
        let (input, output) = self.shared.weight.dim();
        self.domain.push(domain, DomainLinear::neutral(self.combination, input, output, draws));
    }

    /// What the layer is for rows of this domain, as one affine map: `W*_d` and `b*_d`.
    ///
    /// A gate makes of every row another map; for [`Combination::Gate`] it is the one behind a gate that is fully open,
    /// `W + W_d` and `b + b_d`.
    ///
    /// # Panics
    /// If there is no domain of this position.
    pub fn combined(&self, domain: usize) -> Linear {
        self.domain[domain].combined(&self.shared)
    }

    /// Each segment by its domain's combination, or by `y = x·W + b` where it has no domain: `x` is `[rows, in]`, `y` is
    /// `[rows, out]`.
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
        grow(&mut cache.segments, segments.len());
        for (segment, cache) in segments.iter().zip(&mut cache.segments) {
            let x = x.slice(s![segment.rows(), ..]);
            let mut y = y.slice_mut(s![segment.rows(), ..]);
            match segment.domain {
                None => self.shared.forward(&x, &mut y),
                Some(d) => self.domain[d].forward(&self.shared, &x, cache, &mut y),
            }
        }
    }

    /// Takes `dy` back through each segment's combination: to what is shared, to what the domain owns, and to `dx` (`None` when
    /// nobody needs it).
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
        for (segment, segment_cache) in segments.iter().zip(&cache.segments) {
            let rows = s![segment.rows(), ..];
            let d = segment.trained_domain();
            let back = SegmentBack {
                shared: &self.shared,
                x: x.slice(rows),
                dy: dy.slice(rows),
                cache: segment_cache,
                scratch: &mut cache.scratch,
                dshared: &mut grad.shared,
                dx: dx.as_deref_mut().map(|dx| dx.slice_mut(rows)),
            };
            self.domain[d].backward(back, grad.domain.touch(d));
        }
    }
}

/// Takes `dy` back through one more layer that read `x`, and adds its part of `dx`.
pub(super) fn add_backward(
    layer: &Linear,
    x: &ArrayRef2<f32>,
    dy: &ArrayRef2<f32>,
    grad: &mut Linear,
    dx: Option<&mut ArrayRef2<f32>>,
    part: &mut Array2<f32>,
) {
    let Some(dx) = dx else {
        layer.backward(x, dy, grad, None);
        return;
    };
    resize(part, x.nrows(), x.ncols());
    layer.backward(x, dy, grad, Some(part));
    *dx += &**part;
}

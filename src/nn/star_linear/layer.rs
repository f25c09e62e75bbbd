//! The star layer: the rows of each segment, with the shared and the domain's own parameters.

use ndarray::{Array1, Array2, ArrayRef2, ArrayView2, Axis, s};

use super::weights::DWeights;
use super::{Combination, DomainLinear};
use crate::data::DomainId;
use crate::nn::buffer::grow;
use crate::nn::linear::values_mut;
use crate::nn::matmul::{Output, PostOp, RowMajor};
use crate::nn::segment::each_segment;
use crate::nn::sums::fold;
use crate::nn::{Init, InitRng, InputGrad, Linear, PerDomain, Segment, Size};
use crate::parallel::{self, Divide};

/// A star layer: an affine map `x·W + b` that all domains share, combined with parameters of the row's domain (Sheng et al. 2021, section
/// 3.4, equations 5 and 6). By default, `y = x·(W ⊙ W_d) + b + b_d` for a row x of domain d, where W and b are shared and `W_d` and `b_d`
/// belong to the domain. [`Combination`] lists the other ways to combine them.
///
/// The shared parameters learn from all rows. The parameters of a domain learn from the rows of this domain only. Before training, the output
/// for every domain is that of the shared map. A row of no known domain uses the shared map alone.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{Combination, Init, InitRng, Params as _, Segment, StarLinear, StarLinearCache};
///
/// let domains = [DomainId::new(0), DomainId::new(1)];
/// // One input and one output.
/// let mut layer = StarLinear::new(1, 1, domains, Combination::Product, Init::He, &mut InitRng::new(1));
/// layer.shared.weight.fill(2.0);
/// let segments = [Segment { domain: DomainId::new(0), start: 0, end: 1 }, Segment { domain: DomainId::new(1), start: 1, end: 3 }];
/// let (x, mut y, mut cache) = (array![[1.0], [2.0], [3.0]], Array2::zeros((3, 1)), StarLinearCache::default());
/// layer.forward(&x, &segments, &mut cache, &mut y);
/// assert_eq!(y, array![[2.0], [4.0], [6.0]]); // at the start, the output for both domains is that of the shared map
///
/// let mut grad = layer.zeros_like();
/// layer.backward(&x, &segments, &Array2::ones((3, 1)), &mut cache, &mut grad, None);
/// assert_eq!(grad.shared.weight, array![[6.0]]); // 1 + 2 + 3, from all rows
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StarLinear {
    /// The affine map that all domains share: its weight `W`, `[in, out]`, and its bias `b`, `[out]`.
    pub shared: Linear,
    /// The own parameters of each domain d. The [`Combination`] of the layer decides which there are, for example a weight `W_d` and a bias
    /// `b_d`.
    pub domain: PerDomain<DomainLinear>,
    combination: Combination,
}

crate::params!(StarLinear { shared, domain });

/// The values that the forward pass of [`StarLinear`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to both passes.
#[derive(Debug, Default)]
pub struct StarLinearCache {
    segments: Vec<StarSegment>,
    groups: Vec<Group>,
}

/// What one segment keeps from forward to backward.
#[derive(Debug, Default)]
pub(super) struct StarSegment {
    /// `W*_d`, where it is formed, and `b*_d`.
    pub(super) weight: Array2<f32>,
    pub(super) bias: Array1<f32>,
    /// For a sigmoid gate, the output of the domain's own layer; for a concatenation, both outputs.
    pub(super) outputs: Array2<f32>,
    /// The values of a sigmoid gate.
    pub(super) gate: Array2<f32>,
}

/// The backward pass of consecutive segments, one after the other; groups run in parallel.
#[derive(Debug, Default)]
struct Group {
    /// What they add to the gradient of the shared layer; 0 between two passes.
    dshared: Option<Linear>,
    scratch: Scratch,
}

/// The most groups: more would be more gradients to add up.
const GROUPS: usize = 4;

/// Buffers of a backward pass, used by one segment after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) weights: DWeights,
    pub(super) doutputs: Array2<f32>,
    pub(super) dgate: Array2<f32>,
}

/// The arguments of the backward pass of one segment, for every combination.
pub(super) struct SegmentBack<'a, 'm> {
    pub(super) shared: &'a Linear,
    pub(super) x: ArrayView2<'a, f32>,
    pub(super) dy: ArrayView2<'a, f32>,
    pub(super) cache: &'m StarSegment,
    pub(super) scratch: &'m mut Scratch,
    pub(super) dshared: &'m mut Linear,
    /// `None` if it is not needed.
    pub(super) dx: Option<InputSum<'a, 'm>>,
}

/// The gradient of the input as the sum of one product or several.
pub(super) struct InputSum<'a, 'm> {
    dx: InputGrad<'m>,
    rectified: Option<Rectified<'a>>,
}

/// The input `h` is the output of a ReLU, so that only the gradient before it is needed: `dx · scale` where `h > 0`, 0 elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Rectified<'a> {
    pub(crate) h: ArrayView2<'a, f32>,
    pub(crate) scale: f32,
}

impl<'a> InputSum<'a, '_> {
    /// Where the next product goes.
    pub(super) fn next(&mut self) -> Output<'_, 'a> {
        let add = std::mem::replace(&mut self.dx.add, true);
        let post_op = match self.rectified {
            None => PostOp::Nothing,
            Some(Rectified { h, scale }) => PostOp::WherePositive(RowMajor::new(h), scale),
        };
        Output::to(InputGrad { dx: self.dx.dx.view_mut(), add }).post_op(post_op)
    }
}

impl StarLinear {
    /// A layer with `input` inputs and `output` outputs, and with own parameters for each domain of `domains`. `combination` says how these
    /// are combined with the shared map. `rng` gives the initial shared weight, which follows the distribution `init`; the shared bias starts
    /// at 0. The parameters of the domains start at neutral values: until they are trained, the output for every domain is that of the shared
    /// map.
    pub fn new(
        input: usize,
        output: usize,
        domains: impl IntoIterator<Item = DomainId>,
        combination: Combination,
        init: Init,
        rng: &mut InitRng,
    ) -> Self {
        let shared = Linear::new(input, output, init, rng);
        let domain =
            PerDomain::new(domains, |d| DomainLinear::neutral(combination, input, output, &mut rng.of_domain(d)));
        Self { shared, domain, combination }
    }

    /// The size of what [`StarLinear::new`] makes.
    pub(crate) fn size(input: f64, output: f64, domains: f64, combination: Combination) -> Size {
        let linear = Linear::size(input, output);
        linear + domains * combination.size(input, output)
    }

    /// Adds parameters for a new domain. They start at neutral values: until they are trained, the output for this domain is that of the
    /// shared map alone. `domain` must be the number of domains that the layer has now, as a [`DomainId`]; this is not checked. Random
    /// initial values, which only [`Combination::LowRank`] has, come from `rng`.
    pub fn add_domain(&mut self, domain: DomainId, rng: &InitRng) {
        let (input, output) = self.shared.weight.dim();
        self.domain.push(domain, DomainLinear::neutral(self.combination, input, output, &mut rng.of_domain(domain)));
    }

    /// Returns the layer for rows of one domain as one affine map, with the combined weight and the combined bias. `domain` is the position
    /// of the domain in [`Layout::domains`](crate::data::Layout::domains), from 0.
    ///
    /// With [`Combination::SigmoidGate`] there is no such map, because the gate depends on the row. The result is then the map for a gate
    /// of 1: the weight `W + W_d` and the bias `b + b_d`, where W and b are shared and `W_d` and `b_d` are the domain's own.
    ///
    /// # Panics
    /// If the layer has no domain at the position `domain`.
    pub fn combined(&self, domain: usize) -> Linear {
        self.domain[domain].combined(&self.shared)
    }

    /// The forward pass: computes `y`, `[rows, out]`, from `x`, `[rows, in]`. `segments` says which rows belong to which domain. The rows of
    /// each segment go through the shared map combined with the parameters of their domain. Rows of no known domain go through the shared map
    /// alone. `cache` keeps values for the backward pass.
    ///
    /// # Panics
    /// If `x` or `y` has another shape, if `segments` does not cover all rows in order, or if the layer does not have the domain of a
    /// segment.
    pub fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        cache: &mut StarLinearCache,
        y: &mut ArrayRef2<f32>,
    ) {
        self.forward_into(x, segments, cache, y, false);
    }

    /// [`StarLinear::forward`], followed by a ReLU if `rectify`: `y = max(·, 0)`.
    pub(crate) fn forward_into(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        cache: &mut StarLinearCache,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        grow(&mut cache.segments, segments.len());
        each_segment(segments, &mut cache.segments, y, |segment, cache, y| {
            let x = x.slice(s![segment.rows(), ..]);
            match self.domain.of(segment.domain) {
                None => self.shared.forward_into(&x, y, rectify),
                Some(own) => own.forward(&self.shared, &x, cache, y, rectify),
            }
        });
    }

    /// The backward pass. `x`, `segments` and `cache` are those of the forward pass, and `dy` is the gradient of its output. Adds the
    /// gradient of the shared parameters and of the domains' own parameters to `grad`, and writes the gradient of `x` to `dx`. Pass `None`
    /// for `dx` if you do not need it.
    ///
    /// # Panics
    /// If `x`, `dy` or `dx` has another shape than in the forward pass, or if the domain of a segment is [`DomainId::SHARED`]. With several
    /// segments, they must be in ascending order of their domains, with each domain at most once; otherwise the method may panic too.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut StarLinearCache,
        grad: &mut Self,
        dx: Option<&mut ArrayRef2<f32>>,
    ) {
        self.backward_into(x, segments, dy, cache, grad, dx.map(InputGrad::overwrite), None);
    }

    /// [`StarLinear::backward`], which may add to `dx`. With `rectified`, `x` is the output of a ReLU, and `dx` the gradient before the
    /// ReLU.
    #[expect(clippy::too_many_arguments, reason = "those of `backward` and one more")]
    pub(crate) fn backward_into(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut StarLinearCache,
        grad: &mut Self,
        mut dx: Option<InputGrad<'_>>,
        rectified: Option<Rectified<'_>>,
    ) {
        if segments.is_empty() {
            return;
        }
        let each = segments.len().div_ceil(GROUPS);
        let count = segments.len().div_ceil(each);
        grow(&mut cache.groups, count);
        let groups = &mut cache.groups[..count];
        let own = grad.domain.touch_all(segments.iter().map(Segment::trained_domain));
        let (x, dy, dx) = (x.view(), dy.view(), dx.as_mut().map(InputGrad::lend));
        let rectified = rectified.as_ref().map(|Rectified { h, scale }| Rectified { h: h.view(), scale: *scale });
        let caches = &mut cache.segments[..segments.len()];
        let mut work = Backward { layer: self, x, dy, segments, each, caches, own, first: 0, groups, dx, rectified };
        if count == 1 {
            work.run(&mut grad.shared);
            return;
        }
        parallel::each(work, &|work| Backward::run_apart(work));
        for group in &mut cache.groups[..count] {
            let dshared = group.dshared.as_mut().expect("every group has run");
            fold(values_mut(&mut dshared.weight), values_mut(&mut grad.shared.weight));
            fold(values_mut(&mut dshared.bias), values_mut(&mut grad.shared.bias));
        }
    }
}

/// The backward pass of some groups of segments.
struct Backward<'a, 'm> {
    layer: &'a StarLinear,
    x: ArrayView2<'a, f32>,
    dy: ArrayView2<'a, f32>,
    segments: &'a [Segment],
    /// The number of segments of a group; the last may have fewer.
    each: usize,
    caches: &'m mut [StarSegment],
    /// The gradients of the domains' own parameters, from domain `first` on.
    own: &'m mut [DomainLinear],
    first: usize,
    groups: &'m mut [Group],
    /// The rows of these segments alone.
    dx: Option<InputGrad<'m>>,
    rectified: Option<Rectified<'a>>,
}

impl Divide for Backward<'_, '_> {
    fn pieces(&self) -> usize {
        self.groups.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let Self { layer, x, dy, each, first, rectified, .. } = self;
        let count = pieces * each;
        let (segments, rest_segments) = self.segments.split_at(count);
        let (caches, rest_caches) = self.caches.split_at_mut(count);
        let (groups, rest_groups) = self.groups.split_at_mut(pieces);
        let domain = rest_segments[0].trained_domain();
        let (own, rest_own) = self.own.split_at_mut(domain - first);
        let (dx, rest_dx) = match self.dx {
            None => (None, None),
            Some(InputGrad { dx, add }) => {
                let (dx, rest) = dx.split_at(Axis(0), rest_segments[0].start - segments[0].start);
                (Some(InputGrad { dx, add }), Some(InputGrad { dx: rest, add }))
            }
        };
        let start = Self { layer, x, dy, segments, each, caches, own, first, groups, dx, rectified };
        let rest = Self {
            layer,
            x,
            dy,
            segments: rest_segments,
            each,
            caches: rest_caches,
            own: rest_own,
            first: domain,
            groups: rest_groups,
            dx: rest_dx,
            rectified,
        };
        (start, rest)
    }
}

impl Backward<'_, '_> {
    /// The segments of one group, with a separate gradient of the shared layer.
    fn run_apart(mut self) {
        let mut dshared = self.groups[0].dshared.take().unwrap_or_else(|| {
            let (input, output) = self.layer.shared.weight.dim();
            Linear::zeros(input, output)
        });
        self.run(&mut dshared);
        self.groups[0].dshared = Some(dshared);
    }

    /// The segments of one group.
    fn run(&mut self, dshared: &mut Linear) {
        let start = self.segments[0].start;
        for (segment, cache) in self.segments.iter().zip(&*self.caches) {
            let rows = s![segment.rows(), ..];
            let own_rows = s![segment.start - start..segment.end - start, ..];
            let rectified = self.rectified.map(|Rectified { h, scale }| Rectified { h: h.slice_move(rows), scale });
            let back = SegmentBack {
                shared: &self.layer.shared,
                x: self.x.slice(rows),
                dy: self.dy.slice(rows),
                cache,
                scratch: &mut self.groups[0].scratch,
                dshared,
                dx: self.dx.as_mut().map(|InputGrad { dx, add }| InputSum {
                    dx: InputGrad { dx: dx.slice_mut(own_rows), add: *add },
                    rectified,
                }),
            };
            let d = segment.trained_domain();
            self.layer.domain[d].backward(back, &mut self.own[d - self.first]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Params as _;

    #[test]
    fn what_is_added_to_an_input_gradient_is_what_would_overwrite_it() {
        let segments = [
            Segment { domain: DomainId::new(0), start: 0, end: 3 },
            Segment { domain: DomainId::new(1), start: 3, end: 7 },
        ];
        let values = |columns| Array2::from_shape_fn((7, columns), |(i, j)| ((i * 31 + j * 17) % 13) as f32 - 6.0);
        let (x, dy) = (values(5).mapv(|x: f32| x.max(0.0)), values(4));
        for combination in
            [Combination::Product, Combination::Add, Combination::SigmoidGate, Combination::Concatenation]
        {
            let domains = [DomainId::new(0), DomainId::new(1)];
            let layer = StarLinear::new(5, 4, domains, combination, Init::He, &mut InitRng::new(1));
            let mut cache = StarLinearCache::default();
            layer.forward(&x, &segments, &mut cache, &mut Array2::zeros((7, 4)));
            for rectified in [None, Some(Rectified { h: x.view(), scale: 2.0 })] {
                let mut back = |dx: InputGrad<'_>| {
                    let grad = &mut layer.zeros_like();
                    layer.backward_into(&x, &segments, &dy, &mut cache, grad, Some(dx), rectified);
                };
                let (mut dx, mut sum) = (Array2::from_elem((7, 5), f32::NAN), Array2::from_elem((7, 5), 1.5));
                back(InputGrad::overwrite(&mut dx));
                back(InputGrad::add(&mut sum));
                assert!((sum - 1.5 - &dx).iter().all(|d: &f32| d.abs() < 1e-5), "{combination:?}");
                let stopped = |(x, dx): (&f32, &f32)| rectified.is_none() || *x > 0.0 || *dx == 0.0;
                assert!(x.iter().zip(&dx).all(stopped), "{combination:?}");
            }
        }
    }
}

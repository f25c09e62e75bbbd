//! A stack for every branch, stitched to the others layer by layer: cross-stitch and sluice.

mod layer;

use std::marker::PhantomData;

use ndarray::{Array2, ArrayRef2};

use self::layer::{Below, LayerCache, LayerSize, Stitched, of_route};
use super::branches::{BranchedConfig, Route, Routes};
use super::towers::{TowerShape, Towers, TowersCache, keep};
use super::{Branches, Input, Net, Plan};
use crate::data::DomainId;
use crate::nn::buffer::{clear, grow};
use crate::nn::{Branch, HiddenStyle, Mlp, Mode, PerBranch, Size, Stitch, Train, orthogonality};

pub use self::layer::StitchedLayer;

/// The settings of a [`StitchedNet`].
pub trait StitchedConfig: BranchedConfig + PartialEq {
    /// Its sizes.
    fn shape(&self) -> StitchedShape<'_>;
}

/// The sizes of a [`StitchedNet`].
#[derive(Debug, Clone, Copy)]
pub struct StitchedShape<'a> {
    /// The widths of a stack's layers.
    pub hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub tower_hidden: &'a [usize],
    /// How many subspaces a layer's output is cut into.
    pub subspaces: usize,
    /// The weight of its own that a unit starts with.
    pub own_weight: f32,
    /// Whether towers read a mixture of all layers, and the weight of the last that it starts with.
    pub last_weight: Option<f32>,
    /// λ of the penalty on subspaces that are not orthogonal.
    pub orthogonality: f32,
    /// How hidden layers are made.
    pub style: HiddenStyle,
}

/// The dense part of [`CrossStitch`](super::CrossStitch) and [`Sluice`](super::Sluice): one stack of hidden layers for every branch, and
/// behind each layer units that combine the stacks' outputs for the next.
///
/// ```text
///   tower k    ŷ^k = t^k(Σ_l β^k_l h^k_l)                 sluice; in cross-stitch t^k(h^k_L)
///   unit k     h^k_l[s] = Σ_j Σ_r α^kl_{s,(j,r)} x^j_l[r]   over branches j and subspaces r (one in cross-stitch)
///   layer l    x^k_l = φ(h^k_{l−1}·W^k_l + b^k_l)
///   input      h^k_0 = x
/// ```
///
/// Mixing needs the outputs of all stacks in every row: with branches for domains too, every row passes every stack, and so every stack
/// learns from all rows. Only the units of the last layer, β and the towers run for the rows of their domain alone. A row of no known
/// domain takes the mean of the logits of the domains that the model was built with.
///
/// The stack of a domain that is added later reads all stacks; those before it do not read the newcomer's.
#[derive(Debug, Clone, PartialEq)]
pub struct StitchedNet<C> {
    /// The layers of all stacks, from the input up.
    pub layers: Vec<StitchedLayer>,
    /// Each branch's β, the mixture of its layers that its tower reads; none in cross-stitch.
    pub skips: PerBranch<Stitch>,
    /// The towers.
    pub towers: Towers,
    /// λ of the penalty.
    orthogonality: f32,
    config: PhantomData<fn() -> C>,
}

crate::params!(impl[C: StitchedConfig] StitchedNet<C> { layers, skips, towers });

/// What a [`StitchedNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct StitchedCache {
    layers: Vec<LayerCache>,
    /// What the mixtures of layers gave.
    skipped: Stitched,
    towers: TowersCache,
    /// The products of two subspaces' weights.
    products: Array2<f32>,
}

impl StitchedShape<'_> {
    fn layer(&self, index: usize, width: usize) -> LayerSize {
        LayerSize {
            input: if index == 0 { width } else { self.hidden[index - 1] },
            width: self.hidden[index],
            subspaces: self.subspaces,
            own_weight: self.own_weight,
            style: self.style,
        }
    }

    fn skip(&self, last_weight: f32) -> Stitch {
        let layers = self.hidden.len();
        Stitch::new(layers, 1, layers - 1, last_weight)
    }

    fn tower(&self, tasks: usize) -> TowerShape<'_> {
        TowerShape { hidden: self.tower_hidden, tasks, style: self.style }
    }

    /// What a tower reads.
    fn width(&self) -> usize {
        *self.hidden.last().expect("a stack has a layer")
    }
}

/// How many branches the unit of one reads: all that the model was built with, and if it came later those up to the last of its domain.
fn reads(branches: &[Branch], built_with: usize, branch: usize) -> usize {
    if branch < built_with {
        return built_with;
    }
    let of = |branch: Branch| branch.domain();
    1 + branches.iter().rposition(|&other| of(other) == of(branches[branch])).expect("it is there itself")
}

impl<C: StitchedConfig> StitchedNet<C> {
    /// The routes of the units of one layer: at the last only those that towers read, below all, since every stack reads theirs.
    fn routes<'a>(&self, layer: usize, routes: &'a Routes) -> &'a [Route] {
        if layer + 1 == self.layers.len() { &routes.answering } else { &routes.all }
    }
}

impl<C: StitchedConfig> Net for StitchedNet<C> {
    type Config = C;
    type Cache = StitchedCache;

    fn new(config: &C) -> Self {
        let (shape, draws) = (config.shape(), &mut config.draws());
        let branches: Vec<Branch> = config.branches().of(config.layout());
        let built_with = config.built_with().unwrap_or(branches.len());
        let reads = |branch| reads(&branches, built_with, branch);
        let layer = |index| StitchedLayer::new(shape.layer(index, config.width()), &branches, reads, draws);
        let layers = (0..shape.hidden.len()).map(layer).collect();
        let mixed = if shape.last_weight.is_some() { &branches[..] } else { &[] };
        let skips = PerBranch::new(mixed.iter().copied(), |_| shape.skip(shape.last_weight.unwrap_or_default()));
        let towers = Towers::new(config, shape.tower(config.tasks()), |_| shape.width(), draws);
        Self { layers, skips, towers, orthogonality: shape.orthogonality, config: PhantomData }
    }

    fn size(config: &C) -> Option<Size> {
        let (shape, branches) = (config.shape(), config.branches().count(config.layout()) as f64);
        let built_with = config.built_with().map_or(branches, |branches| branches as f64);
        let (layers, subspaces) = (shape.hidden.len() as f64, shape.subspaces as f64);
        // What comes later is read by the branches of its own domain and of later ones.
        let each = match config.branches() {
            Branches::DomainsAndTasks => config.tasks() as f64,
            Branches::Auto | Branches::Tasks | Branches::Domains => 1.0,
        };
        let (early, later) = (built_with / each, branches / each);
        let reads = built_with * built_with + each * each * (later * (later + 1.0) - early * (early + 1.0)) / 2.0;
        let stack = Mlp::size(config.width_f64(), shape.hidden, None, shape.style);
        let units = Size { values: layers * subspaces * subspaces * reads, tensors: layers * branches };
        let skips = if shape.last_weight.is_some() { branches } else { 0.0 } * Size::tensor(layers);
        let towers = Towers::size(config, shape.tower(config.tasks()), branches * shape.width() as f64);
        Some(branches * stack + units + skips + towers)
    }

    fn row(config: &C) -> Option<f64> {
        let (shape, width) = (config.shape(), config.shape().width() as f64);
        let branches = config.branches().count(config.layout()) as f64;
        let answering = config.branches().answering(config.layout()) as f64;
        // What a layer gives and what is stitched of it. Below the last layer every row passes every branch.
        let layer =
            |branches: f64, width: usize| branches * (Mlp::row(&[width], None, shape.style) + 2.0 * width as f64);
        let (last, below) = shape.hidden.split_last()?;
        let layers: f64 = below.iter().map(|&width| layer(branches, width)).sum();
        let skips = if shape.last_weight.is_some() { 2.0 * answering * width } else { 0.0 };
        let towers = Towers::row(config, shape.tower(config.tasks()), width);
        Some(layers + layer(answering, *last) + skips + config.width_f64() + towers)
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut StitchedCache, logits: &mut ArrayRef2<f32>) {
        let Input { x, segments } = input;
        let StitchedCache { layers, skipped, towers, .. } = cache;
        self.towers.lay(x.nrows(), segments, towers);
        grow(layers, self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, rest) = layers.split_at_mut(index);
            let below = before.last().map(|below| &below.stitched);
            layer.forward(x, below, self.routes(index, &towers.routes), mode, &mut rest[0]);
        }
        let (layers, last) = (&layers[..self.layers.len()], self.layers.len() - 1);
        let top = if self.skips.is_empty() {
            &layers[last].stitched
        } else {
            for (i, route) in towers.routes.answering.iter().enumerate() {
                let outputs =
                    layers.iter().enumerate().map(|(l, layer)| of_route(&layer.stitched, l == last, i, route));
                let value = skipped.value(i, route.rows.len(), layers[last].stitched.values[i].ncols());
                self.skips[route.branch].forward(outputs, value);
            }
            &*skipped
        };
        self.towers.forward(|i, _| top.values[i].view(), mode, towers, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut StitchedCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let StitchedCache { layers, skipped, towers, .. } = cache;
        let layers = &mut layers[..self.layers.len()];
        for (index, layer) in layers.iter_mut().enumerate() {
            layer.stitched.clear(self.routes(index, &towers.routes).len());
        }
        let last = self.layers.len() - 1;
        let top = if self.skips.is_empty() {
            &mut layers[last].stitched
        } else {
            skipped.clear(towers.routes.answering.len());
            &mut *skipped
        };
        let Stitched { values, gradients, active } = top;
        self.towers.backward(
            |i, _| values[i].view(),
            dlogits,
            towers,
            &mut grad.towers,
            |i, _, dh| keep(dh, &mut gradients[i], &mut active[i]),
        );
        if !self.skips.is_empty() {
            for (i, route) in towers.routes.answering.iter().enumerate().filter(|&(i, _)| skipped.active[i]) {
                let (skip, grad) = (&self.skips[route.branch], grad.skips.touch(route.branch));
                for (l, layer) in layers.iter_mut().enumerate() {
                    let Stitched { values, gradients, active } = &mut layer.stitched;
                    if l == last {
                        active[i] = true;
                        skip.backward(l, &values[i], &skipped.gradients[i], grad, &mut gradients[i]);
                    } else {
                        let (value, mut gradient) =
                            (route.of(&values[route.branch]), route.of_mut(&mut gradients[route.branch]));
                        active[route.branch] = true;
                        skip.backward(l, &value, &skipped.gradients[i], grad, &mut gradient);
                    }
                }
            }
        }
        clear(dx);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let (before, rest) = layers.split_at_mut(index);
            let below = match before.last_mut() {
                None => Below::Rows { x: input.x, dx: &mut *dx },
                Some(below) => Below::Layer(&mut below.stitched),
            };
            layer.backward(below, self.routes(index, &towers.routes), &mut rest[0], &mut grad.layers[index]);
        }
    }

    /// `λ·Σ ‖G_aᵀ·G_b‖²_F` over the pairs of subspaces in the weights of every layer that took part in the step.
    fn penalize(&self, cache: &mut StitchedCache, grad: &mut Self) -> f64 {
        if self.orthogonality == 0.0 {
            return 0.0;
        }
        let mut penalty = 0.0;
        for (layer, grad) in self.layers.iter().zip(&mut grad.layers) {
            for (k, (own, unit)) in layer.own.iter().zip(layer.stitch.iter()).enumerate() {
                if grad.own.is_present(k) {
                    let (weight, dweight) = (&own.layers[0].weight, &mut grad.own.touch(k).layers[0].weight);
                    penalty += orthogonality(weight, unit.blocks(), self.orthogonality, &mut cache.products, dweight);
                }
            }
        }
        penalty
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let mut below = vec![plan.row(); self.towers.branches().len()];
        let mut layers = Vec::new();
        for layer in &self.layers {
            let own = below.iter().zip(layer.own.iter());
            let own: Vec<_> = own.map(|(&input, mlp)| plan.stack(input, mlp)).collect();
            below = layer.stitch.iter().map(|unit| plan.stitch(&own[..unit.inputs()], unit)).collect();
            layers.push(below.clone());
        }
        self.towers.plan(&mut plan, |plan, branch| {
            let of_branch: Vec<_> = layers.iter().map(|layer| layer[branch]).collect();
            if self.skips.is_empty() { below[branch] } else { plan.stitch(&of_branch, &self.skips[branch]) }
        });
        plan
    }

    fn add_domain(&mut self, config: &mut C, domain: DomainId) {
        let (branches, mut draws) = self.towers.grow(config, domain);
        let shape = config.shape();
        let reads = self.towers.mlps.len() + branches.len();
        for branch in branches {
            for (index, layer) in self.layers.iter_mut().enumerate() {
                layer.push(shape.layer(index, config.width()), branch, reads, &mut draws);
            }
            if let Some(last_weight) = shape.last_weight {
                self.skips.push(branch, shape.skip(last_weight));
            }
            self.towers.push(branch, shape.tower(config.tasks()), shape.width(), &mut draws);
        }
    }
}

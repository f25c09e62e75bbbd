//! Experts, gates and towers: what PLE, CGC, MMoE and MoE are made of.

mod level;

use std::marker::PhantomData;

use ndarray::ArrayRef2;

use self::level::{Below, DBelow, LevelCache, LevelRoutes, LevelSize};
use super::branches::BranchedConfig;
use super::towers::{TowerShape, Towers, TowersCache, keep};
use super::{GateView, Input, Net, Plan};
use crate::data::DomainId;
use crate::nn::buffer::grow;
use crate::nn::{Branch, HiddenStyle, Mlp, Mode, Size, Train};

pub use self::level::Level;

/// The settings of an [`ExtractionNet`].
pub trait ExtractionConfig: BranchedConfig + PartialEq {
    /// Its sizes.
    fn shape(&self) -> ExtractionShape<'_>;
}

/// The sizes of an [`ExtractionNet`].
#[derive(Debug, Clone, Copy)]
pub struct ExtractionShape<'a> {
    /// How many levels there are.
    pub levels: usize,
    /// Experts that all branches share, at each level.
    pub shared_experts: usize,
    /// Experts of each branch, at each level.
    pub own_experts: usize,
    /// The widths of an expert's layers.
    pub expert_hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub tower_hidden: &'a [usize],
    /// Whether all branches take one gate.
    pub one_gate: bool,
    /// How hidden layers are made.
    pub style: HiddenStyle,
}

/// The dense part of [`Ple`](super::Ple), and of [`Cgc`](super::Cgc), [`Mmoe`](super::Mmoe) and [`Moe`](super::Moe), which are
/// cases of it: levels of shared and own experts mixed by softmax gates, and a tower for every branch (Tang et al., "Progressive Layered
/// Extraction", RecSys 2020, section 4).
///
/// ```text
///   tower k      ŷ^k = t^k(h^k)
///   level j      h^k ← Σ_i w^k_i E_i   over own experts (which read h^k), then shared ones (which read h^s),
///                                      w^k = softmax(h^k·W^k): linear, no bias, no normalisation
///                h^s ← Σ_i w^s_i E_i   over all experts of the level; not at the last level, where nobody would read it
///   input        h^k = h^s = x
/// ```
///
/// With branches for domains, a row's logits come from its domain's branches; at the last level and in the towers only the
/// rows of a domain pass its branch. Below, every row passes every expert, because the shared gates read them all; that is
/// also why a domain's lower experts learn from all rows. A row of no known domain takes the mean of the logits of the domains
/// that the model was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractionNet<C> {
    /// The levels, from the input up.
    pub levels: Vec<Level>,
    /// The towers.
    pub towers: Towers,
    config: PhantomData<fn() -> C>,
}

crate::params!(impl[C: ExtractionConfig] ExtractionNet<C> { levels, towers });

/// What an [`ExtractionNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct ExtractionCache {
    levels: Vec<LevelCache>,
    towers: TowersCache,
}

impl ExtractionCache {
    fn below<'a>(x: &'a ArrayRef2<f32>, before: &'a [LevelCache]) -> Below<'a> {
        before.last().map_or(Below::Rows(x), |level| Below::Level(&level.fused))
    }
}

impl ExtractionShape<'_> {
    fn level(&self, index: usize, width: usize) -> LevelSize<'_> {
        LevelSize {
            input: if index == 0 { width } else { self.fused() },
            shared: self.shared_experts,
            own: self.own_experts,
            expert: self.expert_hidden,
            last: index + 1 == self.levels,
            one_gate: self.one_gate,
        }
    }

    fn tower(&self, tasks: usize) -> TowerShape<'_> {
        TowerShape { hidden: self.tower_hidden, tasks, style: self.style }
    }

    /// The width of a fused vector.
    fn fused(&self) -> usize {
        *self.expert_hidden.last().expect("an expert has a layer")
    }
}

impl<C: ExtractionConfig> ExtractionNet<C> {
    /// What the towers read.
    fn fused<'a>(
        &self,
        level: &'a LevelCache,
    ) -> impl Fn(usize, &super::branches::Route) -> ndarray::ArrayView2<'a, f32> {
        let one_gate = self.levels[0].gates.is_empty();
        move |i, route| if one_gate { route.of(&level.fused.shared) } else { level.fused.routes[i].view() }
    }
}

impl<C: ExtractionConfig> Net for ExtractionNet<C> {
    type Config = C;
    type Cache = ExtractionCache;

    fn new(config: &C) -> Self {
        let (shape, draws) = (config.shape(), &mut config.draws());
        let branches: Vec<Branch> = config.branches().of(config.layout());
        let gated = config.built_with().unwrap_or(branches.len());
        let level = |index| Level::new(shape.level(index, config.width()), &branches, gated, shape.style, draws);
        let levels = (0..shape.levels).map(level).collect();
        let towers = Towers::new(config, shape.tower(config.tasks()), |_| shape.fused(), draws);
        Self { levels, towers, config: PhantomData }
    }

    fn size(config: &C) -> Option<Size> {
        let (shape, width, fused) = (config.shape(), config.width_f64(), config.shape().fused() as f64);
        let branches = config.branches().count(config.layout()) as f64;
        let gated = config.built_with().map_or(branches, |branches| branches as f64);
        let (levels, own, shared) = (shape.levels as f64, shape.own_experts as f64, shape.shared_experts as f64);
        let level = |input: f64| {
            let experts = (branches * own + shared) * Mlp::size(input, shape.expert_hidden, None, shape.style);
            let gates = if shape.one_gate { 0.0 } else { branches };
            (experts + gates * Size::tensor(input * (own + shared)), Size::tensor(input * (gated * own + shared)))
        };
        let ((first, first_gate), (later, later_gate)) = (level(width), level(fused));
        let shared_gates = levels - if shape.one_gate { 0.0 } else { 1.0 };
        let gates = if shared_gates > 0.0 { first_gate + (shared_gates - 1.0) * later_gate } else { Size::default() };
        let towers = Towers::size(config, shape.tower(config.tasks()), branches * fused);
        Some(first + (levels - 1.0) * later + gates + towers)
    }

    fn row(config: &C) -> Option<f64> {
        let (shape, fused) = (config.shape(), config.shape().fused() as f64);
        let branches = config.branches().count(config.layout()) as f64;
        let answering = config.branches().answering(config.layout()) as f64;
        let (levels, own, shared) = (shape.levels as f64, shape.own_experts as f64, shape.shared_experts as f64);
        // Below the last level every row passes every branch.
        let level = |branches: f64, shared_gate: f64| {
            let experts = branches * own + shared;
            let gates = branches * 2.0 * (own + shared) + shared_gate * 2.0 * experts;
            let read = branches * (own + shared) + shared_gate * experts;
            experts * Mlp::row(shape.expert_hidden, None, shape.style)
                + gates
                + read
                + (branches + shared_gate) * 2.0 * fused
        };
        let last = level(answering, if shape.one_gate { 1.0 } else { 0.0 });
        Some((levels - 1.0) * level(branches, 1.0) + last + Towers::row(config, shape.tower(config.tasks()), fused))
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut ExtractionCache, logits: &mut ArrayRef2<f32>) {
        let Input { x, segments } = input;
        let ExtractionCache { levels, towers } = cache;
        self.towers.lay(x.nrows(), segments, towers);
        grow(levels, self.levels.len());
        for (index, level) in self.levels.iter().enumerate() {
            let (before, rest) = levels.split_at_mut(index);
            let routes = LevelRoutes::new(&towers.routes, index, self.levels.len());
            level.forward(ExtractionCache::below(x, before), routes, mode, &mut rest[0]);
        }
        self.towers.forward(self.fused(&levels[self.levels.len() - 1]), mode, towers, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut ExtractionCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let ExtractionCache { levels, towers } = cache;
        let mut dfused = std::mem::take(&mut levels[self.levels.len() - 1].dfused);
        let top = &levels[self.levels.len() - 1];
        dfused.clear(&top.fused);
        let one_gate = self.levels[0].gates.is_empty();
        self.towers.backward(self.fused(top), dlogits, towers, &mut grad.towers, |i, route, dh| {
            if one_gate {
                if let Some(dh) = dh {
                    route.of_mut(&mut dfused.shared).zip_mut_with(dh, |sum, &d| *sum += d);
                }
                return;
            }
            keep(dh, &mut dfused.routes[i], &mut dfused.active[i]);
        });
        levels[self.levels.len() - 1].dfused = dfused;
        for (index, level) in self.levels.iter().enumerate().rev() {
            let (before, rest) = levels.split_at_mut(index);
            let (below, mut dbelow) = match before.last_mut() {
                None => (Below::Rows(input.x), DBelow::Rows(dx)),
                Some(level) => (Below::Level(&level.fused), DBelow::Level(&mut level.dfused)),
            };
            let routes = LevelRoutes::new(&towers.routes, index, self.levels.len());
            level.backward(below, routes, &mut rest[0], &mut grad.levels[index], &mut dbelow);
        }
    }

    fn visit_gates(&self, cache: &ExtractionCache, see: &mut dyn FnMut(GateView<'_>)) {
        for (index, (level, levels)) in self.levels.iter().zip(&cache.levels).enumerate() {
            level.visit_gates(index, LevelRoutes::new(&cache.towers.routes, index, self.levels.len()), levels, see);
        }
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let mut shared = plan.row();
        let mut own = vec![shared; self.towers.branches().len()];
        for level in &self.levels {
            (own, shared) = level.plan(&own, shared, &mut plan);
        }
        self.towers.plan(&mut plan, |_, branch| own[branch]);
        plan
    }

    fn add_domain(&mut self, config: &mut C, domain: DomainId) {
        let (branches, mut draws) = self.towers.grow(config, domain);
        let shape = config.shape();
        for branch in branches {
            for (index, level) in self.levels.iter_mut().enumerate() {
                level.push(shape.level(index, config.width()), branch, shape.style, &mut draws);
            }
            self.towers.push(branch, shape.tower(config.tasks()), shape.fused(), &mut draws);
        }
    }
}

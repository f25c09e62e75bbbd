//! The towers on top of a net with branches.

use ndarray::{Array2, ArrayRef2, ArrayView2};

use super::Branches;
use super::branches::{BranchedConfig, Route, Routes};
use super::{Plan, Value};
use crate::data::DomainId;
use crate::nn::buffer::{grow, resize};
use crate::nn::{
    Branch, Draws, HiddenStyle, Leaf, LeafMut, Mlp, MlpRun, Mode, Pair, Params, Path, PerBranch, Segment, Size,
};

/// One tower for each branch: `logits^k = t^k(h^k)`, for the rows and tasks that the branch answers.
///
/// A row of a known domain takes the branches of its domain, or of all tasks; a row of no known domain the mean of the logits
/// of the domains that the model was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct Towers {
    /// The towers.
    pub mlps: PerBranch<Mlp>,
    /// How many branches there were at construction.
    built_with: usize,
}

/// What [`Towers`] keep from forward to backward: one run for each route.
#[derive(Debug, Default)]
pub(crate) struct TowersCache {
    pub(crate) routes: Routes,
    runs: Vec<MlpRun>,
    dh: Array2<f32>,
}

/// Keeps a route's `dh` for later, and notes whether its branch took part in the step.
pub(crate) fn keep(dh: Option<&mut Array2<f32>>, kept: &mut Array2<f32>, active: &mut bool) {
    *active = dh.is_some();
    // A copy: exchanged buffers would move from route to route, and grow again wherever the next has more rows.
    if let Some(dh) = dh {
        resize(kept, dh.nrows(), dh.ncols());
        kept.assign(dh);
    }
}

/// How a tower is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TowerShape<'a> {
    /// The widths of the hidden layers.
    pub(crate) hidden: &'a [usize],
    /// How many tasks the model has.
    pub(crate) tasks: usize,
    pub(crate) style: HiddenStyle,
}

impl TowerShape<'_> {
    fn tower(self, branch: Branch, input: usize, draws: &mut Draws) -> Mlp {
        let outputs = if branch.task().is_some() { 1 } else { self.tasks };
        Mlp::new(input, self.hidden, Some(outputs), self.style, draws)
    }
}

impl Towers {
    /// Towers for the branches of a configuration; branch `k` reads `input(k)` values.
    pub(crate) fn new(
        config: &impl BranchedConfig,
        shape: TowerShape<'_>,
        input: impl Fn(usize) -> usize,
        draws: &mut Draws,
    ) -> Self {
        let branches = config.branches().of(config.layout());
        let built_with = config.built_with().unwrap_or(branches.len());
        let mut inputs = (0..).map(input);
        let input =
            |inputs: &mut dyn Iterator<Item = usize>| inputs.next().expect("there is an input for every branch");
        let mlps = PerBranch::new(branches, |branch| shape.tower(branch, input(&mut inputs), draws));
        Self { mlps, built_with }
    }

    /// The size of what [`Towers::new`] makes, if all towers together read `inputs` values.
    pub(crate) fn size(config: &impl BranchedConfig, shape: TowerShape<'_>, inputs: f64) -> Size {
        let branches = config.branches().count(config.layout()) as f64;
        let outputs = if config.branches() == Branches::Domains { shape.tasks } else { 1 };
        let rest = branches * Mlp::size(0.0, shape.hidden, Some(outputs), shape.style);
        let first = shape.hidden.first().copied().unwrap_or(outputs) as f64;
        Size { values: rest.values + inputs * first, ..rest }
    }

    /// How many values a training step keeps for a row, about, if a tower reads `input` values.
    pub(crate) fn row(config: &impl BranchedConfig, shape: TowerShape<'_>, input: f64) -> f64 {
        let outputs = if config.branches() == Branches::Domains { shape.tasks } else { 1 };
        let answering = config.branches().answering(config.layout()) as f64;
        answering * (Mlp::row(shape.hidden, Some(outputs), shape.style) + input)
    }

    /// The branches, in order.
    pub(crate) fn branches(&self) -> &[Branch] {
        self.mlps.keys()
    }

    /// Notes in the configuration what the model was built with, and gives the branches of a new domain and the streams that
    /// everything they own is drawn from.
    pub(crate) fn grow(&self, config: &mut impl BranchedConfig, domain: DomainId) -> (Vec<Branch>, Draws) {
        let built_with = self.mlps.len();
        config.built_with_mut().get_or_insert(built_with);
        let branches = config.branches().of_domain(domain, config.layout());
        (branches, Draws::later(config.seed(), 1 + built_with))
    }

    /// Gives a new branch its tower.
    pub(crate) fn push(&mut self, branch: Branch, shape: TowerShape<'_>, input: usize, draws: &mut Draws) {
        self.mlps.push(branch, shape.tower(branch, input, draws));
    }

    /// Lays the routes of a batch, which everything below the towers takes as well.
    pub(crate) fn lay(&self, rows: usize, segments: &[Segment], cache: &mut TowersCache) {
        cache.routes.lay(rows, segments, self.branches(), self.built_with);
    }

    /// `logits^k = t^k(h^k)`: `input(i, route)` is `h` in the rows of the i-th answering route.
    pub(crate) fn forward<'a, M: Mode>(
        &self,
        mut input: impl FnMut(usize, &Route) -> ArrayView2<'a, f32>,
        mode: M,
        cache: &mut TowersCache,
        logits: &mut ArrayRef2<f32>,
    ) {
        let TowersCache { routes, runs, .. } = cache;
        grow(runs, routes.answering.len());
        logits.fill(0.0);
        for (i, (route, run)) in routes.answering.iter().zip(runs).enumerate() {
            run.forward(&self.mlps[route.branch], &input(i, route), mode);
            route.answered_mut(logits, self.branches()[route.branch]).scaled_add(route.share, &run.out);
        }
    }

    /// Answers for every domain by the towers of its branches; the one of branch `k` reads `input(plan, k)`.
    pub(crate) fn plan<'a>(&'a self, plan: &mut Plan<'a>, mut input: impl FnMut(&mut Plan<'a>, usize) -> Value) {
        let towers: Vec<_> = (0..self.mlps.len())
            .map(|k| {
                let input = input(plan, k);
                plan.stack(input, &self.mlps[k])
            })
            .collect();
        let mut routes = Routes::default();
        for domain in plan.domains() {
            routes.lay(1, &[Segment { domain, start: 0, end: 1 }], self.branches(), self.built_with);
            for route in &routes.answering {
                plan.answer(domain, towers[route.branch], self.branches()[route.branch].task(), route.share);
            }
        }
    }

    /// Takes `dlogits` back to every route's input, and gives that to `take` as `(i, route, dh)`; `None` is a route none of
    /// whose rows has a label: its branch took no part in the step.
    pub(crate) fn backward<'a>(
        &self,
        mut input: impl FnMut(usize, &Route) -> ArrayView2<'a, f32>,
        dlogits: &ArrayRef2<f32>,
        cache: &mut TowersCache,
        grad: &mut Self,
        mut take: impl FnMut(usize, &Route, Option<&mut Array2<f32>>),
    ) {
        let TowersCache { routes, runs, dh } = cache;
        for (i, (route, run)) in routes.answering.iter().zip(runs).enumerate() {
            let dlogits = route.answered(dlogits, self.branches()[route.branch]);
            if dlogits.iter().all(|&d| d == 0.0) {
                take(i, route, None);
                continue;
            }
            run.set_dout(&dlogits);
            run.backward(&self.mlps[route.branch], &input(i, route), grad.mlps.touch(route.branch), dh);
            take(i, route, Some(dh));
        }
    }
}

impl Params for Towers {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        self.mlps.visit(path, see);
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        self.mlps.visit_mut(path, see);
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        self.mlps.visit_pair(&mut grad.mlps, path, see);
    }

    fn zero(&mut self) {
        self.mlps.zero();
    }

    fn dismiss(&mut self) {
        self.mlps.dismiss();
    }
}

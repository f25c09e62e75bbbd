//! One level of progressive extraction: experts, gates, and what the gates fuse.

use ndarray::{Array2, ArrayRef2, ArrayView1, ArrayView2, ArrayViewMut2, s};

use super::super::branches::{Route, Routes};
use super::super::{ExpertId, GateReader, GateView, Plan, Value};
use crate::nn::buffer::{clear, grow, resize};
use crate::nn::matmul::Out;
use crate::nn::{
    Branch, Draws, Gate, GateCache, HiddenStyle, Mlp, MlpRun, Mode, PerBranch, Segment, mix, mix_backward_rows,
};
use crate::parallel::{self, Divide};

/// One level: shared experts, own experts and a gate for every branch, and below the last level a shared gate
/// (Tang et al. 2020, section 4.2, equation 6). With one gate for all branches it is MoE's level.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The experts of every branch.
    pub own: PerBranch<Vec<Mlp>>,
    /// The experts all branches share.
    pub shared: Vec<Mlp>,
    /// Each branch's gate over its own experts, then the shared ones; none where all take the shared gate.
    pub gates: PerBranch<Gate>,
    /// The gate over the experts of all branches, then the shared ones. The last level has none, but where it is the one gate of
    /// all branches.
    pub shared_gate: Option<Gate>,
    /// How many branches the shared gate reads: those the model was built with.
    gated: usize,
}

crate::params!(Level { own, shared, gates, shared_gate });

/// What a [`Level`] keeps from forward to backward.
#[derive(Debug, Default)]
pub(super) struct LevelCache {
    /// By expert route, then by expert.
    own: Vec<Vec<Expert>>,
    shared: Vec<Expert>,
    gates: Vec<GateCache>,
    shared_gate: GateCache,
    pub(super) fused: Fused,
    pub(super) dfused: Fused,
}

/// One expert's run.
#[derive(Debug, Default)]
struct Expert {
    run: MlpRun,
    /// The gradients of the weights that gates gave it, `[gates, rows]`; the shared gate's stand last.
    dweights: Array2<f32>,
}

/// Rows of an expert whose gradient is added up at a time.
const MIXED: usize = 64;

/// The fused vectors that leave a level, or their gradients.
#[derive(Debug, Default)]
pub(super) struct Fused {
    /// By gate route.
    pub(super) routes: Vec<Array2<f32>>,
    pub(super) shared: Array2<f32>,
    /// As gradients: which routes took part in the step, set by whoever reads them.
    pub(super) active: Vec<bool>,
}

/// What enters a level: the row itself, or what the level below fused.
#[derive(Clone, Copy)]
pub(super) enum Below<'a> {
    Rows(&'a ArrayRef2<f32>),
    Level(&'a Fused),
}

impl Fused {
    /// As gradients: sets all to 0, in the shapes of what they belong to.
    pub(super) fn clear(&mut self, values: &Self) {
        grow(&mut self.routes, values.routes.len());
        grow(&mut self.active, values.routes.len());
        let routes = values.routes.iter().zip(&mut self.routes);
        for (values, gradients) in routes.chain([(&values.shared, &mut self.shared)]) {
            resize(gradients, values.nrows(), values.ncols());
            clear(gradients);
        }
    }
}

impl<'a> Below<'a> {
    fn route(self, index: usize, route: &Route) -> ArrayView2<'a, f32> {
        match self {
            Self::Rows(x) => route.of(x),
            Self::Level(fused) => fused.routes[index].view(),
        }
    }

    fn shared(self) -> ArrayView2<'a, f32> {
        match self {
            Self::Rows(x) => x.view(),
            Self::Level(fused) => fused.shared.view(),
        }
    }
}

/// Where the gradient of what entered a level is added up.
pub(super) enum DBelow<'a> {
    Rows(&'a mut ArrayRef2<f32>),
    Level(&'a mut Fused),
}

impl DBelow<'_> {
    /// Sets all gradients to 0, in the shapes of what they belong to.
    fn clear(&mut self, below: Below<'_>) {
        match (self, below) {
            (Self::Level(dfused), Below::Level(fused)) => dfused.clear(fused),
            (Self::Rows(dx), _) => clear(dx),
            (Self::Level(_), Below::Rows(_)) => unreachable!("a level's gradients belong to a level's values"),
        }
    }

    fn set_active(&mut self, index: usize, active: bool) {
        if let Self::Level(dfused) = self {
            dfused.active[index] = active;
        }
    }

    fn route(&mut self, index: usize, route: &Route) -> ArrayViewMut2<'_, f32> {
        match self {
            Self::Rows(dx) => route.of_mut(dx),
            Self::Level(fused) => fused.routes[index].view_mut(),
        }
    }

    fn shared(&mut self) -> ArrayViewMut2<'_, f32> {
        match self {
            Self::Rows(dx) => dx.view_mut(),
            Self::Level(fused) => fused.shared.view_mut(),
        }
    }
}

/// The sizes of a level.
#[derive(Clone, Copy)]
pub(super) struct LevelSize<'a> {
    pub(super) input: usize,
    pub(super) shared: usize,
    pub(super) own: usize,
    /// The widths of an expert's layers.
    pub(super) expert: &'a [usize],
    pub(super) last: bool,
    /// Whether the branches share one gate.
    pub(super) one_gate: bool,
}

/// Which rows pass which branch's experts and gates in a level.
///
/// Below the last level every row passes every branch's experts, since the shared gates read all of them; at the last one a row
/// passes only the branches that answer for its domain. A gate's rows are those of the experts, or towers, that read it.
#[derive(Clone, Copy)]
pub(super) struct LevelRoutes<'a> {
    experts: &'a [Route],
    gates: &'a [Route],
    last: bool,
}

impl<'a> LevelRoutes<'a> {
    pub(super) fn new(routes: &'a Routes, level: usize, levels: usize) -> Self {
        let Routes { all, answering } = routes;
        let at = |level| if level + 1 >= levels { &answering[..] } else { &all[..] };
        Self { experts: at(level), gates: at(level + 1), last: level + 1 == levels }
    }

    /// For the `gate`-th gate route: which expert route it reads, and which of that route's rows.
    fn read_by(self, gate: usize) -> (usize, Segment) {
        let route = self.gates[gate];
        if self.last {
            (gate, Segment { domain: None, start: 0, end: route.rows.len() })
        } else {
            (route.branch, route.rows)
        }
    }
}

impl LevelSize<'_> {
    fn experts(&self, count: usize, style: HiddenStyle, draws: &mut Draws) -> Vec<Mlp> {
        (0..count).map(|_| Mlp::new(self.input, self.expert, None, style, draws)).collect()
    }
}

impl Level {
    pub(super) fn new(
        size: LevelSize<'_>,
        branches: &[Branch],
        gated: usize,
        style: HiddenStyle,
        draws: &mut Draws,
    ) -> Self {
        let own = PerBranch::new(branches.iter().copied(), |_| size.experts(size.own, style, draws));
        let shared = size.experts(size.shared, style, draws);
        let mut gate = |experts| Gate::new(size.input, experts, draws);
        let gated_by_own = if size.one_gate { &[] } else { branches };
        let gates = PerBranch::new(gated_by_own.iter().copied(), |_| gate(size.own + size.shared));
        let shared_gate = (!size.last || size.one_gate).then(|| gate(gated * size.own + size.shared));
        Self { own, shared, gates, shared_gate, gated }
    }

    /// Gives a new branch its experts and gate. The shared gate does not read them: one more term under its softmax would
    /// change the scores of everybody else.
    pub(super) fn push(&mut self, size: LevelSize<'_>, branch: Branch, style: HiddenStyle, draws: &mut Draws) {
        self.own.push(branch, size.experts(size.own, style, draws));
        if !size.one_gate {
            self.gates.push(branch, Gate::new(size.input, size.own + size.shared, draws));
        }
    }

    /// For every branch `w^k = softmax(h^k·W^k)`, `h'^k = Σ_i w^k_i E_i(·)` over own then shared experts; own experts and the
    /// selector read `h^k`, shared experts `h^s`. Below the last level, the same for the shared gate over all experts.
    pub(super) fn forward<M: Mode>(&self, below: Below<'_>, routes: LevelRoutes<'_>, mode: M, cache: &mut LevelCache) {
        let expert_routes = routes.experts;
        let LevelCache { own, shared, gates, shared_gate, fused, .. } = cache;
        grow(own, expert_routes.len());
        grow(shared, self.shared.len());
        for (i, (route, caches)) in expert_routes.iter().zip(&mut *own).enumerate() {
            let x = below.route(i, route);
            let experts = &self.own[route.branch];
            grow(caches, experts.len());
            each_expert(experts, &mut caches[..experts.len()], &|_, mlp, expert| expert.run.forward(mlp, &x, mode));
        }
        let x = below.shared();
        each_expert(&self.shared, shared, &|_, mlp, expert| expert.run.forward(mlp, &x, mode));

        let gate_routes = self.gate_routes(routes);
        grow(gates, gate_routes.len());
        grow(&mut fused.routes, gate_routes.len());
        for (g, route) in gate_routes.iter().enumerate() {
            let (e, rows) = routes.read_by(g);
            let selector = below.route(e, &expert_routes[e]);
            let gate = &mut gates[g];
            self.gates[route.branch].forward(&selector.slice(s![rows.rows(), ..]), gate);
            let own = own[e][..self.own[route.branch].len()].iter().map(|c| c.run.out.slice(s![rows.rows(), ..]));
            let experts = own.chain(shared.iter().map(|c| route.of(&c.run.out)));
            let out = &mut fused.routes[g];
            resize(out, route.rows.len(), self.width());
            mix(gate, experts, out);
        }
        if let Some(gate) = &self.shared_gate {
            gate.forward(&below.shared(), shared_gate);
            let own = own.iter().take(self.gated).flatten();
            resize(&mut fused.shared, x.nrows(), self.width());
            mix(shared_gate, own.chain(&*shared).map(|c| c.run.out.view()), &mut fused.shared);
        }
    }

    /// Writes down [`Level::forward`]: from what the own and the shared experts read to what is fused for the branches, and for all. Where
    /// there is no gate for the latter nobody reads it; where there are none for the branches they take it.
    pub(super) fn plan<'a>(&'a self, own: &[Value], shared: Value, plan: &mut Plan<'a>) -> (Vec<Value>, Value) {
        let mut run = |input, experts: &'a [Mlp]| -> Vec<Value> {
            experts.iter().map(|expert| plan.stack(input, expert)).collect()
        };
        let own_experts: Vec<_> =
            own.iter().zip(self.own.iter()).map(|(&input, experts)| run(input, experts)).collect();
        let shared_experts = run(shared, &self.shared);
        let of_all = self.shared_gate.as_ref().map(|gate| {
            let own = own_experts[..self.gated].iter().flatten();
            let experts: Vec<_> = own.chain(&shared_experts).copied().collect();
            plan.mix(shared, gate, &experts)
        });
        let of_branch = |(k, gate): (usize, &'a Gate)| {
            let experts: Vec<_> = own_experts[k].iter().chain(&shared_experts).copied().collect();
            plan.mix(own[k], gate, &experts)
        };
        let fused: Vec<_> = self.gates.iter().enumerate().map(of_branch).collect();
        let fused = if fused.is_empty() { of_all.iter().copied().cycle().take(own.len()).collect() } else { fused };
        (fused, of_all.unwrap_or(shared))
    }

    /// Takes the gradients of the fused vectors back to what entered the level: a gate's `dw_i = ⟨g, s_i⟩`, an expert's
    /// `ds_i = Σ w_i g` over every gate that reads it, and to `dbelow` from selectors and experts alike.
    ///
    /// A gate whose fused vector nobody active reads took no part in the step, nor did experts that no active gate reads:
    /// they stay out of `grad`, and what feeds them alone is told so in turn.
    pub(super) fn backward(
        &self,
        below: Below<'_>,
        routes: LevelRoutes<'_>,
        cache: &mut LevelCache,
        grad: &mut Self,
        dbelow: &mut DBelow<'_>,
    ) {
        let expert_routes = routes.experts;
        let gate_routes = self.gate_routes(routes);
        let LevelCache { own, shared, gates, shared_gate, dfused, .. } = cache;
        dbelow.clear(below);

        // Expert by expert, over the gates that read it.
        let readers = || gate_routes.iter().zip(&*gates).zip(&dfused.routes).zip(&dfused.active).enumerate();
        let of_all = |expert: usize| {
            self.shared_gate.as_ref().map(|_| {
                let (weights, dy) = (&shared_gate.weights, &dfused.shared);
                let rows = Segment { domain: None, start: 0, end: weights.nrows() };
                Reader { gate: gate_routes.len(), weights: weights.column(expert), rows, dy }
            })
        };
        for (e, (route, experts)) in expert_routes.iter().zip(&mut *own).enumerate() {
            let own = &self.own[route.branch];
            let first = route.branch * own.len();
            each_expert(own, &mut experts[..own.len()], &|i, mlp, expert| {
                let own = readers().filter(|&(g, (.., &active))| active && routes.read_by(g).0 == e).map(
                    |(gate, (((_, cache), dy), _))| {
                        let rows = routes.read_by(gate).1;
                        Reader { gate, weights: cache.weights.column(i), rows, dy }
                    },
                );
                let of_all = (route.branch < self.gated).then(|| of_all(first + i)).flatten();
                expert.mix_backward(mlp, gate_routes.len(), own.chain(of_all));
            });
        }
        let before: usize = (0..self.gated).map(|branch| self.own[branch].len()).sum();
        each_expert(&self.shared, shared, &|i, mlp, expert| {
            let own = readers().filter(|&(_, (.., &active))| active).map(|(gate, (((route, cache), dy), _))| {
                let weights = cache.weights.column(self.own[route.branch].len() + i);
                Reader { gate, weights, rows: route.rows, dy }
            });
            expert.mix_backward(mlp, gate_routes.len(), own.chain(of_all(before + i)));
        });

        // Then the gates, from what their experts have found.
        for (g, route) in gate_routes.iter().enumerate().filter(|&(g, _)| dfused.active[g]) {
            let (e, rows) = routes.read_by(g);
            let experts =
                own[e].iter().map(|expert| (expert, rows)).chain(shared.iter().map(|expert| (expert, route.rows)));
            gates[g].collect(g, experts.map(|(expert, rows)| (&expert.dweights, rows)));
            let selector = below.route(e, &expert_routes[e]);
            let mut dselector = dbelow.route(e, &expert_routes[e]);
            let (selector, mut dselector) =
                (selector.slice(s![rows.rows(), ..]), dselector.slice_mut(s![rows.rows(), ..]));
            let grad = grad.gates.touch(route.branch);
            self.gates[route.branch].backward_into(&selector, &mut gates[g], grad, Out::add(&mut dselector));
        }
        if let (Some(gate), Some(grad)) = (&self.shared_gate, &mut grad.shared_gate) {
            let selector = below.shared();
            let rows = Segment { domain: None, start: 0, end: selector.nrows() };
            let experts = own.iter().take(self.gated).flatten().chain(&*shared);
            shared_gate.collect(gate_routes.len(), experts.map(|expert| (&expert.dweights, rows)));
            gate.backward_into(&selector, shared_gate, grad, Out::add(&mut dbelow.shared()));
        }

        for (e, (route, experts)) in expert_routes.iter().zip(own).enumerate() {
            let gated = self.shared_gate.is_some() && route.branch < self.gated;
            let mut gates = gate_routes.iter().zip(&dfused.active);
            let read =
                gated || gates.any(|(gate, &active)| active && gate.branch == route.branch && route.covers(gate));
            dbelow.set_active(e, read);
            if !read {
                continue;
            }
            let x = below.route(e, route);
            let grads = grad.own.touch(route.branch);
            for ((expert, cache), grad) in self.own[route.branch].iter().zip(experts).zip(grads) {
                cache.run.backward_rectified(expert, &x, grad, &mut dbelow.route(e, route));
            }
        }
        let x = below.shared();
        for ((expert, cache), grad) in self.shared.iter().zip(shared).zip(&mut grad.shared) {
            cache.run.backward_rectified(expert, &x, grad, &mut dbelow.shared());
        }
    }

    /// Shows the weights of every gate: of the branches' in the rows of their routes, of the shared one in all rows.
    pub(super) fn visit_gates(
        &self,
        index: usize,
        routes: LevelRoutes<'_>,
        cache: &LevelCache,
        see: &mut dyn FnMut(GateView<'_>),
    ) {
        let own = |branch: usize| {
            let id = self.own.keys()[branch];
            (0..self.own[branch].len()).map(move |i| ExpertId::Own(id, i))
        };
        let shared = || (0..self.shared.len()).map(ExpertId::Shared);
        let mut show = |reader, experts: &[ExpertId], start, gate: &GateCache| {
            see(GateView { level: index, reader, experts, start, weights: gate.weights().view() });
        };
        for (route, gate) in self.gate_routes(routes).iter().zip(&cache.gates) {
            let experts: Vec<_> = own(route.branch).chain(shared()).collect();
            show(GateReader::Branch(self.own.keys()[route.branch]), &experts, route.rows.start, gate);
        }
        if self.shared_gate.is_some() {
            let experts: Vec<_> = (0..self.gated).flat_map(own).chain(shared()).collect();
            show(GateReader::Shared, &experts, 0, &cache.shared_gate);
        }
    }

    /// The routes through the branches' gates; none where all branches take the shared gate.
    fn gate_routes<'a>(&self, routes: LevelRoutes<'a>) -> &'a [Route] {
        if self.gates.is_empty() { &[] } else { routes.gates }
    }

    /// The width of a fused vector.
    fn width(&self) -> usize {
        let expert = self.shared.first().or_else(|| self.own[0].first());
        expert.map_or(0, Mlp::output)
    }
}

/// A gate that read an expert.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// Where in the expert's `dweights` its gradient goes.
    gate: usize,
    /// What it gave the expert.
    weights: ArrayView1<'a, f32>,
    /// Which rows of the expert it read.
    rows: Segment,
    dy: &'a ArrayRef2<f32>,
}

impl Expert {
    /// The gradient of the expert's output, `Σ w·dy` over its readers, and of the weights that they gave it.
    ///
    /// Some rows at a time, reader after reader, so that what is added to stays in the cache.
    #[expect(clippy::needless_pass_by_value, reason = "iterators are passed by value")]
    fn mix_backward<'a>(&mut self, mlp: &Mlp, gates: usize, readers: impl Iterator<Item = Reader<'a>> + Clone) {
        let Self { run, dweights } = self;
        let count = run.out.nrows();
        run.fit_dout();
        resize(dweights, gates + 1, count);
        for start in (0..count).step_by(MIXED) {
            let end = count.min(start + MIXED);
            let mut readers = readers.clone().peekable();
            // The first one overwrites what is there, unless it leaves rows out.
            let mut add = readers.peek().is_none_or(|first| start < first.rows.start || first.rows.end < end);
            if add {
                clear(&mut run.dout.slice_mut(s![start..end, ..]));
            }
            for Reader { gate, weights, rows: read, dy } in readers {
                let rows = start.max(read.start)..end.min(read.end);
                if rows.is_empty() {
                    continue;
                }
                let own = rows.start - read.start..rows.end - read.start;
                mix_backward_rows(
                    &weights.slice(s![own.clone()]),
                    &run.out.slice(s![rows.clone(), ..]),
                    &dy.slice(s![own, ..]),
                    mlp.ends_rectified(),
                    &mut run.dout.slice_mut(s![rows.clone(), ..]),
                    std::mem::replace(&mut add, true),
                    &mut dweights.slice_mut(s![gate, rows]),
                );
            }
        }
    }
}

/// Runs `f` on every expert's position, the expert and its cache.
fn each_expert(experts: &[Mlp], caches: &mut [Expert], f: &(impl Fn(usize, &Mlp, &mut Expert) + Sync)) {
    parallel::each(Experts { first: 0, mlps: experts, caches }, &|Experts { first, mlps, caches }| {
        f(first, &mlps[0], &mut caches[0]);
    });
}

struct Experts<'a> {
    first: usize,
    mlps: &'a [Mlp],
    caches: &'a mut [Expert],
}

impl Divide for Experts<'_> {
    fn pieces(&self) -> usize {
        self.mlps.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (mlps, rest) = self.mlps.split_at(pieces);
        let (caches, rest_caches) = self.caches.split_at_mut(pieces);
        (Self { first: self.first, mlps, caches }, Self { first: self.first + pieces, mlps: rest, caches: rest_caches })
    }
}

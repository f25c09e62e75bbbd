//! Bottoms and towers: shared bottom, asymmetric and customized sharing.

mod fusion;

use std::marker::PhantomData;

use ndarray::{Array2, ArrayRef2, ArrayView2, s};

use super::branches::{BranchedConfig, Route};
use super::towers::{TowerShape, Towers, TowersCache, keep};
use super::{Input, Net, Plan};
use crate::data::DomainId;
use crate::nn::buffer::{clear, grow, resize};
use crate::nn::{Draws, HiddenStyle, Mlp, MlpRun, Mode, PerBranch, Segment, Size, Train};

pub use self::fusion::Fusion;

/// The settings of a [`BottomNet`].
pub trait BottomConfig: BranchedConfig + PartialEq {
    /// Its sizes.
    fn shape(&self) -> BottomShape<'_>;

    /// For each branch, the positions of those whose bottoms its tower reads, where branches have bottoms of their own; by
    /// default its own alone.
    fn reads(&self) -> Vec<Vec<usize>> {
        (0..self.branches().count(self.layout())).map(|branch| vec![branch]).collect()
    }

    /// How many bottoms of branches all towers read, of so many branches; by default each its own.
    fn count_reads(&self, branches: f64) -> f64 {
        branches
    }
}

/// The sizes of a [`BottomNet`].
#[derive(Debug, Clone, Copy)]
pub struct BottomShape<'a> {
    /// The widths of a bottom's layers.
    pub bottom_hidden: &'a [usize],
    /// The widths of a tower's hidden layers.
    pub tower_hidden: &'a [usize],
    /// Whether there is a bottom that all branches share.
    pub shared: bool,
    /// Whether every branch has a bottom of its own.
    pub own: bool,
    /// How a tower joins what it reads.
    pub fusion: Fusion,
    /// How hidden layers are made.
    pub style: HiddenStyle,
}

/// The dense part of [`SharedBottom`](super::SharedBottom), [`Asymmetric`](super::Asymmetric) and
/// [`Customized`](super::Customized): bottoms read the row, towers read bottoms (Tang et al., RecSys 2020, figure 1 a to c).
///
/// ```text
///   tower k    ŷ^k = t^k(fusion(b^j(x) for the bottoms j that k reads, own first, then the shared one))
/// ```
///
/// With branches for domains, a row passes the bottoms that its domain's towers read. A bottom runs once over the rows from the first to
/// the last that some tower reads it for: where several domains read it, those that stand between them in the order of domains pass it
/// too, unread. A row of no known domain takes the mean of the logits of the domains that the model was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct BottomNet<C> {
    /// The bottom that all branches share.
    pub shared: Option<Mlp>,
    /// The bottoms of the branches, if they have any.
    pub own: PerBranch<Mlp>,
    /// The towers.
    pub towers: Towers,
    /// For each branch, whose bottoms it reads; empty where branches have none.
    reads: Vec<Vec<usize>>,
    fusion: Fusion,
    config: PhantomData<fn() -> C>,
}

crate::params!(impl[C: BottomConfig] BottomNet<C> { shared, own, towers });

/// What a [`BottomNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct BottomCache {
    towers: TowersCache,
    shared: MlpRun,
    /// By branch.
    own: Vec<OwnRun>,
    /// What each route's tower reads, where that is more than one bottom's output.
    joined: Vec<Array2<f32>>,
    /// The gradient of what each route's tower reads, and whether it took part in the step.
    djoined: Vec<Array2<f32>>,
    active: Vec<bool>,
    scratch: Array2<f32>,
}

/// One branch's bottom in a batch.
#[derive(Debug, Default)]
struct OwnRun {
    run: MlpRun,
    /// The rows that pass it: from the first to the last that some tower reads it for.
    rows: Option<Segment>,
    /// Whether a tower that took part in the step read it.
    active: bool,
}

impl OwnRun {
    /// Where a route's rows are among this bottom's.
    fn within(&self, route: &Route) -> std::ops::Range<usize> {
        let start = self.rows.map_or(0, |rows| rows.start);
        route.rows.start - start..route.rows.end - start
    }
}

impl BottomShape<'_> {
    fn bottom(&self, input: usize, draws: &mut Draws) -> Mlp {
        Mlp::new(input, self.bottom_hidden, None, self.style, draws)
    }

    fn tower(&self, tasks: usize) -> TowerShape<'_> {
        TowerShape { hidden: self.tower_hidden, tasks, style: self.style }
    }

    /// How many values a bottom gives.
    fn output(&self) -> usize {
        *self.bottom_hidden.last().expect("a bottom has a layer")
    }

    /// What a tower that reads so many branches' bottoms reads.
    fn joined(&self, own: usize) -> usize {
        self.fusion.width(own + usize::from(self.shared), self.output())
    }
}

impl<C: BottomConfig> BottomNet<C> {
    /// The positions of the branches whose bottoms the tower of a branch reads.
    fn reads(&self, branch: usize) -> &[usize] {
        self.reads.get(branch).map_or(&[], Vec::as_slice)
    }

    /// The outputs that a route's tower reads.
    fn parts<'a>(
        &'a self,
        shared: &'a MlpRun,
        own: &'a [OwnRun],
        route: Route,
    ) -> impl ExactSizeIterator<Item = ArrayView2<'a, f32>> {
        let reads = self.reads(route.branch);
        let count = reads.len() + usize::from(self.shared.is_some());
        (0..count).map(move |i| match reads.get(i) {
            Some(&branch) => own[branch].run.out.slice(s![own[branch].within(&route), ..]),
            None => route.of(&shared.out),
        })
    }
}

/// What the i-th route's tower reads: its one part, or what was joined of several.
fn input<'a>(
    mut parts: impl ExactSizeIterator<Item = ArrayView2<'a, f32>>,
    joined: &'a Array2<f32>,
) -> ArrayView2<'a, f32> {
    match (parts.len(), parts.next()) {
        (1, Some(only)) => only,
        _ => joined.view(),
    }
}

impl<C: BottomConfig> Net for BottomNet<C> {
    type Config = C;
    type Cache = BottomCache;

    fn new(config: &C) -> Self {
        let (shape, draws, width) = (config.shape(), &mut config.draws(), config.width());
        let branches = config.branches().of(config.layout());
        let shared = shape.shared.then(|| shape.bottom(width, draws));
        let owners = if shape.own { &branches[..] } else { &[] };
        let own = PerBranch::new(owners.iter().copied(), |_| shape.bottom(width, draws));
        let reads = if shape.own { config.reads() } else { Vec::new() };
        let reader = |branch: usize| shape.joined(reads.get(branch).map_or(0, Vec::len));
        let towers = Towers::new(config, shape.tower(config.tasks()), reader, draws);
        Self { shared, own, towers, reads, fusion: shape.fusion, config: PhantomData }
    }

    fn size(config: &C) -> Option<Size> {
        let (shape, branches) = (config.shape(), config.branches().count(config.layout()) as f64);
        let (own, shared) = (if shape.own { branches } else { 0.0 }, if shape.shared { 1.0 } else { 0.0 });
        let reads = if shape.own { config.count_reads(branches) } else { 0.0 };
        let bottoms = (own + shared) * Mlp::size(config.width_f64(), shape.bottom_hidden, None, shape.style);
        let joined = if shape.fusion == Fusion::Concatenate { reads + branches * shared } else { branches };
        let inputs = joined * shape.output() as f64;
        let size = bottoms + Towers::size(config, shape.tower(config.tasks()), inputs);
        // Where outputs are added, towers have no weights for each that they read, but the list of those takes memory too.
        Some(Size { values: size.values.max(reads / 16.0), ..size })
    }

    fn row(config: &C) -> Option<f64> {
        let (shape, branches) = (config.shape(), config.branches().count(config.layout()) as f64);
        let answering = config.branches().answering(config.layout()) as f64;
        let reads = if shape.own { config.count_reads(branches) / branches.max(1.0) } else { 0.0 };
        let shared = if shape.shared { 1.0 } else { 0.0 };
        // With branches for tasks all bottoms run; else those that the towers of a domain read.
        let own = if shape.own { (answering + reads).min(branches) } else { 0.0 };
        let bottoms = (own + shared) * Mlp::row(shape.bottom_hidden, None, shape.style);
        let parts = reads + shared;
        let joined = if shape.fusion == Fusion::Concatenate { parts } else { 1.0 } * shape.output() as f64;
        let towers = Towers::row(config, shape.tower(config.tasks()), joined);
        Some(bottoms + answering * joined + config.width_f64() + towers)
    }

    fn forward<M: Mode>(&self, input_rows: Input<'_>, mode: M, cache: &mut BottomCache, logits: &mut ArrayRef2<f32>) {
        let Input { x, segments } = input_rows;
        let BottomCache { towers, shared, own, joined, .. } = cache;
        self.towers.lay(x.nrows(), segments, towers);
        if let Some(bottom) = &self.shared {
            shared.forward(bottom, x, mode);
        }
        grow(own, self.own.len());
        for run in &mut *own {
            run.rows = None;
        }
        for route in &towers.routes.answering {
            for &branch in self.reads(route.branch) {
                let Segment { start, end, .. } = own[branch].rows.unwrap_or(route.rows);
                let (start, end) = (start.min(route.rows.start), end.max(route.rows.end));
                own[branch].rows = Some(Segment { domain: None, start, end });
            }
        }
        for (bottom, run) in self.own.iter().zip(&mut *own) {
            if let Some(rows) = run.rows {
                run.run.forward(bottom, &x.slice(s![rows.rows(), ..]), mode);
            }
        }
        grow(joined, towers.routes.answering.len());
        for (route, joined) in towers.routes.answering.iter().zip(&mut *joined) {
            let parts = self.parts(shared, own, *route);
            if parts.len() > 1 {
                let width = self.towers.mlps[route.branch].layers[0].weight.nrows();
                resize(joined, route.rows.len(), width);
                self.fusion.forward(parts, joined);
            }
        }
        let reads = |i: usize, route: &Route| input(self.parts(shared, own, *route), &joined[i]);
        self.towers.forward(reads, mode, towers, logits);
    }

    fn backward(
        &self,
        input_rows: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut BottomCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let x = input_rows.x;
        let BottomCache { towers, shared, own, joined, djoined, active, scratch } = cache;
        let routes = towers.routes.answering.len();
        grow(djoined, routes);
        grow(active, routes);
        let reads = |i: usize, route: &Route| input(self.parts(shared, own, *route), &joined[i]);
        self.towers.backward(reads, dlogits, towers, &mut grad.towers, |i, _, dh| {
            keep(dh, &mut djoined[i], &mut active[i]);
        });
        shared.clear_dout();
        for run in &mut *own {
            run.active = false;
            run.run.clear_dout();
        }
        for (i, route) in towers.routes.answering.iter().enumerate().filter(|&(i, _)| active[i]) {
            let reads = self.reads(route.branch);
            let parts = reads.len() + usize::from(self.shared.is_some());
            for (part, &branch) in reads.iter().enumerate() {
                let rows = own[branch].within(route);
                own[branch].active = true;
                let mut dout = own[branch].run.dout.slice_mut(s![rows, ..]);
                self.fusion.backward(&djoined[i], part, parts, &mut dout);
            }
            if self.shared.is_some() {
                self.fusion.backward(&djoined[i], reads.len(), parts, &mut route.of_mut(&mut shared.dout));
            }
        }
        clear(dx);
        if let (Some(bottom), Some(grad)) = (&self.shared, &mut grad.shared) {
            shared.backward(bottom, x, grad, scratch);
            dx.assign(scratch);
        }
        for (branch, (bottom, run)) in self.own.iter().zip(own).enumerate() {
            if let (true, Some(rows)) = (run.active, run.rows) {
                let rows = s![rows.rows(), ..];
                run.run.backward(bottom, &x.slice(rows), grad.own.touch(branch), scratch);
                dx.slice_mut(rows).zip_mut_with(scratch, |sum, &d| *sum += d);
            }
        }
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let row = plan.row();
        let own: Vec<_> = self.own.iter().map(|bottom| plan.stack(row, bottom)).collect();
        let shared = self.shared.as_ref().map(|bottom| plan.stack(row, bottom));
        self.towers.plan(&mut plan, |plan, branch| {
            let reads = self.reads.get(branch).into_iter().flatten();
            let parts: Vec<_> = reads.map(|&read| own[read]).chain(shared).collect();
            plan.join(&parts, self.fusion)
        });
        plan
    }

    fn add_domain(&mut self, config: &mut C, domain: DomainId) {
        let (branches, mut draws) = self.towers.grow(config, domain);
        let (shape, width, tasks) = (config.shape(), config.width(), config.tasks());
        if shape.own {
            self.reads.extend(config.reads().drain(self.reads.len()..));
        }
        for branch in branches {
            let own = self.reads.get(self.own.len()).map_or(0, Vec::len);
            if shape.own {
                self.own.push(branch, shape.bottom(width, &mut draws));
            }
            self.towers.push(branch, shape.tower(tasks), shape.joined(own), &mut draws);
        }
    }
}

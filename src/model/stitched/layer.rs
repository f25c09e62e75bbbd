//! One layer of all stacks, and the units that stitch it.

use ndarray::{Array2, ArrayRef2, ArrayView2};

use super::super::branches::Route;
use crate::nn::buffer::{clear, grow, resize};
use crate::nn::{Branch, Draws, HiddenStyle, Mlp, MlpRun, Mode, PerBranch, Stitch};

/// One hidden layer of every branch's stack, and for every branch the unit that stitches its input to the next layer.
#[derive(Debug, Clone, PartialEq)]
pub struct StitchedLayer {
    /// The hidden layers: stacks of one.
    pub own: PerBranch<Mlp>,
    /// The units. Each reads the layers of the first so many branches.
    pub stitch: PerBranch<Stitch>,
}

crate::params!(StitchedLayer { own, stitch });

/// What a [`StitchedLayer`] keeps from forward to backward.
#[derive(Debug, Default)]
pub(super) struct LayerCache {
    /// By branch: its run, and whether a unit that took part in the step read it.
    own: Vec<MlpRun>,
    read: Vec<bool>,
    pub(super) stitched: Stitched,
    scratch: Array2<f32>,
}

/// What is read by stacks or towers, route by route: values, and in training their gradients and whether they took part in the step.
#[derive(Debug, Default)]
pub(super) struct Stitched {
    pub(super) values: Vec<Array2<f32>>,
    pub(super) gradients: Vec<Array2<f32>>,
    pub(super) active: Vec<bool>,
}

/// The sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerSize {
    pub(super) input: usize,
    pub(super) width: usize,
    pub(super) subspaces: usize,
    pub(super) own_weight: f32,
    pub(super) style: HiddenStyle,
}

/// What a layer read, and where the gradient of that is added up.
pub(super) enum Below<'a> {
    Rows { x: &'a ArrayRef2<f32>, dx: &'a mut ArrayRef2<f32> },
    Layer(&'a mut Stitched),
}

impl Below<'_> {
    /// What one branch's stack read, which therefore took part in the step.
    fn of(&mut self, branch: usize) -> (&ArrayRef2<f32>, &mut ArrayRef2<f32>) {
        match self {
            Self::Rows { x, dx } => (x, dx),
            Self::Layer(Stitched { values, gradients, active }) => {
                active[branch] = true;
                (&values[branch], &mut gradients[branch])
            }
        }
    }
}

impl Stitched {
    /// The value of one route, of this shape; its content is unspecified.
    pub(super) fn value(&mut self, index: usize, rows: usize, width: usize) -> &mut Array2<f32> {
        grow(&mut self.values, index + 1);
        resize(&mut self.values[index], rows, width);
        &mut self.values[index]
    }

    /// Sets the gradients of so many routes to 0, none of them active.
    pub(super) fn clear(&mut self, routes: usize) {
        let Self { values, gradients, active } = self;
        grow(gradients, routes);
        grow(active, routes);
        for (value, gradient) in values.iter().zip(gradients).take(routes) {
            resize(gradient, value.nrows(), value.ncols());
            clear(gradient);
        }
        active[..routes].fill(false);
    }
}

impl LayerSize {
    fn layer(self, draws: &mut Draws) -> Mlp {
        Mlp::new(self.input, &[self.width], None, self.style, draws)
    }

    /// The unit of the branch at this position.
    fn unit(self, own: usize, reads: usize) -> Stitch {
        Stitch::new(reads, self.subspaces, own, self.own_weight)
    }
}

impl StitchedLayer {
    /// `reads(k)` is how many branches, the first ones, the unit of branch `k` reads.
    pub(super) fn new(size: LayerSize, branches: &[Branch], reads: impl Fn(usize) -> usize, draws: &mut Draws) -> Self {
        let own = PerBranch::new(branches.iter().copied(), |_| size.layer(draws));
        let mut units = (0..branches.len()).map(|k| size.unit(k, reads(k)));
        let stitch = PerBranch::new(branches.iter().copied(), |_| units.next().expect("one for every branch"));
        Self { own, stitch }
    }

    /// Gives a new branch its layer and a unit that reads so many branches. The units of older branches do not read it: one more term
    /// would change the scores of everybody else.
    pub(super) fn push(&mut self, size: LayerSize, branch: Branch, reads: usize, draws: &mut Draws) {
        self.stitch.push(branch, size.unit(self.own.len(), reads));
        self.own.push(branch, size.layer(draws));
    }

    /// For every branch `x_k = φ(h_k·W_k + b_k)` over all rows, then for every route of it `h'_k = Σ_j α_kj·x_j`, block by block; `h_k` is
    /// what the layer below stitched for the branch, or the row itself.
    pub(super) fn forward<M: Mode>(
        &self,
        x: &ArrayRef2<f32>,
        below: Option<&Stitched>,
        routes: &[Route],
        mode: M,
        cache: &mut LayerCache,
    ) {
        let LayerCache { own, stitched, .. } = cache;
        grow(own, self.own.len());
        for (k, (layer, run)) in self.own.iter().zip(&mut *own).enumerate() {
            run.forward(layer, below.map_or(x, |below| &*below.values[k]), mode);
        }
        for (i, route) in routes.iter().enumerate() {
            let unit = &self.stitch[route.branch];
            let value = stitched.value(i, route.rows.len(), own[0].out.ncols());
            unit.forward(own[..unit.inputs()].iter().map(|run| route.of(&run.out)), value);
        }
    }

    /// Takes the gradients of what was stitched back to what the layer read: `dα_kj += ⟨dh'_k, x_j⟩`, `dx_j = Σ_k α_kj·dh'_k`, and through
    /// the stacks' layers into `below`.
    ///
    /// A layer that no active unit reads took no part in the step: it stays out of `grad`, and what feeds it alone does so in turn.
    pub(super) fn backward(&self, mut below: Below<'_>, routes: &[Route], cache: &mut LayerCache, grad: &mut Self) {
        let LayerCache { own, read, stitched, scratch } = cache;
        grow(read, self.own.len());
        read.fill(false);
        own.iter_mut().for_each(MlpRun::clear_dout);
        for (i, route) in routes.iter().enumerate().filter(|&(i, _)| stitched.active[i]) {
            let unit = &self.stitch[route.branch];
            let grad = grad.stitch.touch(route.branch);
            for (j, run) in own.iter_mut().enumerate().take(unit.inputs()) {
                read[j] = true;
                let (out, mut dout) = (route.of(&run.out), route.of_mut(&mut run.dout));
                unit.backward(j, &out, &stitched.gradients[i], grad, &mut dout);
            }
        }
        for (k, (layer, run)) in self.own.iter().zip(own).enumerate().filter(|&(k, _)| read[k]) {
            let (x, dx) = below.of(k);
            run.backward(layer, x, grad.own.touch(k), scratch);
            dx.zip_mut_with(scratch, |sum, &d| *sum += d);
        }
    }
}

/// What the units of one route gave, as rows of that route: at the last layer they run for its rows alone, below for all.
pub(super) fn of_route<'a>(stitched: &'a Stitched, last: bool, index: usize, route: &Route) -> ArrayView2<'a, f32> {
    if last { stitched.values[index].view() } else { route.of(&stitched.values[route.branch]) }
}

//! Learned vectors that represent branches, and the queries made of them.

use ndarray::{Array1, Array2, ArrayRef2, Axis};

use super::{AttentionMask, MultiHeadAttention, MultiHeadAttentionCache};
use crate::nn::buffer::resize;
use crate::nn::{Branch, Decay, InitRng, Leaf, LeafMut, Mode, Pair, Params, Path, PerBranch};

/// Learns a vector for each [`Branch`] of a model, its representation `r_k`, and computes from these vectors one query `q_k` for each branch
/// k. [`Mran`](crate::model::Mran) uses it.
///
/// There are two ways. Without attention, the query is the representation: `q_k = r_k`. With attention, the representations of the branches
/// are the tokens of a [`MultiHeadAttention`], and its output for branch k is `q_k`.
///
/// With attention, every branch attends to itself and to the first branches of the list; [`Representations::new`] gets their number as
/// `common`. A branch that is added later is not among them, so it does not change the queries of the others.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Branch, Infer, InitRng, Params as _, Representations, RepresentationsCache};
///
/// // Two branches, of which both attend to both (`common` is 2), and vectors of 3 values.
/// let layer = Representations::new(&[Branch::Task(0), Branch::Task(1)], 2, 3, &InitRng::new(1));
/// let (mut cache, mut q) = (RepresentationsCache::default(), Array2::zeros((2, 3)));
/// // `None`: without attention, so that the queries are the representations.
/// layer.forward(None, Infer.into(), &mut cache, &mut q);
/// assert_eq!(q.row(1), layer.own[1].vector);
/// let (mut dq, mut grad) = (array![[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], layer.zeros_like());
/// layer.backward(None, &mut dq, &mut cache, &mut grad);
/// assert_eq!(grad.own[0].vector, array![1.0, 2.0, 3.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Representations {
    /// The representations `r_k`: one learned vector for each branch.
    pub own: PerBranch<Representation>,
    common: usize,
}

/// The representation of one [`Branch`] in [`Representations`]: a learned vector that stands for the branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Representation {
    /// The learned vector `r_k` of the branch k, `[width]`. Its initial values follow a normal distribution of mean 0 and standard deviation
    /// 1.
    pub vector: Array1<f32>,
}

crate::params!(Representation { vector: Decay::None });

/// The values that the forward pass of [`Representations`] keeps for its backward pass. Make it by `Default::default()`, and pass the same
/// cache to both passes.
#[derive(Debug, Default)]
pub struct RepresentationsCache {
    vectors: Array2<f32>,
    dvectors: Array2<f32>,
    relations: MultiHeadAttentionCache,
    /// Whether each branch's query has a gradient.
    active: Vec<bool>,
}

impl Representations {
    /// One representation of `width` values for each branch of `branches`. The initial values come from `rng`: a normal distribution of mean
    /// 0 and standard deviation 1. With attention, every branch attends to the first `common` branches of the list and to itself. `common` is
    /// 1 to the number of branches; this is not checked.
    pub fn new(branches: &[Branch], common: usize, width: usize, rng: &InitRng) -> Self {
        let mut position = 0;
        let own = PerBranch::new(branches.iter().copied(), |_| {
            let rng = &mut rng.of_part(position);
            position += 1;
            Representation { vector: rng.normal(1, width, 1.0).remove_axis(Axis(0)) }
        });
        Self { own, common }
    }

    /// Replaces the first representations by those of `before`: the branches of `before` come first, new ones after them.
    pub(crate) fn keep(&mut self, before: Self) {
        for (k, own) in before.own.into_members().into_iter().enumerate() {
            *self.own.member_mut(k) = own;
        }
    }

    fn mask(&self) -> AttentionMask {
        AttentionMask { tokens: self.own.len(), common: self.common }
    }

    /// The forward pass: writes the queries `q_k` to `q`, `[branches, width]`, one line for each branch. `relations` is the attention among
    /// the branches. If it is `None`, there is no attention and the queries are the representations, `q_k = r_k`. `mode` is for the
    /// normalisation and the dropout of the attention. `cache` keeps values for the backward pass.
    ///
    /// # Panics
    /// If `q` has another shape. Its `width` is that of the representations, or that of the attention's output
    /// ([`MultiHeadAttention::width`]).
    pub fn forward(
        &self,
        relations: Option<&MultiHeadAttention>,
        mode: Mode<'_>,
        cache: &mut RepresentationsCache,
        q: &mut ArrayRef2<f32>,
    ) {
        let RepresentationsCache { vectors, relations: cache, .. } = cache;
        resize(vectors, self.own.len(), self.own[0].vector.len());
        for (mut row, own) in vectors.rows_mut().into_iter().zip(self.own.iter()) {
            row.assign(&own.vector);
        }
        match relations {
            Some(attention) => attention.forward(vectors, self.mask(), mode, cache, q),
            None => q.assign(vectors),
        }
    }

    /// The backward pass. `dq` is the gradient of the queries, and `cache` that of the forward pass. Adds the gradient of the representations
    /// to `grad`. `relations` is the attention of the forward pass with its gradient, to which this method adds too; `None` if the forward
    /// pass had none. It overwrites `dq`: do not read it afterwards.
    ///
    /// A branch whose row of `dq` is 0 had no labels in this step. Its representation has a gradient only if other branches attend to it.
    /// Otherwise it is marked as not present in the step ([`Per`](crate::nn::Per)), and optimizers skip it.
    pub fn backward(
        &self,
        relations: Option<(&MultiHeadAttention, &mut MultiHeadAttention)>,
        dq: &mut ArrayRef2<f32>,
        cache: &mut RepresentationsCache,
        grad: &mut Self,
    ) {
        let RepresentationsCache { vectors, dvectors, relations: cache, active } = cache;
        resize(dvectors, dq.nrows(), dq.ncols());
        active.clear();
        active.extend(dq.rows().into_iter().map(|dq| dq.iter().any(|&d| d != 0.0)));
        let seen = if relations.is_some() { self.common } else { 0 };
        match relations {
            Some((attention, grad)) => attention.backward(vectors, self.mask(), dq, cache, grad, dvectors),
            None => dvectors.assign(dq),
        }
        for (branch, (d, &active)) in dvectors.rows().into_iter().zip(&*active).enumerate() {
            if active || branch < seen {
                grad.own.touch(branch).vector += &d;
            }
        }
    }
}

impl Params for Representations {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        self.own.visit(path, see);
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        self.own.visit_mut(path, see);
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        self.own.visit_pair(&mut grad.own, path, see);
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        self.own.visit_presence(see);
    }

    fn zero(&mut self) {
        self.own.zero();
    }

    fn dismiss(&mut self) {
        self.own.dismiss();
    }
}

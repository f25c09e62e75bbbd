//! Learned vectors that represent branches, and the queries made of them.

use ndarray::{Array1, Array2, ArrayRef2, Axis};

use super::{AttentionMask, MultiHeadAttention, MultiHeadAttentionCache};
use crate::nn::buffer::resize;
use crate::nn::{Branch, Decay, InitRng, Leaf, LeafMut, Mode, Pair, Params, Path, PerBranch};

/// Computes one query vector for each branch of a model, for [`Mran`](crate::model::Mran): `q_k = attention(r)_k`, by attention over the
/// learned representations `r` of all branches, or `q_k = r_k` without attention.
///
/// A branch attends to the first `common` branches and to itself, so that a branch that is added later does not change the queries of
/// others.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{Branch, Infer, InitRng, Params as _, Representations, RepresentationsCache};
///
/// let layer = Representations::new(&[Branch::Task(0), Branch::Task(1)], 2, 3, &InitRng::new(1));
/// let (mut cache, mut q) = (RepresentationsCache::default(), Array2::zeros((2, 3)));
/// layer.forward(None, Infer.into(), &mut cache, &mut q);
/// assert_eq!(q.row(1), layer.own[1].vector);
/// let (mut dq, mut grad) = (array![[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], layer.zeros_like());
/// layer.backward(None, &mut dq, &mut cache, &mut grad);
/// assert_eq!(grad.own[0].vector, array![1.0, 2.0, 3.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Representations {
    /// The representations `r`: one learned vector for each branch.
    pub own: PerBranch<Representation>,
    common: usize,
}

/// The representation of one branch: a member of [`Representations`].
#[derive(Debug, Clone, PartialEq)]
pub struct Representation {
    /// The learned vector `r_k` of the branch, `[width]`.
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
    /// One representation of `width` values for each branch of `branches`, drawn from a normal distribution of standard deviation 1. All
    /// branches attend to the first `common` branches of the list.
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

    /// The forward pass: writes the queries to `q`, `[branches, width]`. `relations` is the attention among branches, `q_k =
    /// attention(r)_k`; if it is `None`, the queries are the representations, `q_k = r_k`.
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

    /// Adds the gradient of the representations to `grad`, given the gradient `dq` of the queries. A branch whose `dq` is 0 had no labels
    /// in the step: then its representation has a gradient only if other branches attend to it; otherwise it is absent, and optimizers skip
    /// it. `dq` is overwritten: do not read it afterwards.
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

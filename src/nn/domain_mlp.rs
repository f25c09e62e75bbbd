//! A stack of layers that reads the row and an embedding of its domain.

use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2, Axis};

use super::buffer::resize;
use super::{
    Decay, HiddenSettings, InitRng, InputGrad, JoinedCache, Linear, Mlp, MlpCache, Mode, PerDomain, Segment, Size,
};
use crate::data::DomainId;

/// A multilayer perceptron that reads a row `x` and a learned embedding `e_d` of the row's domain d: `logits = mlp([x, e_d])`, where
/// `[x, e_d]` is the row followed by the embedding.
///
/// It is the net of the [`Pooled`](crate::Pooled) model and the auxiliary network of [`Star`](crate::Star). For rows of
/// [`DomainId::SHARED`], the domain is not known: they get the mean of the embeddings of all domains.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{DomainMlp, DomainMlpCache, HiddenSettings, Infer, InitRng, Linear, Segment};
///
/// let domains = [DomainId::new(0), DomainId::new(1)];
/// // Rows of 1 value, embeddings of 1 value, no hidden layers, 1 task.
/// let mut net = DomainMlp::new(1, &domains, 1, &[], 1, HiddenSettings::default(), &mut InitRng::new(1));
/// net.domain.member_mut(0).embedding[0] = 1.0;
/// net.domain.member_mut(1).embedding[0] = 3.0;
/// net.mlp.layers[0] = Linear { weight: array![[2.0], [10.0]], bias: array![0.0] };
/// let segment = |domain, start| Segment { domain, start, end: start + 1 };
/// let segments = [segment(domains[0], 0), segment(domains[1], 1), segment(DomainId::SHARED, 2)];
/// let (x, mut logits) = (array![[1.0], [1.0], [1.0]], Array2::zeros((3, 1)));
/// net.forward(&x, &segments, Infer.into(), &mut DomainMlpCache::default(), &mut logits);
/// assert_eq!(logits, array![[12.0], [32.0], [22.0]]); // 2·x + 10·e_d
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DomainMlp {
    /// The embedding of each domain d: a learned vector `e_d`, which the layers read after the row.
    pub domain: PerDomain<DomainEmbedding>,
    /// The layers that all domains share. Their input is `[x, e_d]`, the row x followed by the embedding `e_d` of its domain d.
    pub mlp: Mlp,
}

/// The embedding of one domain in a [`DomainMlp`]. Only rows of this domain train it.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEmbedding {
    /// The embedding `e_d`, a learned vector. Its length is the same for all domains.
    pub embedding: Array1<f32>,
}

crate::params!(DomainMlp { domain, mlp });
crate::params!(DomainEmbedding { embedding: Decay::None });

/// The values that the forward pass of [`DomainMlp`] keeps for its backward pass. Make it by `Default::default()`, and pass the same cache
/// to both passes.
#[derive(Debug, Default)]
pub struct DomainMlpCache {
    joined: JoinedCache,
    dlogits: Array2<f32>,
    mlp: MlpCache,
}

impl DomainMlp {
    /// A net for rows of `width` values. `domain_dim` is the length of the embedding of a domain; `domains` are the domains that have one.
    /// `hidden` lists the widths of the hidden layers, and `style` has their other settings. An output layer follows, which computes one
    /// logit for each of `tasks` tasks. `rng` gives the random initial values.
    ///
    /// The initial embeddings follow a normal distribution of mean 0 and standard deviation 0.1.
    pub fn new(
        width: usize,
        domains: &[DomainId],
        domain_dim: usize,
        hidden: &[usize],
        tasks: usize,
        style: HiddenSettings,
        rng: &mut InitRng,
    ) -> Self {
        let domain = PerDomain::new(domains.iter().copied(), |_| DomainEmbedding {
            embedding: rng.normal(1, domain_dim, 0.1).remove_axis(Axis(0)),
        });
        Self { domain, mlp: Mlp::new(width + domain_dim, hidden, Some(tasks), style, rng) }
    }

    /// The size of what [`DomainMlp::new`] makes.
    pub(crate) fn size(
        width: f64,
        domains: f64,
        domain_dim: usize,
        hidden: &[usize],
        tasks: usize,
        style: HiddenSettings,
    ) -> Size {
        domains * Size::tensor(domain_dim as f64) + Mlp::size(width + domain_dim as f64, hidden, Some(tasks), style)
    }

    /// Writes the mean of all domains' embeddings to `mean`.
    fn mean_embedding(&self, mean: &mut ArrayRef1<f32>) {
        mean.fill(0.0);
        for own in self.domain.iter() {
            mean.scaled_add(1.0 / self.domain.len() as f32, &own.embedding);
        }
    }

    /// Gives a new domain the mean of the others' embeddings, so that its rows start with the logits of rows of no known domain.
    pub(crate) fn push_domain(&mut self, domain: DomainId) {
        let mut embedding = Array1::zeros(self.domain[0].embedding.len());
        self.mean_embedding(&mut embedding);
        self.domain.push(domain, DomainEmbedding { embedding });
    }

    /// The forward pass, `logits = mlp([x, e_d])`. `x` is `[rows, width]` and `logits` is `[rows, tasks]`. `segments` says which rows belong
    /// to which domain d: it must cover all rows of `x`, in order. `mode` is for normalisation and dropout of the hidden layers. `cache`
    /// keeps values for the backward pass.
    ///
    /// # Panics
    /// If `logits` has another shape, if `segments` does not cover all rows in order, or if the net has no embedding for the domain of a
    /// segment.
    pub fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut DomainMlpCache,
        logits: &mut ArrayRef2<f32>,
    ) {
        let DomainMlpCache { joined, mlp, .. } = cache;
        let embedding = |segment: Segment, to: &mut ArrayRef1<f32>| match self.domain.of(segment.domain) {
            Some(own) => to.assign(&own.embedding),
            None => self.mean_embedding(to),
        };
        let first = |layer: &Linear, rectify: bool, z: &mut ArrayRef2<f32>| {
            layer.forward_joined(x, segments, embedding, joined, z, rectify);
        };
        self.mlp.forward_after(first, mode, mlp, logits);
    }

    /// The backward pass. `x`, `segments` and `cache` are those of the forward pass, and `dlogits` is the gradient of the logits. Adds the
    /// gradient of the parameters to `grad`. The gradient of `x` goes to `dx`; [`InputGrad`] says whether it overwrites the matrix or is
    /// added to it. Pass `None` for `dx` if you do not need it.
    ///
    /// # Panics
    /// If the domain of a segment is [`DomainId::SHARED`], or if a shape is not that of the forward pass.
    pub fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dlogits: &ArrayRef2<f32>,
        cache: &mut DomainMlpCache,
        grad: &mut Self,
        dx: Option<InputGrad<'_>>,
    ) {
        let DomainMlpCache { joined, dlogits: above, mlp: cache } = cache;
        resize(above, dlogits.nrows(), dlogits.ncols());
        above.assign(dlogits);
        let Self { domain, mlp } = grad;
        let dembedding = |segment: Segment, d: &ArrayRef1<f32>| {
            domain.touch(segment.trained_domain()).embedding.scaled_add(1.0, d);
        };
        let first = |layer: &Linear, dz: &ArrayRef2<f32>, grad: &mut Linear| {
            layer.backward_joined(x, segments, dz, joined, grad, dembedding, dx);
        };
        self.mlp.backward_after(first, above, cache, mlp);
    }
}

impl DomainMlp {
    /// The first layer for rows of one domain. It reads `x` alone; the embedding is part of its bias.
    pub(crate) fn first_of(&self, domain: DomainId) -> Linear {
        let mut embedding = self.domain[0].embedding.clone();
        match self.domain.of(domain) {
            Some(own) => embedding.assign(&own.embedding),
            None => self.mean_embedding(&mut embedding),
        }
        self.mlp.layers[0].with_last(&embedding)
    }
}

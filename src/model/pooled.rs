//! One model for all domains, with the domain as a feature; also STAR's auxiliary network.

use std::borrow::Cow;
use std::iter;

use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2, Axis};

use super::config::{MAX_WIDTH, check_most, check_widths, model_config};
use super::{Input, Net, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::buffer::resize;
use crate::nn::matmul::Out;
use crate::nn::{Decay, Draws, HiddenStyle, JoinedCache, Linear, Mlp, MlpCache, Mode, PerDomain, Segment, Size, Train};

model_config! {
    /// The settings of [`Pooled`](super::Pooled).
    PooledConfig, PooledConfigBuilder, "pooled" of PooledNet => {
        /// The widths of the hidden layers; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>;
        /// The width of the domain's embedding, at least 1; default 16.
        domain_dim: usize = 16;
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
        check_most("domain_dim", this.domain_dim, MAX_WIDTH, problems);
        problems.require(this.domain_dim >= 1, || "domain_dim: at least 1, found 0".into());
    }
}

/// `logits = mlp([x, e_d])`: a stack that reads the row and an embedding of its domain.
///
/// By itself it is the pooled model, which every multi-domain model has to beat; inside [`StarNet`](super::StarNet) it is the auxiliary
/// network. A row of no known domain gets the mean of all domains' embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct PooledNet {
    /// `e_d`.
    pub domain: PerDomain<DomainEmbedding>,
    /// The stack.
    pub mlp: Mlp,
}

/// The embedding of one domain.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEmbedding {
    /// `e_d`, `[domain_dim]`.
    pub embedding: Array1<f32>,
}

crate::params!(PooledNet { domain, mlp });
crate::params!(DomainEmbedding { embedding: Decay::None });

/// What a [`PooledNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct PooledCache {
    joined: JoinedCache,
    dlogits: Array2<f32>,
    mlp: MlpCache,
}

impl PooledNet {
    /// A net for rows of `width` values; domain embeddings are drawn from a normal distribution of deviation 0.1.
    pub(crate) fn with(
        width: usize,
        domains: &[DomainId],
        domain_dim: usize,
        hidden: &[usize],
        tasks: usize,
        style: HiddenStyle,
        draws: &mut Draws,
    ) -> Self {
        let domain = PerDomain::new(domains.iter().copied(), |_| DomainEmbedding {
            embedding: draws.normal(1, domain_dim, 0.1).remove_axis(Axis(0)),
        });
        Self { domain, mlp: Mlp::new(width + domain_dim, hidden, Some(tasks), style, draws) }
    }

    /// How many values [`PooledNet::with`] makes.
    pub(crate) fn size_with(
        width: f64,
        domains: f64,
        domain_dim: usize,
        hidden: &[usize],
        tasks: usize,
        style: HiddenStyle,
    ) -> Size {
        domains * Size::tensor(domain_dim as f64) + Mlp::size(width + domain_dim as f64, hidden, Some(tasks), style)
    }

    /// Writes the mean of all domains' embeddings.
    fn mean_embedding(&self, mean: &mut ArrayRef1<f32>) {
        mean.fill(0.0);
        for own in self.domain.iter() {
            mean.scaled_add(1.0 / self.domain.len() as f32, &own.embedding);
        }
    }

    /// Gives a new domain the mean of the others' embeddings, so that it starts as a domain of which nothing is known.
    pub(crate) fn push_domain(&mut self, domain: DomainId) {
        let mut embedding = Array1::zeros(self.domain[0].embedding.len());
        self.mean_embedding(&mut embedding);
        self.domain.push(domain, DomainEmbedding { embedding });
    }

    /// `logits = mlp([x, e_d])`.
    pub(crate) fn forward_joined<M: Mode>(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: M,
        cache: &mut PooledCache,
        logits: &mut ArrayRef2<f32>,
    ) {
        let PooledCache { joined, mlp, .. } = cache;
        let embedding = |segment: Segment, to: &mut ArrayRef1<f32>| match segment.domain {
            Some(d) => to.assign(&self.domain[d].embedding),
            None => self.mean_embedding(to),
        };
        let first = |layer: &Linear, rectify: bool, z: &mut ArrayRef2<f32>| {
            layer.forward_joined(x, segments, embedding, joined, z, rectify);
        };
        self.mlp.forward_behind(first, mode, mlp, logits);
    }

    /// Takes `dlogits` back; `dx` says what is to become of the gradient of x.
    pub(crate) fn backward_joined(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dlogits: &ArrayRef2<f32>,
        cache: &mut PooledCache,
        grad: &mut Self,
        dx: Out<'_, '_>,
    ) {
        let PooledCache { joined, dlogits: above, mlp: cache } = cache;
        resize(above, dlogits.nrows(), dlogits.ncols());
        above.assign(dlogits);
        let Self { domain, mlp } = grad;
        let dembedding = |segment: Segment, d: &ArrayRef1<f32>| {
            domain.touch(segment.trained_domain()).embedding.scaled_add(1.0, d);
        };
        let first = |layer: &Linear, dz: &ArrayRef2<f32>, grad: &mut Linear| {
            layer.backward_joined(x, segments, dz, joined, grad, dembedding, dx);
        };
        self.mlp.backward_behind(first, above, cache, mlp);
    }
}

impl PooledNet {
    /// Writes down [`PooledNet::forward_joined`] for rows of one domain or of no known one: the embedding is in the first layer's bias.
    pub(crate) fn plan_joined<'a>(&'a self, domain: Option<usize>, plan: &mut Plan<'a>) {
        let mut embedding = self.domain[0].embedding.clone();
        match domain {
            Some(d) => embedding.assign(&self.domain[d].embedding),
            None => self.mean_embedding(&mut embedding),
        }
        let Mlp { layers, hidden } = &self.mlp;
        let first = Cow::Owned(layers[0].with_last(&embedding));
        let mut value = plan.row();
        for (i, layer) in iter::once(first).chain(layers[1..].iter().map(Cow::Borrowed)).enumerate() {
            value = plan.layer(value, layer, hidden.get(i));
        }
        plan.answer(domain, value, None, 1.0);
    }
}

impl Net for PooledNet {
    type Config = PooledConfig;
    type Cache = PooledCache;

    fn new(config: &PooledConfig) -> Self {
        let settings = &config.0;
        let (style, draws) = (settings.style(), &mut config.draws());
        let (hidden, dim) = (&settings.hidden, settings.domain_dim);
        Self::with(config.width(), &config.domains(), dim, hidden, config.tasks(), style, draws)
    }

    fn size(config: &PooledConfig) -> Option<Size> {
        let (settings, domains) = (&config.0, config.layout().domains.len() as f64);
        let PooledConfigBuilder { domain_dim, hidden, .. } = settings;
        Some(Self::size_with(config.width_f64(), domains, *domain_dim, hidden, config.tasks(), settings.style()))
    }

    fn row(config: &PooledConfig) -> Option<f64> {
        Some(Mlp::row(&config.0.hidden, Some(config.tasks()), config.0.style()))
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut PooledCache, logits: &mut ArrayRef2<f32>) {
        self.forward_joined(input.x, input.segments, mode, cache, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut PooledCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        self.backward_joined(input.x, input.segments, dlogits, cache, grad, Out::set(dx));
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        for domain in plan.domains() {
            self.plan_joined(domain, &mut plan);
        }
        plan
    }

    fn add_domain(&mut self, _: &mut PooledConfig, domain: DomainId) {
        self.push_domain(domain);
    }
}

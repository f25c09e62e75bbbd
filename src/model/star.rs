//! STAR: a star topology of shared and domain-specific weights.

use std::borrow::Cow;

use ndarray::{Array2, ArrayRef2};

use super::config::{MAX_WIDTH, check_most, check_widths, model_config};
use super::pooled::{PooledCache, PooledNet};
use super::statistics::has_averages;
use super::{Input, Net, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::buffer::{grow, resize};
use crate::nn::matmul::Out;
use crate::nn::{
    Combination, DomainLinear, Draws, Gated, Hidden, HiddenCache, Init, Linear, Mlp, Mode, PartitionedNorm,
    PartitionedNormCache, PartitionedNormSettings, Rectified, Size, StarLinear, StarLinearCache, Train,
};
use crate::parallel::join;

model_config! {
    /// The settings of [`Star`](super::Star).
    StarConfig, StarConfigBuilder, "star" of StarNet => {
        /// The widths of the hidden layers of the star topology; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>;
        /// How the shared weights and a domain's own are combined; default their product, as in the paper.
        combination: Combination = Combination::Product;
        /// Whether the input goes through Partitioned Normalization; default true.
        partitioned_norm: bool = true;
        /// ε of Partitioned Normalization, above 0; default 1e-5.
        norm_epsilon: f32 = 1e-5;
        /// The rate at which moving averages move once they are warm, in (0, 1]; default 0.05.
        norm_rate: f32 = 0.05;
        /// The fewest rows of a domain in a batch that Partitioned Normalization standardises by their own statistics, at least 2; default
        /// 32. Fewer rows take the moving averages of their domain.
        norm_min_rows: usize = 32;
        /// φ of Partitioned Normalization: the share of the pooled variance of all domains that is added to a domain's variance, at least 0;
        /// default 0. Above 0 it bounds what becomes of a new value in a column that was nearly constant in a domain, and lets the
        /// scores of a domain depend on the statistics of the others.
        norm_floor: f32 = 0.0;
        /// Whether there is an auxiliary network; default true.
        auxiliary: bool = true;
        /// The widths of the auxiliary network's hidden layers; default 32.
        auxiliary_hidden: Vec<usize> = vec![32], from impl Into<Vec<usize>>;
        /// The width of the domain's embedding in the auxiliary network, at least 1; default 16.
        domain_dim: usize = 16;
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
        check_widths("auxiliary_hidden", &this.auxiliary_hidden, problems);
        this.combination.check(problems);
        let (epsilon, rate) = (this.norm_epsilon, this.norm_rate);
        problems.require(epsilon > 0.0 && epsilon.is_finite(), || format!("norm_epsilon: above 0, found {epsilon}"));
        problems.require(rate > 0.0 && rate <= 1.0, || format!("norm_rate: 0 < norm_rate <= 1, found {rate}"));
        let floor = this.norm_floor;
        problems.require(floor >= 0.0 && floor.is_finite(), || format!("norm_floor: at least 0, found {floor}"));
        let rows = this.norm_min_rows;
        problems.require(rows >= 2, || format!("norm_min_rows: at least 2, found {rows}"));
        check_most("domain_dim", this.domain_dim, MAX_WIDTH, problems);
        problems.require(this.domain_dim >= 1, || "domain_dim: at least 1, found 0".into());
    }
}

/// The dense part of STAR (Sheng et al., "One Model to Serve All", CIKM 2021, section 3):
///
/// ```text
///              ┌─ PN ── star layer, φ ── … ── star layer ──┐
///   x ─────────┤                                           + ── logits
///              └─ [x, e_d] ── auxiliary network ───────────┘
/// ```
///
/// * [`PartitionedNorm`] at the input (section 3.3, equations 3 and 4),
/// * a fully connected net every layer of which, the last included, is a [`StarLinear`] (section 3.4, equations 5 and 6): `W*_d = W ⊙ W_d`,
///   or another [`Combination`],
/// * an auxiliary network that reads the domain ([`PooledNet`]; section 3.5), whose logit is added (equation 7): `p = σ(s_main + s_a)`.
///
/// At its start, whatever the combination, the star topology is a shared bottom. A row of no known domain takes W alone, the pooled statistics
/// and the mean domain embedding.
///
/// Hidden layers may have a batch normalisation or Dice: those take their statistics over all rows of a batch, of whatever
/// domain, which is what Partitioned Normalization avoids at the input.
#[derive(Debug, Clone, PartialEq)]
pub struct StarNet {
    /// Partitioned Normalization.
    pub norm: Option<PartitionedNorm>,
    /// The star topology.
    pub layers: Vec<StarLinear>,
    /// What follows each layer but the last.
    pub hidden: Vec<Hidden>,
    /// The auxiliary network.
    pub auxiliary: Option<PooledNet>,
}

crate::params!(StarNet { norm, layers, hidden, auxiliary });

/// What a [`StarNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct StarCache {
    star: TopologyCache,
    auxiliary: PooledCache,
    auxiliary_logits: Array2<f32>,
}

/// What all but the auxiliary network keeps.
#[derive(Debug, Default)]
struct TopologyCache {
    norm: PartitionedNormCache,
    normed: Array2<f32>,
    dnormed: Array2<f32>,
    layers: Vec<LayerCache>,
}

#[derive(Debug, Default)]
struct LayerCache {
    linear: StarLinearCache,
    /// What the affine map gives, where its backward pass needs it, and what the layer gives.
    z: Array2<f32>,
    h: Array2<f32>,
    /// Their gradients; where the layer rectifies, `dh` is the one in front of the rectifier.
    dz: Array2<f32>,
    dh: Array2<f32>,
    hidden: HiddenCache,
}

impl StarNet {
    /// The star topology's logits.
    fn forward_star<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut TopologyCache, logits: &mut ArrayRef2<f32>) {
        let Input { x, segments } = input;
        let rows = x.nrows();
        grow(&mut cache.layers, self.layers.len());
        let TopologyCache { norm, normed, layers, .. } = cache;
        let normed: &ArrayRef2<f32> = match &self.norm {
            None => x,
            Some(layer) => {
                resize(normed, rows, x.ncols());
                layer.forward(x, segments, mode, norm, normed);
                normed
            }
        };
        for (i, layer) in self.layers.iter().enumerate() {
            let (before, rest) = layers.split_at_mut(i);
            let h = before.last().map_or(normed, |cache| &*cache.h);
            let LayerCache { linear, z, h: out, hidden, .. } = &mut rest[0];
            let Some(post) = self.hidden.get(i) else {
                layer.forward(h, segments, linear, logits);
                break;
            };
            let width = layer.shared.bias.len();
            resize(out, rows, width);
            if post.rectifies().is_some() {
                layer.forward_into(h, segments, linear, out, true);
                post.drop_out(mode, hidden, out);
            } else {
                resize(z, rows, width);
                layer.forward(h, segments, linear, z);
                post.forward(z, mode, hidden, out);
            }
        }
    }

    /// Takes `dlogits` back through the star topology's layers, to the gradient of what Partitioned Normalization gave.
    fn backward_star(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        cache: &mut TopologyCache,
        dlayers: &mut [StarLinear],
        dposts: &mut [Hidden],
    ) {
        let Input { x, segments } = input;
        let rows = x.nrows();
        let TopologyCache { normed, dnormed, layers, .. } = cache;
        let normed: &ArrayRef2<f32> = if self.norm.is_some() { normed } else { x };
        resize(dnormed, rows, x.ncols());
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (before, rest) = layers.split_at_mut(i);
            let LayerCache { linear, z, dz, dh, hidden, .. } = &mut rest[0];
            let dy: &ArrayRef2<f32> = match self.hidden.get(i) {
                None => dlogits,
                // The layer above has taken the gradient back through the rectifier.
                Some(post) if post.rectifies().is_some() => dh,
                Some(post) => {
                    resize(dz, rows, z.ncols());
                    post.backward(z, dh, hidden, &mut dposts[i], dz);
                    dz
                }
            };
            let grad = &mut dlayers[i];
            let Some(LayerCache { h, dh, .. }) = before.last_mut() else {
                layer.backward(normed, segments, dy, linear, grad, Some(dnormed));
                continue;
            };
            resize(dh, rows, h.ncols());
            let rectified = self.hidden[i - 1].rectifies().map(|scale| Rectified { h: h.view(), scale });
            layer.backward_into(h, segments, dy, linear, grad, Some(dh), rectified);
        }
    }
}

impl Net for StarNet {
    type Config = StarConfig;
    type Cache = StarCache;

    fn new(config: &StarConfig) -> Self {
        let (settings, draws, domains) = (&config.0, &mut config.draws(), config.domains());
        let (width, tasks, style, combination) =
            (config.width(), config.tasks(), settings.style(), settings.combination);
        let norm = settings.partitioned_norm.then(|| {
            let settings = PartitionedNormSettings {
                epsilon: settings.norm_epsilon,
                rate: settings.norm_rate,
                min_rows: settings.norm_min_rows,
                floor: settings.norm_floor,
            };
            PartitionedNorm::new(width, domains.clone(), settings)
        });
        let (mut layers, mut hidden, mut from) = (Vec::new(), Vec::new(), width);
        for &to in &settings.hidden {
            layers.push(StarLinear::new(from, to, domains.clone(), combination, style.init, draws));
            hidden.push(Hidden::new(to, style.norm, style.activation, style.dropout, draws));
            from = to;
        }
        layers.push(StarLinear::new(from, tasks, domains.clone(), combination, Init::Xavier, draws));
        let auxiliary = settings.auxiliary.then(|| {
            PooledNet::with(width, &domains, settings.domain_dim, &settings.auxiliary_hidden, tasks, style, draws)
        });
        Self { norm, layers, hidden, auxiliary }
    }

    fn size(config: &StarConfig) -> Option<Size> {
        let (settings, width, domains) = (&config.0, config.width_f64(), config.layout().domains.len() as f64);
        let (tasks, style) = (config.tasks(), settings.style());
        let mut size = Size::default();
        if settings.partitioned_norm {
            size = size + PartitionedNorm::size(width, domains);
        }
        let mut from = width;
        for to in settings.hidden.iter().map(|&to| to as f64) {
            size = size + StarLinear::size(from, to, domains, settings.combination);
            size = size + Hidden::size(to, style.norm, style.activation);
            from = to;
        }
        size = size + StarLinear::size(from, tasks as f64, domains, settings.combination);
        let (dim, hidden) = (settings.domain_dim, &settings.auxiliary_hidden);
        if settings.auxiliary {
            size = size + PooledNet::size_with(width, domains, dim, hidden, tasks, style);
        }
        Some(size)
    }

    fn row(config: &StarConfig) -> Option<f64> {
        let (settings, style, tasks) = (&config.0, config.0.style(), config.tasks());
        let norm = if settings.partitioned_norm { 2.0 * config.width_f64() } else { 0.0 };
        let combined =
            settings.hidden.iter().chain([&tasks]).map(|&to| settings.combination.row() * to as f64).sum::<f64>();
        let layers = Mlp::row(&settings.hidden, Some(tasks), style) + combined;
        let auxiliary =
            if settings.auxiliary { Mlp::row(&settings.auxiliary_hidden, Some(2 * tasks), style) } else { 0.0 };
        Some(norm + layers + auxiliary)
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut StarCache, logits: &mut ArrayRef2<f32>) {
        let StarCache { star, auxiliary: cache, auxiliary_logits } = cache;
        let Some(auxiliary) = &self.auxiliary else {
            self.forward_star(input, mode, star, logits);
            return;
        };
        let Input { x, segments } = input;
        resize(auxiliary_logits, x.nrows(), logits.ncols());
        join(
            || self.forward_star(input, mode, star, logits),
            || auxiliary.forward_joined(x, segments, mode, cache, auxiliary_logits),
        );
        logits.scaled_add(1.0, auxiliary_logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut StarCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let StarCache { star, auxiliary: cache, .. } = cache;
        let Input { x, segments } = input;
        let Self { norm, layers, hidden, auxiliary } = grad;
        let mut backward_star = || self.backward_star(input, dlogits, star, layers, hidden);
        // The auxiliary network is the first to write dx, the star topology adds to that.
        let add = if let (Some(net), Some(grad)) = (&self.auxiliary, auxiliary) {
            let out = Out::set(dx);
            join(backward_star, || net.backward_joined(x, segments, dlogits, cache, grad, out));
            true
        } else {
            backward_star();
            false
        };
        let TopologyCache { norm: cache, dnormed, .. } = star;
        match (&self.norm, norm) {
            (Some(layer), Some(grad)) => layer.backward_into(x, segments, dnormed, cache, grad, dx, add),
            _ if add => dx.scaled_add(1.0, dnormed),
            _ => dx.assign(dnormed),
        }
    }

    fn note_statistics(&self, input: Input<'_>, grad: &mut Self) -> bool {
        if has_averages(&self.hidden) || has_averages(&self.auxiliary) {
            return false;
        }
        if let Some(grad) = &mut grad.norm {
            grad.note_statistics(input.x, input.segments);
        }
        true
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let norm = self.norm.as_ref().map(PartitionedNorm::affine);
        for domain in plan.domains() {
            let mut norm = norm.as_ref().map(|norm| norm(domain));
            let mut value = plan.row();
            for (i, layer) in self.layers.iter().enumerate() {
                // Partitioned Normalization, an affine map in inference, becomes part of the maps that read it.
                let norm = norm.take();
                let behind = |linear| -> Cow<'_, Linear> {
                    match &norm {
                        None => linear,
                        Some((scale, shift)) => Cow::Owned(linear.behind(scale, shift)),
                    }
                };
                let hidden = self.hidden.get(i);
                value = match domain.map(|d| &layer.domain[d]) {
                    Some(DomainLinear::Gate(Gated { own, gate })) => {
                        let maps = [&layer.shared, own, gate];
                        let [shared, own, gate] =
                            maps.map(|linear| plan.layer(value, behind(Cow::Borrowed(linear)), None));
                        let z = plan.gated(shared, own, gate);
                        hidden.map_or(z, |hidden| plan.hidden(z, hidden))
                    }
                    own => {
                        let combined = own.map(|own| own.combined(&layer.shared));
                        let linear = combined.map_or(Cow::Borrowed(&layer.shared), Cow::Owned);
                        plan.layer(value, behind(linear), hidden)
                    }
                };
            }
            plan.answer(domain, value, None, 1.0);
            if let Some(auxiliary) = &self.auxiliary {
                auxiliary.plan_joined(domain, &mut plan);
            }
        }
        plan
    }

    fn add_domain(&mut self, config: &mut StarConfig, domain: DomainId) {
        let draws = &mut Draws::later(config.seed(), self.layers[0].domain.len());
        if let Some(norm) = &mut self.norm {
            norm.add_domain(domain);
        }
        self.layers.iter_mut().for_each(|layer| layer.add_domain(domain, draws));
        if let Some(auxiliary) = &mut self.auxiliary {
            auxiliary.push_domain(domain);
        }
    }
}

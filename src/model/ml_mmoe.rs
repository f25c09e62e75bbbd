//! ML-MMoE: levels of shared experts.

use ndarray::{Array2, ArrayRef2};

use super::branches::BranchedConfig as _;
use super::config::{MAX_DEPTH, check_experts, check_most, check_widths, model_config};
use super::towers::{TowerShape, Towers, TowersCache, keep};
use super::{Branches, ExpertId, GateReader, GateView, Input, Net, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::buffer::{clear, grow, resize};
use crate::nn::{Gate, GateCache, Mlp, MlpRun, Mode, PerBranch, Size, Train, mix, mix_backward};

model_config! {
    /// The settings of [`MlMmoe`](super::MlMmoe).
    MlMmoeConfig, MlMmoeConfigBuilder, "ml_mmoe" of MlMmoeNet, branches: Branches::Auto => {
        /// How many levels there are, at least 1 (one is [`Mmoe`](super::Mmoe)); default 2.
        levels: usize = 2;
        /// How many experts there are at each level, at least 1; default 3.
        experts: usize = 3;
        /// The widths of an expert's layers, at least one; default one layer of 128.
        expert_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>;
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>;
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        check_experts(&this.expert_hidden, "experts", this.experts, problems);
        check_most("levels", this.levels, MAX_DEPTH, problems);
        problems.require(this.levels >= 1, || "levels: at least 1, found 0".into());
    }
}

/// ML-MMoE's dense part (Tang et al., RecSys 2020, section 5.1): levels of experts that all branches share, every gate of which
/// selects on the row itself.
///
/// ```text
///   tower k    ŷ^k = t^k(h^k)
///   gates      h^k = Σ_i w^k_i E_i       over the experts of the last level;  w^k = softmax(x·W^k)
///   level j    E_i reads Σ_e w^i_e E_e   over the experts of the level below;  w^i = softmax(x·W^i)
///   level 1    E_i reads x
/// ```
///
/// The paper names it as a baseline. Here every expert above the first level has a gate of its own, as every tower has.
/// A row of no known domain takes the mean of the logits of the domains that the model was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct MlMmoeNet {
    /// The levels, from the input up.
    pub levels: Vec<MlMmoeLevel>,
    /// Each branch's gate over the experts of the last level.
    pub gates: PerBranch<Gate>,
    /// The towers.
    pub towers: Towers,
}

/// One level of an [`MlMmoeNet`].
#[derive(Debug, Clone, PartialEq)]
pub struct MlMmoeLevel {
    /// The experts.
    pub experts: Vec<Mlp>,
    /// Each expert's gate over the experts of the level below; the first level has none.
    pub gates: Vec<Gate>,
}

crate::params!(MlMmoeNet { levels, gates, towers });
crate::params!(MlMmoeLevel { experts, gates });

/// What an [`MlMmoeNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct MlMmoeCache {
    levels: Vec<LevelCache>,
    /// By route: the branch's gate, what it fused, the gradient of that, and whether the branch took part in the step.
    gates: Vec<GateCache>,
    fused: Vec<Array2<f32>>,
    dfused: Vec<Array2<f32>>,
    active: Vec<bool>,
    towers: TowersCache,
    scratch: Array2<f32>,
    dmixed: Array2<f32>,
}

#[derive(Debug, Default)]
struct LevelCache {
    experts: Vec<MlpRun>,
    /// By expert: its gate, and what it reads.
    gates: Vec<GateCache>,
    mixed: Vec<Array2<f32>>,
}

fn tower(config: &MlMmoeConfig) -> TowerShape<'_> {
    TowerShape { hidden: &config.0.tower_hidden, tasks: config.tasks(), style: config.0.style() }
}

/// The width of what a gate mixes.
fn width(config: &MlMmoeConfig) -> usize {
    *config.0.expert_hidden.last().expect("an expert has a layer")
}

impl Net for MlMmoeNet {
    type Config = MlMmoeConfig;
    type Cache = MlMmoeCache;

    fn new(config: &MlMmoeConfig) -> Self {
        let (settings, draws) = (&config.0, &mut config.draws());
        let count = settings.experts;
        let levels = (0..settings.levels).map(|level| {
            let input = if level == 0 { config.width() } else { width(config) };
            let expert = |_| Mlp::new(input, &settings.expert_hidden, None, settings.style(), draws);
            let experts = (0..count).map(expert).collect();
            let gates = if level == 0 { 0 } else { count };
            MlMmoeLevel { experts, gates: (0..gates).map(|_| Gate::new(config.width(), count, draws)).collect() }
        });
        let levels = levels.collect();
        let branches = config.branches().of(config.layout());
        let gates = PerBranch::new(branches, |_| Gate::new(config.width(), count, draws));
        Self { levels, gates, towers: Towers::new(config, tower(config), |_| width(config), draws) }
    }

    fn size(config: &MlMmoeConfig) -> Option<Size> {
        let (settings, input) = (&config.0, config.width_f64());
        let branches = config.branches().count(config.layout()) as f64;
        let (levels, experts, width) = (settings.levels as f64, settings.experts as f64, width(config) as f64);
        let expert = |input| Mlp::size(input, &settings.expert_hidden, None, settings.style());
        let first = experts * expert(input);
        let gate = Size::tensor(input * experts);
        let later = experts * (expert(width) + gate);
        let gates = branches * gate;
        Some(first + (levels - 1.0) * later + gates + Towers::size(config, tower(config), branches * width))
    }

    fn row(config: &MlMmoeConfig) -> Option<f64> {
        let settings = &config.0;
        let (levels, experts, width) = (settings.levels as f64, settings.experts as f64, width(config) as f64);
        let answering = config.branches().answering(config.layout()) as f64;
        let runs = levels * experts * Mlp::row(&settings.expert_hidden, None, settings.style());
        let mixtures = (levels - 1.0) * experts * (2.0 * experts + width) + answering * 2.0 * (experts + width);
        Some(runs + mixtures + config.width_f64() + Towers::row(config, tower(config), width))
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut MlMmoeCache, logits: &mut ArrayRef2<f32>) {
        let x = input.x;
        let MlMmoeCache { levels, gates, fused, towers, .. } = cache;
        self.towers.lay(x.nrows(), input.segments, towers);
        grow(levels, self.levels.len());
        for (index, level) in self.levels.iter().enumerate() {
            let (below, rest) = levels.split_at_mut(index);
            let LevelCache { experts, gates, mixed } = &mut rest[0];
            grow(experts, level.experts.len());
            grow(gates, level.gates.len());
            grow(mixed, level.gates.len());
            for (i, (expert, run)) in level.experts.iter().zip(experts).enumerate() {
                let reads: &ArrayRef2<f32> = match below.last() {
                    None => x,
                    Some(below) => {
                        level.gates[i].forward(x, &mut gates[i]);
                        resize(&mut mixed[i], x.nrows(), below.experts[0].out.ncols());
                        mix(&gates[i], below.experts.iter().map(|run| run.out.view()), &mut mixed[i]);
                        &mixed[i]
                    }
                };
                run.forward(expert, reads, mode);
            }
        }
        let top = &levels[self.levels.len() - 1].experts;
        grow(gates, towers.routes.answering.len());
        grow(fused, towers.routes.answering.len());
        for (route, (gate, fused)) in towers.routes.answering.iter().zip(gates.iter_mut().zip(&mut *fused)) {
            self.gates[route.branch].forward(&route.of(x), gate);
            resize(fused, route.rows.len(), top[0].out.ncols());
            mix(gate, top.iter().map(|run| route.of(&run.out)), fused);
        }
        self.towers.forward(|i, _| fused[i].view(), mode, towers, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut MlMmoeCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let x = input.x;
        let MlMmoeCache { levels, gates, fused, dfused, active, towers, scratch, dmixed } = cache;
        let routes = towers.routes.answering.len();
        grow(dfused, routes);
        grow(active, routes);
        self.towers.backward(
            |i, _| fused[i].view(),
            dlogits,
            towers,
            &mut grad.towers,
            |i, _, dh| keep(dh, &mut dfused[i], &mut active[i]),
        );
        clear(dx);
        levels[..self.levels.len()].iter_mut().flat_map(|level| &mut level.experts).for_each(MlpRun::clear_dout);
        let top = &mut levels[self.levels.len() - 1].experts;
        for (i, route) in towers.routes.answering.iter().enumerate().filter(|&(i, _)| active[i]) {
            for (e, expert) in top.iter_mut().enumerate() {
                let (out, mut dout) = (route.of(&expert.out), route.of_mut(&mut expert.dout));
                mix_backward(&mut gates[i], e, &out, &dfused[i], &mut dout);
            }
            let grad = grad.gates.touch(route.branch);
            resize(scratch, route.rows.len(), x.ncols());
            self.gates[route.branch].backward(&route.of(x), &mut gates[i], grad, scratch);
            route.of_mut(dx).zip_mut_with(scratch, |sum, &d| *sum += d);
        }
        for (index, level) in self.levels.iter().enumerate().rev() {
            let (below, rest) = levels.split_at_mut(index);
            let LevelCache { experts, gates, mixed } = &mut rest[0];
            let grad = &mut grad.levels[index];
            for (i, (expert, run)) in level.experts.iter().zip(experts).enumerate() {
                let Some(below) = below.last_mut() else {
                    run.backward(expert, x, &mut grad.experts[i], scratch);
                    dx.zip_mut_with(scratch, |sum, &d| *sum += d);
                    continue;
                };
                run.backward(expert, &mixed[i], &mut grad.experts[i], dmixed);
                for (e, expert) in below.experts.iter_mut().enumerate() {
                    mix_backward(&mut gates[i], e, &expert.out, dmixed, &mut expert.dout);
                }
                resize(scratch, x.nrows(), x.ncols());
                level.gates[i].backward(x, &mut gates[i], &mut grad.gates[i], scratch);
                dx.zip_mut_with(scratch, |sum, &d| *sum += d);
            }
        }
    }

    fn visit_gates(&self, cache: &MlMmoeCache, see: &mut dyn FnMut(GateView<'_>)) {
        let MlMmoeCache { levels, gates, towers, .. } = cache;
        let experts: Vec<_> = (0..self.levels[0].experts.len()).map(ExpertId::Shared).collect();
        let mut show = |level, reader, start, gate: &GateCache| {
            see(GateView { level, reader, experts: &experts, start, weights: gate.weights().view() });
        };
        for (above, (level, cache)) in self.levels.iter().zip(levels).enumerate() {
            for (i, (_, gate)) in level.gates.iter().zip(&cache.gates).enumerate() {
                show(above - 1, GateReader::Expert(i), 0, gate);
            }
        }
        for (route, gate) in towers.routes.answering.iter().zip(gates) {
            let reader = GateReader::Branch(self.gates.keys()[route.branch]);
            show(self.levels.len() - 1, reader, route.rows.start, gate);
        }
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let row = plan.row();
        let mut outputs = Vec::new();
        for level in &self.levels {
            let expert = |(i, expert)| {
                let input = level.gates.get(i).map_or(row, |gate| plan.mix(row, gate, &outputs));
                plan.stack(input, expert)
            };
            outputs = level.experts.iter().enumerate().map(expert).collect();
        }
        self.towers.plan(&mut plan, |plan, branch| plan.mix(row, &self.gates[branch], &outputs));
        plan
    }

    fn add_domain(&mut self, config: &mut MlMmoeConfig, domain: DomainId) {
        let (branches, mut draws) = self.towers.grow(config, domain);
        for branch in branches {
            self.gates.push(branch, Gate::new(config.width(), config.0.experts, &mut draws));
            self.towers.push(branch, tower(config), width(config), &mut draws);
        }
    }
}

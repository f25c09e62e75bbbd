//! PLE: progressive layered extraction.

mod level;
mod routes;

use ndarray::{Array2, ArrayRef2, ArrayView2, ArrayViewMut2, s};
use serde::{Deserialize, Serialize};

use self::level::{Below, DBelow, LevelCache, LevelSize};
use self::routes::{Route, Routes};
use super::config::{check_widths, model_config};
use super::{Input, Net, NetConfig};
use crate::data::DomainId;
use crate::nn::buffer::{grow, resize};
use crate::nn::{Branch, Draws, Mlp, MlpCache, Mode, PerBranch, Train};

pub use self::level::Level;

/// What the branches of a [`Ple`](super::Ple) stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// One for each task, as in the paper. The default. Rows of all domains pass all branches; give the domain as a
    /// feature if it should be seen.
    #[default]
    Tasks,
    /// One for each domain, with a tower that answers all tasks.
    Domains,
    /// One for each domain and task.
    DomainsAndTasks,
}

model_config! {
    /// The settings of [`Ple`](super::Ple).
    PleConfig, PleConfigBuilder, "ple" {
        /// What the branches stand for; default the tasks.
        branches: Branches = Branches::Tasks;
        /// How many levels there are, at least 1 (one is CGC); default 2.
        levels: usize = 2;
        /// How many experts all branches share at each level; default 2.
        shared_experts: usize = 2;
        /// How many experts each branch has for itself at each level (none is MMoE); default 1.
        own_experts: usize = 1;
        /// The widths of an expert's layers, at least one; default one layer of 128.
        expert_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>;
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>;
        /// How many branches, the first ones, the shared gates and rows of no known domain read, at least 1; default all. Adding a domain keeps this
        /// at what the model was built with, so that the scores of other domains stay as they are.
        gated_branches: Option<usize> = None;
    }
    check(this, problems) {
        check_widths("expert_hidden", &this.expert_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
        problems.require(this.levels >= 1, || "levels: at least 1, found 0".into());
        problems.require(this.shared_experts + this.own_experts >= 1, || {
            "shared_experts and own_experts: at least one expert for a gate to choose".into()
        });
        problems.require(this.levels == 1 || this.shared_experts >= 1, || {
            "shared_experts: at least 1 with more than one level, since shared gates feed them".into()
        });
        let domains = this.layout.domains.len();
        let branches = match this.branches {
            Branches::Tasks => this.layout.tasks.len(),
            Branches::Domains => domains,
            Branches::DomainsAndTasks => domains * this.layout.tasks.len(),
        };
        let gated = this.gated_branches.unwrap_or(branches);
        problems.require(gated <= branches && (gated >= 1 || branches == 0), || {
            format!("gated_branches: 1 to {branches}, the number of branches, found {gated}")
        });
        problems.require(!this.expert_hidden.is_empty(), || "expert_hidden: at least one layer".into());
    }
}

/// The dense part of PLE (Tang et al., "Progressive Layered Extraction", RecSys 2020, section 4): levels of shared and own experts
/// mixed by softmax gates, and a tower for every branch.
///
/// ```text
///   tower k      ŷ^k = t^k(h^k)
///   level j      h^k ← Σ_i w^k_i E_i   over own experts (which read h^k), then shared ones (which read h^s),
///                                      w^k = softmax(h^k·W^k): linear, no bias, no normalisation
///                h^s ← Σ_i w^s_i E_i   over all experts of the level; not at the last level, where nobody would read it
///   input        h^k = h^s = x
/// ```
///
/// With one level it is CGC (section 4.1); CGC without own experts is MMoE; MMoE with one branch is MoE.
///
/// With branches for domains, a row's logits come from its domain's branches; at the last level and in the towers only the
/// rows of a domain pass its branch. Below, every row passes every expert, because the shared gates read them all; that is
/// also why a domain's lower experts learn from all rows. A row of no known domain takes the mean of the logits of the domains
/// that the model was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct PleNet {
    /// The levels, from the input up.
    pub levels: Vec<Level>,
    /// The towers.
    pub towers: PerBranch<Mlp>,
    /// How many branches there were at construction.
    built_with: usize,
}

crate::params!(PleNet { levels, towers });

/// What a [`PleNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct PleCache {
    routes: Routes,
    levels: Vec<LevelCache>,
    towers: Vec<TowerCache>,
}

#[derive(Debug, Default)]
struct TowerCache {
    mlp: MlpCache,
    out: Array2<f32>,
    dout: Array2<f32>,
}

impl PleCache {
    fn below<'a>(x: &'a ArrayRef2<f32>, before: &'a [LevelCache]) -> Below<'a> {
        before.last().map_or(Below::Rows(x), |level| Below::Level(&level.fused))
    }
}

/// The branches of a configuration, domain by domain.
fn branches(config: &PleConfig) -> Vec<Branch> {
    match config.0.branches {
        Branches::Tasks => (0..config.tasks()).map(Branch::Task).collect(),
        _ => config.domains().into_iter().flat_map(|domain| domain_branches(config, domain)).collect(),
    }
}

/// The branches of one domain, where branches stand for domains.
fn domain_branches(config: &PleConfig, domain: DomainId) -> Vec<Branch> {
    match config.0.branches {
        Branches::Tasks => Vec::new(),
        Branches::Domains => vec![Branch::Domain(domain)],
        Branches::DomainsAndTasks => (0..config.tasks()).map(|task| Branch::Both(domain, task)).collect(),
    }
}

impl PleConfigBuilder {
    fn level(&self, index: usize, width: usize) -> LevelSize<'_> {
        let fused = *self.expert_hidden.last().expect("an expert has a layer");
        LevelSize {
            input: if index == 0 { width } else { fused },
            shared: self.shared_experts,
            own: self.own_experts,
            expert: &self.expert_hidden,
            last: index + 1 == self.levels,
        }
    }

    fn tower(&self, branch: Branch, tasks: usize, draws: &mut Draws) -> Mlp {
        let input = *self.expert_hidden.last().expect("an expert has a layer");
        let outputs = if branch.task().is_some() { 1 } else { tasks };
        Mlp::new(input, &self.tower_hidden, Some(outputs), self.style(), draws)
    }
}

/// The entries of a `[rows, tasks]` matrix that a route's tower answers.
fn answered<'a>(matrix: &'a ArrayRef2<f32>, route: &Route, branch: Branch) -> ArrayView2<'a, f32> {
    match branch.task() {
        Some(task) => matrix.slice(s![route.rows.rows(), task..=task]),
        None => route.of(matrix),
    }
}

/// The same, to change them.
fn answered_mut<'a>(matrix: &'a mut ArrayRef2<f32>, route: &Route, branch: Branch) -> ArrayViewMut2<'a, f32> {
    match branch.task() {
        Some(task) => matrix.slice_mut(s![route.rows.rows(), task..=task]),
        None => route.of_mut(matrix),
    }
}

impl Net for PleNet {
    type Config = PleConfig;
    type Cache = PleCache;

    fn new(config: &PleConfig) -> Self {
        let (settings, draws, branches) = (&config.0, &mut config.draws(), branches(config));
        let style = settings.style();
        let gated = settings.gated_branches.unwrap_or(branches.len());
        let levels = (0..settings.levels)
            .map(|index| Level::new(settings.level(index, config.width()), &branches, gated, style, draws))
            .collect();
        let towers = PerBranch::new(branches, |branch| settings.tower(branch, config.tasks(), draws));
        Self { levels, towers, built_with: gated }
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut PleCache, logits: &mut ArrayRef2<f32>) {
        let Input { x, segments } = input;
        let PleCache { routes, levels, towers } = cache;
        routes.lay(x.nrows(), segments, self.towers.keys(), self.built_with, self.levels.len());
        grow(levels, self.levels.len());
        for (index, level) in self.levels.iter().enumerate() {
            let (before, rest) = levels.split_at_mut(index);
            level.forward(PleCache::below(x, before), index, routes, mode, &mut rest[0]);
        }
        grow(towers, routes.towers().len());
        logits.fill(0.0);
        let fused = &levels[self.levels.len() - 1].fused.routes;
        for ((route, tower), h) in routes.towers().iter().zip(towers).zip(fused) {
            let mlp = &self.towers[route.branch];
            resize(&mut tower.out, h.nrows(), mlp.output());
            mlp.forward(h, mode, &mut tower.mlp, &mut tower.out);
            let branch = self.towers.keys()[route.branch];
            answered_mut(logits, route, branch).scaled_add(route.share, &tower.out);
        }
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut PleCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let x = input.x;
        let PleCache { routes, levels, towers } = cache;
        let top = self.levels.len() - 1;
        let LevelCache { fused, dfused, .. } = &mut levels[top];
        grow(&mut dfused.routes, fused.routes.len());
        grow(&mut dfused.active, fused.routes.len());
        let fused = fused.routes.iter().zip(&mut dfused.routes).zip(&mut dfused.active);
        for ((route, tower), ((h, dh), active)) in routes.towers().iter().zip(towers).zip(fused) {
            let dlogits = answered(dlogits, route, self.towers.keys()[route.branch]);
            // A branch none of whose rows has a label took no part in the step.
            *active = dlogits.iter().any(|&d| d != 0.0);
            resize(dh, h.nrows(), h.ncols());
            if !*active {
                dh.fill(0.0);
                continue;
            }
            resize(&mut tower.dout, dlogits.nrows(), dlogits.ncols());
            tower.dout.assign(&dlogits);
            let (mlp, grad) = (&self.towers[route.branch], grad.towers.touch(route.branch));
            mlp.backward(h, &tower.dout, &mut tower.mlp, grad, Some(dh));
        }
        for (index, level) in self.levels.iter().enumerate().rev() {
            let (before, rest) = levels.split_at_mut(index);
            let (below, mut dbelow) = match before.last_mut() {
                None => (Below::Rows(x), DBelow::Rows(dx)),
                Some(level) => (Below::Level(&level.fused), DBelow::Level(&mut level.dfused)),
            };
            level.backward(below, index, routes, &mut rest[0], &mut grad.levels[index], &mut dbelow);
        }
    }

    fn add_domain(&mut self, config: &mut PleConfig, domain: DomainId) {
        let built_with = self.towers.len();
        config.0.gated_branches.get_or_insert(built_with);
        let settings = &config.0;
        let draws = &mut Draws::later(settings.seed, 1 + built_with);
        for branch in domain_branches(config, domain) {
            for (index, level) in self.levels.iter_mut().enumerate() {
                level.push(settings.level(index, config.width()), branch, settings.style(), draws);
            }
            self.towers.push(branch, settings.tower(branch, config.tasks(), draws));
        }
    }
}

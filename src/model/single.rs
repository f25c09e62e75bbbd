//! A model of its own for every branch: nothing is shared.

use ndarray::ArrayRef2;

use super::config::{check_widths, model_config};
use super::towers::{TowerShape, Towers, TowersCache};
use super::{BranchedConfig as _, Branches, Input, Net, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::buffer::clear;
use crate::nn::{Mode, Size, Train};

model_config! {
    /// The settings of [`Single`](super::Single).
    SingleConfig, SingleConfigBuilder, "single" of SingleNet, branches: Branches::DomainsAndTasks, own_tables: true => {
        /// The widths of the hidden layers of each model; default 128, 64, 32.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>;
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
    }
}

/// The dense part of one model for each branch, every one with embedding tables of its own: `logits^k = mlp^k(x^k)`.
///
/// ```text
///   logits A      logits B
///      │             │
///    mlp A         mlp B
///      │             │
///  tables A       tables B
/// ```
///
/// Nothing is shared, so nothing is lost to a neighbour and nothing is gained from one: it is what "gain" and "negative transfer" of
/// the other models are measured against (Tang et al., RecSys 2020, section 1).
///
/// What they do share is the run: an objective over tasks averages over the rows of all domains
/// ([`Units::DomainsAndTasks`](crate::loss::Units::DomainsAndTasks) averages for each model by itself), and clipping by norm, weighting
/// of losses and early stop see all models together.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleNet {
    /// The models.
    pub mlps: Towers,
}

crate::params!(SingleNet { mlps });

/// What a [`SingleNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct SingleCache {
    towers: TowersCache,
    /// Where each route's block of the input starts.
    starts: Vec<usize>,
}

fn tower(config: &SingleConfig) -> TowerShape<'_> {
    TowerShape { hidden: &config.0.hidden, tasks: config.tasks(), style: config.0.style() }
}

impl Net for SingleNet {
    type Config = SingleConfig;
    type Cache = SingleCache;

    fn new(config: &SingleConfig) -> Self {
        Self { mlps: Towers::new(config, tower(config), |_| config.width(), &mut config.draws()) }
    }

    fn size(config: &SingleConfig) -> Option<Size> {
        let inputs = config.branches().count(config.layout()) as f64 * config.width_f64();
        Some(Towers::size(config, tower(config), inputs))
    }

    fn row(config: &SingleConfig) -> Option<f64> {
        Some(Towers::row(config, tower(config), config.width_f64()))
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut SingleCache, logits: &mut ArrayRef2<f32>) {
        let SingleCache { towers, starts } = cache;
        self.mlps.lay(logits.nrows(), input.segments, towers);
        starts.clear();
        let mut start = 0;
        for route in &towers.routes.answering {
            starts.push(start);
            start += route.rows.len();
        }
        self.mlps.forward(|i, route| block(input.x, starts[i], route.rows.len()), mode, towers, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut SingleCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let SingleCache { towers, starts } = cache;
        let read = |i: usize, rows: usize| block(input.x, starts[i], rows);
        self.mlps.backward(
            |i, route| read(i, route.rows.len()),
            dlogits,
            towers,
            &mut grad.mlps,
            |i, route, dh| {
                let mut dx = dx.slice_mut(ndarray::s![starts[i]..starts[i] + route.rows.len(), ..]);
                match dh {
                    Some(dh) => dx.assign(dh),
                    None => clear(&mut dx),
                }
            },
        );
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        self.mlps.plan(&mut plan, Plan::row_of);
        plan
    }

    fn add_domain(&mut self, config: &mut SingleConfig, domain: DomainId) {
        let (branches, mut draws) = self.mlps.grow(config, domain);
        for branch in branches {
            self.mlps.push(branch, tower(config), config.width(), &mut draws);
        }
    }
}

/// The rows of the input that one route reads.
fn block(x: &ArrayRef2<f32>, start: usize, rows: usize) -> ndarray::ArrayView2<'_, f32> {
    x.slice(ndarray::s![start..start + rows, ..])
}

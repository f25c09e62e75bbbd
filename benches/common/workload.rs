//! Models and batches of given sizes.

use ndarray::Array2;
use ndarray_rand::rand_distr::{Distribution as _, Zipf};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use starple::data::{Batch, DomainId, Ids, Layout};
use starple::model::Branches;
use starple::{AnyConfig, Model, PleConfig, StarConfig};

/// A model and the size of its batches.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Workload {
    pub(crate) net: Shape,
    /// The number of rows of each field's table.
    pub(crate) fields: Vec<usize>,
    /// The width of an embedding.
    pub(crate) dim: usize,
    /// The number of numeric inputs.
    pub(crate) numeric: usize,
    pub(crate) domains: usize,
    pub(crate) tasks: usize,
    /// The number of rows of a batch.
    pub(crate) rows: usize,
}

/// The sizes of a net.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Shape {
    /// The widths of the hidden layers, and of the hidden layer of the auxiliary network.
    Star { hidden: Vec<usize>, auxiliary: usize },
    /// Experts with one layer of width `expert`: `shared` shared experts and `own` experts per task. Towers have one hidden layer.
    Ple { levels: usize, expert: usize, shared: usize, own: usize, tower: usize },
}

impl Workload {
    /// STAR on MovieLens-1M's fields.
    pub(crate) fn star_ml() -> Self {
        let net = Shape::Star { hidden: vec![128, 64, 32], auxiliary: 32 };
        Self { net, fields: vec![6040, 3706, 2, 21, 3439, 18], dim: 16, numeric: 1, domains: 3, tasks: 1, rows: 4096 }
    }

    /// STAR of medium size: 20 fields with 120,800 ids, 10 domains.
    pub(crate) fn star_mid() -> Self {
        let net = Shape::Star { hidden: vec![512, 256, 128], auxiliary: 128 };
        let fields = [vec![10_000; 12], vec![100; 8]].concat();
        Self { net, fields, dim: 16, numeric: 4, domains: 10, tasks: 1, rows: 2048 }
    }

    /// STAR of medium size with 930,800 ids.
    pub(crate) fn star_big() -> Self {
        let fields = [vec![500_000, 200_000, 100_000, 50_000], vec![10_000; 8], vec![100; 8]].concat();
        Self { fields, ..Self::star_mid() }
    }

    /// PLE with few tasks and many wide experts.
    pub(crate) fn ple_mid() -> Self {
        let net = Shape::Ple { levels: 2, expert: 256, shared: 4, own: 4, tower: 64 };
        Self { net, domains: 1, tasks: 2, ..Self::star_mid() }
    }

    /// PLE with many tasks.
    pub(crate) fn ple_wide() -> Self {
        let net = Shape::Ple { levels: 2, expert: 128, shared: 2, own: 1, tower: 64 };
        Self { net, domains: 1, tasks: 10, ..Self::star_mid() }
    }

    /// The values that a net reads of a row.
    pub(crate) fn width(&self) -> usize {
        self.fields.len() * self.dim + self.numeric
    }

    /// Fields `f0 …`, numbers `n0 …`, domains `d0 …`, tasks `t0 …`.
    pub(crate) fn layout(&self) -> Layout {
        let names = |what: &'static str, count: usize| (0..count).map(move |i| format!("{what}{i}"));
        let layout = Layout::new(names("d", self.domains), names("t", self.tasks)).numeric(names("n", self.numeric));
        self.fields.iter().enumerate().fold(layout, |layout, (i, &rows)| layout.field(format!("f{i}"), rows))
    }

    fn config(&self) -> AnyConfig {
        let layout = &self.layout();
        match &self.net {
            Shape::Star { hidden, auxiliary } => {
                let config = StarConfig::builder(layout).embedding_dim(self.dim).hidden(hidden.clone());
                config.auxiliary_hidden([*auxiliary]).domain_dim(self.dim).build().expect("a STAR that can be").into()
            }
            &Shape::Ple { levels, expert, shared, own, tower } => {
                let config = PleConfig::builder(layout).embedding_dim(self.dim).branches(Branches::Tasks);
                let config = config.levels(levels).shared_experts(shared).own_experts(own).expert_hidden([expert]);
                config.tower_hidden([tower]).build().expect("a PLE that can be").into()
            }
        }
    }

    /// The untrained model.
    pub(crate) fn model(&self) -> Model {
        Model::new(self.config())
    }

    /// A batch whose rows all belong to one domain.
    pub(crate) fn candidates(&self, seed: u64) -> Batch {
        let mut batch = self.batch(seed);
        batch.domains.fill(DomainId::new(self.domains / 3));
        batch
    }

    /// A batch of made-up rows, grouped by domain as the loader gives them: ids with a long tail (Zipf's law with the exponent
    /// 1.2, modulo the table's rows), domains, numbers and labels uniform.
    pub(crate) fn batch(&self, seed: u64) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let zipf = Zipf::new(1e12, 1.2).expect("a law that can be");
        let mut ids =
            |rows: usize| (0..self.rows).map(|_| (zipf.sample(&mut rng) as u64 % rows as u64) as u32).collect();
        let ids = self.fields.iter().map(|&rows| Ids::One(ids(rows))).collect();
        let mut domains: Vec<_> = (0..self.rows).map(|_| rng.random_range(0..self.domains)).collect();
        domains.sort_unstable();
        Batch {
            ids,
            numeric: Array2::from_shape_simple_fn((self.rows, self.numeric), || rng.random()),
            labels: Array2::from_shape_simple_fn((self.rows, self.tasks), || f32::from(u8::from(rng.random::<bool>()))),
            domains: domains.into_iter().map(DomainId::new).collect(),
            ..Batch::default()
        }
    }
}

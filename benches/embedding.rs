//! The embedding layer alone: gathering rows of tables, summing their gradients, and updating them with Adam.
//!
//! The net costs almost nothing: its logit is the first value of the row, and every value gets the gradient of the logit.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::{Array2, ArrayRef2};
use serde::{Deserialize, Serialize};
use starple::Model;
use starple::data::{Batch, Layout};
use starple::model::{Cache, Gradient, NetConfig};
use starple::net::{Builder, Built, CustomLayer, Describe};
use starple::nn::{Mode, Segment, Train};
use starple::optim::{Optimizer, OptimizerConfig};

use common::workload::Workload;

/// The number of table rows of all fields together.
const VOCABULARIES: [usize; 3] = [100_000, 1_000_000, 10_000_000];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NothingConfig {
    layout: Layout,
}

impl NetConfig for NothingConfig {
    fn kind(&self) -> &'static str {
        "nothing"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn embedding_dim(&self) -> usize {
        16
    }

    fn embedding_std(&self) -> f32 {
        0.01
    }

    fn seed(&self) -> u64 {
        1
    }
}

impl Describe for NothingConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let row = net.row()?;
        let logits = net.custom("nothing", row, 1, |_| Nothing)?;
        net.answer(logits, None);
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Nothing;

starple::params!(Nothing {});

impl CustomLayer for Nothing {
    type Cache = ();

    fn forward(&self, x: &ArrayRef2<f32>, _: &[Segment], _: Mode<'_>, (): &mut (), y: &mut ArrayRef2<f32>) {
        y.column_mut(0).assign(&x.column(0));
    }

    fn backward(
        &self,
        _: &ArrayRef2<f32>,
        _: &[Segment],
        dy: &ArrayRef2<f32>,
        (): &mut (),
        _: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        for (mut dx, &d) in dx.rows_mut().into_iter().zip(&dy.column(0)) {
            dx.fill(d);
        }
    }
}

/// The setup of the three benchmarks for one vocabulary.
struct Warm {
    model: Model,
    batch: Batch,
    dlogits: Array2<f32>,
    cache: Cache<Train>,
    gradient: Gradient,
    optimizer: Box<dyn Optimizer>,
}

impl Warm {
    /// 20 fields, each with an equal share of the vocabulary.
    fn new(vocabulary: usize) -> Self {
        let workload = Workload { fields: vec![vocabulary / 20; 20], ..Workload::star_mid() };
        let model = Model::new(NothingConfig { layout: workload.layout() });
        let batch = workload.batch(1);
        let (mut cache, gradient) = (Cache::default(), model.zero_grad());
        model.forward_with(&batch, batch.domains(), &mut cache);
        let dlogits = Array2::from_elem((batch.rows(), 1), 1e-3);
        let optimizer = OptimizerConfig::adam(1e-3).expect("a learning rate that can be").build();
        Self { model, batch, dlogits, cache, gradient, optimizer }
    }

    fn gather(&mut self) {
        self.model.forward_with(&self.batch, self.batch.domains(), &mut self.cache);
    }

    fn backward(&mut self) {
        self.model.backward(&self.batch, &self.dlogits, &mut self.cache, &mut self.gradient);
    }

    fn apply(&mut self) {
        self.model.apply(&mut self.gradient, &mut *self.optimizer);
    }
}

fn embedding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("embedding");
    for vocabulary in VOCABULARIES {
        let mut warm = None;
        let rows = Workload::star_mid().rows;
        let name = format!("rows={rows},fields=20,vocabulary={vocabulary}");
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("gather", &name), |bencher| {
            let warm = warm.get_or_insert_with(|| Warm::new(vocabulary));
            bencher.iter(|| warm.gather());
        });
        group.bench_function(BenchmarkId::new("backward+zero", &name), |bencher| {
            let warm = warm.get_or_insert_with(|| Warm::new(vocabulary));
            bencher.iter(|| {
                warm.backward();
                warm.gradient.zero();
            });
        });
        group.bench_function(BenchmarkId::new("backward+apply", &name), |bencher| {
            let warm = warm.get_or_insert_with(|| Warm::new(vocabulary));
            bencher.iter(|| {
                warm.backward();
                warm.apply();
            });
        });
    }
}

fn main() {
    common::criterion(embedding);
}

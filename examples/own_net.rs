//! A net and a layer of your own: the crate adds embeddings, training, evaluation and serving.
//!
//! ```text
//! cargo run --release --example own_net
//! ```
//!
//! The net is the simplest multi-domain model: `logits = x·W + b + b_d`, a linear model of the embedded row with a bias per domain. It needs two
//! things: settings ([`NetConfig`]) and [`Describe`], which lists the steps of the net. [`Builder`] has a method for every layer of the crate. `b_d`
//! is a [`CustomLayer`] with a hand-written gradient.

use ndarray::{Array1, ArrayRef2, Axis, s};
use serde::{Deserialize, Serialize};
use starple::data::{Batch, DomainId, Encoder, Layout, Schema, Table};
use starple::model::NetConfig;
use starple::net::{Builder, Built, CustomLayer, Describe};
use starple::nn::{Decay, HiddenSettings, InitRng, Mode, PerDomain, Segment};
use starple::optim::OptimizerConfig;
use starple::serve::{Scorer, ScorerCache};
use starple::train::{Progress, TrainConfig, Trainer, evaluate};
use starple::{Model, Result};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");

/// The settings: only those that every model has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LinearConfig {
    layout: Layout,
    embedding_dim: usize,
}

impl NetConfig for LinearConfig {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn embedding_dim(&self) -> usize {
        self.embedding_dim
    }
}

impl Describe for LinearConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (row, tasks) = (net.row()?, net.layout().tasks.len());
        let shared = net.mlp("shared", row, &[], Some(tasks), HiddenSettings::default())?;
        let domains = net.layout().domains.len();
        let own = net.custom("domain", row, tasks, |_| DomainBias::new(domains, tasks))?;
        // Several answers for the same rows and tasks are summed.
        net.answer(shared, None);
        net.answer(own, None);
        Ok(())
    }
}

/// `y = b_d`, and 0 for rows of no known domain. Its gradient is a value of the same type.
#[derive(Debug, Clone, PartialEq)]
struct DomainBias {
    domain: PerDomain<Bias>,
    tasks: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Bias {
    bias: Array1<f32>,
}

// List all fields with parameters: optimizers, files and parameter counts use this list. `PerDomain` marks parameters that a domain owns.
starple::params!(DomainBias { domain });
starple::params!(Bias { bias: Decay::None });

impl DomainBias {
    fn new(domains: usize, tasks: usize) -> Self {
        let own = |_| Bias { bias: Array1::zeros(tasks) };
        Self { domain: PerDomain::new((0..domains).map(DomainId::new), own), tasks }
    }
}

impl CustomLayer for DomainBias {
    type Cache = ();

    fn forward(&self, _: &ArrayRef2<f32>, segments: &[Segment], _: Mode<'_>, (): &mut (), y: &mut ArrayRef2<f32>) {
        y.fill(0.0);
        for segment in segments {
            if let Some(own) = self.domain.of(segment.domain) {
                y.slice_mut(s![segment.rows(), ..]).assign(&own.bias);
            }
        }
    }

    fn backward(
        &self,
        _: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        (): &mut (),
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        for segment in segments {
            // `touch` marks that this domain had rows in the step. All other domains keep values and optimizer state.
            let own = grad.domain.touch(segment.trained_domain());
            own.bias += &dy.slice(s![segment.rows(), ..]).sum_axis(Axis(0));
        }
        // The output does not depend on the row, so its gradient is 0.
        dx.fill(0.0);
    }

    fn add_domain(&mut self, domain: DomainId, _: &mut InitRng) {
        self.domain.push(domain, Bias { bias: Array1::zeros(self.tasks) });
    }
}

fn main() -> Result<()> {
    let schema = Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .numeric("age")
        .bag("tags", "|")
        .domain("scene")
        .label("click")
        .split("split")
        .build()?;
    let table = Table::read(LOG, &schema)?;
    let encoder = Encoder::fit(&schema, &table, &table.split("train")?)?;
    let train = encoder.encode_training(&table, &table.split("train")?)?;
    let [val, test] = ["val", "test"].map(|split| encoder.encode(&table, &table.split(split)?));
    let mut model = Model::new(LinearConfig { layout: encoder.layout().clone(), embedding_dim: 4 });
    let settings =
        TrainConfig::builder().epochs(10).batch_rows(256).optimizer(OptimizerConfig::adam(0.005)?).build()?;
    Trainer::new(settings).callback(Progress::stderr("linear")).fit(&mut model, train, Some(&val?))?;
    let test = test?;
    println!("{}", evaluate(&model, &test)?);

    // Serving must give the logits of the forward pass.
    let domain = encoder.domain("search")?;
    let expected = model.forward(&test, domain);
    let (scorer, mut cache) = (Scorer::new(model, &[])?, ScorerCache::default());
    let served = scorer.score(&scorer.context(domain, &Batch::default()), &test, &mut cache);
    let apart = served.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "serving and the forward pass are {apart} apart");
    println!("{} rows served, each within 1e-5 of the forward pass", served.nrows());
    Ok(())
}

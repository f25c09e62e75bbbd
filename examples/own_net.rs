//! One idea: a net of your own, and a layer of your own, get embeddings, training, evaluation and serving without a change to the crate.
//!
//! ```text
//! cargo run --release --example own_net
//! ```
//!
//! The net here is the simplest multi-domain model there is: `logits = x·W + b + b_d`, a linear model of the embedded row
//! with a bias of each domain's own. It needs two things: settings ([`NetConfig`]), and [`Describe`], which writes the net step by step.
//! Most nets are made of the layers that [`Builder`] has a method for. `b_d` is a [`CustomLayer`], with its gradient written by hand.

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

/// The settings: here nothing but what every model has.
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
        // What is answered twice is added up.
        net.answer(shared, None);
        net.answer(own, None);
        Ok(())
    }
}

/// `y = b_d`, and 0 for rows of no known domain. A value of the same type is its gradient.
#[derive(Debug, Clone, PartialEq)]
struct DomainBias {
    domain: PerDomain<Bias>,
    tasks: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Bias {
    bias: Array1<f32>,
}

// One list of the fields makes them known to optimizers, counting and naming. `domain` says who owns what.
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
            if let Some(d) = segment.domain {
                y.slice_mut(s![segment.rows(), ..]).assign(&self.domain[d].bias);
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
            // `touch` says that this domain took part; all others keep values and optimizer state.
            let own = grad.domain.touch(segment.trained_domain());
            own.bias += &dy.slice(s![segment.rows(), ..]).sum_axis(Axis(0));
        }
        // It reads no value of the row, so it gives none a gradient.
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
    let [train, val, test] = ["train", "val", "test"].map(|split| encoder.encode(&table, &table.split(split)?));
    let mut model = Model::new(LinearConfig { layout: encoder.layout().clone(), embedding_dim: 4 });
    let settings =
        TrainConfig::builder().epochs(10).batch_rows(256).optimizer(OptimizerConfig::adam(0.005)?).build()?;
    Trainer::new(settings).callback(Progress::stderr("linear")).fit(&mut model, train?, Some(&val?))?;
    let test = test?;
    println!("{}", evaluate(&model, &test)?);

    // What is served must give what the forward pass gives.
    let domain = encoder.domain("search")?;
    let expected = model.forward(&test, domain);
    let (scorer, mut cache) = (Scorer::new(model, &[])?, ScorerCache::default());
    let served = scorer.score(&scorer.context(domain, &Batch::default()), &test, &mut cache);
    let apart = served.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "serving and the forward pass are {apart} apart");
    println!("{} rows served, each within 1e-5 of the forward pass", served.nrows());
    Ok(())
}

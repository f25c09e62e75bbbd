//! One idea: a net of your own gets embeddings, training, evaluation and serving without a change to the crate.
//!
//! ```text
//! cargo run --release --example own_net
//! ```
//!
//! The net here is the simplest multi-domain model there is: `logits = x·W + b + b_d`, a linear model of the embedded row
//! with a bias of each domain's own. It needs three things: settings ([`NetConfig`]), parameters listed once
//! ([`starple::params!`]), and in [`Net`] a forward beside a backward, and a plan of inference. The plan is what
//! [`Frozen`] serves, and with `--features onnx` what is written as ONNX graphs.

use std::borrow::Cow;

use ndarray::{Array1, ArrayRef2, Axis, s};
use serde::{Deserialize, Serialize};
use starple::data::{Batch, DomainId, Encoder, Layout, Schema, Table};
use starple::model::{Input, Net, NetConfig, Plan};
use starple::nn::{Decay, Init, Linear, Mode, PerDomain, Train};
use starple::optim::OptimizerConfig;
use starple::serve::{Frozen, FrozenCache};
use starple::train::{Progress, TrainConfig, Trainer, evaluate};
use starple::{Model, Result};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");

/// The settings: here nothing but what every model has.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

    fn embedding_std(&self) -> f32 {
        0.01
    }

    fn seed(&self) -> u64 {
        0
    }
}

/// The parameters. A value of the same type is their gradient.
#[derive(Debug, Clone)]
struct LinearNet {
    shared: Linear,
    domain: PerDomain<Bias>,
}

#[derive(Debug, Clone)]
struct Bias {
    bias: Array1<f32>,
}

// One list of the fields makes them known to optimizers, counting and naming. `domain` says who owns what.
starple::params!(LinearNet { shared, domain });
starple::params!(Bias { bias: Decay::None });

impl Net for LinearNet {
    type Config = LinearConfig;
    type Cache = ();

    fn new(config: &LinearConfig) -> Self {
        let tasks = config.tasks();
        Self {
            shared: Linear::new(config.width(), tasks, Init::Xavier, &mut config.init_rng()),
            domain: PerDomain::new(config.domains(), |_| Bias { bias: Array1::zeros(tasks) }),
        }
    }

    fn forward<M: Mode>(&self, input: Input<'_>, _: M, (): &mut (), logits: &mut ArrayRef2<f32>) {
        self.shared.forward(input.x, logits);
        for segment in input.segments {
            // Rows of no known domain take what is shared.
            if let Some(d) = segment.domain {
                let mut rows = logits.slice_mut(s![segment.rows(), ..]);
                rows += &self.domain[d].bias;
            }
        }
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        (): &mut (),
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        self.shared.backward(input.x, dlogits, &mut grad.shared, Some(dx));
        for segment in input.segments {
            // `touch` says that this domain took part; all others keep values and optimizer state.
            let own = grad.domain.touch(segment.trained_domain());
            own.bias += &dlogits.slice(s![segment.rows(), ..]).sum_axis(Axis(0));
        }
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let row = plan.row();
        for domain in plan.domains() {
            let mut linear = Cow::Borrowed(&self.shared);
            // What a domain owns becomes part of its map.
            if let Some(d) = domain {
                linear.to_mut().bias += &self.domain[d].bias;
            }
            let logits = plan.layer(row, linear, None);
            plan.answer(domain, logits, None, 1.0);
        }
        plan
    }

    fn add_domain(&mut self, config: &mut LinearConfig, domain: DomainId) {
        self.domain.push(domain, Bias { bias: Array1::zeros(config.tasks()) });
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
    let mut model = Model::<LinearNet>::new(LinearConfig { layout: encoder.layout().clone(), embedding_dim: 4 });
    let settings =
        TrainConfig::builder().epochs(10).batch_rows(256).optimizer(OptimizerConfig::adam(0.005)?).build()?;
    Trainer::new(settings).callback(Progress::stderr("linear")).fit(&mut model, train?, Some(&val?))?;
    let test = test?;
    println!("{}", evaluate(&model, &test)?);

    // One graph for each domain, and one for rows of no known domain.
    #[cfg(feature = "onnx")]
    {
        let graphs = starple::onnx::save_all(&model, std::env::temp_dir().join("starple-own-net"))?;
        println!("{} ONNX graphs, the first is {}\n", graphs.len(), graphs[0].display());
    }

    // What is served is the plan: it must give what the forward pass gives.
    let domain = encoder.domain("search")?;
    let expected = model.forward(&test, domain);
    let (frozen, mut cache) = (Frozen::new(model, &[])?, FrozenCache::default());
    let served = frozen.score(&frozen.context(domain, &Batch::default()), &test, &mut cache);
    let apart = served.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "the plan and the forward pass are {apart} apart");
    println!("{} rows served, each within 1e-5 of the forward pass", served.nrows());
    Ok(())
}

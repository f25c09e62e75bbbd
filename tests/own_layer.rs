//! Checks a user's layer in a user's net: gradient, adding a domain, files, serving.

use std::io::Cursor;

use ndarray::{Array1, Array2, ArrayRef2, s};
use serde::{Deserialize, Serialize};
use starple::data::{Batch, DataSet, DomainId, Ids, Layout};
use starple::loss::Objective;
use starple::model::NetConfig;
use starple::net::{Builder, Built, CustomLayer, Describe};
use starple::nn::{ActivationKind, Decay, HiddenSettings, InitRng, LeafMut, Mode, PerDomain, Segment};
use starple::optim::{Clock, OptimizerConfig};
use starple::persist::{ModelFile, Saved};
use starple::serve::{Scorer, ScorerCache};
use starple::train::{Step, TrainConfig, Trainer};
use starple::{ErrorKind, Model, StarConfig};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OwnConfig {
    layout: Layout,
}

impl NetConfig for OwnConfig {
    fn kind(&self) -> &'static str {
        "own"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn embedding_dim(&self) -> usize {
        3
    }

    fn embedding_std(&self) -> f32 {
        0.5
    }

    fn seed(&self) -> u64 {
        5
    }
}

impl Describe for OwnConfig {
    /// Two steps read the row, this layer and another one, so the gradient of the row has two parts.
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (row, width, layout) = (net.row()?, self.width(), net.layout());
        let scaled = net.custom("scale", row, width, |rng| Scale::new(width, layout.domains.len(), rng))?;
        let beside = net.mlp("beside", row, &[4], Some(1), smooth())?;
        let logits = net.mlp("tower", scaled, &[4], Some(1), smooth())?;
        net.answer(logits, None);
        net.answer(beside, None);
        Ok(())
    }
}

/// Hidden layers with a smooth activation, for finite differences.
fn smooth() -> HiddenSettings {
    HiddenSettings { activation: ActivationKind::Tanh, ..HiddenSettings::default() }
}

/// `y = s ⊙ s_d ⊙ x`; for rows of no known domain `y = s ⊙ x`.
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    shared: Array1<f32>,
    domain: PerDomain<Factors>,
}

#[derive(Debug, Clone, PartialEq)]
struct Factors {
    factors: Array1<f32>,
}

starple::params!(Scale { shared: Decay::None, domain });
starple::params!(Factors { factors: Decay::None });

impl Scale {
    fn new(width: usize, domains: usize, _: &mut InitRng) -> Self {
        let factors = |domain: DomainId| {
            let d = domain.index().unwrap_or_default() as f32;
            Factors { factors: Array1::from_shape_fn(width, |j| 1.0 + 0.1 * d - 0.05 * j as f32) }
        };
        let shared = Array1::from_shape_fn(width, |j| 0.8 + 0.1 * j as f32);
        Self { shared, domain: PerDomain::new((0..domains).map(DomainId::new), factors) }
    }
}

impl CustomLayer for Scale {
    type Cache = Vec<f32>;

    fn forward(&self, x: &ArrayRef2<f32>, segments: &[Segment], _: Mode<'_>, _: &mut Vec<f32>, y: &mut ArrayRef2<f32>) {
        for segment in segments {
            let factors = self.domain.of(segment.domain).map_or(self.shared.clone(), |own| &self.shared * &own.factors);
            for i in segment.rows() {
                y.row_mut(i).assign(&(&x.row(i) * &factors));
            }
        }
    }

    fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        _: &mut Vec<f32>,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        for segment in segments {
            let d = segment.trained_domain();
            let own = &self.domain[d].factors;
            for i in segment.rows() {
                let product = &x.row(i) * &dy.row(i);
                grad.shared += &(&product * own);
                grad.domain.touch(d).factors += &(&product * &self.shared);
                dx.row_mut(i).assign(&(&dy.row(i) * &self.shared * own));
            }
        }
    }

    fn add_domain(&mut self, domain: DomainId, _: &mut InitRng) {
        self.domain.push(domain, Factors { factors: Array1::ones(self.shared.len()) });
    }
}

fn layout() -> Layout {
    Layout::new(["home", "search"], ["click"]).field("item", 6).numeric(["price"])
}

fn rows(layout: &Layout) -> Batch {
    let count = 8;
    let domains = (0..count).map(|i| DomainId::new(i % layout.domains.len())).collect();
    let batch = Batch {
        ids: vec![Ids::One((0..count as u32).map(|i| i % 6).collect())],
        numeric: Array2::from_shape_fn((count, 1), |(i, _)| i as f32 / 4.0 - 1.0),
        labels: Array2::from_shape_fn((count, 1), |(i, _)| (i % 3 == 0) as u8 as f32),
        domains,
        ..Batch::default()
    };
    batch.check(layout).unwrap();
    batch
}

fn model() -> Model {
    Model::new(OwnConfig { layout: layout() })
}

/// The mean loss of the model's logits, in f64.
fn loss(model: &Model, batch: &Batch) -> f64 {
    let logits = model.forward(batch, batch.domains());
    let of = |(&z, &y): (&f32, &f32)| (1.0 + f64::from(z).exp()).ln() - f64::from(y) * f64::from(z);
    logits.iter().zip(&batch.labels).map(of).sum::<f64>() / batch.rows() as f64
}

/// Adds `by` to one value of one tensor.
fn moved(model: &Model, name: &str, i: usize, by: f32) -> Model {
    let (mut model, layout) = (model.clone(), model.layout().clone());
    model.visit_mut(|path, leaf| {
        if let (true, LeafMut::Tensor(values, ..)) = (path.name(&layout) == name, leaf) {
            values[i] += by;
        }
    });
    model
}

#[test]
fn the_gradients_of_parameters_and_input_equal_finite_differences() {
    let (model, batch) = (model(), rows(&layout()));
    let mut step = Step::new(&model, &Objective::default(), 0).unwrap();
    let gradient = step.gradient(&model, &batch, Clock { epoch: 0, step: 0 }).unwrap();
    let layer: &Scale = gradient.net.get("scale").unwrap();
    let mut checked = 0;
    let mut check = |name: &str, i: usize, found: f32| {
        let h = 1e-2;
        let expected = (loss(&moved(&model, name, i, h), &batch) - loss(&moved(&model, name, i, -h), &batch))
            / (2.0 * f64::from(h));
        assert!((f64::from(found) - expected).abs() < 2e-4, "{name}[{i}]: {found}, expected {expected}");
        checked += 1;
    };
    for i in 0..4 {
        check("net.scale.shared", i, layer.shared[i]);
        for (d, name) in ["home", "search"].into_iter().enumerate() {
            check(&format!("net.scale.domain.{name}.factors"), i, layer.domain[d].factors[i]);
        }
    }
    for row in 0..6 {
        for j in 0..3 {
            check("embeddings.item", 3 * row + j, gradient.tables[0].row(row).unwrap()[j]);
        }
    }
    assert_eq!(checked, 30);
}

#[test]
fn it_is_trained_saved_grown_and_served() {
    let mut model = model();
    let settings = TrainConfig::builder().epochs(3).batch_rows(4).optimizer(OptimizerConfig::adam(0.05).unwrap());
    let before = loss(&model, &rows(&layout()));
    let data = DataSet::new(&layout(), rows(&layout())).unwrap();
    Trainer::new(settings.build().unwrap()).fit(&mut model, data, None).unwrap();
    assert!(loss(&model, &rows(&layout())) < before);

    let scores = model.score(&rows(&layout()));
    model.add_domain("feed").unwrap();
    assert_eq!(model.score(&rows(&layout())), scores);
    let layer: &Scale = model.net().get("scale").unwrap();
    assert_eq!(layer.domain[2].factors, Array1::<f32>::ones(4));

    let mut file = Cursor::new(Vec::new());
    ModelFile::new(&model).write_to(&mut file).unwrap();
    let file = file.into_inner();
    let saved = Saved::from_reader_as::<OwnConfig>(Cursor::new(&file)).unwrap();
    assert_eq!(saved.model.net(), model.net());
    let unknown = Saved::from_reader(Cursor::new(&file)).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Kind);
    assert!(unknown.to_string().contains("Saved::load_as"), "{unknown}");
    assert_eq!(Saved::from_reader_as::<StarConfig>(Cursor::new(&file)).unwrap_err().kind(), ErrorKind::Kind);

    let batch = rows(model.layout());
    let expected: Vec<_> =
        (0..3).map(DomainId::new).chain([DomainId::SHARED]).map(|d| (d, model.forward(&batch, d))).collect();
    let scorer = Scorer::new(model, &[]).unwrap();
    for (domain, expected) in expected {
        let mut cache = ScorerCache::default();
        let served = scorer.score(&scorer.context(domain, &Batch::default()), &batch, &mut cache);
        let apart = (served - &expected).mapv_into(f32::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-5), "{domain:?}: {apart}");
        assert_ne!(expected.slice(s![0, ..]), expected.slice(s![1, ..]));
    }
}

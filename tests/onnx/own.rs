//! A net of one's own, which is exported by its plan alone.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ndarray::{Array1, ArrayRef2, s};
use serde::{Deserialize, Serialize};
use starple::data::{DomainId, Layout};
use starple::model::{Input, Net, NetConfig, Plan};
use starple::nn::{Decay, Init, Linear, Mode, PerDomain, Train};
use starple::{Model, onnx};

use crate::cases::{layout, rows};
use crate::run::run;
use crate::{assert_well_formed, inputs, read};

#[derive(Debug, Clone, Serialize, Deserialize)]
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
        4
    }
}

/// `logits = x·W + b + b_d`, and for the last task a half of another map beside it.
#[derive(Clone)]
struct OwnNet {
    shared: Linear,
    last: Linear,
    domain: PerDomain<Bias>,
}

#[derive(Clone)]
struct Bias {
    bias: Array1<f32>,
}

starple::params!(OwnNet { shared, last, domain });
starple::params!(Bias { bias: Decay::None });

impl Net for OwnNet {
    type Config = OwnConfig;
    type Cache = ();

    fn new(config: &OwnConfig) -> Self {
        let rng = &mut config.init_rng();
        let domains = (0..config.layout.domains.len()).map(DomainId::new);
        let bias = |domain: DomainId| 0.1 + domain.index().unwrap_or_default() as f32;
        Self {
            shared: Linear::new(config.width(), config.tasks(), Init::Xavier, rng),
            last: Linear::new(config.width(), 1, Init::Xavier, rng),
            domain: PerDomain::new(domains, |domain| Bias { bias: Array1::from_elem(config.tasks(), bias(domain)) }),
        }
    }

    fn forward<M: Mode>(&self, input: Input<'_>, _: M, (): &mut (), logits: &mut ArrayRef2<f32>) {
        self.shared.forward(input.x, logits);
        for segment in input.segments {
            if let Some(d) = segment.domain {
                let mut rows = logits.slice_mut(s![segment.rows(), ..]);
                rows += &self.domain[d].bias;
            }
        }
        let last = logits.ncols() - 1;
        let own = input.x.dot(&self.last.weight) + &self.last.bias;
        logits.slice_mut(s![.., last..]).scaled_add(0.5, &own);
    }

    fn backward(&self, _: Input<'_>, _: &ArrayRef2<f32>, _: Train, (): &mut (), _: &mut Self, _: &mut ArrayRef2<f32>) {
        unreachable!("it is not trained here")
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let row = plan.row();
        let last = plan.layer(row, Cow::Borrowed(&self.last), None);
        for domain in plan.domains() {
            let mut shared = Cow::Borrowed(&self.shared);
            if let Some(d) = domain {
                shared.to_mut().bias += &self.domain[d].bias;
            }
            let of_all = plan.layer(row, shared, None);
            plan.answer(domain, of_all, None, 1.0);
            plan.answer(domain, last, Some(self.shared.bias.len() - 1), 0.5);
        }
        plan
    }

    fn add_domain(&mut self, _: &mut OwnConfig, _: DomainId) {
        unreachable!("no domain is added here")
    }
}

#[test]
fn a_net_of_ones_own_is_exported_by_its_plan() {
    let model = Model::<OwnNet>::new(OwnConfig { layout: layout() });
    let batch = rows(model.layout(), 9, 2);
    for domain in (0..3).map(DomainId::new).chain([DomainId::SHARED]) {
        let graph = read(&onnx::export(&model, domain).unwrap()).graph.unwrap();
        assert_well_formed(&graph);
        let found = &run(&graph, inputs(model.layout(), &batch))["logits"];
        let expected = model.forward(&batch, domain);
        assert_eq!(found.shape(), expected.shape());
        let apart = found.iter().zip(&expected).map(|(found, &expected)| (found - f64::from(expected)).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-5, "{domain:?}: {found} is not {expected}");
        // What is used as it is has its name.
        let names: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        assert!(names.contains("net.last.weight") && names.contains("net.last.bias"));
        assert_eq!(names.contains("net.shared.bias"), domain == DomainId::SHARED);
    }
}

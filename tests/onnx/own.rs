//! A net of one's own is exported as those of the crate are; one with a layer of its own is refused.

use std::collections::BTreeSet;

use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};
use starple::data::{DomainId, Layout};
use starple::model::NetConfig;
use starple::net::{Builder, Built, CustomLayer, Describe};
use starple::nn::{Combination, HiddenSettings, Mode, Segment};
use starple::{ErrorKind, Model, onnx};

use crate::cases::{layout, rows};
use crate::run::run;
use crate::{assert_well_formed, inputs, read};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OwnConfig {
    layout: Layout,
    /// Whether it has a layer of its own.
    own_layer: bool,
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

/// `logits = x·W*_d + b*_d`, and for the last task another map beside it.
impl Describe for OwnConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (row, tasks) = (net.row()?, net.layout().tasks.len());
        let logits = net.star("domain", row, tasks, Combination::Product, None)?;
        let last = net.mlp("last", row, &[], Some(1), HiddenSettings::default())?;
        net.answer(logits, None);
        net.answer(last, Some(tasks - 1));
        if self.own_layer {
            let own = net.custom("own", logits, tasks, |_| Own)?;
            net.answer(own, None);
        }
        Ok(())
    }
}

/// `y = x`.
#[derive(Debug, Clone, PartialEq)]
struct Own;

starple::params!(Own {});

impl CustomLayer for Own {
    type Cache = ();

    fn forward(&self, x: &ArrayRef2<f32>, _: &[Segment], _: Mode<'_>, (): &mut (), y: &mut ArrayRef2<f32>) {
        y.assign(x);
    }

    fn backward(
        &self,
        _: &ArrayRef2<f32>,
        _: &[Segment],
        _: &ArrayRef2<f32>,
        (): &mut (),
        _: &mut Self,
        _: &mut ArrayRef2<f32>,
    ) {
        unreachable!("it is not trained here")
    }
}

#[test]
fn a_layer_of_ones_own_is_refused() {
    let model = Model::new(OwnConfig { layout: layout(), own_layer: true });
    let error = onnx::export(&model, DomainId::new(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("a layer of your own, which has no ONNX form"), "{error}");
}

#[test]
fn a_net_of_ones_own_is_exported() {
    let model = Model::new(OwnConfig { layout: layout(), own_layer: false });
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
        assert!(names.contains("net.last.layers.0.weight") && names.contains("net.last.layers.0.bias"));
        assert_eq!(names.contains("net.domain.shared.bias"), domain == DomainId::SHARED);
    }
}

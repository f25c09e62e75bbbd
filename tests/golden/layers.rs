//! Each layer by itself.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayRef2};
use serde::Deserialize;
use starple::data::{DomainId, Layout};
use starple::nn::{
    Activation, ActivationCache, ActivationKind, BatchNorm, BatchNormCache, Combination, Decay, Gate, GateCache,
    HiddenSettings, Init, InitRng, InputGrad, LayerNorm, LayerNormCache, Linear, Mlp, MlpCache, Mode, NormKind, Pair,
    Params, PartitionedNorm, PartitionedNormCache, PartitionedNormSettings, Path, PostAffine, PostAffineCache, Segment,
    StarLinear, StarLinearCache, Train, mix, mix_backward,
};

use crate::check::{Check, Golden, Tensors, file, load, read};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    layer: Settings,
    /// Of each row, grouped.
    domains: Vec<String>,
    start: Tensors,
    x: Golden,
    /// In training, then in inference.
    y: Golden,
    infer: Golden,
    dy: Golden,
    dx: Golden,
    grads: Tensors,
    /// The moving averages after the step.
    after: Tensors,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Settings {
    Linear { input: usize, output: usize },
    StarLinear { input: usize, output: usize },
    PartitionedNorm { width: usize, epsilon: f32, rate: f32, min_rows: usize, floor: f32 },
    BatchNorm { width: usize },
    LayerNorm { width: usize },
    Activation { width: usize, activation: ActivationKind },
    Hidden { width: usize, norm: NormKind, activation: ActivationKind },
    Mlp { input: usize, hidden: Vec<usize>, output: Option<usize>, style: HiddenSettings },
    Mixture { input: usize, rows: usize, experts: usize, width: usize },
}

/// What all layers can do, under one signature.
trait Twin: Params {
    type Cache: Default;
    fn forward(&self, x: &Matrix, at: &[Segment], mode: Mode<'_>, cache: &mut Self::Cache, y: &mut Matrix);
    fn backward(&self, x: &Matrix, at: &[Segment], dy: &Matrix, c: &mut Self::Cache, grad: &mut Self, dx: &mut Matrix);
}

type Matrix = ArrayRef2<f32>;

macro_rules! twin {
    ($layer:ty, $cache:ty,
     |$l:ident, $x:ident, $at:pat_param, $mode:pat_param, $c:ident, $y:ident| $forward:expr,
     |$dy:ident, $grad:ident, $dx:ident| $backward:expr) => {
        impl Twin for $layer {
            type Cache = $cache;
            fn forward(&self, $x: &Matrix, $at: &[Segment], $mode: Mode<'_>, $c: &mut $cache, $y: &mut Matrix) {
                let $l = self;
                $forward;
            }
            fn backward(
                &self,
                $x: &Matrix,
                $at: &[Segment],
                $dy: &Matrix,
                $c: &mut $cache,
                $grad: &mut Self,
                $dx: &mut Matrix,
            ) {
                let $l = self;
                $backward;
            }
        }
    };
}

twin! { Linear, (),
    |l, x, _, _, _c, y| l.forward(x, y),
    |dy, grad, dx| l.backward(x, dy, grad, Some(dx))
}
twin! { StarLinear, StarLinearCache,
    |l, x, at, _, c, y| l.forward(x, at, c, y),
    |dy, grad, dx| l.backward(x, at, dy, c, grad, Some(dx))
}
twin! { PartitionedNorm, PartitionedNormCache,
    |l, x, at, mode, c, y| l.forward(x, at, mode, c, y),
    |dy, grad, dx| l.backward(x, at, dy, c, grad, dx)
}
twin! { BatchNorm, BatchNormCache,
    |l, x, _, mode, c, y| l.forward(x, mode, c, y),
    |dy, grad, dx| l.backward(x, dy, c, grad, dx)
}
twin! { LayerNorm, LayerNormCache,
    |l, x, _, _, c, y| l.forward(x, c, y),
    |dy, grad, dx| l.backward(x, dy, c, grad, dx)
}
twin! { Activation, ActivationCache,
    |l, x, _, mode, c, y| l.forward(x, mode, c, y),
    |dy, grad, dx| l.backward(x, dy, c, grad, dx)
}
twin! { PostAffine, PostAffineCache,
    |l, x, _, mode, c, y| l.forward(x, mode, c, y),
    |dy, grad, dx| l.backward(x, &mut dy.to_owned(), c, grad, dx)
}
twin! { Mlp, MlpCache,
    |l, x, _, mode, c, y| l.forward(x, mode, c, y),
    |dy, grad, dx| l.backward(x, dy, c, grad, Some(dx))
}
twin! { Mixture, GateCache,
    |l, x, _, _, c, y| {
        l.gate.forward(x, c);
        mix(c, l.experts.iter().map(|expert| expert.out.view()), y);
    },
    |dy, grad, dx| {
        for (i, (expert, grad)) in l.experts.iter().zip(&mut grad.experts).enumerate() {
            mix_backward(c, i, &expert.out, dy, InputGrad::add(&mut grad.out));
        }
        l.gate.backward(x, c, &mut grad.gate, dx);
    }
}

/// A gate over experts whose outputs are parameters, so that their gradients are compared like any other.
#[derive(Clone)]
struct Mixture {
    gate: Gate,
    experts: Vec<Expert>,
}

#[derive(Clone)]
struct Expert {
    out: Array2<f32>,
}

starple::params!(Mixture { gate, experts });
starple::params!(Expert { out: Decay::None });

#[test]
fn layers() {
    let cases: Vec<Case> = file("layers.json");
    let mut check = Check::default();
    let rng = &mut InitRng::new(0);
    let domains = || (0..layout().domains.len()).map(DomainId::new);
    for case in &cases {
        match case.layer {
            Settings::Linear { input, output } => run(case, Linear::new(input, output, Init::He, rng), &mut check),
            Settings::StarLinear { input, output } => {
                run(case, StarLinear::new(input, output, domains(), Combination::Product, Init::He, rng), &mut check);
            }
            Settings::PartitionedNorm { width, epsilon, rate, min_rows, floor } => {
                let settings = PartitionedNormSettings { epsilon, rate, min_rows, floor };
                run(case, PartitionedNorm::new(width, domains(), settings), &mut check);
            }
            Settings::BatchNorm { width } => run(case, BatchNorm::new(width), &mut check),
            Settings::LayerNorm { width } => run(case, LayerNorm::new(width), &mut check),
            Settings::Activation { width, activation } => run(case, Activation::new(activation, width), &mut check),
            Settings::Hidden { width, norm, activation } => {
                run(case, PostAffine::new(width, norm, activation, 0.0, rng), &mut check);
            }
            Settings::Mlp { input, ref hidden, output, style } => {
                run(case, Mlp::new(input, hidden, output, style, rng), &mut check);
            }
            Settings::Mixture { input, rows, experts, width } => {
                let experts = vec![Expert { out: Array2::zeros((rows, width)) }; experts];
                run(case, Mixture { gate: Gate::new(input, experts.len(), rng), experts }, &mut check);
            }
        }
    }
    check.finish();
}

fn run<L: Twin>(case: &Case, mut layer: L, check: &mut Check) {
    let (name, layout) = (&case.name, layout());
    let at = &segments(&case.domains, &layout);
    layer.visit_mut(&mut Path::starting_at(0), &mut |path, leaf| load(name, &path.name(&layout), leaf, &case.start));
    let (x, dy) = (case.x.matrix(), case.dy.matrix());
    // What is not overwritten stays NaN, and what is not added is lost.
    let (mut y, mut dx) = (Array2::from_elem(dy.dim(), f32::NAN), Array2::from_elem(x.dim(), f32::NAN));
    let (mut cache, mut grad) = (L::Cache::default(), layer.zeros_like());

    layer.forward(&x, at, Mode::Infer, &mut cache, &mut y);
    check.matrix(format_args!("{name}: y in inference"), &y, &case.infer);
    layer.forward(&x, at, Mode::Train(Train::default()), &mut cache, &mut y);
    check.matrix(format_args!("{name}: y in training"), &y, &case.y);
    layer.backward(&x, at, &dy, &mut cache, &mut grad, &mut dx);
    check.matrix(format_args!("{name}: dx"), &dx, &case.dx);
    check.tensors(format_args!("{name}: gradient"), &walk(&grad, |name| case.grads.contains_key(name)), &case.grads);

    layer.visit_pair(&mut grad, &mut Path::starting_at(0), &mut |path, pair| {
        if let (true, Pair::Average(average, batch)) = (path.present(), pair) {
            average.take(batch);
        }
    });
    check.tensors(
        format_args!("{name}: after the step"),
        &walk(&layer, |name| case.after.contains_key(name)),
        &case.after,
    );
}

fn layout() -> Layout {
    let domains = ["search", "feed", "cart", "partner"].map(String::from).to_vec();
    Layout { domains, ..Layout::default() }
}

/// The tensors whose names are asked for; `None` where the owner is absent.
fn walk(layer: &impl Params, wanted: impl Fn(&str) -> bool) -> Tensors {
    let (mut tensors, layout) = (BTreeMap::new(), layout());
    layer.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        let name = path.name(&layout);
        if wanted(&name) {
            tensors.insert(name, path.present().then(|| read(leaf)));
        }
    });
    tensors
}

/// Runs of rows of one domain.
fn segments(domains: &[String], layout: &Layout) -> Vec<Segment> {
    let mut start = 0;
    let runs = domains.chunk_by(|a, b| a == b).map(|run| {
        let domain = layout.domains.iter().position(|known| *known == run[0]).map_or(DomainId::SHARED, DomainId::new);
        let segment = Segment { domain, start, end: start + run.len() };
        start = segment.end;
        segment
    });
    runs.collect()
}

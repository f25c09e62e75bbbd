//! A net that runs a program.

use std::marker::PhantomData;
use std::sync::Arc;

use ndarray::{ArrayRef2, s};

use super::builder::{Builder, Built};
use super::layer::{IntoName, Layer, LayerType, owner, within};
use super::program::{Op, Program};
use super::tape::{Pass, StepCache, Tape};
use crate::data::DomainId;
use crate::model::{ExpertId, GateReader, GateView, Input, Net, NetConfig, Plan};
use crate::nn::{Branch, InitRng, Leaf, LeafMut, Mode, Pair, Params, Part, Path, Segment, Size, Train, orthogonality};

/// Settings that say their net.
pub trait Describe: NetConfig + PartialEq {
    /// Writes the net's steps.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge), from the builder.
    fn describe(&self, net: &mut Builder<'_>) -> Built;
}

/// The dense part of a model, run as the [`Program`] that its settings [describe](Describe).
#[derive(Debug, Clone, PartialEq)]
pub struct StepNet<C> {
    program: Arc<Program>,
    layers: Vec<Layer>,
    /// In a gradient, by step, whether it took part.
    present: Vec<bool>,
    config: PhantomData<fn() -> C>,
}

impl<C: Describe> StepNet<C> {
    /// The layer of this name, such as `("towers", branch)`, if there is one and it is of this type.
    ///
    /// ```
    /// # use starple::data::{Field, Layout};
    /// # use starple::nn::StarLinear;
    /// # use starple::{Star, StarConfig};
    /// # let field = Field { name: "item".into(), rows: 9, bag: None };
    /// # let (domains, tasks) = (vec!["home".into()], vec!["click".into()]);
    /// # let layout = Layout { fields: vec![field], domains, tasks, ..Layout::default() };
    /// let star = Star::new(StarConfig::builder(&layout).hidden([8]).build()?);
    /// let first = star.net().get::<StarLinear>(("layers", 0)).unwrap();
    /// assert_eq!(first.shared.weight.dim(), (16, 8));
    /// # Ok::<(), starple::Error>(())
    /// ```
    pub fn get<T: LayerType>(&self, name: impl IntoName) -> Option<&T> {
        T::of(&self.layers[self.position(name)?])
    }

    /// [`StepNet::get`], to change it.
    pub fn get_mut<T: LayerType>(&mut self, name: impl IntoName) -> Option<&mut T> {
        let i = self.position(name)?;
        T::of_mut(&mut self.layers[i])
    }

    /// All layers of one type, in the order of the steps.
    pub fn all<T: LayerType + 'static>(&self) -> impl Iterator<Item = &T> {
        self.layers.iter().filter_map(T::of)
    }

    /// [`StepNet::all`], to change them.
    pub fn all_mut<T: LayerType + 'static>(&mut self) -> impl Iterator<Item = &mut T> {
        self.layers.iter_mut().filter_map(T::of_mut)
    }

    fn position(&self, name: impl IntoName) -> Option<usize> {
        let name = name.name();
        self.names().position(|of| *of == name)
    }

    /// What it computes.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn names(&self) -> impl Iterator<Item = &Vec<Part>> {
        names_of(&self.program)
    }

    /// Each layer with its name, and whether its owner is present.
    fn named(&self) -> impl Iterator<Item = (&[Part], bool, &Layer)> {
        let names = self.program.steps.iter().zip(&self.present);
        let names = names.flat_map(|(step, &present)| step.names.iter().map(move |name| (&name[..], present)));
        names.zip(&self.layers).map(|((name, present), layer)| (name, present, layer))
    }
}

/// The names of all layers, in order.
fn names_of(program: &Program) -> impl Iterator<Item = &Vec<Part>> {
    program.steps.iter().flat_map(|step| &step.names)
}

impl<C: Describe> Net for StepNet<C> {
    type Config = C;
    type Cache = Tape;

    fn new(config: &C) -> Self {
        let mut builder = Builder::making(config.layout(), config.width(), config.seed());
        config.describe(&mut builder).expect("settings that were built are not too large");
        let (program, layers) = builder.finish();
        let present = vec![true; program.steps.len()];
        Self { program: Arc::new(program), layers, present, config: PhantomData }
    }

    fn size(config: &C) -> Option<Size> {
        let mut builder = Builder::measuring(config.layout(), config.width());
        let built = config.describe(&mut builder);
        Some(built.map_or(Size { values: f64::INFINITY, tensors: 0.0 }, |()| builder.size()))
    }

    fn row(config: &C) -> Option<f64> {
        let mut builder = Builder::writing(config.layout(), config.width());
        Some(config.describe(&mut builder).map_or(f64::INFINITY, |()| builder.kept()))
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, tape: &mut Tape, logits: &mut ArrayRef2<f32>) {
        let (Input { x, segments }, rows, pass) = (input, logits.nrows(), Pass::of(mode));
        let (program, layers) = (&*self.program, &self.layers[..]);
        let last = segments.last().filter(|last| last.domain.is_none() && !program.common);
        tape.apart = last.map_or(rows..rows, Segment::rows);
        let known = if last.is_some() { &segments[..segments.len() - 1] } else { segments };
        let next = tape.known.lay(program, known, 0, 0);
        program.forward(layers, x, pass, &mut tape.known, &mut logits.slice_mut(s![..tape.apart.start, ..]));
        if let Some(last) = last {
            tape.unknown.lay(program, std::slice::from_ref(last), last.start, next);
            program.forward(layers, x, pass, &mut tape.unknown, &mut logits.slice_mut(s![last.start.., ..]));
        }
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        tape: &mut Tape,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        assert!(tape.apart.is_empty(), "training rows have a domain");
        self.program.backward(&self.layers, input.x, dlogits, &mut tape.known, &mut grad.layers, dx);
        for (present, cell) in grad.present.iter_mut().zip(&tape.known.cells) {
            *present |= cell.active;
        }
    }

    fn note_statistics(&self, input: Input<'_>, grad: &mut Self) -> bool {
        let rows = |step: &super::program::Step| match step.op {
            Op::Norm { input } => matches!(self.program.steps[input.index()].op, Op::Row { owner: 0 }),
            _ => !self.layers[step.layers()].iter().any(Layer::has_averages),
        };
        if !self.program.steps.iter().all(rows) {
            return false;
        }
        for layer in &mut grad.layers {
            if let Layer::Norm(norm) = layer {
                norm.note_statistics(input.x, input.segments);
            }
        }
        true
    }

    fn visit_gates(&self, tape: &Tape, see: &mut dyn FnMut(GateView<'_>)) {
        let parts = [(&tape.known, 0), (&tape.unknown, tape.apart.start)];
        let parts = &parts[..if tape.apart.is_empty() { 1 } else { 2 }];
        for (part, first) in parts {
            for (i, step) in self.program.steps.iter().enumerate() {
                let (Op::Mix { parts, .. }, StepCache::Mix(cache)) = (&step.op, &part.cells[i].cache) else { continue };
                if part.places[i].len() == 0 {
                    continue;
                }
                let name = |value: super::Value| &self.program.steps[value.index()].names[0][..];
                let experts: Vec<ExpertId> = parts.iter().map(|&part| expert(name(part))).collect();
                let level = name(parts[0]).iter().find_map(|p| if let Part::Index(i) = p { Some(*i) } else { None });
                see(GateView {
                    level: level.unwrap_or_default(),
                    reader: reader(&step.names[0]),
                    experts: &experts,
                    start: first + part.places[i].start,
                    weights: cache.weights().view(),
                });
            }
        }
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        super::lower::plan(&self.program, &self.layers, domains)
    }

    fn penalize(&self, tape: &mut Tape, grad: &mut Self) -> f64 {
        let mut sum = 0.0;
        for (step, &present) in self.program.steps.iter().zip(&grad.present) {
            if let (Op::Mlp { penalty: Some(penalty), .. }, true) = (&step.op, present)
                && let (Layer::Mlp(own), Layer::Mlp(grad)) = (&self.layers[step.at], &mut grad.layers[step.at])
            {
                let (weight, dweight) = (&own.layers[0].weight, &mut grad.layers[0].weight);
                sum += orthogonality(weight, penalty.blocks, penalty.lambda, &mut tape.known.products, dweight);
            }
        }
        sum
    }

    /// The net of the grown settings, in which what was there is as it was.
    fn add_domain(&mut self, config: &mut C, domain: DomainId) {
        let branches = self.branches();
        config.keep_built_with(branches);
        let grown = Self::new(config);
        let names = Arc::clone(&self.program);
        // What was there stands in the same order; what is new comes in between.
        let mut old = names_of(&names).zip(std::mem::take(&mut self.layers)).peekable();
        let mut layers = grown.layers;
        for (name, new) in names_of(&grown.program).zip(&mut layers) {
            if let Some((_, mut layer)) = old.next_if(|(of, _)| *of == name) {
                if let (Layer::Representations(new), Layer::Representations(before)) = (&mut *new, &layer) {
                    new.keep(before.clone());
                    continue;
                }
                layer.add_domain(domain, &InitRng::named(config.seed(), name, config.layout()));
                *new = layer;
            }
        }
        assert!(old.next().is_none(), "a net that has grown has all that it had");
        *self = Self { layers, ..grown };
    }
}

impl<C: Describe> StepNet<C> {
    /// How many branches own something.
    fn branches(&self) -> usize {
        let mut branches: Vec<Branch> = self.names().filter_map(|name| owner(name)).collect();
        branches.sort_unstable();
        branches.dedup();
        branches.len()
    }
}

impl Layer {
    /// Gives a new domain what it owns.
    fn add_domain(&mut self, domain: DomainId, rng: &InitRng) {
        match self {
            Self::Norm(norm) => norm.add_domain(domain),
            Self::Star(linear) => linear.add_domain(domain, rng),
            Self::DomainMlp(net) => net.push_domain(domain),
            _ => {}
        }
    }
}

/// The expert with this name: `….own.BRANCH.I`, or one that all share, `….I`.
fn expert(name: &[Part]) -> ExpertId {
    match name {
        [.., Part::Branch(branch), Part::Index(i)] => ExpertId::Own(*branch, *i),
        [.., Part::Index(i)] => ExpertId::Shared(*i),
        _ => ExpertId::Shared(0),
    }
}

/// Who reads what the gate of this name mixes.
fn reader(name: &[Part]) -> GateReader {
    match name.last() {
        Some(Part::Branch(branch)) => GateReader::Branch(*branch),
        Some(Part::Index(i)) => GateReader::Expert(*i),
        _ => GateReader::Shared,
    }
}

impl<C: Describe> Params for StepNet<C> {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        for (name, present, layer) in self.named() {
            within(path, name, present, |path| layer.visit(path, see));
        }
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        let Self { program, layers, present, .. } = self;
        for (step, &present) in program.steps.iter().zip(&*present) {
            for (name, layer) in step.names.iter().zip(&mut layers[step.layers()]) {
                within(path, name, present, |path| layer.visit_mut(path, see));
            }
        }
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        let Self { program, layers, present, .. } = self;
        for (i, step) in program.steps.iter().enumerate() {
            present[i] |= grad.present[i];
            let pairs = layers[step.layers()].iter_mut().zip(&mut grad.layers[step.layers()]);
            for (name, (layer, dlayer)) in step.names.iter().zip(pairs) {
                within(path, name, grad.present[i], |path| layer.visit_pair(dlayer, path, see));
            }
        }
    }

    fn zero(&mut self) {
        self.each_present(Params::zero);
    }

    fn dismiss(&mut self) {
        self.each_present(Params::dismiss);
    }
}

impl<C> StepNet<C> {
    /// Runs `f` on what is owned and present, and on what is not owned; from then on nothing is present.
    fn each_present(&mut self, f: impl Fn(&mut Layer)) {
        for (step, present) in self.program.steps.iter().zip(&mut self.present) {
            let took_part = std::mem::take(present);
            for (name, layer) in step.names.iter().zip(&mut self.layers[step.layers()]) {
                if took_part || owner(name).is_none() {
                    f(layer);
                }
            }
        }
    }
}

//! A net that runs a program.

use std::sync::Arc;

use ndarray::{ArrayRef2, s};

use super::builder::Builder;
use super::layer::{IntoName, Layer, LayerType, owner, within};
use super::program::{Op, Program};
use super::tape::{StepCache, Tape};
use crate::data::DomainId;
use crate::model::{Events, ExpertId, GateReader, GateView, NetConfig, Plan};
use crate::nn::{Branch, InitRng, Leaf, LeafMut, Mode, Pair, Params, Part, Path, Segment, Size, orthogonality};

/// The input of a forward pass: embedded rows, grouped by domain.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// The rows as [`Input::x`] has them. The net writes the columns of fields that attention pools.
    pub(crate) x: &'a mut ArrayRef2<f32>,
    /// By sequence, the events that attention pools.
    pub(crate) events: &'a [Events],
    /// The rows of each domain. Segments are consecutive and cover all rows; a domain has at most one.
    pub(crate) segments: &'a [Segment],
    /// The batch's row at each position: the key of dropout.
    pub(crate) numbers: &'a [u32],
}

/// Embedded rows, grouped by domain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `[rows, width]`: the fields' embeddings, then the numeric inputs. If branches have tables of their own, there is one block of rows
    /// for each branch that answers: see [`NetConfig::own_tables`].
    pub(crate) x: &'a ArrayRef2<f32>,
    /// The rows of each domain. Segments are consecutive and cover all rows; a domain has at most one.
    pub(crate) segments: &'a [Segment],
}

/// The part of a model after the embeddings: it computes one logit for each row and task from embedded rows. It holds all layers of the
/// model with their parameters, and the [`Program`] that says in which order they run. The settings of the model
/// [describe](super::Describe) this program.
///
/// [`Model::net`](crate::Model::net) returns the net of a model. The gradient of a net is another `Net` with the same layers
/// ([`Gradient::net`](crate::model::Gradient::net)).
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    program: Arc<Program>,
    layers: Vec<Layer>,
    /// In a gradient, by step, whether it was active in the training step.
    present: Vec<bool>,
}

impl Net {
    /// Returns the layer with the dotted name `name`. The result is `None` if the net has no layer of this name, or if the layer is not of
    /// type `T`.
    ///
    /// `T` is the type of the layer, for example [`Mlp`](crate::nn::Mlp). A name is a tuple of parts, which are joined by dots:
    /// `("layers", 0)` is the name `layers.0`. A name of one part is written without a tuple.
    ///
    /// To find the names of a model's layers, list the names of its parameters by [`Model::visit`](crate::Model::visit). The name of a
    /// parameter is `net.`, the name of its layer, and its name in the layer: `net.layers.0.shared.weight` belongs to the layer `layers.0`.
    /// If you wrote the net yourself, the names are those that you gave to the [`Builder`].
    ///
    /// ```
    /// # use starple::data::Layout;
    /// # use starple::nn::StarLinear;
    /// # use starple::{Star, StarConfig};
    /// # let layout = Layout::new(["home"], ["click"]).field("item", 9);
    /// let star = Star::new(StarConfig::builder(&layout).hidden([8]).build()?);
    /// let first = star.net().get::<StarLinear>(("layers", 0)).unwrap();
    /// assert_eq!(first.shared.weight.dim(), (16, 8));
    /// # Ok::<(), starple::Error>(())
    /// ```
    pub fn get<T: LayerType>(&self, name: impl IntoName) -> Option<&T> {
        T::of(&self.layers[self.position(name)?])
    }

    /// Returns the layer with the dotted name `name`, to change its parameters. The result is `None` if the net has no layer of this name,
    /// or if the layer is not of type `T`. [`Net::get`] explains `T` and the names.
    pub fn get_mut<T: LayerType>(&mut self, name: impl IntoName) -> Option<&mut T> {
        let i = self.position(name)?;
        T::of_mut(&mut self.layers[i])
    }

    /// Iterates over all layers of type `T`, for example all [`Gate`](crate::nn::Gate)s, in the order in which the net runs them. If the net
    /// has no such layer, the iterator is empty.
    pub fn all<T: LayerType + 'static>(&self) -> impl Iterator<Item = &T> {
        self.layers.iter().filter_map(T::of)
    }

    /// Iterates over all layers of type `T`, to change their parameters, in the order in which the net runs them. [`Net::all`] gives the
    /// same layers to read.
    pub fn all_mut<T: LayerType + 'static>(&mut self) -> impl Iterator<Item = &mut T> {
        self.layers.iter_mut().filter_map(T::of_mut)
    }

    fn position(&self, name: impl IntoName) -> Option<usize> {
        let name = name.name();
        self.names().position(|of| *of == name)
    }

    /// The list of steps that the net runs in a pass, from the embedded row to the logits.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn names(&self) -> impl Iterator<Item = &Vec<Part>> {
        names_of(&self.program)
    }

    /// Each layer with its name, and whether the branch that owns it is present.
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

impl Net {
    /// The net at step 0.
    pub(crate) fn new(config: &dyn NetConfig) -> Self {
        let mut builder = Builder::making(config);
        builder.describe(config).expect("settings that were built are not too large");
        let (program, layers) = builder.finish();
        let present = vec![true; program.steps.len()];
        Self { program: Arc::new(program), layers, present }
    }

    /// Computes how many values the net of the settings `config` has: its parameters and moving averages, without the embedding tables. It
    /// does not make the net, so it needs little memory.
    ///
    /// The crate calls this function before it allocates memory for a model. So it can refuse settings that need more memory than the
    /// machine has, and model files that hold fewer values than their settings need. If the net has more steps or branches than
    /// [`TooLarge`](super::TooLarge) allows, [`Size::values`] is infinite and [`Size::tensors`] is 0.
    pub fn size(config: &dyn NetConfig) -> Size {
        let mut builder = Builder::measuring(config);
        let built = builder.describe(config);
        built.map_or(Size { values: f64::INFINITY, tensors: 0.0 }, |()| builder.size())
    }

    /// The approximate number of values that a training step keeps on the tape for a row of its batch. Inference keeps fewer.
    pub(crate) fn row(config: &dyn NetConfig) -> f64 {
        let mut builder = Builder::writing(config);
        builder.describe(config).map_or(f64::INFINITY, |()| builder.kept())
    }

    /// Writes the logits, `[rows, tasks]`.
    pub(crate) fn forward(&self, input: Rows<'_>, mode: Mode<'_>, tape: &mut Tape, logits: &mut ArrayRef2<f32>) {
        let (Rows { x, events, segments, numbers }, rows) = (input, logits.nrows());
        let mode = mode.with_rows(numbers);
        let (program, layers) = (&*self.program, &self.layers[..]);
        let last = segments.last().filter(|last| last.domain == DomainId::SHARED && !program.common);
        tape.apart = last.map_or(rows..rows, Segment::rows);
        let known = if last.is_some() { &segments[..segments.len() - 1] } else { segments };
        let next = tape.known.find_ranges(program, known, 0, 0);
        program.attend(layers, x, events, mode, &mut tape.known);
        program.forward(layers, x, mode, &mut tape.known, &mut logits.slice_mut(s![..tape.apart.start, ..]));
        if let Some(last) = last {
            tape.unknown.find_ranges(program, std::slice::from_ref(last), last.start, next);
            program.attend(layers, x, events, mode, &mut tape.unknown);
            program.forward(layers, x, mode, &mut tape.unknown, &mut logits.slice_mut(s![last.start.., ..]));
        }
    }

    /// Takes `dlogits` back: adds into `grad`, overwrites `dx` and the gradients of the events. `x`, `events` and `tape` are those of the
    /// forward pass, which may be followed by several backward passes.
    pub(crate) fn backward(
        &self,
        x: &ArrayRef2<f32>,
        events: &mut [Events],
        dlogits: &ArrayRef2<f32>,
        tape: &mut Tape,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        assert!(tape.apart.is_empty(), "training rows have a domain");
        self.program.backward(&self.layers, x, dlogits, &mut tape.known, &mut grad.layers, dx);
        self.program.attend_back(&self.layers, events, &mut tape.known, &mut grad.layers, dx);
        for (present, cell) in grad.present.iter_mut().zip(&tape.known.cells) {
            *present |= cell.active;
        }
    }

    /// Adds the batch statistics of these rows to `grad`, as [`Net::backward`] does, if they depend on the input alone, and returns whether
    /// they do. Otherwise a forward and a backward pass are needed.
    pub(crate) fn note_statistics(&self, input: Input<'_>, grad: &mut Self) -> bool {
        let rows = |step: &super::program::Step| match step.op {
            // The columns that attention writes are no part of the input.
            Op::Row { .. } => step.names.is_empty(),
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

    /// Calls `see` once for each softmax gate, with the weights that the gate computed in the last pass of this net with `tape`. The gates
    /// come in the order in which the net runs them. [`Cache::tape`](crate::model::Cache::tape) returns the tape of a pass.
    ///
    /// A gate that ran for no row of the pass is left out. If branches are for domains, and the pass had rows of known domains and rows of
    /// no known domain, `see` can get a gate twice: once for each of these two groups of rows.
    ///
    /// # Panics
    /// If no pass has used `tape` yet. It can also panic if the last pass that used `tape` was a pass of another net.
    pub fn visit_gates(&self, tape: &Tape, see: &mut dyn FnMut(GateView<'_>)) {
        let parts = [(&tape.known, 0), (&tape.unknown, tape.apart.start)];
        let parts = &parts[..if tape.apart.is_empty() { 1 } else { 2 }];
        for (part, first) in parts {
            for (i, step) in self.program.steps.iter().enumerate() {
                let (Op::Mix { parts, .. }, StepCache::Mix(cache)) = (&step.op, &part.cells[i].cache) else { continue };
                if part.ranges[i].len() == 0 {
                    continue;
                }
                let name = |value: super::Value| &self.program.steps[value.index()].names[0][..];
                let experts: Vec<ExpertId> = parts.iter().map(|&part| expert(name(part))).collect();
                let level = name(parts[0]).iter().find_map(|p| if let Part::Index(i) = p { Some(*i) } else { None });
                see(GateView {
                    level: level.unwrap_or_default(),
                    reader: reader(&step.names[0]),
                    experts: &experts,
                    start: first + part.ranges[i].start,
                    weights: cache.weights().view(),
                });
            }
        }
    }

    /// The net's steps in inference, for this number of known domains and for rows of no known domain.
    pub(crate) fn plan(&self, domains: usize) -> Plan<'_> {
        super::lower::plan(&self.program, &self.layers, domains)
    }

    /// Adds the gradient of the net's penalties on weights to `grad`, and returns the penalties' sum. Run it once a training step, after
    /// all backward passes. Layers that are absent from the step have no penalty.
    pub(crate) fn penalize(&self, tape: &mut Tape, grad: &mut Self) -> f64 {
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

    /// Grows the net to the settings with the new domain. All earlier parameters keep their values.
    pub(crate) fn add_domain(&mut self, config: &mut dyn NetConfig, domain: DomainId) {
        let branches = self.branches();
        config.keep_built_with(branches);
        let grown = Self::new(config);
        let names = Arc::clone(&self.program);
        // Earlier layers keep their order; new ones stand between them.
        let mut old = names_of(&names).zip(std::mem::take(&mut self.layers)).peekable();
        let mut layers = grown.layers;
        for (name, new) in names_of(&grown.program).zip(&mut layers) {
            if let Some((_, mut layer)) = old.next_if(|(of, _)| *of == name) {
                if let (Layer::Representations(new), Layer::Representations(before)) = (&mut *new, &layer) {
                    new.keep(before.clone());
                    continue;
                }
                layer.add_domain(domain, &mut InitRng::named(config.seed(), name, config.layout()));
                *new = layer;
            }
        }
        assert!(old.next().is_none(), "a net that has grown has all that it had");
        *self = Self { layers, ..grown };
    }

    /// The number of branches that own layers.
    fn branches(&self) -> usize {
        let mut branches: Vec<Branch> = self.names().filter_map(|name| owner(name)).collect();
        branches.sort_unstable();
        branches.dedup();
        branches.len()
    }
}

impl Layer {
    /// Adds the parameters of a new domain.
    fn add_domain(&mut self, domain: DomainId, rng: &mut InitRng) {
        match self {
            Self::Norm(norm) => norm.add_domain(domain),
            Self::Star(linear) => linear.add_domain(domain, rng),
            Self::DomainMlp(net) => net.push_domain(domain),
            Self::Custom(layer) => layer.add_domain(domain, rng),
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

/// The reader of the mixture of the gate with this name.
fn reader(name: &[Part]) -> GateReader {
    match name.last() {
        Some(Part::Branch(branch)) => GateReader::Branch(*branch),
        Some(Part::Index(i)) => GateReader::Expert(*i),
        _ => GateReader::Shared,
    }
}

impl Params for Net {
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

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        self.present.iter_mut().for_each(&mut *see);
        self.layers.iter_mut().for_each(|layer| layer.visit_presence(see));
    }

    fn zero(&mut self) {
        self.each_present(Params::zero);
    }

    fn dismiss(&mut self) {
        self.each_present(Params::dismiss);
    }
}

impl Net {
    /// Calls `f` for layers that are present or that no branch owns, and then marks all as absent.
    fn each_present(&mut self, f: impl Fn(&mut Layer)) {
        for (step, present) in self.program.steps.iter().zip(&mut self.present) {
            let was_present = std::mem::take(present);
            for (name, layer) in step.names.iter().zip(&mut self.layers[step.layers()]) {
                if was_present || owner(name).is_none() {
                    f(layer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Layout;
    use crate::model::AnyConfig;

    /// The size that is computed before a net is made is its true size, for all settings: hostile files are refused by it.
    #[test]
    fn every_net_says_its_size_with_all_that_hidden_layers_may_be() {
        let layout = Layout::new(["home", "search", "cart", "mail"], ["click", "buy", "keep"])
            .field("item", 3)
            .field("user", 4)
            .field_of("seen", "item", Some(crate::data::Pooling::Mean))
            .attended("history", [("seen", "item")], 5, crate::nn::TargetAttentionSettings::default())
            .numeric(["price"]);
        let mut seen = 0;
        for &kind in AnyConfig::KINDS {
            for (norm, activation) in [("none", "prelu"), ("batch", "dice"), ("layer", "relu"), ("batch", "gelu")] {
                for (branches, built_with) in
                    [("tasks", 3), ("domains", 4), ("domains", 2), ("domains_and_tasks", 12), ("domains_and_tasks", 6)]
                {
                    let mut settings = serde_json::json!({ "kind": kind, "embedding_dim": 3, "norm": norm });
                    settings["activation"] = activation.into();
                    if !["star", "pooled", "pepnet"].contains(&kind) {
                        settings["branches"] = branches.into();
                        settings["built_with"] = built_with.into();
                    }
                    if kind == "pepnet" {
                        let (priors, gate_hidden) =
                            if branches == "tasks" { (vec![], None) } else { (vec!["user"], Some(5)) };
                        settings["priors"] = priors.into();
                        settings["gate_hidden"] = gate_hidden.into();
                        settings["gate_input"] = (branches == "domains").into();
                        settings["epnet"] = (branches != "domains_and_tasks").into();
                    }
                    let config = AnyConfig::from_settings(settings, &layout, 1).unwrap();
                    let mut held = 0;
                    Net::new(&*config).visit(&mut Path::starting_at(0), &mut |_, leaf| {
                        if let Leaf::Tensor(values, ..) | Leaf::Average(values, _) = leaf {
                            held += values.len();
                        }
                    });
                    assert_eq!(Net::size(&*config).values, held as f64, "{config:?}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, AnyConfig::KINDS.len() * 4 * 5);
    }
}

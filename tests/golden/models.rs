//! Models from configuration to the parameters after 20 steps.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::Deserialize;
use serde_json::Value;
use starple::Model;
use starple::data::{Batch, DomainId, Ids, Layout};
use starple::loss::Objective;
use starple::model::{AnyConfig, Gradient};
use starple::nn::{Leaf, Params as _, Part, Path};
use starple::optim::{Clock, OptimizerConfig};
use starple::train::Step;

use crate::check::{Check, Golden, Tensors, file, load, read};

/// Steps of an epoch, for task weights that change by epoch.
pub(crate) const EPOCH: u64 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) layout: Layout,
    batches: Vec<Rows>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    domains: Vec<String>,
    ids: BTreeMap<String, FieldIds>,
    numeric: Golden,
    labels: Golden,
    weights: Option<Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldIds {
    One(Vec<u32>),
    Bags(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// All but the layout.
    config: Value,
    objective: Objective,
    start: Tensors,
    /// Logits of the first batch in inference at the start: of its domains, and of no known domain.
    infer: Golden,
    shared: Golden,
    passes: Vec<Pass>,
    runs: Vec<Run>,
}

/// A training pass at the start.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pass {
    batch: usize,
    logits: Golden,
    loss: Golden,
    tasks: Golden,
    grads: Tensors,
}

/// Steps from the start, each on its batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    optimizer: OptimizerConfig,
    losses: Vec<Golden>,
    /// Parameters and averages after this many steps.
    after: BTreeMap<u64, Tensors>,
    /// Logits of the first batch in inference at the end.
    infer: Golden,
}

/// Cases that each have a layout of their own, and the batches of all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attended {
    batches: Vec<Rows>,
    cases: Vec<OwnLayout>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnLayout {
    layout: Layout,
    case: Case,
}

impl Data {
    pub(crate) fn read() -> Self {
        file("data.json")
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        let batch = |rows: &Rows| {
            let ids = self.layout.fields.iter().map(|field| match &rows.ids[&field.name] {
                FieldIds::One(ids) => Ids::One(ids.clone()),
                FieldIds::Bags(bags) => {
                    let ends = bags.iter().scan(0, |end, bag| {
                        *end += bag.len() as u32;
                        Some(*end)
                    });
                    Ids::Bag { offsets: std::iter::once(0).chain(ends).collect(), ids: bags.concat() }
                }
            });
            let position = |name: &String| self.layout.domains.iter().position(|known| known == name).unwrap();
            let batch = Batch {
                ids: ids.collect(),
                numeric: rows.numeric.matrix(),
                labels: rows.labels.matrix(),
                domains: rows.domains.iter().map(|name| DomainId::new(position(name))).collect(),
                weights: rows.weights.clone().unwrap_or_default(),
                groups: Vec::new(),
            };
            batch.check(&self.layout).unwrap();
            batch
        };
        self.batches.iter().map(batch).collect()
    }
}

#[test]
fn star() {
    cases("star.json", Some("star"));
}

#[test]
fn star_combinations() {
    cases("star_combinations.json", Some("star"));
}

#[test]
fn ple() {
    cases("ple.json", Some("ple"));
}

#[test]
fn mran() {
    cases("mran.json", Some("mran"));
}

#[test]
fn pepnet() {
    cases("pepnet.json", Some("pepnet"));
}

#[test]
fn interactions() {
    cases("interactions.json", None);
}

#[test]
fn pooled() {
    cases("pooled.json", Some("pooled"));
}

#[test]
fn family() {
    cases("family.json", None);
}

/// The cases of a file, which are all of one kind or say theirs.
fn cases(name: &str, kind: Option<&str>) {
    let data = Data::read();
    let batches = data.batches();
    let mut check = Check::default();
    for case in file::<Vec<Case>>(name) {
        run(&case, kind, &data.layout, &batches, &mut check);
    }
    check.finish();
}

#[test]
fn attended() {
    let Attended { batches, cases } = file("attended.json");
    let mut data = Data { layout: Layout::default(), batches };
    let mut check = Check::default();
    for OwnLayout { layout, case } in cases {
        data.layout = layout;
        run(&case, Some("pooled"), &data.layout, &data.batches(), &mut check);
    }
    check.finish();
}

fn run(case: &Case, kind: Option<&str>, layout: &Layout, batches: &[Batch], check: &mut Check) {
    let name = &case.name;
    let model = start(name, kind, &case.config, &case.start, layout);
    let batch = &batches[0];
    check.matrix(format_args!("{name}: logits in inference"), &model.forward(batch, batch.domains()), &case.infer);
    let shared = model.forward(batch, DomainId::SHARED);
    check.matrix(format_args!("{name}: logits of no known domain"), &shared, &case.shared);
    let mut step = Step::new(&model, &case.objective, 0).unwrap();
    for pass in &case.passes {
        let what = format!("{name}: batch {}", pass.batch);
        let grad = step.gradient(&model, &batches[pass.batch], clock(pass.batch)).unwrap();
        check.tensors(format_args!("{what}: gradient"), &gradients(&model, grad), &pass.grads);
        grad.zero();
        check.matrix(format_args!("{what}: logits in training"), step.logits(), &pass.logits);
        check.losses(&what, step.loss(), &pass.loss, &pass.tasks);
    }
    for run in &case.runs {
        let what = format!("{name}: {}", serde_json::to_string(&run.optimizer).unwrap());
        train(&what, model.clone(), batches, &case.objective, run, check);
    }
}

/// The model of a case, at the parameters that the twin starts from.
pub(crate) fn start(name: &str, kind: Option<&str>, config: &Value, start: &Tensors, layout: &Layout) -> Model {
    let mut config = config.clone();
    if let Some(kind) = kind {
        config["kind"] = kind.into();
    }
    config["layout"] = serde_json::to_value(layout).unwrap();
    let config: AnyConfig = serde_json::from_value(config).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut model = Model::new(config);
    model.visit_mut(|path, leaf| load(name, &path.name(layout), leaf, start));
    assert_eq!(parameters(&model).len(), start.len(), "{name}: the twin has more tensors");
    model
}

fn train(what: &str, mut model: Model, batches: &[Batch], goal: &Objective, run: &Run, check: &mut Check) {
    let mut optimizer = run.optimizer.build();
    let mut step = Step::new(&model, goal, 0).unwrap();
    assert_eq!(run.losses.len(), batches.len(), "{what}: a step for each batch");
    for (index, (batch, loss)) in batches.iter().zip(&run.losses).enumerate() {
        let taken = index as u64 + 1;
        let grad = step.gradient(&model, batch, clock(index)).unwrap();
        model.apply(grad, &mut *optimizer);
        check.close(format_args!("{what}: step {taken}: loss"), [step.loss().total], loss);
        if let Some(golden) = run.after.get(&taken) {
            check.tensors(format_args!("{what}: after step {taken}"), &parameters(&model), golden);
        }
    }
    let logits = model.forward(&batches[0], batches[0].domains());
    check.matrix(format_args!("{what}: logits in inference at the end"), &logits, &run.infer);
}

/// Where the steps stand in time.
pub(crate) fn clock(index: usize) -> Clock {
    Clock { epoch: index as u64 / EPOCH, step: index as u64 }
}

/// Parameters, averages and counts by name.
pub(crate) fn parameters(model: &Model) -> Tensors {
    let mut tensors = Tensors::new();
    model.visit(|path, leaf| {
        tensors.insert(path.name(model.layout()), Some(read(leaf)));
    });
    tensors
}

/// Gradients by name, tables densified; `None` where the owner is absent.
fn gradients(model: &Model, grad: &Gradient) -> Tensors {
    let (mut tensors, layout) = (Tensors::new(), model.layout());
    let mut tables = grad.tables.iter();
    model.visit(|path, leaf| {
        let (name, Leaf::Tensor(_, shape, _)) = (path.name(layout), leaf) else { return };
        if !name.starts_with("embeddings.") {
            return;
        }
        let rows = tables.next().expect("a gradient for each table");
        let mut dense = Array2::<f32>::zeros((shape[0], shape[1]));
        for (row, mut values) in dense.rows_mut().into_iter().enumerate() {
            if let Some(grad) = rows.row(row) {
                values.assign(&ndarray::aview1(grad));
            }
        }
        // A table for all is always in the step; one of a branch's own is where the branch is.
        let present = model.config().own_tables().is_none() || !rows.rows().is_empty();
        tensors.insert(name, present.then(|| read(Leaf::Average(dense.as_slice().unwrap(), dense.shape()))));
    });
    let path = &mut Path::starting_at(0);
    path.within(Part::Field("net"), |path| {
        grad.net.visit(path, &mut |path, leaf| {
            if let Leaf::Tensor(..) = leaf {
                tensors.insert(path.name(layout), path.present().then(|| read(leaf)));
            }
        });
    });
    tensors
}

#[test]
fn batches_leave_domains_out_and_alone() {
    let data = Data::read();
    for (d, name) in data.layout.domains.iter().enumerate() {
        let rows = |batch: &Batch| batch.domains.iter().filter(|domain| domain.index() == Some(d)).count();
        let counts: Vec<usize> = data.batches().iter().map(rows).collect();
        assert!(counts.contains(&0) && counts.contains(&1) && counts.iter().any(|&n| n >= 4), "{name}: {counts:?}");
    }
}

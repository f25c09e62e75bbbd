//! Weights of several losses: every kind, over tasks, domains and both, for 20 steps in which units are silent or absent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use starple::Model;
use starple::loss::Objective;
use starple::optim::OptimizerConfig;
use starple::train::Step;

use crate::check::{Check, Golden, Tensors, file};
use crate::models::{Data, EPOCH, clock, parameters, start};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The model's.
    kind: String,
    config: Value,
    start: Tensors,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    objective: Objective,
    optimizer: OptimizerConfig,
    seed: u64,
    /// By step.
    losses: Vec<Golden>,
    weights: Vec<Golden>,
    /// Parameters and averages after this many steps.
    after: BTreeMap<u64, Tensors>,
    /// What the weighting has learned in the end.
    learned: Tensors,
}

#[test]
fn weightings() {
    let (data, mut check) = (Data::read(), Check::default());
    for case in file::<Vec<Case>>("weighting.json") {
        runs(&case, &data, &mut check);
    }
    check.finish();
}

fn runs(case: &Case, data: &Data, check: &mut Check) {
    let model = start(&case.name, Some(&case.kind), &case.config, &case.start, &data.layout);
    for run in &case.runs {
        let what = format!("{}: {}", case.name, serde_json::to_string(&run.objective).unwrap());
        steps(&what, model.clone(), data, run, check);
    }
}

fn steps(what: &str, mut model: Model, data: &Data, run: &Run, check: &mut Check) {
    let mut optimizer = run.optimizer.build();
    let mut step = Step::new(&model, &run.objective, run.seed).unwrap();
    let batches = data.batches();
    assert_eq!((run.losses.len(), run.weights.len()), (batches.len(), batches.len()), "{what}: a step for each batch");
    for (index, batch) in batches.iter().enumerate() {
        let taken = index as u64 + 1;
        let grad = step.gradient(&model, batch, clock(index)).unwrap();
        model.apply(grad, &mut *optimizer);
        let at = format!("{what}: step {taken}");
        check.close(format_args!("{at}: loss"), [step.loss().total], &run.losses[index]);
        check.close(format_args!("{at}: weights"), step.weights().iter().copied(), &run.weights[index]);
        if taken.is_multiple_of(EPOCH) {
            step.end_epoch();
        }
        if let Some(golden) = run.after.get(&taken) {
            check.tensors(format_args!("{at}: after it"), &parameters(&model), golden);
        }
    }
    let mut learned = serde_json::to_value(&step.weighting().learned).unwrap();
    learned.as_object_mut().unwrap().remove("kind");
    let learned: Tensors = serde_json::from_value(learned).unwrap();
    check.tensors(format_args!("{what}: learned"), &learned, &run.learned);
}

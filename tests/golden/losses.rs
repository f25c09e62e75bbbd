//! The objective: masks, weights, task weights over time.

use ndarray::Array2;
use serde::Deserialize;
use starple::data::{Batch, Layout};
use starple::loss::{Loss, Normalisers, Objective};
use starple::optim::Clock;

use crate::check::{Check, Golden, file};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    objective: Objective,
    clock: Clock,
    logits: Golden,
    labels: Golden,
    weights: Option<Vec<f32>>,
    total: Golden,
    tasks: Golden,
    dlogits: Golden,
}

#[test]
fn losses() {
    let cases: Vec<Case> = file("losses.json");
    let mut check = Check::default();
    for case in &cases {
        let (logits, labels) = (case.logits.matrix(), case.labels.matrix());
        let (mut dlogits, mut loss) = (Array2::zeros(logits.dim()), Loss::default());
        let units: Vec<f64> = (0..labels.ncols()).map(|unit| case.objective.weight(unit, case.clock)).collect();
        let batch = Batch { labels, weights: case.weights.clone().unwrap_or_default(), ..Batch::default() };
        let mut normalisers = Normalisers::default();
        case.objective.normalisers(&batch, units.len(), &mut normalisers);
        let layout = Layout::new(["all"], (0..batch.labels.ncols()).map(|task| task.to_string()));
        let losses = case.objective.task_losses(&layout);
        case.objective.evaluate(&logits, &batch, &losses, &units, &normalisers, &mut dlogits, &mut loss).unwrap();
        check.losses(&case.name, &loss, &case.total, &case.tasks);
        check.matrix(format_args!("{}: dlogits", case.name), &dlogits, &case.dlogits);
    }
    check.finish();
}

impl Check {
    /// The loss in all and of each task; a task without labels has none.
    pub(crate) fn losses(&mut self, what: &str, ours: &Loss, total: &Golden, tasks: &Golden) {
        self.close(format_args!("{what}: loss"), [ours.total], total);
        self.close(format_args!("{what}: loss by task"), ours.units.iter().map(|l| l.unwrap_or(f64::NAN)), tasks);
    }
}

//! From a [`Plan`] to programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::maps::Maps;
use super::program::{Answer, Part, Program, Run, Step};
use crate::model::{Plan, PlanStep, Value};

/// Affine maps that are one product: they read one value, and the same domains need them.
struct Group {
    maps: Arc<Maps>,
    /// The value of each, its first column, and its width.
    members: Vec<(Value, usize, usize)>,
}

/// The programs of a plan, by domain, the last for rows of no known one; what several need they share. `given` and `rest` are the columns
/// of a row that are given, and the others.
pub(super) fn programs(plan: &Plan<'_>, given: &[usize], rest: &[usize]) -> Vec<Program> {
    let needed: Vec<Vec<usize>> = (0..plan.domains().count()).map(|place| needed(plan, place)).collect();
    let (groups, group_of) = groups(plan, &needed, given, rest);
    let program = |(place, needed): (usize, &Vec<usize>)| {
        let mut program = Writing::default();
        for &i in needed {
            if let PlanStep::Row { owner } = plan.steps[i] {
                program.row(Value(i), owner, rest.len());
            }
        }
        for &i in needed {
            if !program.parts.contains_key(&Value(i)) {
                program.step(Value(i), &plan.steps[i], group_of.get(&i).map(|&group| &groups[group]));
            }
        }
        for answer in plan.answers.iter().filter(|answer| answer.place == place) {
            let (part, task, share) = (program.parts[&answer.value], answer.task, answer.share);
            program.program.answers.push(Answer { part, task, share });
        }
        program.program
    };
    needed.iter().enumerate().map(program).collect()
}

/// The steps that the answers for one place need, in order.
fn needed(plan: &Plan<'_>, place: usize) -> Vec<usize> {
    let mut is_needed = vec![false; plan.steps.len()];
    for answer in plan.answers.iter().filter(|answer| answer.place == place) {
        is_needed[answer.value.0] = true;
    }
    for i in (0..plan.steps.len()).rev() {
        if is_needed[i] {
            plan.steps[i].inputs(&mut |Value(input)| is_needed[input] = true);
        }
    }
    (0..plan.steps.len()).filter(|&i| is_needed[i]).collect()
}

/// The groups of affine maps, and which step belongs to which.
fn groups(
    plan: &Plan<'_>,
    needed: &[Vec<usize>],
    given: &[usize],
    rest: &[usize],
) -> (Vec<Group>, BTreeMap<usize, usize>) {
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); plan.steps.len()];
    for (place, needed) in needed.iter().enumerate() {
        for &i in needed {
            places[i].push(place);
        }
    }
    // What follows such a map takes whole matrices: it stays alone.
    let mut alone = vec![false; plan.steps.len()];
    for step in &plan.steps {
        if let PlanStep::Hidden { input, .. } = step {
            alone[input.0] = true;
        }
    }
    let mut found: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, step) in plan.steps.iter().enumerate() {
        if let (PlanStep::Affine { input, .. }, false) = (step, places[i].is_empty()) {
            found.entry((*input, &places[i], alone[i].then_some(i))).or_default().push(i);
        }
    }
    let (mut groups, mut group_of) = (Vec::new(), BTreeMap::new());
    for ((input, ..), steps) in found {
        let reads_row = matches!(plan.steps[input.0], PlanStep::Row { .. });
        let maps: Vec<_> = steps.iter().map(|&i| &plan.steps[i]).collect();
        let maps = Arc::new(Maps::new(&maps, reads_row.then_some((given, rest))));
        let mut start = 0;
        let members = steps.iter().map(|&i| {
            group_of.insert(i, groups.len());
            let PlanStep::Affine { weight, .. } = &plan.steps[i] else { unreachable!("an affine map") };
            start += weight.ncols();
            (Value(i), start - weight.ncols(), weight.ncols())
        });
        let members = members.collect();
        groups.push(Group { maps, members });
    }
    (groups, group_of)
}

/// A program that is being written.
#[derive(Default)]
struct Writing {
    program: Program,
    /// Where the values are.
    parts: BTreeMap<Value, Part>,
}

impl Writing {
    fn row(&mut self, value: Value, owner: usize, width: usize) {
        self.parts.insert(value, Part { buffer: self.program.owners.len(), start: 0, width });
        self.program.owners.push(owner);
    }

    fn all(&self, values: &[Value]) -> Vec<Part> {
        values.iter().map(|value| self.parts[value]).collect()
    }

    fn step(&mut self, value: Value, step: &PlanStep<'_>, group: Option<&Group>) {
        let owners = self.program.owners.len();
        let buffer = owners + self.program.steps.len();
        let (run, width) = match step {
            PlanStep::Row { .. } => unreachable!("rows have their places already"),
            PlanStep::Affine { input, .. } => {
                let (Group { maps, members }, input) = (group.expect("every map has a group"), self.parts[input]);
                for &(member, start, width) in members {
                    self.parts.insert(member, Part { buffer, start, width });
                }
                let first = (input.buffer < owners).then_some(self.program.firsts.len());
                if first.is_some() {
                    self.program.firsts.push((input.buffer, Arc::clone(maps)));
                }
                (Run::Maps { input, maps: Arc::clone(maps), first }, maps.bias.len())
            }
            PlanStep::Hidden { input, hidden } => {
                let input = self.parts[input];
                (Run::Hidden { input, hidden: Arc::clone(hidden) }, input.width)
            }
            PlanStep::Mix { scores, parts } => {
                let (scores, parts) = (self.parts[scores], self.all(parts));
                let width = parts[0].width;
                (Run::Mix { scores, parts }, width)
            }
            PlanStep::Join { parts, fusion } => {
                let (parts, fusion) = (self.all(parts), *fusion);
                let width = fusion.width(parts.len(), parts[0].width);
                (Run::Join { parts, fusion }, width)
            }
            PlanStep::Stitch { parts, stitch } => {
                let parts = self.all(parts);
                let width = parts[0].width;
                (Run::Stitch { parts, stitch: Arc::clone(stitch) }, width)
            }
            PlanStep::Gated { shared, own, gate } => {
                let [shared, own, gate] = [shared, own, gate].map(|value| self.parts[value]);
                (Run::Gated { shared, own, gate }, shared.width)
            }
        };
        self.parts.entry(value).or_insert(Part { buffer, start: 0, width });
        self.program.steps.push(Step { width, run });
    }
}

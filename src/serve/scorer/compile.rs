//! From a [`Plan`] to programs.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::maps::Maps;
use super::program::{Answer, Columns, Part, Program, Run, Step};
use crate::data::DomainId;
use crate::model::{Plan, PlanStep, Value};
use crate::nn::TargetAttention;

/// Affine maps that are one product: they read one value, and the same domains need them.
struct Group {
    maps: Arc<Maps>,
    /// The value of each, its first column, and its width.
    members: Vec<(Value, usize, usize)>,
}

/// The programs of a plan, by domain, the last for rows of no known one; what several need they share. `given` and `rest` are the columns
/// of a row that are given, and the others.
pub(super) fn programs(plan: &Plan<'_>, given: &[usize], rest: &[usize]) -> Vec<Program> {
    let needed: Vec<Vec<usize>> = plan.domains().map(|domain| plan.needed(domain)).collect();
    let (groups, group_of) = groups(plan, &needed, given, rest);
    let mut copies = Copies::default();
    // Where nothing is given, candidates have the whole row, in its order.
    let columns = (!given.is_empty()).then(|| Arc::new(Columns::new(given, rest)));
    let program = |(domain, needed): (DomainId, &Vec<usize>)| {
        let mut program = Writing {
            plan,
            columns: columns.as_ref(),
            program: Program::default(),
            parts: BTreeMap::new(),
            whole: BTreeMap::new(),
        };
        for &i in needed {
            if let PlanStep::Row { owner, attention } = &plan.steps[i] {
                program.row(Value(i), *owner, rest.len());
                program.program.attention.push(copies.attention(Value(i), attention));
            }
        }
        for &i in needed {
            if !program.parts.contains_key(&Value(i)) {
                program.step(Value(i), group_of.get(&i).map(|&group| &groups[group]), &mut copies);
            }
        }
        for answer in plan.answers(domain) {
            let (part, task, share) = (program.parts[&answer.value], answer.task, answer.share);
            program.program.answers.push(Answer { part, task, share });
        }
        program.program
    };
    plan.domains().zip(&needed).map(program).collect()
}

/// Layers that programs run: one copy of each for all, by step.
#[derive(Default)]
struct Copies {
    layers: BTreeMap<Value, Arc<dyn Any + Send + Sync>>,
    attention: BTreeMap<Value, Vec<Arc<TargetAttention>>>,
}

impl Copies {
    /// The attention of a row.
    fn attention(&mut self, row: Value, attention: &[&TargetAttention]) -> Vec<Arc<TargetAttention>> {
        let copies = || attention.iter().map(|&layer| Arc::new(layer.clone())).collect();
        self.attention.entry(row).or_insert_with(copies).clone()
    }

    fn of<T: Clone + Send + Sync + 'static>(&mut self, step: Value, layer: &T) -> Arc<T> {
        let copy = self.layers.entry(step).or_insert_with(|| Arc::new(layer.clone()));
        Arc::clone(copy).downcast().expect("a step has one layer")
    }
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
        if let PlanStep::PostAffine { input, .. } | PlanStep::Attention { input, .. } | PlanStep::Align { input, .. } =
            step
        {
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
struct Writing<'p> {
    plan: &'p Plan<'p>,
    /// Which columns of a row are given, if any are.
    columns: Option<&'p Arc<Columns>>,
    program: Program,
    /// Where the values are; of a row, what each candidate has for itself.
    parts: BTreeMap<Value, Part>,
    /// Where whole rows are.
    whole: BTreeMap<Value, Part>,
}

impl Writing<'_> {
    fn row(&mut self, value: Value, owner: usize, width: usize) {
        self.parts.insert(value, Part { buffer: self.program.owners.len(), start: 0, width });
        self.program.owners.push(owner);
    }

    fn all(&self, values: &[Value]) -> Vec<Part> {
        values.iter().map(|value| self.parts[value]).collect()
    }

    /// A value with all its columns, for what is no affine map: of a row, those that are given too.
    fn whole(&mut self, value: Value) -> Part {
        let (part, owners) = (self.parts[&value], self.program.owners.len());
        let Some(columns) = self.columns.filter(|_| part.buffer < owners) else { return part };
        *self.whole.entry(value).or_insert_with(|| {
            let width = columns.width();
            self.program.steps.push(Step { width, run: Run::Whole { row: part, columns: Arc::clone(columns) } });
            Part { buffer: owners + self.program.steps.len() - 1, start: 0, width }
        })
    }

    fn step(&mut self, value: Value, group: Option<&Group>, copies: &mut Copies) {
        let owners = self.program.owners.len();
        let run = match &self.plan.steps[value.0] {
            PlanStep::Row { .. } => unreachable!("rows have their places already"),
            PlanStep::Affine { input, .. } => {
                let (Group { maps, members }, input) = (group.expect("every map has a group"), self.parts[input]);
                let buffer = owners + self.program.steps.len();
                for &(member, start, width) in members {
                    self.parts.insert(member, Part { buffer, start, width });
                }
                let first = (input.buffer < owners).then_some(self.program.firsts.len());
                if first.is_some() {
                    self.program.firsts.push((input.buffer, Arc::clone(maps)));
                }
                let run = Run::Maps { input, maps: Arc::clone(maps), first };
                self.program.steps.push(Step { width: maps.bias.len(), run });
                return;
            }
            PlanStep::PostAffine { input, hidden } => {
                Run::PostAffine { input: self.parts[input], hidden: copies.of(value, *hidden) }
            }
            PlanStep::Mix { scores, parts } => Run::Mix { scores: self.parts[scores], parts: self.all(parts) },
            PlanStep::Join { parts, fusion } => Run::Join { parts: self.all(parts), fusion: *fusion },
            PlanStep::Stitch { parts, stitch } => {
                Run::Stitch { parts: self.all(parts), stitch: copies.of(value, *stitch) }
            }
            PlanStep::Gated { shared, own, gate } => {
                let [shared, own, gate] = [shared, own, gate].map(|value| self.parts[value]);
                Run::Gated { shared, own, gate }
            }
            PlanStep::Columns { input, columns } => {
                let whole = self.whole(*input);
                let part = Part { start: whole.start + columns.start, width: columns.len(), ..whole };
                self.parts.insert(value, part);
                return;
            }
            PlanStep::Concat { parts } => Run::Concat { parts: self.all(parts) },
            PlanStep::Scale { input, gate, factor } => {
                let [input, gate] = [input, gate].map(|value| self.parts[value]);
                Run::Scale { input, gate, factor: *factor }
            }
            PlanStep::Product { a, b } => {
                let [a, b] = [a, b].map(|value| self.parts[value]);
                Run::Product { a, b }
            }
            PlanStep::Attend { query, values, filled } => {
                let [query, values, filled] = [query, values, filled].map(|value| self.parts[value]);
                Run::Attend { query, values, filled }
            }
            PlanStep::Custom { input, layer, domain } => {
                Run::Custom { input: self.parts[input], layer: copies.of(value, *layer), domain: *domain }
            }
            PlanStep::Tokens { input, tokens } => {
                Run::Tokens { row: self.whole(*input), tokens: copies.of(value, *tokens) }
            }
            PlanStep::Attention { input, attention } => {
                Run::Attention { tokens: self.parts[input], attention: copies.of(value, *attention) }
            }
            PlanStep::Align { input, direction } => {
                Run::Align { tokens: self.parts[input], direction: copies.of(value, direction) }
            }
        };
        let (buffer, width) = (owners + self.program.steps.len(), self.plan.width(value));
        self.parts.insert(value, Part { buffer, start: 0, width });
        self.program.steps.push(Step { width, run });
    }
}

//! Writes the steps of a [`Plan`] as ONNX nodes.

use std::collections::BTreeMap;

use super::embeddings::Rows;
use super::{Graph, Tensor};
use crate::data::DomainId;
use crate::model::{Fusion, Plan, PlanStep, Value};

/// Adds the steps that the logits of a domain need and returns the logits, `[rows, tasks]`.
pub(super) fn lower(plan: &Plan<'_>, domain: DomainId, tasks: usize, rows: &Rows<'_>, graph: &mut Graph<'_>) -> Tensor {
    let mut tensors: BTreeMap<Value, Tensor> = BTreeMap::new();
    for i in plan.needed(domain) {
        let of = |value: &Value| tensors[value];
        let all = |values: &[Value]| values.iter().map(of).collect::<Vec<_>>();
        let tensor = match &plan.steps[i] {
            PlanStep::Row { owner, attention } => rows.embed(graph, *owner, attention),
            PlanStep::Affine { input, weight, bias, rectified } => {
                let z = graph.affine(of(input), weight, bias.as_deref());
                if *rectified { graph.relu(z) } else { z }
            }
            PlanStep::PostAffine { input, hidden } => graph.hidden(of(input), hidden),
            PlanStep::Mix { scores, parts } => {
                let weights = graph.softmax(of(scores), -1);
                graph.mix(weights, &all(parts))
            }
            PlanStep::Join { parts, fusion: Fusion::Concatenate } | PlanStep::Concat { parts } => {
                graph.concat(&all(parts), 1)
            }
            PlanStep::Join { parts, fusion: Fusion::Sum } => graph.sum(&all(parts)),
            PlanStep::Join { parts, fusion: Fusion::Mean } => {
                let sum = graph.sum(&all(parts));
                graph.scale(sum, 1.0 / parts.len() as f32)
            }
            PlanStep::Stitch { parts, stitch } => graph.stitch(stitch, &all(parts), plan.width(parts[0])),
            PlanStep::Gated { shared, own, gate } => {
                let open = graph.sigmoid(of(gate));
                let added = graph.mul(open, of(own));
                graph.add(of(shared), added)
            }
            PlanStep::Columns { input, columns } => graph.columns(of(input), columns.clone()),
            PlanStep::Scale { input, gate, factor } => {
                let open = graph.sigmoid(of(gate));
                let open = graph.scale(open, *factor);
                graph.mul(of(input), open)
            }
            PlanStep::Product { a, b } => graph.mul(of(a), of(b)),
            PlanStep::Attend { query, values, filled } => {
                graph.attend(of(query), of(values), of(filled), plan.width(*query), plan.width(*values))
            }
            PlanStep::Custom { .. } => unreachable!("such a model is refused"),
            PlanStep::Tokens { input, tokens } => graph.tokens(of(input), tokens),
            PlanStep::Attention { input, attention } => graph.attention(of(input), attention, plan.width(*input)),
            PlanStep::Align { input, direction } => graph.align(of(input), direction, plan.width(*input)),
        };
        tensors.insert(Value(i), tensor);
    }

    let (mut of_all, mut of_one) = (Vec::new(), BTreeMap::<usize, Vec<Tensor>>::new());
    for answer in plan.answers(domain) {
        let logits = graph.scale(tensors[&answer.value], answer.share);
        match answer.task {
            Some(task) => of_one.entry(task).or_default().push(logits),
            None => of_all.push(logits),
        }
    }
    if of_one.is_empty() {
        return graph.sum(&of_all);
    }
    let of_all = (!of_all.is_empty()).then(|| graph.sum(&of_all));
    let column = |task| {
        let mut logits = of_one.remove(&task).unwrap_or_default();
        logits.extend(of_all.map(|of_all| graph.columns(of_all, task..task + 1)));
        graph.sum(&logits)
    };
    let columns: Vec<Tensor> = (0..tasks).map(column).collect();
    graph.concat(&columns, 1)
}

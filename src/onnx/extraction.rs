//! PLE, CGC, MMoE and MoE.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::{ExtractionConfig, ExtractionNet, Level};

/// Level by level `h^k ← Σ_i w^k_i E_i` with `w^k = softmax(h^k·W^k)`, `h^s ← Σ_i w^s_i E_i` over all experts; `logits^k = t^k(h^k)`.
impl<C: ExtractionConfig> Export for ExtractionNet<C> {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let mut fused = Fused { own: vec![rows.x[0]; self.towers.mlps.len()], shared: rows.x[0] };
        for level in &self.levels {
            fused = fuse(level, &fused, graph);
        }
        Ok(graph.towers(&self.towers, rows.domain, |_, branch| fused.own[branch]))
    }
}

/// What enters or leaves a level.
struct Fused {
    /// `h^k`, by branch.
    own: Vec<Value>,
    /// `h^s`; at the last level, where nobody reads it, what it was.
    shared: Value,
}

/// Own experts and selectors read `h^k`, shared ones `h^s`. A gate mixes own, then shared experts.
fn fuse(level: &Level, below: &Fused, graph: &mut Graph<'_>) -> Fused {
    let own = level.own.iter().zip(&below.own);
    let own: Vec<Vec<Value>> =
        own.map(|(experts, &h)| experts.iter().map(|expert| graph.mlp(h, expert)).collect()).collect();
    let shared: Vec<Value> = level.shared.iter().map(|expert| graph.mlp(below.shared, expert)).collect();
    let gated = level.gates.iter().zip(&below.own).zip(&own).map(|((gate, &h), own)| {
        let weights = graph.gate(h, gate);
        graph.mix(weights, &[&own[..], &shared].concat())
    });
    let gated: Vec<Value> = gated.collect();
    let fused = level.shared_gate.as_ref().map_or(below.shared, |gate| {
        // Branches that were added later are behind those that it reads.
        let read = gate.weight.ncols() - shared.len();
        let experts: Vec<Value> = own.iter().flatten().take(read).chain(&shared).copied().collect();
        let weights = graph.gate(below.shared, gate);
        graph.mix(weights, &experts)
    });
    let one_gate = level.gates.is_empty();
    Fused { own: if one_gate { vec![fused; own.len()] } else { gated }, shared: fused }
}

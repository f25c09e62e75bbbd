//! ML-MMoE.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::MlMmoeNet;

/// `E_i` reads `x`, above the first level `Σ_e w^i_e E_e` over the experts below; all gates select on `x`; `logits^k = t^k(Σ_i w^k_i E_i)`.
impl Export for MlMmoeNet {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let x = rows.x[0];
        let mut below: Vec<Value> = Vec::new();
        for level in &self.levels {
            let expert = |(i, expert)| {
                let reads = level.gates.get(i).map_or(x, |gate| {
                    let weights = graph.gate(x, gate);
                    graph.mix(weights, &below)
                });
                graph.mlp(reads, expert)
            };
            below = level.experts.iter().enumerate().map(expert).collect();
        }
        let mixed = self.gates.iter().map(|gate| {
            let weights = graph.gate(x, gate);
            graph.mix(weights, &below)
        });
        let h: Vec<Value> = mixed.collect();
        Ok(graph.towers(&self.towers, rows.domain, |_, branch| h[branch]))
    }
}

//! STAR.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::StarNet;
use crate::nn::{DomainLinear, Linear};

/// `logits = star(PN(x)) + auxiliary([x, e_d])`. `W*_d` and `b*_d` are formed here, and PN, an affine map in inference, is in the first
/// layer's weights.
impl Export for StarNet {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let x = rows.x[0];
        let mut h = x;
        for (i, layer) in self.layers.iter().enumerate() {
            let norm = self.norm.as_ref().filter(|_| i == 0).map(|norm| norm.affine()(rows.domain));
            let affine = |graph: &mut Graph<'_>, layer: &Linear| match &norm {
                Some((scale, shift)) => graph.linear(h, &layer.behind(scale, shift)),
                None => graph.linear(h, layer),
            };
            let z = match rows.domain.map(|d| (d, &layer.domain[d])) {
                None => affine(graph, &layer.shared),
                // y = y_s + σ(x·G_d + c_d) ⊙ (x·W_d + b_d)
                Some((_, DomainLinear::Gate(own))) => {
                    let [shared, gate, own] = [&layer.shared, &own.gate, &own.own].map(|layer| affine(graph, layer));
                    let open = graph.sigmoid(gate);
                    let added = graph.mul(open, own);
                    graph.add(shared, added)
                }
                Some((d, _)) => affine(graph, &layer.combined(d)),
            };
            h = self.hidden.get(i).map_or(z, |hidden| graph.hidden(z, hidden));
        }
        let Some(auxiliary) = &self.auxiliary else { return Ok(h) };
        let auxiliary = graph.mlp(x, &auxiliary.stack(rows.domain));
        Ok(graph.add(h, auxiliary))
    }
}

//! Shared bottom, asymmetric and customized sharing.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::{BottomConfig, BottomNet, Fusion};

/// `logits^k = t^k(fusion(b^j(x) for the bottoms j that k reads, own first, then the shared one))`.
impl<C: BottomConfig> Export for BottomNet<C> {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let x = rows.x[0];
        let own: Vec<Value> = self.own.iter().map(|bottom| graph.mlp(x, bottom)).collect();
        let shared = self.shared.as_ref().map(|bottom| graph.mlp(x, bottom));
        let joined = |branch| {
            let parts: Vec<Value> = self.reads(branch).iter().map(|&branch| own[branch]).chain(shared).collect();
            match self.fusion() {
                Fusion::Concatenate => graph.concat(&parts, 1),
                Fusion::Sum => graph.sum(&parts),
                Fusion::Mean => {
                    let sum = graph.sum(&parts);
                    graph.scale(sum, 1.0 / parts.len() as f32)
                }
            }
        };
        let h: Vec<Value> = (0..self.towers.mlps.len()).map(joined).collect();
        Ok(graph.towers(&self.towers, rows.domain, |_, branch| h[branch]))
    }
}

//! Cross-stitch and sluice.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::{StitchedConfig, StitchedNet};

/// `x^k_l = φ(h^k_{l−1}·W^k_l + b^k_l)`, `h^k_l[s] = Σ_j Σ_r α^kl_{s,(j,r)} x^j_l[r]`, `logits^k = t^k(Σ_l β^k_l h^k_l)`.
impl<C: StitchedConfig> Export for StitchedNet<C> {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let branches = self.towers.mlps.len();
        let mut h = vec![rows.x[0]; branches];
        let (mut layers, mut width) = (Vec::new(), 0);
        for layer in &self.layers {
            let outputs: Vec<Value> = layer.own.iter().zip(&h).map(|(own, &h)| graph.mlp(h, own)).collect();
            width = layer.own[0].output();
            h = layer.stitch.iter().map(|unit| graph.stitch(unit, &outputs[..unit.inputs()], width)).collect();
            layers.push(h.clone());
        }
        if !self.skips.is_empty() {
            let mixed = |(branch, skip)| {
                let outputs: Vec<Value> = layers.iter().map(|h: &Vec<Value>| h[branch]).collect();
                graph.stitch(skip, &outputs, width)
            };
            h = self.skips.iter().enumerate().map(mixed).collect();
        }
        Ok(graph.towers(&self.towers, rows.domain, |_, branch| h[branch]))
    }
}

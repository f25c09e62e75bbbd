//! One model for each branch.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::SingleNet;

/// `logits^k = mlp^k(x^k)`.
impl Export for SingleNet {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        Ok(graph.towers(&self.mlps, rows.domain, |i, _| rows.x[i]))
    }
}

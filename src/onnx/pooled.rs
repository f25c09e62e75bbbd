//! The pooled model.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::PooledNet;

/// `logits = mlp([x, e_d])`, with `e_d` in the first bias.
impl Export for PooledNet {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        Ok(graph.mlp(rows.x[0], &self.stack(rows.domain)))
    }
}

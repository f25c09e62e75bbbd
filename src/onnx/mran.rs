//! MRAN.

use super::{Embedded, Export, Graph, Value};
use crate::Result;
use crate::model::MranNet;

/// `h^k = norm^k([e_1 + α^k_1·e_1, …, e_M + α^k_M·e_M])`, `logits^k = t^k(h^k)`. What a branch asks the features for, `q^k`, is the same for
/// all rows: it is a constant here, and attention among branches with it.
impl Export for MranNet {
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value> {
        let mut tokens = graph.tokens(rows.x[0], &self.tokens);
        let mut width = self.tokens.width();
        for layer in &self.features {
            tokens = graph.attention(tokens, layer);
            width = layer.width();
        }
        let queries = self.queries();
        let aligned = queries.rows().into_iter().zip(self.norms.iter()).map(|(query, norm)| {
            let aligned = graph.alignment(&query, tokens, &self.alignment);
            let h = graph.reshape(aligned, &[0, (self.tokens.count() * width) as i64]);
            norm.as_ref().map_or(h, |norm| graph.hidden(h, norm))
        });
        let h: Vec<Value> = aligned.collect();
        Ok(graph.towers(&self.towers, rows.domain, |_, branch| h[branch]))
    }
}

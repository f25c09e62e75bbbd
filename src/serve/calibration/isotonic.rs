//! Isotonic regression by pooling adjacent violators.

use super::curve::Curve;
use super::observed::Observed;

/// Neighbouring rows that share one probability.
struct Block {
    first: f32,
    last: f32,
    clicks: f64,
    weight: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.clicks / self.weight
    }
}

/// The never falling probabilities that minimise `Σ w_i (y_i − p_i)²` over these rows, which are sorted by logit.
pub(super) fn fit(rows: &[Observed]) -> Curve {
    let mut blocks: Vec<Block> = Vec::new();
    // Equal logits get one probability; `==` because -0 equals 0.
    for tied in rows.chunk_by(|a, b| a.logit == b.logit) {
        let logit = tied[0].logit;
        let clicks = tied.iter().map(Observed::clicks).sum();
        let weight = tied.iter().map(Observed::weight).sum();
        let mut block = Block { first: logit, last: logit, clicks, weight };
        while let Some(before) = blocks.pop_if(|before| before.mean() >= block.mean()) {
            block.first = before.first;
            block.clicks += before.clicks;
            block.weight += before.weight;
        }
        blocks.push(block);
    }
    let (mut logits, mut probabilities) = (Vec::new(), Vec::new());
    for block in &blocks {
        let mut point = |logit| {
            logits.push(logit);
            probabilities.push(block.mean().min(1.0));
        };
        point(block.first);
        if block.last > block.first {
            point(block.last);
        }
    }
    Curve::Isotonic { logits, probabilities }
}

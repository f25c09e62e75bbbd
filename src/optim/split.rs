//! One optimizer for embedding tables, another for the rest.

use super::{Optimizer, OptimizerConfig, SlotShape, SlotState};
use crate::Result;
use crate::nn::{Decay, RowGrad};

/// Two optimizers used as one [`Optimizer`]: one for the embedding tables, one for all other tensors.
/// [`TrainConfig::embedding_optimizer`](crate::train::TrainConfig::embedding_optimizer) makes a `Split`.
///
/// [`Optimizer::set_lr`] sets the learning rate of the other tensors. The learning rate of the tables changes by the same factor, so the
/// ratio of the two rates always stays that of their settings.
pub struct Split {
    dense: Box<dyn Optimizer>,
    tables: Box<dyn Optimizer>,
    /// The tables' learning rate for each unit of the dense part's.
    ratio: f64,
    table_slots: usize,
}

impl Split {
    /// Makes both optimizers: `tables` has the settings for embedding tables, `dense` those for all other tensors. They have no state yet.
    ///
    /// `table_slots` is the number of embedding tables of the model, the length of
    /// [`Embeddings::tables`](crate::model::Embeddings::tables). A slot is the number of a tensor in the model, from 0. The tables come
    /// first, so all slots below `table_slots` are tables.
    pub fn new(dense: &OptimizerConfig, tables: &OptimizerConfig, table_slots: usize) -> Self {
        Self { dense: dense.build(), tables: tables.build(), ratio: tables.lr() / dense.lr(), table_slots }
    }
}

impl Optimizer for Split {
    fn set_lr(&mut self, lr: f64) {
        self.dense.set_lr(lr);
        self.tables.set_lr(lr * self.ratio);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        self.dense.dense(slot, values, grad, decay);
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        self.tables.rows(slot, table, grad);
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        if slot < self.table_slots { self.tables.state(slot) } else { self.dense.state(slot) }
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        let part = if slot < self.table_slots { &mut self.tables } else { &mut self.dense };
        part.restore(slot, shape, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_moves_at_its_own_rate() -> Result<()> {
        let mut split = Split::new(&OptimizerConfig::sgd(0.5)?, &OptimizerConfig::sgd(0.1)?, 1);
        let mut grad = RowGrad::new(2, 1);
        grad.touch(1)[0] = 1.0;
        let (mut table, mut weight) = ([0.0, 0.0], [0.0]);
        split.rows(0, &mut table, &mut grad);
        split.dense(1, &mut weight, &mut [1.0], Decay::None);
        assert_eq!((table, weight), ([0.0, -0.1], [-0.5]));
        split.set_lr(0.25);
        grad.touch(1)[0] = 1.0;
        split.rows(0, &mut table, &mut grad);
        split.dense(1, &mut weight, &mut [1.0], Decay::None);
        assert!((table[1] + 0.15).abs() < 1e-6 && weight[0] == -0.75);
        Ok(())
    }
}

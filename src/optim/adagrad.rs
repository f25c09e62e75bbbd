//! Adagrad, with an accumulator for each value or for each table row.

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::Slots;
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::Result;
use crate::nn::{Decay, RowGrad};

crate::settings! {
    /// The settings of [`Adagrad`]. They are the same for both kinds: one accumulator for each value ([`Adagrad::new`]), or one for each
    /// table row ([`Adagrad::rowwise`]).
    #[derive(Default)]
    AdagradConfig, AdagradConfigBuilder, in files {
        /// The base learning rate: a number above 0 that f32 can represent (1.2e-38 to 3.4e38); default 0.01. An
        /// [`LrSchedule`](super::LrSchedule) multiplies it by a factor in each step.
        lr: f64 = 0.01;
        /// The value of every accumulator (a sum of squared gradients) before the first step: a finite number of at least 0; default 0. A
        /// larger value makes the first steps shorter.
        initial_accumulator: f64 = 0.0;
        /// ε, which is added to the square root of the accumulator, so that no step divides by 0: a number above 0 that f32 can represent;
        /// default 1e-10.
        eps: f64 = 1e-10;
        /// The strength λ of the weight decay, which adds λ·(value − target) to the gradient of a value. The target of a tensor is usually
        /// 0 ([`Decay::Towards`]). A finite number of at least 0; default 0: no weight decay.
        weight_decay: f64 = 0.0;
        /// What happens in a step to rows of embedding tables that the step did not read. Default: they do not change
        /// ([`RowUpdates::Lazy`]).
        row_updates: RowUpdates = RowUpdates::default();
    }
    check(this, problems) {
        require_positive(problems, "lr", this.lr);
        let start = this.initial_accumulator;
        problems.require(start >= 0.0 && (start as f32).is_finite(), || {
            format!("initial_accumulator: a finite number, at least 0, found {start}")
        });
        require_positive(problems, "eps", this.eps);
        WeightDecay::L2(this.weight_decay).check(problems);
    }
}

/// Adagrad (Duchi et al. 2011): the larger the sum of the squared gradients of a value (or a table row) so far, the shorter its steps.
///
/// A value w with gradient g has an accumulator s. A step computes `s ← s + g²`, then `w ← w − lr·g/(√s + ε)`, where `lr` is the learning
/// rate. ε is added outside of the root, and the learning rate does not decay, as in `torch.optim.Adagrad` with its defaults. Weight decay
/// of strength λ adds λ·(w − c) to g, where c is the target of the tensor ([`Decay::Towards`]).
///
/// [`Adagrad::rowwise`] has one accumulator for each table row, to which each step adds the mean of g² over the row. So a table whose rows
/// have n values needs n times less memory for its state. (This is `EXACT_ROWWISE_ADAGRAD` of `TorchRec` and FBGEMM.) Tensors that are not
/// embedding tables always have one accumulator for each value.
///
/// The state of a tensor ([`SlotState`]) is one list, `sum`: its accumulators.
#[derive(Debug, Clone)]
pub struct Adagrad {
    config: AdagradConfig,
    rowwise: bool,
    lr: f32,
    slots: Slots<1>,
    sweep: RowSweep,
}

impl Adagrad {
    /// Makes an Adagrad with the settings `config` and one accumulator for each value. There is no state yet: all accumulators start from
    /// [`AdagradConfig::initial_accumulator`].
    pub fn new(config: AdagradConfig) -> Self {
        Self::with(config, false)
    }

    /// Makes an Adagrad with the settings `config` and one accumulator for each row of an embedding table; other tensors have one for each
    /// value. There is no state yet: all accumulators start from [`AdagradConfig::initial_accumulator`].
    pub fn rowwise(config: AdagradConfig) -> Self {
        Self::with(config, true)
    }

    fn with(config: AdagradConfig, rowwise: bool) -> Self {
        let (lr, sweep) = (config.lr() as f32, RowSweep::new(config.row_updates()));
        Self { config, rowwise, lr, slots: Slots::new(["sum"]), sweep }
    }

    fn update(&self, decay: Decay) -> AdagradUpdate {
        AdagradUpdate {
            lr: self.lr,
            eps: self.config.eps() as f32,
            pull: WeightDecay::L2(self.config.weight_decay()).pull(decay, self.lr),
        }
    }
}

impl Optimizer for Adagrad {
    fn set_lr(&mut self, lr: f64) {
        self.lr = checked_lr(lr);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        assert_same_len(slot, values, grad);
        let update = self.update(decay);
        let state = self.slots.step(slot, values.len(), self.config.initial_accumulator() as f32);
        sweep::dense(update, values, grad, state.slices());
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let update = self.update(Decay::Towards(0.0));
        let (start, idle) = (self.config.initial_accumulator() as f32, update.pull.is_none());
        if self.rowwise {
            let state = self.slots.step(slot, table.len() / grad.dim(), start);
            self.sweep.rows(RowwiseUpdate(update), table, grad, state.slices(), idle);
        } else {
            let state = self.slots.step(slot, table.len(), start);
            self.sweep.rows(update, table, grad, state.slices(), idle);
        }
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        self.slots.state(slot)
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        let len = match shape {
            SlotShape::Table { rows, .. } if self.rowwise => rows,
            _ => shape.values(),
        };
        self.slots.restore(slot, len, state)
    }
}

/// One step's constants.
#[derive(Debug, Clone, Copy)]
struct AdagradUpdate {
    lr: f32,
    eps: f32,
    pull: Pull,
}

impl AdagradUpdate {
    #[inline(always)]
    fn slices(self, values: &mut [f32], grad: &[f32], sum: &mut [f32]) {
        for ((w, &g), s) in values.iter_mut().zip(grad).zip(sum) {
            let g = self.pull.gradient(*w, g);
            *s += g * g;
            *w -= self.lr * g / (s.sqrt() + self.eps);
        }
    }
}

impl sweep::Update<1> for AdagradUpdate {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [sum]: [&mut [f32]; 1]) {
        self.slices(values, grad, sum);
    }
}

/// The step of a row that has one accumulator.
#[derive(Debug, Clone, Copy)]
struct RowwiseUpdate(AdagradUpdate);

impl sweep::Update<1> for RowwiseUpdate {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [sum]: [&mut [f32]; 1]) {
        let Self(AdagradUpdate { lr, eps, pull }) = self;
        let squares = values.iter().zip(grad).map(|(&w, &g)| f64::from(pull.gradient(w, g)).powi(2));
        sum[0] += (squares.sum::<f64>() / values.len() as f64) as f32;
        let step = lr / (sum[0].sqrt() + eps);
        for (w, &g) in values.iter_mut().zip(grad) {
            *w -= step * pull.gradient(*w, g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn first_steps_are_those_computed_by_hand() {
        let mut optimizer = Adagrad::new(AdagradConfig::builder().lr(0.1).build().unwrap());
        let mut w = [1.0];
        optimizer.dense(0, &mut w, &mut [3.0], Decay::None);
        assert_close(&w, &[0.9]); // 3/√9
        optimizer.dense(0, &mut w, &mut [4.0], Decay::None);
        assert_close(&w, &[0.82]); // 4/√(9 + 16)
        let config = AdagradConfig::builder().lr(0.1).initial_accumulator(7.0).eps(1.0).weight_decay(2.0).build();
        let mut optimizer = Adagrad::new(config.unwrap());
        let mut w = [2.0];
        optimizer.dense(0, &mut w, &mut [1.0], Decay::Towards(1.0));
        assert_close(&w, &[1.94]); // g = 1 + 2·(2 − 1) = 3; 0.1·3/(√(7 + 9) + 1)
    }

    #[test]
    fn a_row_shares_the_mean_of_its_squares() {
        let mut optimizer = Adagrad::rowwise(AdagradConfig::builder().lr(0.1).build().unwrap());
        let mut table = [1.0, 1.0, 5.0, 5.0, 1.0, 1.0];
        let mut grad = RowGrad::new(3, 2);
        grad.touch(2).copy_from_slice(&[1.0, 7.0]);
        optimizer.rows(4, &mut table, &mut grad);
        // (1 + 49)/2 = 25, so both values of the row divide by 5.
        assert_close(&table, &[1.0, 1.0, 5.0, 5.0, 0.98, 0.86]);
        assert_eq!(optimizer.state(4).unwrap().tensors, [("sum", &[0.0, 0.0, 25.0][..])]);
        // A dense tensor has an accumulator for each value.
        let mut w = [1.0, 1.0];
        optimizer.dense(5, &mut w, &mut [1.0, 7.0], Decay::None);
        assert_close(&w, &[0.9, 0.9]);
    }

    #[test]
    fn every_bad_setting_is_named() {
        let builder = AdagradConfig::builder().lr(0.0).initial_accumulator(-1.0).eps(f64::NAN).weight_decay(-3.0);
        let error = builder.build().unwrap_err().to_string();
        for part in ["AdagradConfig: lr: ", "initial_accumulator: ", "found -1", "eps: ", "found NaN", "weight_decay: "]
        {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

//! Adagrad, with an accumulator for each value or for each table row.

use serde::{Deserialize, Serialize};

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::Slots;
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::Result;
use crate::error::Problems;
use crate::nn::{Decay, RowGrad};

/// What shares one accumulator of [`Adagrad`] in an embedding table. Dense tensors have one for each value always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accumulator {
    /// Nothing: one accumulator for each value (the default), as in the paper.
    #[default]
    Element,
    /// A row: it accumulates the mean of its squared gradients. The state is `dim` times smaller than with
    /// [`Accumulator::Element`]. As in `TorchRec` and FBGEMM (`EXACT_ROWWISE_ADAGRAD`).
    Row,
}

/// The settings of [`Adagrad`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdagradConfig {
    pub(super) lr: f64,
    pub(super) accumulator: Accumulator,
    pub(super) initial_accumulator: f64,
    pub(super) eps: f64,
    pub(super) weight_decay: f64,
    pub(super) row_updates: RowUpdates,
}

impl AdagradConfig {
    /// Starts from a learning rate (above 0) and defaults.
    pub fn builder(lr: f64) -> AdagradBuilder {
        AdagradBuilder(Self {
            lr,
            accumulator: Accumulator::Element,
            initial_accumulator: 0.0,
            eps: 1e-10,
            weight_decay: 0.0,
            row_updates: RowUpdates::Lazy,
        })
    }

    /// The base learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }
}

/// Collects the settings of [`Adagrad`].
#[derive(Debug, Clone)]
pub struct AdagradBuilder(AdagradConfig);

impl AdagradBuilder {
    /// What shares an accumulator in embedding tables. Default: [`Accumulator::Element`].
    pub fn accumulator(mut self, accumulator: Accumulator) -> Self {
        self.0.accumulator = accumulator;
        self
    }

    /// What accumulators start from, at least 0. Default: 0.
    pub fn initial_accumulator(mut self, value: f64) -> Self {
        self.0.initial_accumulator = value;
        self
    }

    /// The ε > 0 beside the root. Default: 1e-10.
    pub fn eps(mut self, eps: f64) -> Self {
        self.0.eps = eps;
        self
    }

    /// The strength λ ≥ 0 of [`WeightDecay::L2`]. Default: 0.
    pub fn weight_decay(mut self, strength: f64) -> Self {
        self.0.weight_decay = strength;
        self
    }

    /// What happens to table rows that were not read. Default: [`RowUpdates::Lazy`].
    pub fn row_updates(mut self, updates: RowUpdates) -> Self {
        self.0.row_updates = updates;
        self
    }

    /// The settings, checked.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming every setting that is out of range.
    pub fn build(self) -> Result<AdagradConfig> {
        let mut problems = Problems::default();
        require_positive(&mut problems, "lr", self.0.lr);
        let start = self.0.initial_accumulator;
        problems.require(start >= 0.0 && (start as f32).is_finite(), || {
            format!("initial_accumulator: a finite number, at least 0, found {start}")
        });
        require_positive(&mut problems, "eps", self.0.eps);
        WeightDecay::L2(self.0.weight_decay).check(&mut problems);
        problems.into_result(match self.0.accumulator {
            Accumulator::Element => "adagrad",
            Accumulator::Row => "rowwise_adagrad",
        })?;
        Ok(self.0)
    }
}

/// Adagrad (Duchi et al. 2011): steps shrink with the squared gradients that a value, or a row, has seen.
///
/// `s ← s + g²`, `w ← w − lr·g/(√s + ε)`, ε outside the root and no decay of the learning rate, as in
/// `torch.optim.Adagrad` with its defaults. With [`Accumulator::Row`] a table row has one s, which takes the mean of g²
/// over the row. Weight decay λ·(w − c) is part of g ([`WeightDecay::L2`]).
///
/// The state is `sum` (s): one value for each value, or for each row.
#[derive(Debug, Clone)]
pub struct Adagrad {
    config: AdagradConfig,
    lr: f32,
    slots: Slots<1>,
    sweep: RowSweep,
}

impl Adagrad {
    /// An optimizer that remembers nothing yet.
    pub fn new(config: AdagradConfig) -> Self {
        Self { config, lr: config.lr as f32, slots: Slots::new(["sum"]), sweep: RowSweep::new(config.row_updates) }
    }

    fn kernel(&self, decay: Decay) -> Kernel {
        Kernel {
            lr: self.lr,
            eps: self.config.eps as f32,
            pull: WeightDecay::L2(self.config.weight_decay).pull(decay, self.lr),
        }
    }
}

impl Optimizer for Adagrad {
    fn set_lr(&mut self, lr: f64) {
        self.lr = checked_lr(lr);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        assert_same_len(slot, values, grad);
        let kernel = self.kernel(decay);
        let state = self.slots.step(slot, values.len(), self.config.initial_accumulator as f32);
        sweep::dense(kernel, values, grad, state.slices());
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let kernel = self.kernel(Decay::Towards(0.0));
        let (start, idle) = (self.config.initial_accumulator as f32, kernel.pull.is_none());
        match self.config.accumulator {
            Accumulator::Element => {
                let state = self.slots.step(slot, table.len(), start);
                self.sweep.rows(kernel, table, grad, state.slices(), idle);
            }
            Accumulator::Row => {
                let state = self.slots.step(slot, table.len() / grad.dim(), start);
                self.sweep.rows(ByRow(kernel), table, grad, state.slices(), idle);
            }
        }
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        self.slots.state(slot)
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        let len = match (self.config.accumulator, shape) {
            (Accumulator::Row, SlotShape::Table { rows, .. }) => rows,
            _ => shape.values(),
        };
        self.slots.restore(slot, len, state)
    }
}

/// One step's constants.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    lr: f32,
    eps: f32,
    pull: Pull,
}

impl Kernel {
    #[inline(always)]
    fn slices(self, values: &mut [f32], grad: &[f32], sum: &mut [f32]) {
        for ((w, &g), s) in values.iter_mut().zip(grad).zip(sum) {
            let g = self.pull.gradient(*w, g);
            *s += g * g;
            *w -= self.lr * g / (s.sqrt() + self.eps);
        }
    }
}

impl sweep::Kernel<1> for Kernel {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [sum]: [&mut [f32]; 1]) {
        self.slices(values, grad, sum);
    }
}

/// The step of a row that has one accumulator.
#[derive(Debug, Clone, Copy)]
struct ByRow(Kernel);

impl sweep::Kernel<1> for ByRow {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [sum]: [&mut [f32]; 1]) {
        let Self(Kernel { lr, eps, pull }) = self;
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
        let mut optimizer = Adagrad::new(AdagradConfig::builder(0.1).build().unwrap());
        let mut w = [1.0];
        optimizer.dense(0, &mut w, &mut [3.0], Decay::None);
        assert_close(&w, &[0.9]); // 3/√9
        optimizer.dense(0, &mut w, &mut [4.0], Decay::None);
        assert_close(&w, &[0.82]); // 4/√(9 + 16)
        let config = AdagradConfig::builder(0.1).initial_accumulator(7.0).eps(1.0).weight_decay(2.0).build();
        let mut optimizer = Adagrad::new(config.unwrap());
        let mut w = [2.0];
        optimizer.dense(0, &mut w, &mut [1.0], Decay::Towards(1.0));
        assert_close(&w, &[1.94]); // g = 1 + 2·(2 − 1) = 3; 0.1·3/(√(7 + 9) + 1)
    }

    #[test]
    fn a_row_shares_the_mean_of_its_squares() {
        let config = AdagradConfig::builder(0.1).accumulator(Accumulator::Row).build().unwrap();
        let mut optimizer = Adagrad::new(config);
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
        let builder = AdagradConfig::builder(0.0).initial_accumulator(-1.0).eps(f64::NAN).weight_decay(-3.0);
        let error = builder.build().unwrap_err().to_string();
        for part in ["adagrad: lr: ", "initial_accumulator: ", "found -1", "eps: ", "found NaN", "weight_decay: "] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

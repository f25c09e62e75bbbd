//! Stochastic gradient descent, with or without momentum.

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::{Slots, flush};
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::error::Problems;
use crate::nn::{Decay, RowGrad};
use crate::{Error, ErrorKind, Result};

/// What carries a step's direction over to the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Momentum {
    /// Nothing (the default): `w ← w − lr·g`.
    #[default]
    None,
    /// `b ← μ·b + g`, `w ← w − lr·b` with 0 < μ < 1 and b starting at 0; no dampening.
    Classical(f64),
    /// `b ← μ·b + g`, `w ← w − lr·(g + μ·b)`: Nesterov's momentum in `PyTorch`'s form (Sutskever et al. 2013, section 2,
    /// with the lookahead folded into the parameters).
    Nesterov(f64),
}

/// The settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    pub(super) lr: f64,
    pub(super) momentum: Momentum,
    pub(super) weight_decay: f64,
    pub(super) row_updates: RowUpdates,
}

impl SgdConfig {
    /// Starts from a learning rate (above 0) and defaults.
    pub fn builder(lr: f64) -> SgdBuilder {
        SgdBuilder(Self { lr, momentum: Momentum::None, weight_decay: 0.0, row_updates: RowUpdates::Lazy })
    }

    /// The base learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }
}

/// Collects the settings of [`Sgd`].
#[derive(Debug, Clone)]
pub struct SgdBuilder(SgdConfig);

impl SgdBuilder {
    /// Momentum. Default: none.
    pub fn momentum(mut self, momentum: Momentum) -> Self {
        self.0.momentum = momentum;
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
    /// [`ErrorKind::Config`], naming every setting that is out of range.
    pub fn build(self) -> Result<SgdConfig> {
        let mut problems = Problems::default();
        require_positive(&mut problems, "lr", self.0.lr);
        WeightDecay::L2(self.0.weight_decay).check(&mut problems);
        if let Momentum::Classical(mu) | Momentum::Nesterov(mu) = self.0.momentum {
            problems.require((mu as f32) > 0.0 && (mu as f32) < 1.0, || {
                format!("momentum: above 0 and below 1, found {mu}")
            });
        }
        problems.into_result("sgd")?;
        Ok(self.0)
    }
}

/// Stochastic gradient descent: `w ← w − lr·(g + λ·(w − c))`, or the same with [`Momentum`].
///
/// λ is the weight decay and c its target ([`WeightDecay::L2`]). The state, with momentum only, is `momentum`, one value
/// for each value.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    lr: f32,
    slots: Slots<1>,
    sweep: RowSweep,
}

impl Sgd {
    /// An optimizer that remembers nothing yet.
    pub fn new(config: SgdConfig) -> Self {
        Self { config, lr: config.lr as f32, slots: Slots::new(["momentum"]), sweep: RowSweep::new(config.row_updates) }
    }

    fn plain(&self, decay: Decay) -> Plain {
        Plain { lr: self.lr, pull: WeightDecay::L2(self.config.weight_decay).pull(decay, self.lr) }
    }
}

impl Optimizer for Sgd {
    fn set_lr(&mut self, lr: f64) {
        self.lr = checked_lr(lr);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        assert_same_len(slot, values, grad);
        let plain = self.plain(decay);
        match self.config.momentum {
            Momentum::None => sweep::dense(plain, values, grad, []),
            Momentum::Classical(mu) => {
                let buffer = self.slots.step(slot, values.len(), 0.0);
                sweep::dense(plain.classical(mu), values, grad, buffer.slices());
            }
            Momentum::Nesterov(mu) => {
                let buffer = self.slots.step(slot, values.len(), 0.0);
                sweep::dense(plain.nesterov(mu), values, grad, buffer.slices());
            }
        }
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let plain = self.plain(Decay::Towards(0.0));
        match self.config.momentum {
            Momentum::None => self.sweep.rows(plain, table, grad, [], plain.pull.is_none()),
            Momentum::Classical(mu) => {
                let buffer = self.slots.step(slot, table.len(), 0.0);
                self.sweep.rows(plain.classical(mu), table, grad, buffer.slices(), false);
            }
            Momentum::Nesterov(mu) => {
                let buffer = self.slots.step(slot, table.len(), 0.0);
                self.sweep.rows(plain.nesterov(mu), table, grad, buffer.slices(), false);
            }
        }
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        self.slots.state(slot)
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        if self.config.momentum == Momentum::None {
            let message = format!("optimizer state of slot {slot}: sgd without momentum has none");
            return Err(Error::new(ErrorKind::Layout, message)
                .with_help("resume with the optimizer that the state was saved from"));
        }
        self.slots.restore(slot, shape.values(), state)
    }
}

/// The step without momentum.
#[derive(Debug, Clone, Copy)]
struct Plain {
    lr: f32,
    pull: Pull,
}

impl Plain {
    fn classical(self, mu: f64) -> Along<false> {
        Along { mu: mu as f32, plain: self }
    }

    fn nesterov(self, mu: f64) -> Along<true> {
        Along { mu: mu as f32, plain: self }
    }
}

impl sweep::Kernel<0> for Plain {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], []: [&mut [f32]; 0]) {
        for (w, &g) in values.iter_mut().zip(grad) {
            *w -= self.lr * self.pull.gradient(*w, g);
        }
    }
}

/// The step with momentum.
#[derive(Debug, Clone, Copy)]
struct Along<const NESTEROV: bool> {
    mu: f32,
    plain: Plain,
}

impl<const NESTEROV: bool> Along<NESTEROV> {
    #[inline(always)]
    fn slices(self, values: &mut [f32], grad: &[f32], buffer: &mut [f32]) {
        let Self { mu, plain: Plain { lr, pull } } = self;
        for ((w, &g), b) in values.iter_mut().zip(grad).zip(buffer) {
            let g = pull.gradient(*w, g);
            *b = flush(mu * *b + g);
            *w -= lr * if NESTEROV { g + mu * *b } else { *b };
        }
    }
}

impl<const NESTEROV: bool> sweep::Kernel<1> for Along<NESTEROV> {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [buffer]: [&mut [f32]; 1]) {
        self.slices(values, grad, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of `w = 1, g = 1` then `g = 3`, lr 0.1, by hand.
    fn two_steps(momentum: Momentum, weight_decay: f64, decay: Decay) -> [f32; 2] {
        let config = SgdConfig::builder(0.1).momentum(momentum).weight_decay(weight_decay).build().unwrap();
        let mut sgd = Sgd::new(config);
        let mut w = [1.0];
        [1.0, 3.0].map(|g| {
            sgd.dense(0, &mut w, &mut [g], decay);
            w[0]
        })
    }

    fn assert_close(found: [f32; 2], expected: [f32; 2]) {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn first_steps_are_those_computed_by_hand() {
        // w: 1 − 0.1·1, then − 0.1·3.
        assert_close(two_steps(Momentum::None, 0.0, Decay::Towards(0.0)), [0.9, 0.6]);
        // b: 1, then 0.5·1 + 3 = 3.5.
        assert_close(two_steps(Momentum::Classical(0.5), 0.0, Decay::Towards(0.0)), [0.9, 0.55]);
        // Steps: 1 + 0.5·1 = 1.5, then 3 + 0.5·3.5 = 4.75.
        assert_close(two_steps(Momentum::Nesterov(0.5), 0.0, Decay::Towards(0.0)), [0.85, 0.375]);
    }

    #[test]
    fn weight_decay_pulls_to_the_target() {
        // g: 1 + 0.5·1 = 1.5 gives 0.85; 3 + 0.5·0.85 = 3.425 gives 0.5075.
        assert_close(two_steps(Momentum::None, 0.5, Decay::Towards(0.0)), [0.85, 0.5075]);
        // At the target there is no pull: 0.9; then g: 3 + 0.5·(0.9 − 1) = 2.95 gives 0.605.
        assert_close(two_steps(Momentum::None, 0.5, Decay::Towards(1.0)), [0.9, 0.605]);
        assert_close(two_steps(Momentum::None, 0.5, Decay::None), [0.9, 0.6]);
    }

    #[test]
    fn every_bad_setting_is_named() {
        let builder = SgdConfig::builder(-1.0).momentum(Momentum::Nesterov(1.0)).weight_decay(f64::NAN);
        let error = builder.build().unwrap_err().to_string();
        for part in ["sgd: ", "lr: ", "found -1", "momentum: ", "found 1", "weight_decay: ", "found NaN"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn without_momentum_there_is_no_state() {
        let mut sgd = Sgd::new(SgdConfig::builder(0.1).build().unwrap());
        sgd.dense(0, &mut [1.0], &mut [1.0], Decay::None);
        assert_eq!(sgd.state(0), None);
        let state = SlotState { steps: 1, tensors: vec![("momentum", &[1.0])] };
        assert!(sgd.restore(0, SlotShape::Dense(1), &state).unwrap_err().to_string().contains("without momentum"));
    }
}

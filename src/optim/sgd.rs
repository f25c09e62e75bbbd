//! Stochastic gradient descent, with or without momentum.

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::{Slots, flush};
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::nn::{Decay, RowGrad};
use crate::{Error, ErrorKind, Result};

crate::settings! {
    /// The settings of [`Sgd`], stochastic gradient descent: the learning rate, momentum and weight decay.
    #[derive(Default)]
    SgdConfig, SgdConfigBuilder, in files {
        /// The base learning rate: a number above 0 that f32 can represent (1.2e-38 to 3.4e38); default 0.001. An
        /// [`LrSchedule`](super::LrSchedule) multiplies it by a factor in each step.
        lr: f64 = 1e-3;
        /// The momentum μ: the factor by which each step multiplies the momentum buffer of a value before it adds the new gradient. At
        /// least 0 and below 1; default 0: no momentum, and no state.
        momentum: f64 = 0.0;
        /// Whether to use Nesterov's momentum: a step then computes `w ← w − lr·(g + μ·b)` instead of `w ← w − lr·b`, where g is the
        /// gradient, μ the momentum and b the buffer of the value w. Default false. If true, `momentum` must be above 0.
        nesterov: bool = false;
        /// The strength λ of the weight decay, which adds λ·(value − target) to the gradient of a value. The target of a tensor is usually
        /// 0 ([`Decay::Towards`]). A finite number of at least 0; default 0: no weight decay.
        weight_decay: f64 = 0.0;
        /// What happens in a step to rows of embedding tables that the step did not read. Default: they do not change
        /// ([`RowUpdates::Lazy`]).
        row_updates: RowUpdates = RowUpdates::default();
    }
    check(this, problems) {
        require_positive(problems, "lr", this.lr);
        WeightDecay::L2(this.weight_decay).check(problems);
        let (mu, needed) = (this.momentum, if this.nesterov { "above 0" } else { "at least 0" });
        let possible = mu == 0.0 && !this.nesterov || mu as f32 > 0.0 && (mu as f32) < 1.0;
        problems.require(possible, || format!("momentum: {needed} and below 1, found {mu}"));
    }
}

/// Stochastic gradient descent: a step replaces a value w with gradient g by `w − lr·g'`, where `lr` is the learning rate and
/// `g' = g + λ·(w − c)`.
///
/// λ is the strength of the weight decay, and c is the target of the tensor ([`Decay::Towards`]). With momentum μ, each value has a buffer
/// b that starts at 0. A step then computes `b ← μ·b + g'` and `w ← w − lr·b`; there is no dampening. With Nesterov's momentum it computes
/// `w ← w − lr·(g' + μ·b)` instead, as `PyTorch` does (Sutskever et al. 2013, section 2, with the lookahead folded into the parameters).
///
/// The state of a tensor ([`SlotState`]) is one list, `momentum`: the buffers, one for each value. Without momentum there is no state.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    lr: f32,
    slots: Slots<1>,
    sweep: RowSweep,
}

impl Sgd {
    /// Makes an optimizer with the settings `config`. There is no state yet: all momentum buffers start at 0.
    pub fn new(config: SgdConfig) -> Self {
        Self {
            lr: config.lr() as f32,
            slots: Slots::new(["momentum"]),
            sweep: RowSweep::new(config.row_updates()),
            config,
        }
    }

    fn plain(&self, decay: Decay) -> SgdUpdate {
        SgdUpdate { lr: self.lr, pull: WeightDecay::L2(self.config.weight_decay()).pull(decay, self.lr) }
    }
}

impl Optimizer for Sgd {
    fn set_lr(&mut self, lr: f64) {
        self.lr = checked_lr(lr);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        assert_same_len(slot, values, grad);
        let plain = self.plain(decay);
        let mu = self.config.momentum();
        if mu == 0.0 {
            return sweep::dense(plain, values, grad, []);
        }
        let buffer = self.slots.step(slot, values.len(), 0.0);
        if self.config.nesterov() {
            sweep::dense(plain.nesterov(mu), values, grad, buffer.slices());
        } else {
            sweep::dense(plain.classical(mu), values, grad, buffer.slices());
        }
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let plain = self.plain(Decay::Towards(0.0));
        let mu = self.config.momentum();
        if mu == 0.0 {
            return self.sweep.rows(plain, table, grad, [], plain.pull.is_none());
        }
        let buffer = self.slots.step(slot, table.len(), 0.0);
        if self.config.nesterov() {
            self.sweep.rows(plain.nesterov(mu), table, grad, buffer.slices(), false);
        } else {
            self.sweep.rows(plain.classical(mu), table, grad, buffer.slices(), false);
        }
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        self.slots.state(slot)
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        if self.config.momentum() == 0.0 {
            let message = format!("optimizer state of slot {slot}: sgd without momentum has none");
            return Err(Error::new(ErrorKind::Layout, message)
                .with_help("resume with the optimizer that the state was saved from"));
        }
        self.slots.restore(slot, shape.values(), state)
    }
}

/// The step without momentum.
#[derive(Debug, Clone, Copy)]
struct SgdUpdate {
    lr: f32,
    pull: Pull,
}

impl SgdUpdate {
    fn classical(self, mu: f64) -> MomentumUpdate<false> {
        MomentumUpdate { mu: mu as f32, plain: self }
    }

    fn nesterov(self, mu: f64) -> MomentumUpdate<true> {
        MomentumUpdate { mu: mu as f32, plain: self }
    }
}

impl sweep::Update<0> for SgdUpdate {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], []: [&mut [f32]; 0]) {
        for (w, &g) in values.iter_mut().zip(grad) {
            *w -= self.lr * self.pull.gradient(*w, g);
        }
    }
}

/// The step with momentum.
#[derive(Debug, Clone, Copy)]
struct MomentumUpdate<const NESTEROV: bool> {
    mu: f32,
    plain: SgdUpdate,
}

impl<const NESTEROV: bool> MomentumUpdate<NESTEROV> {
    #[inline(always)]
    fn slices(self, values: &mut [f32], grad: &[f32], buffer: &mut [f32]) {
        let Self { mu, plain: SgdUpdate { lr, pull } } = self;
        for ((w, &g), b) in values.iter_mut().zip(grad).zip(buffer) {
            let g = pull.gradient(*w, g);
            *b = flush(mu * *b + g);
            *w -= lr * if NESTEROV { g + mu * *b } else { *b };
        }
    }
}

impl<const NESTEROV: bool> sweep::Update<1> for MomentumUpdate<NESTEROV> {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [buffer]: [&mut [f32]; 1]) {
        self.slices(values, grad, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of `w = 1, g = 1` then `g = 3`, lr 0.1, by hand.
    fn two_steps(momentum: f64, nesterov: bool, weight_decay: f64, decay: Decay) -> [f32; 2] {
        let config = SgdConfig::builder().lr(0.1).momentum(momentum).nesterov(nesterov).weight_decay(weight_decay);
        let mut sgd = Sgd::new(config.build().unwrap());
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
        assert_close(two_steps(0.0, false, 0.0, Decay::Towards(0.0)), [0.9, 0.6]);
        // b: 1, then 0.5·1 + 3 = 3.5.
        assert_close(two_steps(0.5, false, 0.0, Decay::Towards(0.0)), [0.9, 0.55]);
        // Steps: 1 + 0.5·1 = 1.5, then 3 + 0.5·3.5 = 4.75.
        assert_close(two_steps(0.5, true, 0.0, Decay::Towards(0.0)), [0.85, 0.375]);
    }

    #[test]
    fn weight_decay_pulls_to_the_target() {
        // g: 1 + 0.5·1 = 1.5 gives 0.85; 3 + 0.5·0.85 = 3.425 gives 0.5075.
        assert_close(two_steps(0.0, false, 0.5, Decay::Towards(0.0)), [0.85, 0.5075]);
        // At the target there is no pull: 0.9; then g: 3 + 0.5·(0.9 − 1) = 2.95 gives 0.605.
        assert_close(two_steps(0.0, false, 0.5, Decay::Towards(1.0)), [0.9, 0.605]);
        assert_close(two_steps(0.0, false, 0.5, Decay::None), [0.9, 0.6]);
    }

    #[test]
    fn every_bad_setting_is_named() {
        let builder = SgdConfig::builder().lr(-1.0).momentum(1.0).weight_decay(f64::NAN);
        let error = builder.build().unwrap_err().to_string();
        for part in ["SgdConfig: ", "lr: ", "found -1", "momentum: ", "found 1", "weight_decay: ", "found NaN"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn without_momentum_there_is_no_state() {
        let mut sgd = Sgd::new(SgdConfig::builder().lr(0.1).build().unwrap());
        sgd.dense(0, &mut [1.0], &mut [1.0], Decay::None);
        assert_eq!(sgd.state(0), None);
        let state = SlotState { steps: 1, tensors: vec![("momentum", &[1.0])] };
        assert!(sgd.restore(0, SlotShape::Dense(1), &state).unwrap_err().to_string().contains("without momentum"));
    }
}

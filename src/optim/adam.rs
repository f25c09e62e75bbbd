//! Adam and `AdamW`.

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::{Slots, flush};
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::Result;
use crate::error::Problems;
use crate::nn::{Decay, RowGrad};

/// The settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    pub(super) lr: f64,
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) eps: f64,
    pub(super) weight_decay: WeightDecay,
    pub(super) row_updates: RowUpdates,
}

impl AdamConfig {
    /// Starts from a learning rate (above 0) and defaults.
    pub fn builder(lr: f64) -> AdamBuilder {
        AdamBuilder(Self {
            lr,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: WeightDecay::None,
            row_updates: RowUpdates::Lazy,
        })
    }

    /// The base learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }
}

/// Collects the settings of [`Adam`].
#[derive(Debug, Clone)]
pub struct AdamBuilder(AdamConfig);

impl AdamBuilder {
    /// How much of the two moments is kept each step, 0 ≤ β < 1. Default: 0.9 and 0.999.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.0.beta1, self.0.beta2) = (beta1, beta2);
        self
    }

    /// The ε > 0 beside the root of the corrected second moment. Default: 1e-8.
    pub fn eps(mut self, eps: f64) -> Self {
        self.0.eps = eps;
        self
    }

    /// Weight decay; [`WeightDecay::Decoupled`] makes it `AdamW`. Default: none.
    pub fn weight_decay(mut self, weight_decay: WeightDecay) -> Self {
        self.0.weight_decay = weight_decay;
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
    pub fn build(self) -> Result<AdamConfig> {
        let mut problems = Problems::default();
        require_positive(&mut problems, "lr", self.0.lr);
        for (name, beta) in [("beta1", self.0.beta1), ("beta2", self.0.beta2)] {
            problems.require(beta >= 0.0 && (beta as f32) < 1.0, || {
                format!("{name}: at least 0 and below 1, found {beta}")
            });
        }
        require_positive(&mut problems, "eps", self.0.eps);
        self.0.weight_decay.check(&mut problems);
        problems.into_result("adam")?;
        Ok(self.0)
    }
}

/// Adam (Kingma & Ba 2015, algorithm 1): steps along the mean gradient, scaled by its size, value by value.
///
/// `m ← β₁·m + (1 − β₁)·g`, `v ← β₂·v + (1 − β₂)·g²`, `w ← w − lr · m̂/(√v̂ + ε)` with `m̂ = m/(1 − β₁ᵗ)`,
/// `v̂ = v/(1 − β₂ᵗ)`, where t counts the steps of the slot, this one included.
///
/// ε stands outside the root and beside the *corrected* moment, as in `torch.optim.Adam`. It is not the ε̂ of the
/// paper's section 2 (and of TensorFlow and `torch.optim.SparseAdam`), which stands beside the uncorrected `√v`.
///
/// The state is `first_moment` (m) and `second_moment` (v), one value for each value, both from 0.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    lr: f32,
    slots: Slots<2>,
    sweep: RowSweep,
}

impl Adam {
    /// An optimizer that remembers nothing yet.
    pub fn new(config: AdamConfig) -> Self {
        Self {
            config,
            lr: config.lr as f32,
            slots: Slots::new(["first_moment", "second_moment"]),
            sweep: RowSweep::new(config.row_updates),
        }
    }
}

impl Optimizer for Adam {
    fn set_lr(&mut self, lr: f64) {
        self.lr = checked_lr(lr);
    }

    fn dense(&mut self, slot: usize, values: &mut [f32], grad: &mut [f32], decay: Decay) {
        assert_same_len(slot, values, grad);
        let state = self.slots.step(slot, values.len(), 0.0);
        let kernel = Kernel::new(&self.config, self.lr, decay, state.steps);
        sweep::dense(kernel, values, grad, state.slices());
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let state = self.slots.step(slot, table.len(), 0.0);
        let kernel = Kernel::new(&self.config, self.lr, Decay::Towards(0.0), state.steps);
        self.sweep.rows(kernel, table, grad, state.slices(), false);
    }

    fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        self.slots.state(slot)
    }

    fn restore(&mut self, slot: usize, shape: SlotShape, state: &SlotState<'_>) -> Result<()> {
        self.slots.restore(slot, shape.values(), state)
    }
}

/// One step's constants.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    /// β₁ and 1 − β₁.
    first: (f32, f32),
    /// β₂ and 1 − β₂.
    second: (f32, f32),
    /// `lr / (1 − β₁ᵗ)`.
    lr: f32,
    /// `1 / √(1 − β₂ᵗ)`.
    root: f32,
    eps: f32,
    pull: Pull,
}

impl Kernel {
    fn new(config: &AdamConfig, lr: f32, decay: Decay, steps: u64) -> Self {
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        // 1 − β in f64: in f32, 1 − 0.999 is off in the fifth digit.
        let parts = |beta: f64| (beta as f32, (1.0 - beta) as f32);
        Self {
            first: parts(config.beta1),
            second: parts(config.beta2),
            lr: (f64::from(lr) / (1.0 - config.beta1.powi(steps))) as f32,
            root: (1.0 - config.beta2.powi(steps)).sqrt().recip() as f32,
            eps: config.eps as f32,
            pull: config.weight_decay.pull(decay, lr),
        }
    }

    #[inline(always)]
    fn slices(self, values: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((w, &g), m), v) in values.iter_mut().zip(grad).zip(m).zip(v) {
            let g = self.pull.gradient(*w, g);
            *m = flush(self.first.0 * *m + self.first.1 * g);
            *v = flush(self.second.0 * *v + self.second.1 * (g * g));
            *w = self.pull.decayed(*w) - self.lr * *m / (v.sqrt() * self.root + self.eps);
        }
    }
}

impl sweep::Kernel<2> for Kernel {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [m, v]: [&mut [f32]; 2]) {
        self.slices(values, grad, m, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adam(builder: AdamBuilder) -> Adam {
        Adam::new(builder.build().unwrap())
    }

    #[test]
    fn first_steps_are_those_computed_by_hand() {
        // The corrected moments of one step are g and g²: the step is lr·sign(g) whatever the gradient's size.
        let mut optimizer = adam(AdamConfig::builder(0.1));
        let mut w = [1.0, 1.0, 1.0];
        optimizer.dense(0, &mut w, &mut [2.0, -1e-3, 0.0], Decay::None);
        for (found, expected) in w.into_iter().zip([0.9, 1.1, 1.0]) {
            assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
        }
        // Second step with g = 2, −1, by hand with β 0.5, 0.5: m = 0.5·1 − 0.5 = 0, so no step at all.
        let mut optimizer = adam(AdamConfig::builder(0.1).betas(0.5, 0.5));
        let mut w = [0.0];
        optimizer.dense(0, &mut w, &mut [2.0], Decay::None);
        optimizer.dense(0, &mut w, &mut [-1.0], Decay::None);
        assert!((w[0] + 0.1).abs() < 1e-7);
    }

    #[test]
    fn epsilon_stands_beside_the_corrected_root() {
        // m̂ = 1, √v̂ = 1: the step is 1/(1 + ε) = 1/2. With ε̂ it would be √(1 − β₂)/(√(1 − β₂) + 1) ≈ 0.03.
        let mut w = [0.0];
        adam(AdamConfig::builder(1.0).eps(1.0)).dense(0, &mut w, &mut [1.0], Decay::None);
        assert!((w[0] + 0.5).abs() < 1e-6);
    }

    #[test]
    fn each_slot_counts_its_own_steps() {
        let mut optimizer = adam(AdamConfig::builder(0.1));
        for _ in 0..50 {
            optimizer.dense(0, &mut [0.0], &mut [1.0], Decay::None);
        }
        // A tensor that comes in late takes a full first step, not one that is corrected for 51.
        let mut late = [0.0];
        optimizer.dense(1, &mut late, &mut [1e-3], Decay::None);
        assert!((late[0] + 0.1).abs() < 2e-6);
        assert_eq!(optimizer.state(0).unwrap().steps, 50);
        assert_eq!(optimizer.state(1).unwrap().steps, 1);
    }

    #[test]
    fn a_row_read_late_takes_the_long_first_step_of_sparse_adam() {
        let mut optimizer = adam(AdamConfig::builder(0.1));
        let mut table = [0.0, 0.0];
        let mut grad = RowGrad::new(2, 1);
        for _ in 0..20_000 {
            grad.touch(0)[0] = 1.0;
            optimizer.rows(0, &mut table, &mut grad);
        }
        grad.touch(1)[0] = 1.0;
        optimizer.rows(0, &mut table, &mut grad);
        let expected = -0.1 * (1.0 - 0.9) / (1.0_f32 - 0.999).sqrt();
        assert!((table[1] - expected).abs() < 1e-4, "{} is not {expected}", table[1]);
    }

    #[test]
    fn both_decays_pull_to_the_target() {
        // Without gradient, L2 leaves lr·sign(w − c), decoupled lr·λ·(w − c).
        for (decay, target, expected) in [
            (WeightDecay::L2(0.5), 1.0, 2.9),
            (WeightDecay::L2(0.5), 4.0, 3.1),
            (WeightDecay::Decoupled(0.5), 1.0, 2.9),
            (WeightDecay::Decoupled(0.5), 4.0, 3.05),
            (WeightDecay::Decoupled(0.5), 3.0, 3.0),
        ] {
            let mut w = [3.0];
            adam(AdamConfig::builder(0.1).weight_decay(decay)).dense(0, &mut w, &mut [0.0], Decay::Towards(target));
            assert!((w[0] - expected).abs() < 1e-6, "{decay:?} to {target}: {} is not {expected}", w[0]);
            let mut w = [3.0];
            adam(AdamConfig::builder(0.1).weight_decay(decay)).dense(0, &mut w, &mut [0.0], Decay::None);
            assert_eq!(w[0], 3.0);
        }
    }

    #[test]
    fn every_bad_setting_is_named() {
        let builder = AdamConfig::builder(f64::INFINITY).betas(-0.1, 1.0).eps(0.0);
        let error = builder.weight_decay(WeightDecay::Decoupled(-2.0)).build().unwrap_err().to_string();
        for part in ["adam: lr: ", "beta1: ", "beta2: ", "eps: ", "weight_decay: ", "found -2"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

//! Adam and `AdamW`.

use super::check::{assert_same_len, checked_lr, require_positive};
use super::slots::{Slots, flush};
use super::sweep::{self, RowSweep};
use super::weight_decay::Pull;
use super::{Optimizer, RowUpdates, SlotShape, SlotState, WeightDecay};
use crate::Result;
use crate::nn::{Decay, RowGrad};

crate::settings! {
    /// The settings of [`Adam`]. `AdamW` ([`Adam::decoupled`]) has the same settings.
    #[derive(Default)]
    AdamConfig, AdamConfigBuilder, in files {
        /// The base learning rate: a number above 0 that f32 can represent (1.2e-38 to 3.4e38); default 0.001. An
        /// [`LrSchedule`](super::LrSchedule) multiplies it by a factor in each step.
        lr: f64 = 1e-3;
        /// β₁: the factor by which each step multiplies the first moment (the moving average of the gradient) before it adds the new
        /// gradient. At least 0 and below 1; default 0.9.
        beta1: f64 = 0.9;
        /// β₂: the factor by which each step multiplies the second moment (the moving average of the squared gradient) before it adds the
        /// new squared gradient. At least 0 and below 1; default 0.999.
        beta2: f64 = 0.999;
        /// ε, which is added to the square root of the corrected second moment, so that no step divides by 0: a number above 0 that f32 can
        /// represent; default 1e-8.
        eps: f64 = 1e-8;
        /// The strength λ of the weight decay, a finite number of at least 0. Weight decay pulls values towards the target of their tensor,
        /// which is usually 0 ([`Decay::Towards`]). `None`, the default, stands for 0 (no weight decay) in Adam, and for 0.01 in `AdamW`.
        weight_decay: Option<f64> = None, from impl Into<Option<f64>>;
        /// What happens in a step to rows of embedding tables that the step did not read. Default: they do not change
        /// ([`RowUpdates::Lazy`]).
        row_updates: RowUpdates = RowUpdates::default();
    }
    check(this, problems) {
        require_positive(problems, "lr", this.lr);
        for (name, beta) in [("beta1", this.beta1), ("beta2", this.beta2)] {
            problems.require(beta >= 0.0 && (beta as f32) < 1.0, || {
                format!("{name}: at least 0 and below 1, found {beta}")
            });
        }
        require_positive(problems, "eps", this.eps);
        WeightDecay::L2(this.weight_decay.unwrap_or_default()).check(problems);
    }
}

/// λ of `AdamW`, as in `PyTorch`.
const ADAMW_DECAY: f64 = 0.01;

/// Adam (Kingma & Ba 2015, algorithm 1): each step moves a value by the moving average of its gradient, divided by the root of the moving
/// average of its squared gradient.
///
/// A value w with gradient g has two moments, the moving averages m of g and v of g². A step computes `m ← β₁·m + (1 − β₁)·g` and
/// `v ← β₂·v + (1 − β₂)·g²`. Then `w ← w − lr · m̂/(√v̂ + ε)`, where `lr` is the learning rate, with the corrected moments
/// `m̂ = m/(1 − β₁ᵗ)` and `v̂ = v/(1 − β₂ᵗ)`. t is the number of steps of the tensor so far, this one included.
///
/// ε is added to the root of the *corrected* moment, `√v̂`, as in `torch.optim.Adam`. It is not the ε̂ of the paper's section 2 (and of
/// TensorFlow and `torch.optim.SparseAdam`), which is added to the root of the uncorrected moment, `√v`.
///
/// Weight decay of strength λ adds `λ·(w − c)` to g, where c is the target of the tensor ([`Decay::Towards`]). In `AdamW`
/// ([`Adam::decoupled`]), weight decay does not change g, but moves the values directly: `w ← w − lr·λ·(w − c)` (Loshchilov & Hutter 2019,
/// algorithm 2, with the factor `lr` as in `PyTorch`).
///
/// The state of a tensor ([`SlotState`]) has two lists, `first_moment` (m) and `second_moment` (v), each with one number for each value.
/// Both start at 0.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    decay: WeightDecay,
    lr: f32,
    slots: Slots<2>,
    sweep: RowSweep,
}

impl Adam {
    /// Makes an Adam with the settings `config`. There is no state yet: all moments start at 0. Its weight decay is added to the gradient.
    pub fn new(config: AdamConfig) -> Self {
        let decay = WeightDecay::L2(config.weight_decay().unwrap_or_default());
        Self::with(config, decay)
    }

    /// Makes an `AdamW` with the settings `config`. There is no state yet: all moments start at 0. Its weight decay moves the values
    /// directly, not through the gradient.
    pub fn decoupled(config: AdamConfig) -> Self {
        let decay = WeightDecay::Decoupled(config.weight_decay().unwrap_or(ADAMW_DECAY));
        Self::with(config, decay)
    }

    fn with(config: AdamConfig, decay: WeightDecay) -> Self {
        Self {
            lr: config.lr() as f32,
            slots: Slots::new(["first_moment", "second_moment"]),
            sweep: RowSweep::new(config.row_updates()),
            config,
            decay,
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
        let update = AdamUpdate::new(&self.config, self.lr, self.decay.pull(decay, self.lr), state.steps);
        sweep::dense(update, values, grad, state.slices());
    }

    fn rows(&mut self, slot: usize, table: &mut [f32], grad: &mut RowGrad) {
        let state = self.slots.step(slot, table.len(), 0.0);
        let update = AdamUpdate::new(&self.config, self.lr, self.decay.pull(Decay::Towards(0.0), self.lr), state.steps);
        self.sweep.rows(update, table, grad, state.slices(), false);
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
struct AdamUpdate {
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

impl AdamUpdate {
    fn new(config: &AdamConfig, lr: f32, pull: Pull, steps: u64) -> Self {
        let (beta1, beta2, steps) = (config.beta1(), config.beta2(), i32::try_from(steps).unwrap_or(i32::MAX));
        // 1 − β in f64: in f32, 1 − 0.999 is off in the fifth digit.
        let parts = |beta: f64| (beta as f32, (1.0 - beta) as f32);
        Self {
            first: parts(beta1),
            second: parts(beta2),
            lr: (f64::from(lr) / (1.0 - beta1.powi(steps))) as f32,
            root: (1.0 - beta2.powi(steps)).sqrt().recip() as f32,
            eps: config.eps() as f32,
            pull,
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

impl sweep::Update<2> for AdamUpdate {
    #[inline(always)]
    fn step(self, values: &mut [f32], grad: &[f32], [m, v]: [&mut [f32]; 2]) {
        self.slices(values, grad, m, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adam(builder: AdamConfigBuilder) -> Adam {
        Adam::new(builder.build().unwrap())
    }

    #[test]
    fn first_steps_are_those_computed_by_hand() {
        // The corrected moments of one step are g and g²: the step is lr·sign(g) whatever the gradient's size.
        let mut optimizer = adam(AdamConfig::builder().lr(0.1));
        let mut w = [1.0, 1.0, 1.0];
        optimizer.dense(0, &mut w, &mut [2.0, -1e-3, 0.0], Decay::None);
        for (found, expected) in w.into_iter().zip([0.9, 1.1, 1.0]) {
            assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
        }
        // Second step with g = 2, −1, by hand with β 0.5, 0.5: m = 0.5·1 − 0.5 = 0, so no step at all.
        let mut optimizer = adam(AdamConfig::builder().lr(0.1).beta1(0.5).beta2(0.5));
        let mut w = [0.0];
        optimizer.dense(0, &mut w, &mut [2.0], Decay::None);
        optimizer.dense(0, &mut w, &mut [-1.0], Decay::None);
        assert!((w[0] + 0.1).abs() < 1e-7);
    }

    #[test]
    fn epsilon_stands_beside_the_corrected_root() {
        // m̂ = 1, √v̂ = 1: the step is 1/(1 + ε) = 1/2. With ε̂ it would be √(1 − β₂)/(√(1 − β₂) + 1) ≈ 0.03.
        let mut w = [0.0];
        adam(AdamConfig::builder().lr(1.0).eps(1.0)).dense(0, &mut w, &mut [1.0], Decay::None);
        assert!((w[0] + 0.5).abs() < 1e-6);
    }

    #[test]
    fn each_slot_counts_its_own_steps() {
        let mut optimizer = adam(AdamConfig::builder().lr(0.1));
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
        let mut optimizer = adam(AdamConfig::builder().lr(0.1));
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
        let settings = AdamConfig::builder().lr(0.1).weight_decay(0.5).build().unwrap();
        for (target, [l2, decoupled]) in [(1.0, [2.9, 2.9]), (4.0, [3.1, 3.05]), (3.0, [3.0, 3.0])] {
            for (make, expected) in [(Adam::new as fn(_) -> _, l2), (Adam::decoupled, decoupled)] {
                let mut w = [3.0];
                make(settings.clone()).dense(0, &mut w, &mut [0.0], Decay::Towards(target));
                assert!((w[0] - expected).abs() < 1e-6, "to {target}: {} is not {expected}", w[0]);
                let mut w = [3.0];
                make(settings.clone()).dense(0, &mut w, &mut [0.0], Decay::None);
                assert_eq!(w[0], 3.0);
            }
        }
    }

    #[test]
    fn every_bad_setting_is_named() {
        let builder = AdamConfig::builder().lr(f64::INFINITY).beta1(-0.1).beta2(1.0).eps(0.0);
        let error = builder.weight_decay(-2.0).build().unwrap_err().to_string();
        for part in ["AdamConfig: lr: ", "beta1: ", "beta2: ", "eps: ", "weight_decay: ", "found -2"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

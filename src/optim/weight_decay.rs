//! Weight decay: a pull to the value that a tensor rests at.

use crate::error::Problems;
use crate::nn::Decay;

/// How values are pulled to their target, with the strength λ ≥ 0.
///
/// The target `c` is the tensor's own ([`Decay::Towards`]): 0 for weights and table rows, 1 for the domain factors of STAR.
/// Tensors with [`Decay::None`] are never pulled.
#[derive(Debug, Clone, Copy)]
pub(super) enum WeightDecay {
    /// Adds `λ·(w − c)` to the gradient, the derivative of `λ/2·‖w − c‖²`. Adaptive optimizers then rescale it with the
    /// rest of the gradient.
    L2(f64),
    /// Moves the values themselves, `w ← w − lr·λ·(w − c)`, beside the gradient's step.
    Decoupled(f64),
}

impl WeightDecay {
    /// Notes in `problems` if λ is out of range.
    pub(super) fn check(self, problems: &mut Problems) {
        let (Self::L2(strength) | Self::Decoupled(strength)) = self;
        problems.require((strength as f32).is_finite() && strength >= 0.0, || {
            format!("weight_decay: a finite number, at least 0, found {strength}")
        });
    }

    /// The pull on one tensor in one step.
    pub(super) fn pull(self, decay: Decay, lr: f32) -> Pull {
        match (self, decay) {
            (_, Decay::None) => Pull { target: 0.0, l2: 0.0, shrink: 0.0 },
            (Self::L2(strength), Decay::Towards(target)) => Pull { target, l2: strength as f32, shrink: 0.0 },
            (Self::Decoupled(strength), Decay::Towards(target)) => {
                Pull { target, l2: 0.0, shrink: (f64::from(lr) * strength) as f32 }
            }
        }
    }
}

/// Weight decay as the inner loops take it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    target: f32,
    l2: f32,
    shrink: f32,
}

impl Pull {
    /// Whether values stay where they are.
    pub(super) fn is_none(self) -> bool {
        self.l2 == 0.0 && self.shrink == 0.0
    }

    /// The gradient with the L2 term.
    #[inline(always)]
    pub(super) fn gradient(self, value: f32, grad: f32) -> f32 {
        grad + self.l2 * (value - self.target)
    }

    /// The value after the decoupled pull.
    #[inline(always)]
    pub(super) fn decayed(self, value: f32) -> f32 {
        value - self.shrink * (value - self.target)
    }
}

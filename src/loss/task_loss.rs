//! The loss of one label.

use super::bce::{bce_and_derivative, weighted_bce_and_derivative};

/// The loss `ℓ` of one logit and one label of a task, and its derivative by the logit.
/// [`Objective::task_losses`](super::Objective::task_losses) makes one for each task of a layout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskLoss(Form);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Binary cross entropy.
    Bce,
    /// Binary cross entropy where positives weigh `pos_weight`, at a logit that is shifted by `shift`.
    WeightedBce { pos_weight: f64, shift: f64 },
}

impl TaskLoss {
    /// Binary cross entropy, where a positive label weighs `pos_weight` and the share `negatives` of negative labels is kept:
    ///
    /// `ℓ = −w·y·ln σ(z + c) − (1 − y)·ln(1 − σ(z + c))` with `w = pos_weight` and `c = ln(pos_weight/negatives)`.
    ///
    /// In expectation over the labels that are kept, it has its minimum where `σ(z)` is the probability of a positive label among all rows,
    /// whatever `w` and the share are.
    pub(super) fn binary(pos_weight: f64, negatives: f64) -> Self {
        if pos_weight == 1.0 && negatives == 1.0 {
            return Self(Form::Bce);
        }
        Self(Form::WeightedBce { pos_weight, shift: pos_weight.ln() - negatives.ln() })
    }

    /// The loss of a logit `z` and a label `y`, and the derivative of the loss by `z`.
    #[inline]
    pub fn value_and_derivative(&self, z: f64, y: f64) -> (f64, f64) {
        match self.0 {
            Form::Bce => bce_and_derivative(z, y),
            Form::WeightedBce { pos_weight, shift } => weighted_bce_and_derivative(z + shift, y, pos_weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest difference between a derivative and central differences of the loss, over logits and these labels.
    fn gap(loss: TaskLoss, labels: &[f64]) -> f64 {
        let value = |z, y| loss.value_and_derivative(z, y).0;
        let mut gap: f64 = 0.0;
        for i in -48..=48 {
            for &y in labels {
                // No multiple of 1/8 is a kink.
                let (z, h) = (f64::from(i) / 8.0 + 0.03, 1e-5);
                let difference = (value(z + h, y) - value(z - h, y)) / (2.0 * h);
                let derivative = loss.value_and_derivative(z, y).1;
                gap = gap.max((derivative - difference).abs() / derivative.abs().max(1.0));
            }
        }
        gap
    }

    #[test]
    fn derivatives_are_those_of_the_loss() {
        for (pos_weight, negatives) in [(1.0, 1.0), (7.5, 1.0), (0.2, 1.0), (1.0, 0.05), (30.0, 0.25)] {
            let gap = gap(TaskLoss::binary(pos_weight, negatives), &[0.0, 0.3, 1.0]);
            assert!(gap < 1e-8, "{pos_weight} {negatives}: {gap}");
        }
    }

    #[test]
    fn positives_weigh_what_is_said_and_the_answer_stays_a_probability() {
        // By the definition, with logarithms of probabilities at the shifted logit.
        let (w, q) = (8.0, 0.1);
        let loss = TaskLoss::binary(w, q);
        for z in [-3.0, 0.0, 1.5] {
            let p = 1.0 / (1.0 + (-(z + f64::ln(w / q))).exp());
            assert!((loss.value_and_derivative(z, 1.0).0 + w * p.ln()).abs() < 1e-12);
            assert!((loss.value_and_derivative(z, 0.0).0 + (1.0 - p).ln()).abs() < 1e-12);
        }
        // Of all rows, 3 % are positive. The expected derivative over what training sees is 0 at the logit of 3 %.
        let p = 0.03_f64;
        let z = (p / (1.0 - p)).ln();
        let of = |y| loss.value_and_derivative(z, y).1;
        assert!((p * of(1.0) + q * (1.0 - p) * of(0.0)).abs() < 1e-12);
    }

    #[test]
    fn without_imbalance_settings_the_bits_are_those_of_plain_cross_entropy() {
        for z in [-4.25, 0.1, 33.0] {
            assert_eq!(TaskLoss::binary(1.0, 1.0).value_and_derivative(z, 1.0), bce_and_derivative(z, 1.0));
        }
    }
}

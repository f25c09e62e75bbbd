//! The loss of one label.

use super::bce::{bce_and_derivative, weighted_bce_and_derivative};
use crate::data::Target;

/// The loss function of a task: it computes the loss `ℓ` of one logit z and one label y, and its derivative by z.
/// [`Objective::task_losses`](super::Objective::task_losses) makes one for each task of a layout. The [`Target`] of the task decides the equation:
///
/// * Binary: `ℓ = −w·y·ln σ(z + c) − (1 − y)·ln(1 − σ(z + c))`. `w` is the task's entry in [`Objective::pos_weights`](super::Objective::pos_weights),
///   `q` its entry in [`Objective::negatives`](super::Objective::negatives), and `c = ln w − ln q`. By default `w` and `q` are 1, so this is binary
///   cross entropy.
/// * Regression: `ℓ = ½ d²` with `d = z − (y − mean)/deviation`, where `mean` and `deviation` are those of the target. With Huber's loss,
///   `ℓ = δ·(|d| − ½ δ)` if `|d| > δ`.
/// * Count: `ℓ = e^z − y − y·(z − ln y)`, or `e^z` if `y = 0`: the negative log likelihood of a Poisson distribution with the rate `e^z`, minus its
///   smallest possible value for this label. So it is at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskLoss(Form);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Binary cross entropy.
    Bce,
    /// Binary cross entropy where positives weigh `pos_weight`, at a logit that is shifted by `shift`.
    WeightedBce { pos_weight: f64, shift: f64 },
    /// Half the squared distance from the standardised target.
    Squared { mean: f64, deviation: f64 },
    /// Huber's loss of that distance.
    Huber { delta: f64, mean: f64, deviation: f64 },
    /// Half the deviance of a Poisson distribution.
    Poisson,
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

    /// The loss of a target; `pos_weight` and `negatives` are 1 if it is not binary.
    ///
    /// * Regression: `ℓ = ½ d²` with `d = z − (y − mean)/deviation`, or `δ (|d| − ½ δ)` where `|d| > δ` (Huber, 1964). With the factor ½,
    ///   uncertainty weighting has for every kind of loss the form `e^{−s} L + ½ s` of Kendall et al., CVPR 2018 (equations 5 and 10).
    /// * Count: `ℓ = e^z − y − y·(z − ln y)` (`e^z` for `y = 0`): the negative log likelihood of a Poisson distribution with the rate `e^z`,
    ///   minus its least value, so that it is at least 0, as methods that compare losses of tasks need.
    pub(super) fn of(target: Target, pos_weight: f64, negatives: f64) -> Self {
        match target {
            Target::Binary => Self::binary(pos_weight, negatives),
            Target::Regression { delta: None, mean, deviation } => Self(Form::Squared { mean, deviation }),
            Target::Regression { delta: Some(delta), mean, deviation } => Self(Form::Huber { delta, mean, deviation }),
            Target::Count => Self(Form::Poisson),
        }
    }

    /// Returns the loss `ℓ` of a logit `z` and a label `y`, and the derivative `dℓ/dz`, both in this order. The equations are those of [`TaskLoss`].
    /// The label must be valid for the task's kind ([`TaskKind`](crate::data::TaskKind)); it is not checked. If `z` or `y` is NaN, the derivative is
    /// NaN. The loss of a count is infinite for `z` above 709.
    #[inline]
    pub fn value_and_derivative(&self, z: f64, y: f64) -> (f64, f64) {
        match self.0 {
            Form::Bce => bce_and_derivative(z, y),
            Form::WeightedBce { pos_weight, shift } => weighted_bce_and_derivative(z + shift, y, pos_weight),
            Form::Squared { mean, deviation } => {
                let d = z - (y - mean) / deviation;
                (0.5 * d * d, d)
            }
            Form::Huber { delta, mean, deviation } => {
                let d = z - (y - mean) / deviation;
                let value = if d.abs() <= delta { 0.5 * d * d } else { delta * (d.abs() - 0.5 * delta) };
                (value, d.clamp(-delta, delta))
            }
            Form::Poisson => {
                let rate = z.exp();
                let value = if y > 0.0 { rate - y - y * (z - y.ln()) } else { rate };
                (value, rate - y)
            }
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
    fn derivatives_of_numbers_and_counts_are_those_of_the_loss() {
        let (mean, deviation) = (2.0, 3.0);
        for delta in [None, Some(0.5), Some(1.5)] {
            let target = Target::Regression { delta, mean, deviation };
            let gap = gap(TaskLoss::of(target, 1.0, 1.0), &[-7.0, 0.5, 2.0, 30.0]);
            assert!(gap < 1e-8, "{delta:?}: {gap}");
        }
        let gap = gap(TaskLoss::of(Target::Count, 1.0, 1.0), &[0.0, 0.5, 1.0, 40.0]);
        assert!(gap < 1e-8, "{gap}");
    }

    #[test]
    fn losses_of_numbers_and_counts_have_their_closed_forms() {
        let of = |delta, z, y| {
            TaskLoss::of(Target::Regression { delta, mean: 1.0, deviation: 2.0 }, 1.0, 1.0).value_and_derivative(z, y)
        };
        // The standardised label is 2: the distances are 1 and −3.
        assert_eq!(of(None, 3.0, 5.0), (0.5, 1.0));
        assert_eq!(of(None, -1.0, 5.0), (4.5, -3.0));
        assert_eq!(of(Some(1.5), 3.0, 5.0), (0.5, 1.0));
        assert_eq!(of(Some(1.5), -1.0, 5.0), (1.5 * (3.0 - 0.75), -1.5));
        let poisson = |z: f64, y: f64| TaskLoss::of(Target::Count, 1.0, 1.0).value_and_derivative(z, y);
        // Differences between rates are those of the log likelihood y·ln λ − λ, and the least value is 0, at the label.
        let likelihood = |z: f64, y: f64| y * z - z.exp();
        for y in [0.5, 3.0, 20.0] {
            let expected = likelihood(0.3, y) - likelihood(1.2, y);
            assert!((poisson(1.2, y).0 - poisson(0.3, y).0 - expected).abs() < 1e-12);
            assert!(poisson(y.ln(), y).0.abs() < 1e-12 && poisson(y.ln(), y).1.abs() < 1e-12);
        }
        assert_eq!(poisson(0.0, 0.0), (1.0, 1.0));
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

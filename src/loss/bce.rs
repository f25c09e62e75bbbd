//! Binary cross entropy.

use crate::math::{sigmoid, softplus};

/// The binary cross entropy of a logit z and a label y: `−y·ln σ(z) − (1 − y)·ln(1 − σ(z))`, in nats (natural logarithms). `σ` is
/// [`sigmoid`](super::sigmoid).
///
/// It is computed as `max(z, 0) − z·y + ln(1 + e^{−|z|})`, which is finite for every finite logit. The label is 0 or 1, or a number between
/// them (a soft label). Labels are not checked; if the logit or the label is NaN, so is the result.
///
/// ```
/// use starple::loss::bce_with_logits;
///
/// assert_eq!(bce_with_logits(0.0, 1.0), 2.0_f64.ln());
/// assert_eq!(bce_with_logits(-1e4, 1.0), 1e4);
/// ```
#[inline]
pub fn bce_with_logits(logit: f64, label: f64) -> f64 {
    logit.max(0.0) - logit * label + softplus(-logit.abs())
}

/// Loss and its derivative by the logit, `σ(z) − y`. Inlined, the two need one exponential.
#[inline]
pub(super) fn bce_and_derivative(logit: f64, label: f64) -> (f64, f64) {
    (bce_with_logits(logit, label), sigmoid(logit) - label)
}

/// Loss and derivative where positives weigh `pos_weight`: `w·y·softplus(−z) + (1 − y)·softplus(z)` and `(1 − y)·σ(z) − w·y·σ(−z)`.
#[inline]
pub(super) fn weighted_bce_and_derivative(logit: f64, label: f64, pos_weight: f64) -> (f64, f64) {
    let (positive, negative) = (pos_weight * label, 1.0 - label);
    let value = positive * softplus(-logit) + negative * softplus(logit);
    (value, negative * sigmoid(logit) - positive * sigmoid(-logit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_derivative_are_the_textbook_ones_where_those_are_stable() {
        for i in -80..=80 {
            let z = f64::from(i) / 8.0;
            let p = 1.0 / (1.0 + (-z).exp());
            for y in [0.0, 0.3, 1.0] {
                let expected = -y * p.ln() - (1.0 - y) * (1.0 - p).ln();
                assert!((bce_with_logits(z, y) - expected).abs() < 1e-10, "z = {z}, y = {y}");
                let (loss, derivative) = bce_and_derivative(z, y);
                assert_eq!(loss, bce_with_logits(z, y));
                assert!((derivative - (p - y)).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn huge_logits_give_finite_losses() {
        for (z, y, loss, p) in
            [(1e4, 1.0, 0.0, 1.0), (1e4, 0.0, 1e4, 1.0), (-1e4, 0.0, 0.0, 0.0), (-1e4, 1.0, 1e4, 0.0)]
        {
            assert_eq!(bce_with_logits(z, y), loss);
            assert_eq!(bce_and_derivative(z, y), (loss, p - y));
        }
    }

    #[test]
    fn small_losses_keep_their_digits() {
        assert!((bce_with_logits(40.0, 1.0) / (-40.0_f64).exp() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nan_goes_in_and_comes_out() {
        assert!(bce_with_logits(f64::NAN, 1.0).is_nan());
    }
}

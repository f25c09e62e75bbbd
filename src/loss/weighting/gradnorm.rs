//! GradNorm: weights under which the units' gradients have norms that follow their training rates.

/// A weight that a step would take to 0 or below stops here: the paper's weights stay above 0 by small steps alone.
const LEAST: f64 = 1e-3;

/// The measurements of one unit that had labels in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) unit: usize,
    /// `G_k = ‖∇_W v_k L_k‖`.
    pub(crate) norm: f64,
    /// `L_k`.
    pub(crate) loss: f64,
}

/// A step of the weights, and the first losses of units that had none.
///
/// With `r_k = (L_k / L_k(0)) / mean_j(L_j / L_j(0))`, `L_grad = Σ_k |G_k − mean_j(G_j)·r_k^α|` whose targets count as
/// constants: `v_k ← v_k − lr·sign(G_k − target_k)·G_k/v_k`, because `G_k` is proportional to `v_k`. Then the weights
/// are scaled to the sum they had, so that the sum over all units stays K. Only units with labels in the step are in means and
/// sums, and numbers that are not finite change no weight.
pub(super) fn learn(weights: &mut [f64], first: &mut [Option<f64>], alpha: f64, lr: f64, step: &[Measured]) {
    for &Measured { unit, loss, .. } in step {
        // A loss of exactly 0 would leave no ratio.
        first[unit].get_or_insert(loss.max(f64::MIN_POSITIVE));
    }
    let progress = |of: &Measured| of.loss / first[of.unit].expect("noted above");
    let mean = |of: &dyn Fn(&Measured) -> f64| step.iter().map(of).sum::<f64>() / step.len() as f64;
    let (mean_norm, mean_progress) = (mean(&|of| of.norm), mean(&progress));
    if !mean_norm.is_finite() || !mean_progress.is_finite() || mean_progress <= 0.0 {
        return;
    }
    let before: f64 = step.iter().map(|of| weights[of.unit]).sum();
    for of in step {
        let excess = of.norm - mean_norm * (progress(of) / mean_progress).powf(alpha);
        let sign = if excess == 0.0 { 0.0 } else { excess.signum() };
        let weight = &mut weights[of.unit];
        *weight = (*weight - lr * sign * of.norm / *weight).max(LEAST);
    }
    let scale = before / step.iter().map(|of| weights[of.unit]).sum::<f64>();
    for of in step {
        weights[of.unit] *= scale;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn weights_sum_to_the_number_of_units_whichever_have_labels(
            steps in prop::collection::vec(prop::collection::vec((any::<bool>(), 0.0..9.0_f64, 0.0..3.0_f64), 4), 1..40),
            alpha in 0.0..3.0_f64,
            lr in 0.001..1.0_f64,
        ) {
            let (mut weights, mut first) = (vec![1.0; 4], vec![None; 4]);
            for step in &steps {
                let before = weights.clone();
                let took_part = step.iter().enumerate().filter(|(_, (present, ..))| *present);
                let measured: Vec<Measured> =
                    took_part.map(|(unit, &(_, norm, loss))| Measured { unit, norm: norm * weights[unit], loss }).collect();
                learn(&mut weights, &mut first, alpha, lr, &measured);
                prop_assert!((weights.iter().sum::<f64>() - 4.0).abs() < 1e-9, "{:?}", weights);
                prop_assert!(weights.iter().all(|&weight| weight > 0.0), "{:?}", weights);
                for (unit, (present, ..)) in step.iter().enumerate() {
                    prop_assert!(*present || weights[unit] == before[unit], "{} moved", unit);
                }
            }
        }
    }

    #[test]
    fn a_step_computed_by_hand() {
        let (mut weights, mut first) = ([1.5, 0.5, 1.0], [Some(1.0), Some(0.5), None]);
        // Progress 0.5 and 1.0, mean 0.75; norms 3 and 1, mean 2; targets with α = 1: 4/3 and 8/3.
        let step = [Measured { unit: 0, norm: 3.0, loss: 0.5 }, Measured { unit: 1, norm: 1.0, loss: 0.5 }];
        learn(&mut weights, &mut first, 1.0, 0.1, &step);
        // 1.5 − 0.1·3/1.5 = 1.3 and 0.5 + 0.1·1/0.5 = 0.7 sum to 2 already.
        assert!((weights[0] - 1.3).abs() < 1e-12 && (weights[1] - 0.7).abs() < 1e-12, "{weights:?}");
        assert_eq!((weights[2], first), (1.0, [Some(1.0), Some(0.5), None]));
    }

    #[test]
    fn norms_become_one_when_alpha_is_zero() {
        // Gradients of fixed sizes 4 and 1: equal norms at weights 0.4 and 1.6.
        let (mut weights, mut first) = ([1.0, 1.0], [None; 2]);
        for _ in 0..2000 {
            let norms = [4.0 * weights[0], weights[1]];
            let step = [0, 1].map(|unit| Measured { unit, norm: norms[unit], loss: 0.3 });
            learn(&mut weights, &mut first, 0.0, 0.001, &step);
        }
        assert!((weights[0] - 0.4).abs() < 0.01 && (weights[1] - 1.6).abs() < 0.01, "{weights:?}");
    }

    #[test]
    fn numbers_that_are_not_finite_change_no_weight() {
        let (mut weights, mut first) = ([1.0, 1.0], [None; 2]);
        for norm in [f64::INFINITY, f64::NAN] {
            let step = [Measured { unit: 0, norm, loss: 0.3 }, Measured { unit: 1, norm: 1.0, loss: 0.3 }];
            learn(&mut weights, &mut first, 1.5, 0.1, &step);
            assert_eq!(weights, [1.0, 1.0]);
        }
        let step = [0, 1].map(|unit| Measured { unit, norm: 1.0, loss: 0.0 });
        learn(&mut weights, &mut first, 1.5, 0.1, &step);
        assert_eq!(weights, [1.0, 1.0]);
    }
}

//! Weights from the uncertainty of each unit: `L = Σ_k ω_k·(e^{−s_k} L_k + s_k/2)` with `s_k = ln σ_k²`.

/// `v_k = e^{−s_k}`.
pub(super) fn factors(log_variances: &[f64], factors: &mut [f64]) {
    for (factor, s) in factors.iter_mut().zip(log_variances) {
        *factor = (-s).exp();
    }
}

/// What the variances add to the loss: `Σ_k ω_k s_k/2` over the units that had labels.
pub(super) fn penalty(log_variances: &[f64], fixed: &[f64], losses: &[Option<f64>]) -> f64 {
    let units = log_variances.iter().zip(fixed).zip(losses);
    units.filter(|(_, loss)| loss.is_some()).map(|((s, omega), _)| omega * s / 2.0).sum()
}

/// A gradient step of each unit that had labels: `s_k ← s_k − lr·ω_k·(½ − e^{−s_k} L_k)`.
pub(super) fn learn(log_variances: &mut [f64], lr: f64, fixed: &[f64], losses: &[Option<f64>]) {
    for ((s, omega), loss) in log_variances.iter_mut().zip(fixed).zip(losses) {
        if let Some(loss) = loss {
            *s -= lr * omega * (0.5 - (-*s).exp() * loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_loss_gets_the_weight_that_minimises_the_objective() {
        // d/ds (e^{−s} L + s/2) = 0 where e^{−s} = 1/(2L), whatever ω is.
        let (mut s, losses) = (vec![0.0; 3], [Some(0.05), Some(2.0), None]);
        let mut before = f64::INFINITY;
        for _ in 0..4000 {
            learn(&mut s, 0.05, &[1.0, 0.3, 1.0], &losses);
            let mut weights = [0.0; 3];
            factors(&s, &mut weights);
            let total = 0.05 * weights[0] + 0.3 * 2.0 * weights[1] + penalty(&s, &[1.0, 0.3, 1.0], &losses);
            assert!(total <= before + 1e-12, "{total} after {before}");
            before = total;
        }
        let mut weights = [0.0; 3];
        factors(&s, &mut weights);
        assert!((weights[0] - 10.0).abs() < 1e-3 && (weights[1] - 0.25).abs() < 1e-6, "{weights:?}");
        assert_eq!((s[2], weights[2]), (0.0, 1.0), "a unit without labels stays");
    }
}

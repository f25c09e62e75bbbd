//! Dynamic weight average: `v_k = K·softmax(r_k / T)` with `r_k = L_k(t−1) / L_k(t−2)`, by epoch means.

/// `v_k = K·e^{r_k/T} / Σ_j e^{r_j/T}`. A unit that had labels in fewer than two epochs, or whose earlier mean was 0,
/// has `r_k = 1`.
pub(super) fn factors(means: &[[Option<f64>; 2]], temperature: f64, factors: &mut [f64]) {
    for (factor, means) in factors.iter_mut().zip(means) {
        *factor = match means {
            // A quotient beyond f64 is the largest number, for the softmax to stay defined.
            [Some(before), Some(last)] if *before > 0.0 => (last / before).min(f64::MAX),
            _ => 1.0,
        };
    }
    let largest = factors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for factor in &mut *factors {
        *factor = ((*factor - largest) / temperature).exp();
    }
    let scale = factors.len() as f64 / factors.iter().sum::<f64>();
    for factor in factors {
        *factor *= scale;
    }
}

/// Takes the mean losses of a finished epoch; a unit without labels in it keeps its means.
pub(super) fn end_epoch(means: &mut [[Option<f64>; 2]], epoch: impl Iterator<Item = Option<f64>>) {
    for (means, mean) in means.iter_mut().zip(epoch) {
        if mean.is_some() {
            *means = [means[1], mean];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_those_of_the_paper_and_one_in_the_first_two_epochs() {
        let (mut means, mut weights) = ([[None; 2]; 3], [0.0; 3]);
        let epochs = [[Some(0.8), Some(0.4), None], [Some(0.6), Some(0.4), Some(0.5)], [None, Some(0.1), Some(0.4)]];
        for epoch in &epochs[..2] {
            factors(&means, 2.0, &mut weights);
            assert_eq!(weights, [1.0; 3]);
            end_epoch(&mut means, epoch.iter().copied());
        }
        let expect = |r: [f64; 3], weights: &[f64; 3]| {
            let e = r.map(|r| (r / 2.0).exp());
            for (e_k, weight) in e.iter().zip(weights) {
                assert!((weight - 3.0 * e_k / e.iter().sum::<f64>()).abs() < 1e-12, "{weights:?}");
            }
        };
        // The third has been seen in one epoch.
        factors(&means, 2.0, &mut weights);
        expect([0.6 / 0.8, 1.0, 1.0], &weights);
        // The first was not in the last epoch: its rate stays.
        end_epoch(&mut means, epochs[2].iter().copied());
        factors(&means, 2.0, &mut weights);
        expect([0.6 / 0.8, 0.1 / 0.4, 0.4 / 0.5], &weights);
    }

    #[test]
    fn extreme_losses_give_weights_that_are_finite() {
        let mut weights = [0.0; 2];
        factors(&[[Some(1e-300), Some(1e300)], [Some(0.0), Some(1.0)]], 1e-3, &mut weights);
        assert_eq!(weights, [2.0, 0.0]);
    }
}

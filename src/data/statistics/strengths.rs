//! Strengths of priors by maximum likelihood.

use std::f64::consts::PI;

use super::settings::STRENGTHS;

/// More counts than these are thinned out evenly: the strength is one number.
const MOST: usize = 20_000;

/// Labelled rows of one value, those with label 1 among them, and the rate that is expected of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    pub(super) labelled: f64,
    pub(super) positive: f64,
    pub(super) expected: f64,
}

/// The strength s that makes these counts most likely, if each has the label 1 with a probability from the beta distribution
/// `Beta(s·q, s·(1 − q))`, where q is the expected rate. `None` if no count has more than one row: they do not say.
pub(super) fn fit(counts: impl Iterator<Item = Observed>) -> Option<f64> {
    let counts: Vec<Observed> = counts.filter(|count| count.labelled > 1.0).collect();
    if counts.is_empty() {
        return None;
    }
    let counts: Vec<Observed> = counts.iter().copied().step_by(counts.len().div_ceil(MOST)).collect();
    let likelihood = |ln_s: f64| counts.iter().map(|count| log_likelihood(count, ln_s.exp())).sum::<f64>();
    let (least, most) = (STRENGTHS.0.ln(), STRENGTHS.1.ln());
    // A grid first: the likelihood need not have only one maximum.
    let step = (most - least) / 12.0;
    let grid = (0..=12).map(|i| least + step * f64::from(i));
    let best = grid.map(|x| (x, likelihood(x))).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(least, |best| best.0);
    let at = golden(&likelihood, (best - step).max(least), (best + step).min(most));
    // The search does not reach the ends.
    let at = [least, most].into_iter().find(|end| (at - end).abs() < 1e-2).unwrap_or(at);
    Some(at.exp().clamp(STRENGTHS.0, STRENGTHS.1))
}

/// The place of the maximum between two places, by golden sections.
fn golden(f: &impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_a, mut at_b) = (f(a), f(b));
    while high - low > 5e-3 {
        if at_a > at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - RATIO * (high - low);
            at_a = f(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + RATIO * (high - low);
            at_b = f(b);
        }
    }
    f64::midpoint(low, high)
}

/// The logarithm of the beta-binomial probability of a count, without the binomial coefficient.
fn log_likelihood(count: &Observed, strength: f64) -> f64 {
    let rising = |x: f64, n: f64| ln_gamma(x + n) - ln_gamma(x);
    let Observed { labelled, positive, expected } = *count;
    rising(strength * expected, positive) + rising(strength * (1.0 - expected), labelled - positive)
        - rising(strength, labelled)
}

/// `ln Γ(x)` for x > 0, by Lanczos' approximation with g = 7 and 9 terms: about 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let series = TERMS.iter().zip(1..).fold(0.999_999_999_999_809_9, |sum, (term, i)| sum + term / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_of_known_values() {
        let mut factorial = 1.0;
        for n in 1..=20 {
            let close = (ln_gamma(f64::from(n)) - f64::ln(factorial)).abs();
            assert!(close < 1e-12, "{n}: {close}");
            factorial *= f64::from(n);
        }
        assert!((ln_gamma(0.5) - PI.sqrt().ln()).abs() < 1e-13);
        // Γ(¼), from Abramowitz and Stegun.
        assert!((ln_gamma(0.25) - 3.625_609_908_221_908_f64.ln()).abs() < 1e-13);
    }

    #[test]
    fn beta_binomial_probabilities_add_up() {
        let n = 7;
        let choose = |k: i32| (0..k).fold(1.0, |all, i| all * f64::from(n - i) / f64::from(i + 1));
        let p = |k: i32| {
            let count = Observed { labelled: n.into(), positive: k.into(), expected: 0.3 };
            choose(k) * log_likelihood(&count, 2.5).exp()
        };
        let total: f64 = (0..=n).map(p).sum();
        let mean: f64 = (0..=n).map(|k| f64::from(k) * p(k)).sum();
        assert!((total - 1.0).abs() < 1e-12 && (mean - 0.3 * 7.0).abs() < 1e-12, "{total} {mean}");
    }

    /// Counts as a beta-binomial with strength 8 has them, by its own probabilities.
    #[test]
    fn the_strength_of_drawn_counts_is_found() {
        let (n, q, s) = (12, 0.25, 8.0);
        let choose = |k: i32| (0..k).fold(1.0, |all, i| all * f64::from(n - i) / f64::from(i + 1));
        let count = |k: i32| Observed { labelled: n.into(), positive: k.into(), expected: q };
        let drawn = (0..=n).flat_map(|k| {
            let times = (20_000.0 * choose(k) * log_likelihood(&count(k), s).exp()).round() as usize;
            std::iter::repeat_n(count(k), times)
        });
        let found = fit(drawn).unwrap();
        assert!((found / s - 1.0).abs() < 0.02, "{found}");
        // Values that all have their expected rate have no spread at all, and single rows say nothing.
        assert_eq!(fit(std::iter::repeat_n(count(3), 1000)), Some(STRENGTHS.1));
        assert_eq!(fit([Observed { labelled: 1.0, positive: 1.0, expected: q }].into_iter()), None);
    }
}

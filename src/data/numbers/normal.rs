//! The quantile function of the normal distribution.

use std::f64::consts::{PI, SQRT_2};

/// `Φ⁻¹(p)` for `0 < p < 1`, with an absolute error below 1e-12: the rational approximation of P. J. Acklam, improved by one step of Halley's
/// method. The step uses `Φ` as the complementary error function in the tail, so that small `p` keep their precision.
pub(super) fn quantile(p: f64) -> f64 {
    // Φ⁻¹(1 − p) = −Φ⁻¹(p), and the lower half is the precise one.
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let z = acklam(p);
    let error = tail(-z) - p;
    let step = error * (2.0 * PI).sqrt() * (z * z / 2.0).exp();
    z - step / (1.0 + z * step / 2.0)
}

/// `Φ⁻¹(p)` for `0 < p <= 0.5`, with a relative error below 1.15e-9.
fn acklam(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
    const LOW: f64 = 0.02425;
    let of = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    if p < LOW {
        let q = (-2.0 * p.ln()).sqrt();
        of(&C, q) / of(&D, q)
    } else {
        let q = p - 0.5;
        of(&A, q * q) * q / of(&B, q * q)
    }
}

/// `1 − Φ(z)` for `z >= 0`: `erfc(z/√2)/2`.
fn tail(z: f64) -> f64 {
    erfc(z / SQRT_2) / 2.0
}

/// `erfc(x)` for `x >= 0`: the power series of `erf` for small `x`, the continued fraction of `erfc` for others.
fn erfc(x: f64) -> f64 {
    if x < 2.0 {
        // erf(x) = 2/√π · e^(−x²) · Σ 2^n x^(2n+1) / (1·3·…·(2n+1)): all terms are positive.
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    // erfc(x) = e^(−x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))), from the inside out.
    let fraction = (1..=120).rev().fold(x, |inner, n| x + f64::from(n) / 2.0 / inner);
    (-x * x).exp() / PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Φ⁻¹ of published tables (and of scipy.stats.norm.ppf), to twelve digits.
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.841_344_746_068_542_9, 1.0),
            (0.998_650_101_968_369_9, 3.0),
            (0.01, -2.326_347_874_040_841),
            (1e-5, -4.264_890_793_922_825),
            (1e-10, -6.361_340_902_404_056),
            (0.3, -0.524_400_512_708_041),
        ] {
            assert!((quantile(p) - z).abs() < 1e-12, "{p}: {} for {z}", quantile(p));
        }
    }

    /// Simpson's rule over the density from 0 to `z`.
    fn cumulative(z: f64) -> f64 {
        let (n, density) = (20_000, |t: f64| (-t * t / 2.0).exp() / (2.0 * PI).sqrt());
        let h = z / f64::from(n);
        let inner: f64 = (1..n).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(f64::from(i) * h)).sum();
        0.5 + h / 3.0 * (density(0.0) + inner + density(z))
    }

    #[test]
    fn it_inverts_the_integral_of_the_density() {
        for i in 1..400 {
            let p = f64::from(i) / 400.0;
            assert!((cumulative(quantile(p)) - p).abs() < 1e-11, "{p}");
        }
    }
}

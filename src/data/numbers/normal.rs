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
        -3.969683028665376e+01,
        2.209460984245205e+02,
        -2.759285104469687e+02,
        1.383577518672690e+02,
        -3.066479806614716e+01,
        2.506628277459239e+00,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e+01,
        1.615858368580409e+02,
        -1.556989798598866e+02,
        6.680131188771972e+01,
        -1.328068155288572e+01,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-03,
        -3.223964580411365e-01,
        -2.400758277161838e+00,
        -2.549732539343734e+00,
        4.374664141464968e+00,
        2.938163982698783e+00,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1.0];
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
            (0.84134474606854293, 1.0),
            (0.9986501019683699, 3.0),
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

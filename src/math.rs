//! Scalar functions and inner products, each written once for each precision.
//!
//! In f32, for layers: `e^x` and what is made of it, without branches, so that loops over it run in vectors. Nothing is fused, so a value
//! has the same bits on every processor, in a vector and alone. The bounds in the documentation are those that the tests below hold over
//! the whole range. In f64, for losses and metrics: σ and softplus, exact to rounding at both ends.

/// 1.5·2²³: added to a number it leaves no place for a fraction, and the last bits of the sum hold the nearest whole number.
const SHIFT: f32 = 12_582_912.0;

/// `e^x`: within 2 units in the last place where that is a normal number, and within 1e-45 below. NaN gives NaN.
///
/// `x = n·ln 2 + r` with `|r| ≤ ½ ln 2`, and `e^r` by the polynomial of Cephes' `expf` (Moshier).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Where e^x is 0 and ∞ already. A comparison with NaN is false, so that NaN stays.
    let x = if x < -105.0 { -105.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln 2 in two parts, of which the first times n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2^n in two factors: alone it may be out of range where the result is not.
    let n = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).cast_signed();
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned());
    p * power(half) * power(n.wrapping_sub(half))
}

/// `σ(z) = 1/(1 + e^−z)`: within 3 units in the last place, but that what is below 2⁻¹²⁷ may be 0. NaN gives NaN.
#[inline(always)]
pub(crate) fn sigmoid_f32(z: f32) -> f32 {
    1.0 / (1.0 + exp(-z))
}

/// `tanh z`: within 3 units in the last place. NaN gives NaN.
///
/// `1 − 2/(e^2|z| + 1)`, and below 0.625, where that cancels, the polynomial of Cephes' `tanhf` (Moshier).
#[inline(always)]
pub(crate) fn tanh(z: f32) -> f32 {
    let (size, square) = (z.abs(), z * z);
    let p = -5.704_988_7e-3;
    let p = p * square + 2.063_908_8e-2;
    let p = p * square - 5.373_971_6e-2;
    let p = p * square + 1.333_144_2e-1;
    let p = p * square - 3.333_328_3e-1;
    let small = z + z * (square * p);
    let large = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { small } else { large }).copysign(z)
}

/// Returns the probability that belongs to a logit z: `σ(z) = 1/(1 + e^{−z})`. z is the argument `logit`.
///
/// For a negative z the function computes `e^z/(1 + e^z)` instead, which is equal and keeps the digits of small probabilities. The logits
/// of a model are `f32`: convert them to `f64` first.
///
/// ```
/// use starple::loss::sigmoid;
///
/// assert_eq!(sigmoid(0.0), 0.5);
/// assert_eq!(sigmoid(1e4), 1.0);
/// ```
#[inline]
pub fn sigmoid(logit: f64) -> f64 {
    let exp = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + exp) } else { exp / (1.0 + exp) }
}

/// `ln(1 + e^x)`, without overflow, and with the digits of small results.
#[inline]
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `Σ a_i b_i` in `LANES` interleaved sums: one sum would wait for each addition in turn. 16 sums fill the widest vectors; 8 are better for
/// slices of 8 to 64 values. Values after the length of the shorter slice are left out.
#[inline(always)]
pub(crate) fn dot_f32<const LANES: usize>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `Σ a_i b_i`, multiplied and summed in f64, in eight interleaved sums.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "an inner product of vectors of one length");
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    let ((a_blocks, a_rest), (b_blocks, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += product(a, b);
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(&a, &b)| product(a, b)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::widest;

    /// Every 251st of all floats, about 17 million, and the neighbours of all powers of two: subnormal, infinite and NaN among them.
    fn floats() -> impl Iterator<Item = f32> {
        let powers =
            (0..512_u32).flat_map(|power| (0..5).map(move |by| (power << 23).wrapping_add(by).wrapping_sub(2)));
        (0..u32::MAX / 251).map(|i| i * 251).chain(powers).map(f32::from_bits)
    }

    /// The largest error in units in the last place of the f32 nearest to what `exact` gives, where that is at least `least`; below, the
    /// error is held to `least` itself.
    fn worst(ours: impl Fn(f32) -> f32 + Copy, exact: impl Fn(f64) -> f64, least: f64) -> f64 {
        let mut worst = 0.0_f64;
        let inputs: Vec<f32> = floats().collect();
        for inputs in inputs.chunks(1024) {
            let mut outputs = [0.0; 1024];
            widest(
                &mut outputs[..],
                #[inline(always)]
                |outputs| outputs.iter_mut().zip(inputs).for_each(|(out, &x)| *out = ours(x)),
            );
            for (&x, &found) in inputs.iter().zip(&outputs) {
                assert_eq!(found.to_bits(), ours(x).to_bits(), "{x}: in a vector and alone");
                let expected = exact(f64::from(x));
                if expected.is_nan() || (expected as f32).is_infinite() {
                    assert!(found.is_nan() == expected.is_nan() && (found.is_nan() || found == expected as f32), "{x}");
                    continue;
                }
                let error = (f64::from(found) - expected).abs();
                if expected.abs() < least {
                    assert!(error <= least, "{x}: {found} is not {expected}");
                } else {
                    let nearest = (expected as f32).abs();
                    worst =
                        worst.max(error / f64::from(nearest - nearest.next_down()).max(f64::from(f32::from_bits(1))));
                }
            }
        }
        worst
    }

    #[test]
    fn the_exponential_is_within_its_bound() {
        let error = worst(exp, f64::exp, f64::from(f32::MIN_POSITIVE));
        assert!(error < 2.0, "{error}");
        // Below, to the last bit or one beside.
        for i in 0..10_000 {
            let x = -87.0 - i as f32 * 0.002;
            assert!((f64::from(exp(x)) - f64::from(x).exp()).abs() <= 1.5e-45, "{x}");
        }
        assert_eq!([exp(0.0), exp(-0.0), exp(f32::NEG_INFINITY), exp(f32::INFINITY)], [1.0, 1.0, 0.0, f32::INFINITY]);
        assert!(exp(88.722_8).is_finite() && exp(88.73) == f32::INFINITY);
    }

    #[test]
    fn the_sigmoid_is_within_its_bound() {
        let error = worst(sigmoid_f32, |z| 1.0 / (1.0 + (-z).exp()), 2.0_f64.powi(-127));
        assert!(error < 3.0, "{error}");
        assert_eq!([sigmoid_f32(0.0), sigmoid_f32(f32::NEG_INFINITY), sigmoid_f32(f32::INFINITY)], [0.5, 0.0, 1.0]);
    }

    #[test]
    fn the_hyperbolic_tangent_is_within_its_bound() {
        let error = worst(tanh, f64::tanh, 0.0);
        assert!(error < 3.0, "{error}");
        assert_eq!([tanh(f32::NEG_INFINITY), tanh(f32::INFINITY)], [-1.0, 1.0]);
        assert!(tanh(-0.0).is_sign_negative());
    }

    #[test]
    fn the_exact_sigmoid_and_softplus_are_the_textbook_ones_where_those_are_stable() {
        for i in -80..=80 {
            let z = f64::from(i) / 8.0;
            assert!((sigmoid(z) - 1.0 / (1.0 + (-z).exp())).abs() < 1e-15, "z = {z}");
            assert!((softplus(z) - (1.0 + z.exp()).ln()).abs() < 1e-13, "z = {z}");
        }
        assert!((sigmoid(-700.0) / (-700.0_f64).exp() - 1.0).abs() < 1e-12);
        assert!((softplus(-40.0) / (-40.0_f64).exp() - 1.0).abs() < 1e-12);
        assert_eq!([softplus(1e4), softplus(-1e4), softplus(f64::INFINITY)], [1e4, 0.0, f64::INFINITY]);
        assert_eq!([sigmoid(1e4), sigmoid(-1e4)], [1.0, 0.0]);
        assert!(sigmoid(f64::NAN).is_nan() && softplus(f64::NAN).is_nan());
    }

    #[test]
    fn inner_products_of_every_length() {
        for len in 0..70 {
            let a: Vec<f32> = (0..len).map(|i| (i * 37 % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..len).map(|i| (i * 53 % 13) as f32 - 6.0).collect();
            // Small whole numbers: every sum is exact, in any order.
            let expected: f64 = (0..len).map(|i| f64::from(a[i]) * f64::from(b[i])).sum();
            assert_eq!(dot_f64(&a, &b), expected, "{len}");
            assert_eq!(f64::from(dot_f32::<8>(&a, &b)), expected, "{len}");
            assert_eq!(f64::from(dot_f32::<16>(&a, &b)), expected, "{len}");
        }
    }
}

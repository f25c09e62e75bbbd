//! The softmax and its gradient, for gates and attention.

use crate::math::exp;
use crate::parallel;

/// The number of values that a thread takes at a time.
const BLOCK: usize = 1 << 12;

/// `z ← e^z / Σ e^z` for every row of `width` values, shifted by the row's largest so that nothing overflows. An entry of −∞ becomes 0;
/// a row must have another.
///
/// # Panics
/// If these are not whole rows.
pub(crate) fn softmax_rows(z: &mut [f32], width: usize) {
    assert_whole(z.len(), width);
    parallel::wide_blocks(
        z.len(),
        block(width),
        z,
        #[inline(always)]
        |z| {
            for row in z.chunks_exact_mut(width) {
                let top = row.iter().fold(f32::NEG_INFINITY, |top, &z| if z > top { z } else { top });
                for z in row {
                    *z -= top;
                }
            }
            // All rows in one loop: a row alone is too short for vectors.
            for z in &mut *z {
                *z = exp(*z);
            }
            for row in z.chunks_exact_mut(width) {
                let share = 1.0 / row.iter().sum::<f32>();
                for z in row {
                    *z *= share;
                }
            }
        },
    );
}

/// `dw ← dz = w ⊙ (dw − Σ_j w_j dw_j)` for every row of `width` values, where `w = softmax(z)`.
///
/// # Panics
/// If these are not whole rows, or not one gradient for each weight.
pub(crate) fn softmax_rows_backward(w: &[f32], dw: &mut [f32], width: usize) {
    assert_whole(w.len(), width);
    assert_eq!(w.len(), dw.len(), "one gradient for each weight");
    parallel::wide_blocks(
        w.len(),
        block(width),
        (w, dw),
        #[inline(always)]
        |(w, dw)| {
            for (w, dw) in w.chunks_exact(width).zip(dw.chunks_exact_mut(width)) {
                let mean: f32 = w.iter().zip(&*dw).map(|(w, dw)| w * dw).sum();
                dw.iter_mut().zip(w).for_each(|(dw, w)| *dw = w * (*dw - mean));
            }
        },
    );
}

fn assert_whole(len: usize, width: usize) {
    assert!(width > 0 && len.is_multiple_of(width), "{len} values are no rows of {width}");
}

/// The rows of a block, at least one.
fn block(width: usize) -> usize {
    BLOCK.div_ceil(width) * width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::in_pool;

    /// Rows of every width from 1 to 17, of which those of width 7 have entries of −∞.
    fn rows(width: usize) -> Vec<f32> {
        let value =
            |i: usize| if width == 7 && i % 7 == 3 { f32::NEG_INFINITY } else { (i * 37 % 101) as f32 / 5.0 - 9.0 };
        (0..width * 1500).map(value).collect()
    }

    #[test]
    fn softmax_survives_large_values() {
        let mut z = [1e4, 1e4 - 1.0, -1e4, f32::NEG_INFINITY, f32::NEG_INFINITY, -2e4, 1.0, 1.0];
        softmax_rows(&mut z, 4);
        let e = (-1.0_f32).exp();
        assert!((z[0] - 1.0 / (1.0 + e)).abs() < 1e-6 && (z[1] - e / (1.0 + e)).abs() < 1e-6);
        assert_eq!(z[2..], [0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        let mut bad = [0.0, f32::NAN, 1.0, 1.0];
        softmax_rows(&mut bad, 2);
        assert!(bad[0].is_nan() && bad[1].is_nan() && bad[2] == 0.5, "a net that has diverged shows it");
    }

    #[test]
    fn rows_follow_the_equations_on_any_number_of_threads() {
        for width in 1..=17 {
            let (z, dw) = (rows(width), rows(width.max(8)));
            let dw = &dw[..z.len()];
            let run = |threads| {
                let (mut w, mut dz) = (z.clone(), dw.to_vec());
                in_pool(threads, || {
                    softmax_rows(&mut w, width);
                    softmax_rows_backward(&w, &mut dz, width);
                })
                .unwrap();
                (w, dz)
            };
            let (w, dz) = run(1);
            for (i, z) in z.chunks(width).enumerate() {
                let at = i * width..(i + 1) * width;
                let e: Vec<f64> = z.iter().map(|&z| f64::from(z).exp()).collect();
                let exact: Vec<f64> = e.iter().map(|part| part / e.iter().sum::<f64>()).collect();
                let dw = &dw[at.clone()];
                let mean: f64 = exact.iter().zip(dw).map(|(w, &dw)| w * f64::from(dw)).sum();
                for (j, exact) in exact.iter().enumerate() {
                    // z − top, up to 20, is rounded by up to 2⁻²⁰, and e^ of it by as large a share.
                    assert!((f64::from(w[at.start + j]) - exact).abs() <= 2e-6 * exact, "width {width}");
                    let expected = exact * (f64::from(dw[j]) - mean);
                    assert!((f64::from(dz[at.start + j]) - expected).abs() < 1e-5, "width {width}");
                }
            }
            for threads in 2..=4 {
                assert_eq!(run(threads), (w.clone(), dz.clone()), "width {width}, {threads} threads");
            }
        }
    }
}

//! The softmax and its gradient: what gates and attention weigh by.

use ndarray::{ArrayRef1, Zip};

/// `z ← e^z / Σ e^z`, shifted by the largest so that nothing overflows. An entry of −∞ takes no share; not all may be.
pub(crate) fn softmax(z: &mut ArrayRef1<f32>) {
    let top = z.fold(f32::NEG_INFINITY, |top, &z| top.max(z));
    z.mapv_inplace(|z| (z - top).exp());
    let sum = z.sum();
    z.mapv_inplace(|z| z / sum);
}

/// `dw ← dz = w ⊙ (dw − Σ_j w_j dw_j)`, where `w = softmax(z)`.
pub(crate) fn softmax_backward(w: &ArrayRef1<f32>, dw: &mut ArrayRef1<f32>) {
    let mean: f32 = w.iter().zip(&*dw).map(|(w, dw)| w * dw).sum();
    Zip::from(dw).and(w).for_each(|dw, &w| *dw = w * (*dw - mean));
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    #[test]
    fn softmax_survives_large_values() {
        let mut z = Array1::from(vec![1e4, 1e4 - 1.0, -1e4, f32::NEG_INFINITY]);
        softmax(&mut z);
        let e = (-1.0_f32).exp();
        assert!((z[0] - 1.0 / (1.0 + e)).abs() < 1e-6 && (z[1] - e / (1.0 + e)).abs() < 1e-6);
        assert_eq!((z[2], z[3]), (0.0, 0.0));
    }
}

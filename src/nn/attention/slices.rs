//! Products of short slices: tokens are 8 to 64 values wide, too few for a matrix product to pay.

/// `Σ a_i b_i`, in eight sums side by side so that it takes vector registers.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    rest += sums.iter().sum::<f32>();
    rest
}

/// `y += s·x`.
pub(super) fn add_scaled(y: &mut [f32], s: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += s * x;
    }
}

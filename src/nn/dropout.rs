//! Dropout.

use ndarray::ArrayRef2;
use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;

use super::{InitRng, Mode};
use crate::random::{Purpose, keyed};

/// Dropout (Srivastava et al. 2014). In training, it sets each value to 0 with probability `rate` and multiplies the other values by
/// `1/(1 − rate)`. In inference, it changes nothing.
///
/// Which values of a row become 0 depends on four things: the seed and the step ([`Train`](super::Train)), the layer, and the [number of
/// the row](Mode::row) in the step. It does not depend on the other rows.
///
/// ```
/// use ndarray::Array2;
/// use starple::nn::{Dropout, DropoutCache, Infer, InitRng, Train};
///
/// // A rate of 0.5: a value becomes 0 or is multiplied by 2.
/// let (dropout, mut cache) = (Dropout::new(0.5, &mut InitRng::new(1)), DropoutCache::default());
/// let mut y = Array2::ones((100, 100));
/// dropout.forward(Train::default().into(), &mut cache, &mut y);
/// assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
/// assert!((y.mean().unwrap() - 1.0_f32).abs() < 0.1); // the scale keeps the mean
/// let mut dy = Array2::ones((100, 100));
/// dropout.backward(&cache, &mut dy);
/// assert_eq!(dy, y); // the same mask
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dropout {
    rate: f32,
    site: u64,
}

/// The values that the forward pass of [`Dropout`] keeps for its backward pass: random bytes, which decide what becomes 0. Make it by
/// `Default::default()`, and pass the same cache to both passes.
#[derive(Debug, Default)]
pub struct DropoutCache {
    rng: Vec<u8>,
}

impl Dropout {
    /// A dropout that sets a value to 0 with the probability `rate`, 0 ≤ rate < 1. The probability is rounded to a multiple of 1/65536.
    /// Each dropout takes the next number of `rng`, so that different layers set different values to 0.
    ///
    /// # Panics
    /// If `rate` is below 0, or 1 or more, or NaN.
    pub fn new(rate: f32, rng: &mut InitRng) -> Self {
        assert!((0.0..1.0).contains(&rate), "0 <= dropout rate < 1, found {rate}");
        Self { rate, site: rng.next_site() }
    }

    /// The forward pass, which changes `y` in place. If `mode` is training, each value of `y` is set to 0 with probability `rate`, or else
    /// multiplied by `1/(1 − rate)`. In the other [modes](Mode) `y` stays as it is. `cache` keeps the random bytes for the backward pass.
    pub fn forward(&self, mode: Mode<'_>, cache: &mut DropoutCache, y: &mut ArrayRef2<f32>) {
        let Some(step) = mode.training().filter(|_| self.rate > 0.0) else { return };
        let (rows, row_bytes) = (y.nrows(), 2 * y.ncols());
        cache.rng.resize(rows * row_bytes, 0);
        let mut rng = keyed(step.seed, Purpose::Dropout, step.step, self.site);
        let mut start = 0;
        while start < rows {
            // Rows with consecutive numbers in the step have consecutive bytes in the stream.
            let first = mode.row(start);
            let run = (start + 1..rows).take_while(|&i| mode.row(i) == first + (i - start) as u64).count();
            let end = start + 1 + run;
            fill_from(
                &mut rng,
                u128::from(first) * row_bytes as u128,
                &mut cache.rng[start * row_bytes..end * row_bytes],
            );
            start = end;
        }
        self.mask(cache, y);
    }

    /// The backward pass, which changes the gradient `dy` of the output in place to the gradient of the input. It sets to 0 what the
    /// forward pass set to 0, and multiplies the rest by `1/(1 − rate)`. `cache` must be that of a forward pass in training.
    pub fn backward(&self, cache: &DropoutCache, dy: &mut ArrayRef2<f32>) {
        if self.rate > 0.0 {
            self.mask(cache, dy);
        }
    }

    fn threshold(&self) -> u16 {
        (f64::from(self.rate) * 65536.0).round() as u16
    }

    /// The factor of the values that are kept in training: `1/(1 − rate)`.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (1.0 - f32::from(self.threshold()) / 65536.0)
    }

    fn mask(&self, cache: &DropoutCache, values: &mut ArrayRef2<f32>) {
        let (threshold, scale) = (self.threshold(), self.scale());
        for (value, draw) in values.iter_mut().zip(cache.rng.chunks_exact(2)) {
            let keep = u16::from_le_bytes([draw[0], draw[1]]) >= threshold;
            *value = if keep { *value * scale } else { 0.0 };
        }
    }
}

/// Fills `bytes` from byte `at` of the stream; `at` is even.
pub(crate) fn fill_from(rng: &mut ChaCha8Rng, at: u128, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    rng.set_word_pos(at / 4);
    if at.is_multiple_of(4) {
        rng.fill_bytes(bytes);
        return;
    }
    // The second half of a word.
    let (first, rest) = bytes.split_at_mut(2);
    first.copy_from_slice(&rng.next_u32().to_le_bytes()[2..]);
    rng.fill_bytes(rest);
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};

    use super::*;
    use crate::nn::Train;

    #[test]
    fn a_row_has_its_mask_wherever_it_is() {
        // Rows of an odd number of bytes by two too, which start in the middle of words.
        for width in [1, 3, 8, 70] {
            let layer = Dropout::new(0.5, &mut InitRng::new(3));
            let forward = |first_row, rows| {
                let (mut cache, mut y) = (DropoutCache::default(), Array2::ones((rows, width)));
                let mode = Train { seed: 1, step: 4, first_row };
                layer.forward(mode.into(), &mut cache, &mut y);
                let mut dy = Array2::ones((rows, width));
                layer.backward(&cache, &mut dy);
                assert_eq!(y, dy);
                y
            };
            let whole = forward(0, 50);
            for cut in [1, 2, 17, 33] {
                let parts = [forward(0, cut), forward(cut as u64, 50 - cut)];
                assert_eq!(ndarray::concatenate![Axis(0), parts[0], parts[1]], whole, "width {width}, cut {cut}");
            }
            assert_ne!(forward(50, 50), whole);
        }
    }
}

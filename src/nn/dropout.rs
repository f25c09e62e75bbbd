//! Dropout.

use ndarray::ArrayRef2;
use rand::RngCore as _;

use super::{InitRng, Mode};
use crate::random::{Purpose, keyed};

/// Silences each value with probability `rate` in training and scales the others by `1/(1 − rate)`; does nothing in inference
/// (Srivastava et al. 2014). The mask is a function of seed, step and the layer's place in the net.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropout {
    rate: f32,
    site: u64,
}

/// What a [`Dropout`] keeps from forward to backward: the bytes its mask was drawn from.
#[derive(Debug, Default)]
pub struct DropoutCache {
    rng: Vec<u8>,
}

impl Dropout {
    /// Silences a share `rate` of the values, 0 ≤ rate < 1, in steps of 1/65536.
    ///
    /// # Panics
    /// If `rate` is out of range.
    pub fn new(rate: f32, rng: &mut InitRng) -> Self {
        assert!((0.0..1.0).contains(&rate), "0 <= dropout rate < 1, found {rate}");
        Self { rate, site: rng.next_site() }
    }

    /// `y ← mask ⊙ y / (1 − rate)`, in place.
    pub fn forward(&self, mode: Mode, cache: &mut DropoutCache, y: &mut ArrayRef2<f32>) {
        let Some(step) = mode.training().filter(|_| self.rate > 0.0) else { return };
        cache.rng.resize(2 * y.len(), 0);
        keyed(step.seed, Purpose::Dropout, step.step, self.site).fill_bytes(&mut cache.rng);
        self.mask(cache, y);
    }

    /// `dy ← mask ⊙ dy / (1 − rate)`, in place.
    pub fn backward(&self, cache: &DropoutCache, dy: &mut ArrayRef2<f32>) {
        if self.rate > 0.0 {
            self.mask(cache, dy);
        }
    }

    fn threshold(&self) -> u16 {
        (f64::from(self.rate) * 65536.0).round() as u16
    }

    /// What values that are kept are multiplied by in training: `1/(1 − rate)`.
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

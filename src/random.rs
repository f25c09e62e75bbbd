//! Randomness by counter: every random decision has a key, so resuming or changing the thread count changes no bit.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for. Streams of different purposes are independent under one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The values a parameter starts from.
    Init = 1,
    /// The order of rows in an epoch.
    Shuffle = 2,
    /// The units a dropout layer silences.
    Dropout = 3,
    // 4 is that of starple-lab's generated logs.
    /// The order in which units of an objective meet.
    Projection = 5,
    /// The values that rows start from which a table gets later.
    NewRows = 6,
    /// The rows that statistics are taken over.
    Statistics = 7,
}

/// The generator of one stream: the same `(seed, purpose, a, b)` gives the same numbers on every machine.
///
/// `a` and `b` are the two counters that the purpose needs: epoch or step, and layer or index.
pub(crate) fn keyed(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    for (word, bytes) in [seed, purpose as u64, a, b].into_iter().zip(key.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

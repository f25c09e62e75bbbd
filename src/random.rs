//! Counter-based random numbers: every random decision has a key, so resuming or changing the number of threads changes no bit.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The purpose of a random stream. Streams of different purposes are independent under one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Initial values of parameters.
    Init = 1,
    /// The order of rows in an epoch.
    Shuffle = 2,
    /// Dropout masks.
    Dropout = 3,
    // 4 is that of starple-lab's generated logs.
    /// The order in which PCGrad compares the units of an objective.
    Projection = 5,
    /// Initial values of rows that are added to a table.
    NewRows = 6,
    /// The rows that statistics are computed from.
    Statistics = 7,
    /// The negative labels that a pass keeps.
    Negatives = 8,
    /// The order of training rows in target statistics.
    TargetStatistics = 9,
    /// The ids that training replaces by that of unknown values.
    Unknown = 10,
    /// The fields that training drops.
    FieldDropout = 11,
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

//! Generated logs whose true click probabilities are known.
//!
//! On real data the best possible scores are unknown. Here they are known for every row ([`SyntheticLog::oracle_logits`]), and so are
//! the differences between domains and tasks: each is a setting of [`SyntheticConfig`].
//!
//! # The model
//!
//! Every value v of a categorical field f has a hidden vector `u_{f,v}` of `latent` entries, drawn once, with mean 0 and
//! variance 1 over the field's popularity. The vector of a bag is the mean of its values' vectors (0 for an empty bag). The value of a
//! numeric cell is `x = (cell − mean) / std` (0 for an empty cell). A row's features are two blocks:
//!
//! - linear: `φ = [u of each field, u of each bag, x of each numeric column]`,
//! - interaction: `ψ = [u_f ⊙ u_g for every pair of fields f < g]`.
//!
//! Task t in domain d has unit weight vectors `θ_{d,t}` and `ω_{d,t}`, one for each block, and the logit
//!
//! ```text
//! z_{d,t} = b_{d,t} + signal · ( √(1 − interaction) · ⟨θ_{d,t}, φ⟩ + √interaction · ⟨ω_{d,t}, ψ⟩ )
//! θ_{d,t} = √(1 − own) · S_t + √own · O_{d,t}
//! ```
//!
//! where `S_t` is shared by all domains and `O_{d,t}` is the domain's own, both unit vectors and orthogonal to each other:
//! `own` is the share of the logit's variance that cannot be learned from other domains. The vectors of any two tasks have the cosine
//! `task_correlation`, in `S`, in `O` and so in `θ`; `ω` is built in the same way.
//!
//! If `importance_shift` is above 0, its default, domains also differ in the importance of columns. Column c then has the importance
//! `g_{d,c} = exp(importance_shift · ε)` in domain d, with a standard normal ε for each domain and column. It multiplies the weights in
//! `θ_{d,t}` of the column's features, and `g_{d,f} · g_{d,g}` those in `ω_{d,t}` of a pair's; then every vector is scaled to length 1
//! again. So the hidden vectors mean the same in every domain, and a model that first scales each column by domain can share all
//! weights. `own` and `task_correlation` hold before this step.
//!
//! A label is 1 with probability
//! `σ(z_{d,t})`. For a task that is *given* another (a cart needs a click), this is the probability where the other label is
//! 1; elsewhere the label is 0. Its probability in the log is the product of the two.
//!
//! Domains also differ in their values and base rates:
//!
//! - The k-th domain (k = 1, 2, …) has a share of the rows proportional to `k^−domain_tail`.
//! - The popularity of the k-th value of a field in domain d is proportional to `k^−popularity · exp(feature_shift · ε)`,
//!   with a standard normal ε for each domain and value; numeric columns have their means shifted by
//!   `feature_shift · ε` standard deviations.
//! - A task's base rate in domain d is `σ(logit(rate) + rate_shift · ε)`, and `b_{d,t}` is such that the mean of the true
//!   probabilities over the domain's rows is exactly that.
//!
//! Everything can be learned from the columns: only the draw of the label is random.
//!
//! By default nothing changes over time. The order of the rows is their time, from 0 to 1. With `rate_drift`, the logit of task t in domain d
//! has the term `rate_drift · ε_{d,t} · (time − ½)`. With `fresh`, that share of a field's values first occurs at a time of its own: until
//! then, rows that would have the value draw another one. With `time_split`, the test rows are the last ones, so that they have values that
//! no training row has, and other base rates.
//!
//! ```
//! use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};
//! use starple::metrics::auc;
//!
//! let config = SyntheticConfig::builder()
//!     .rows(2000)
//!     .domains(["search", "feed"])
//!     .task("click", 0.2)
//!     .categorical("user", 50)
//!     .categorical("item", 40)
//!     .build()?;
//! let log = SyntheticLog::generate(&config);
//! let best = auc(&log.oracle_logits().column(0).to_vec(), &log.labels().column(0).to_vec());
//! assert!(best.unwrap() > 0.7);
//! # Ok::<(), starple::Error>(())
//! ```

mod check;
mod columns;
mod config;
mod csv;
mod log;
mod truth;

pub use config::{SyntheticConfig, SyntheticConfigBuilder};
pub use log::SyntheticLog;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The random draws. Each kind has its own streams, so that a setting does not change other draws.
#[derive(Debug, Clone, Copy)]
enum Stream {
    /// Hidden vectors, by field.
    Latent,
    /// Weights shared by all domains, by block.
    SharedWeights,
    /// A domain's own weights, by domain and block.
    OwnWeights,
    /// A domain's popularity, by domain and field.
    Popularity,
    /// A domain's numeric means, by domain.
    NumericMeans,
    /// A domain's base rates, by domain.
    Rates,
    /// The order of the rows.
    Order,
    /// A row's cells, by row.
    Cells,
    /// A row's labels, by row.
    Labels,
    /// A row's split, by row.
    Split,
    /// The importance of the columns, by domain.
    Importance,
    /// The times at which new values first occur, by field.
    Fresh,
    /// The change of base rates, by domain.
    Drift,
}

/// The random stream of this purpose and index. Its key differs from all keys of a model with the same seed.
fn stream(seed: u64, stream: Stream, index: usize) -> ChaCha8Rng {
    const MARK: u64 = 4;
    let mut key = [0; 32];
    for (word, bytes) in [seed, MARK, stream as u64, index as u64].into_iter().zip(key.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

//! How the weights of several losses are found while training.
//!
//! An [`Objective`](super::Objective) is a sum over units k (tasks, domains, or both), `L = Σ_k ω_k(t)·v_k·L_k`: the
//! weights `ω_k(t)` are given, the factors `v_k` are found. K is the number of units. One rule holds for all kinds: a
//! unit that takes no part in a step (no row of the batch has a label for it, or `ω_k(t)` is 0) keeps its factor and
//! all that is remembered of it, and is in no mean or sum of that step; but the sum of DWA's softmax is over all units.
//!
//! | kind | factors | paper |
//! |---|---|---|
//! | `fixed` | `v_k = 1` | |
//! | `uncertainty` | `v_k = e^{−s_k}`, with `ω_k s_k/2` added to the loss; `s_k = ln σ_k²` is learned | Kendall, Gal & Cipolla, CVPR 2018, section 3.2 |
//! | `dwa` | `v_k = K·softmax(r_k/T)`, `r_k = L_k(t−1) / L_k(t−2)`, t counting epochs | Liu, Johns & Davison, CVPR 2019, section 3.3 |
//! | `gradnorm` | `v_k` such that `‖∇_W v_k L_k‖` follows how far unit k has come; they sum to K | Chen et al., ICML 2018, section 3 |
//! | `pcgrad` | of each step, such that no unit's gradient pulls against another's | Yu et al., NeurIPS 2020, algorithm 1 |
//!
//! # Uncertainty
//!
//! For a classification the paper divides the logits by `σ_k²` and arrives (its equation 10), by an approximation that
//! is exact at `σ_k` = 1, at `L_k/σ_k² + ln σ_k`; with `s_k = ln σ_k²`, which needs no bound, that is
//! `e^{−s_k} L_k + s_k/2`. The paper's ½ before the first term belongs to regression, and every loss here is a cross
//! entropy. `s_k` starts at 0 and moves with plain gradient descent, `s_k ← s_k − lr·ω_k·(½ − e^{−s_k} L_k)`, at its
//! own rate, together with the model's step. It comes to rest where `e^{−s_k} = 1/(2L_k)`: a small loss gets a large
//! weight. A weight that is given multiplies the whole term, so that it says how much a unit counts, and not where its
//! `s_k` rests. The loss that is reported has the term, and may be below 0.
//!
//! # Dynamic weight average
//!
//! `L_k(t)` is the mean of the unit's losses over the steps of epoch t in which it had labels. A unit whose loss falls
//! more slowly than others' gets more weight in the next epoch. In the first two epochs, and for a unit that was not in
//! two yet, `r_k = 1`. The softmax is over all K units: one that took no part in the last epoch enters with the `r_k` it
//! has, so that its factor may move with those of others.
//!
//! # GradNorm
//!
//! In every step, with the norms `G_k = ‖∇_W v_k L_k‖` and the progress `p_k = L_k / L_k(0)`, where `L_k(0)` is the
//! loss of the unit's first step, the factors take a step of gradient descent on
//! `Σ_k |G_k − mean(G)·(p_k / mean(p))^α|`, whose second terms count as constants, and are scaled to sum to K. They
//! stay above 0. The model's step is taken with the factors before. α is larger the more the units differ (the
//! paper has 1.5 and 0.12); 0 asks for equal norms.
//!
//! W is, by default, every dense tensor that no domain or branch owns: shared experts and gates, STAR's shared weights,
//! the whole stack of a pooled model. The paper takes the last shared layer alone, to save time; here nothing is saved,
//! but a name ([`GradNormConfig::shared`]) makes W that layer or another. Embedding tables are never in W. A tensor
//! that belongs to a branch but is read by others (PLE's own experts below the last level) is not in it either. The
//! norms are those before the weights `ω_k` that were given, which then scale what was balanced. With one unit in a
//! batch (units are domains, and batches have one) no weight moves.
//!
//! # PCGrad
//!
//! For each unit i, `g ← g_i = ω_i ∇L_i`; then for every other unit j, in random order, where `⟨g, g_j⟩ < 0`,
//! `g ← g − (⟨g, g_j⟩ / ‖g_j‖²)·g_j`. The sum of all g is the gradient of the step. Random orders are a function of the
//! training seed and the step.
//!
//! Gradients are taken whole, embedding tables and what single units own included, as in the authors' program. Two
//! units conflict only by what they share: where j alone owns, `g_i` is 0 and adds nothing to `⟨g_i, g_j⟩`. But
//! `‖g_j‖²` is that of all of `g_j`, so that owned parameters make the projection a smaller one than if shared
//! parameters were taken alone, and since a projection adds a multiple of `g_j`, it adds it to j's own parameters as
//! well. In all, the step is `Σ_j v_j·g_j` with `v_j ≥ 1`.
//!
//! # Cost
//!
//! `fixed`, `uncertainty` and `dwa` cost nothing. `gradnorm` and `pcgrad` take one forward pass and then a backward
//! pass over the whole batch for each unit that takes part, so a step with K units costs about `(1 + 2K)/3` as much;
//! `gradnorm` keeps one more gradient of the model, `pcgrad` K more.

mod config;
mod dwa;
mod gradnorm;
mod pcgrad;
mod state;
mod uncertainty;
mod weights;

pub use config::{
    DwaConfig, DwaConfigBuilder, GradNormConfig, GradNormConfigBuilder, UncertaintyConfig, UncertaintyConfigBuilder,
    Weighting,
};
pub(crate) use gradnorm::Measured;
pub(crate) use pcgrad::Projection;
pub use state::{Learned, UnitSums, WeightingState};
pub(crate) use weights::{Needs, UnitWeights};

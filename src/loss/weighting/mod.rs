//! How the weights of several losses are found during training.
//!
//! An [`Objective`](super::Objective) is a sum over units k (tasks, domains, or both: [`Units`](super::Units)),
//! `L = Σ_k ω_k(t)·v_k·L_k`. `L_k` is the loss of unit k, t counts epochs or steps, and K is the number of units. The weights `ω_k(t)` are
//! settings; a weighting computes the factors `v_k`.
//!
//! One rule holds for all kinds: if a unit has no labels in a step, or if its `ω_k(t)` is 0, it keeps its factor and its state, and no mean
//! or sum of that step includes it. Exception: the sum of DWA's softmax is over all units.
//!
//! | kind | factors | paper |
//! |---|---|---|
//! | `fixed` | `v_k = 1` | |
//! | `uncertainty` | `v_k = e^{−s_k}`, with `ω_k s_k/2` added to the loss; `s_k = ln σ_k²` is learned | Kendall, Gal & Cipolla, CVPR 2018, section 3.2 |
//! | `dwa` | `v_k = K·softmax(r_k/T)`, `r_k = L_k(t−1) / L_k(t−2)`, t counting epochs | Liu, Johns & Davison, CVPR 2019, section 3.3 |
//! | `gradnorm` | `v_k` such that `‖∇_W v_k L_k‖` follows the progress of unit k; they sum to K | Chen et al., ICML 2018, section 3 |
//! | `pcgrad` | computed in each step, such that the gradients of two units do not conflict | Yu et al., NeurIPS 2020, algorithm 1 |
//!
//! # Uncertainty
//!
//! For classification the paper divides the logits by `σ_k²`. By an approximation that is exact at `σ_k` = 1, its equation 10 gives the
//! loss `L_k/σ_k² + ln σ_k`. With `s_k = ln σ_k²`, which needs no bound, that is `e^{−s_k} L_k + s_k/2`. For a regression its
//! equation 5 gives `½‖y − f‖²/σ_k² + ln σ_k`. The loss of a regression has this ½ already ([`Objective`](super::Objective)), so the form is
//! one for all kinds of tasks; for Huber's loss and for counts it is an approximation too. `s_k` starts at 0 and is learned by plain gradient descent with its own
//! rate, `s_k ← s_k − lr·ω_k·(½ − e^{−s_k} L_k)`, once in each step of the model. It converges to `e^{−s_k} = 1/(2L_k)`: a small loss gets
//! a large weight. `ω_k` multiplies the whole term, so it does not change this limit. The reported loss includes the term and may be below
//! 0.
//!
//! # Dynamic weight average
//!
//! `L_k(t)` is the mean of the unit's losses over the steps of epoch t in which it had labels. A unit whose loss falls
//! more slowly than others' gets more weight in the next epoch. In the first two epochs, and for a unit that had labels in fewer than
//! two, `r_k = 1`. The softmax is over all K units: a unit without labels in the last epoch enters with its last `r_k`, so its factor
//! can change when those of others do.
//!
//! # GradNorm
//!
//! In every step, with the norms `G_k = ‖∇_W v_k L_k‖` and the progress `p_k = L_k / L_k(0)`, where `L_k(0)` is the
//! loss of the unit's first step, the factors take a step of gradient descent on
//! `Σ_k |G_k − mean(G)·(p_k / mean(p))^α|`, whose second terms count as constants, and are scaled to sum to K. They
//! stay above 0. The model's step uses the factors before this. A larger α suits units that differ more (the
//! paper has 1.5 and 0.12); 0 asks for equal norms.
//!
//! W is, by default, every dense tensor that no domain or branch owns: shared experts and gates, STAR's shared weights,
//! the whole stack of a pooled model. The paper uses the last shared layer alone, to save time, which saves nothing here;
//! a name ([`GradNormConfig::shared`]) selects that layer or another. Embedding tables are never in W, nor is a tensor
//! that a branch owns and others read (PLE's own experts below the last level). The norms are those before the weights `ω_k`,
//! which then multiply the result. If a batch has labels of one unit only (units are domains, and batches have one), no factor changes.
//!
//! # PCGrad
//!
//! For each unit i, `g ← g_i = ω_i ∇L_i`; then for every other unit j, in random order, where `⟨g, g_j⟩ < 0`,
//! `g ← g − (⟨g, g_j⟩ / ‖g_j‖²)·g_j`. The sum of all g is the gradient of the step. The random orders depend on the
//! training seed and the step.
//!
//! The gradients include embedding tables and parameters of single units, as in the authors' program. Two
//! units conflict only by shared parameters: for a parameter of j alone, `g_i` is 0 and adds nothing to `⟨g_i, g_j⟩`. But
//! `‖g_j‖²` is that of the whole `g_j`, so j's own parameters make the projection smaller than shared parameters alone would. A projection
//! adds a multiple of `g_j`, also to j's own parameters. In all, the step is `Σ_j v_j·g_j` with `v_j ≥ 1`.
//!
//! # Cost
//!
//! `fixed`, `uncertainty` and `dwa` cost nothing. `gradnorm` and `pcgrad` take one forward pass and one backward
//! pass over the whole batch for each unit with labels, so a step with K units costs about `(1 + 2K)/3` times as much;
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

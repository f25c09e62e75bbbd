//! Methods that find the weights of several losses during training.
//!
//! The loss of an [`Objective`](super::Objective) is a sum over units k (tasks, domains, or pairs of both: [`Units`](super::Units)),
//! `L = Σ_k ω_k(t)·v_k·L_k`. `L_k` is the loss of unit k in a step, and K is the number of units. The weights `ω_k(t)` come from the settings
//! `weights` and `decays`; t counts epochs or steps. A *weighting* is the method that computes the factors `v_k`. The setting
//! [`Objective::weighting`](super::Objective::weighting) selects one:
//!
//! | kind | factors | paper |
//! |---|---|---|
//! | `fixed` | `v_k = 1` | |
//! | `uncertainty` | `v_k = e^{−s_k}`, with `ω_k s_k/2` added to the loss; `s_k = ln σ_k²` is learned | Kendall, Gal & Cipolla, CVPR 2018, section 3.2 |
//! | `dwa` | `v_k = K·softmax(r_k/T)`, with `r_k = L_k(t−1) / L_k(t−2)`, where t counts epochs | Liu, Johns & Davison, CVPR 2019, section 3.3 |
//! | `gradnorm` | `v_k` such that the norm `‖∇_W v_k L_k‖` follows the progress of unit k; they sum to K | Chen et al., ICML 2018, section 3 |
//! | `pcgrad` | computed in each step, such that the gradients of two units do not conflict | Yu et al., NeurIPS 2020, algorithm 1 |
//!
//! One rule holds for all kinds: if a unit has no labels in a step, or if its `ω_k(t)` is 0, it keeps its factor and its state, and no mean or sum of
//! that step includes it. Exception: the softmax of DWA is over all units.
//!
//! # Uncertainty
//!
//! The paper gives each unit a variance `σ_k²`. For classification it divides the logits by `σ_k²`. Its equation 10 then gives the loss
//! `L_k/σ_k² + ln σ_k`, by an approximation that is exact at `σ_k` = 1. With `s_k = ln σ_k²`, which may be any number, this is
//! `e^{−s_k} L_k + s_k/2`. For a regression with label y and prediction f, its equation 5 gives `½‖y − f‖²/σ_k² + ln σ_k`. The loss of a regression
//! has this ½ already ([`TaskLoss`](super::TaskLoss)), so the form is the same for all kinds of tasks. For Huber's loss and for counts it is an
//! approximation too.
//!
//! Each `s_k` starts at 0. In each step of the model, it takes one step of gradient descent with its own learning rate lr:
//! `s_k ← s_k − lr·ω_k·(½ − e^{−s_k} L_k)`. It converges to `e^{−s_k} = 1/(2L_k)`: a small loss gets a large weight. `ω_k` multiplies both terms of
//! the unit, so it does not change this limit. The reported total loss includes the terms `ω_k s_k/2` and may be below 0.
//!
//! # Dynamic weight average
//!
//! T is the temperature, a setting. `L_k(t)` is the mean of the unit's losses over the steps of epoch t in which it had labels. `r_k` compares the
//! last two of these means. A unit whose loss falls more slowly than the losses of others gets more weight in the next epoch. In the first two
//! epochs, and for a unit that had labels in fewer than two epochs, `r_k = 1`. The softmax is over all K units: a unit without labels in the last
//! epoch enters with its last `r_k`, so its factor can change when the ratios of other units do.
//!
//! # GradNorm
//!
//! W are the parameters whose gradients are measured. In every step, the method computes the gradient norm `G_k = ‖∇_W v_k L_k‖` and the progress
//! `p_k = L_k / L_k(0)` of each unit, where `L_k(0)` is the loss of the unit's first step. Then the factors `v_k` take one step of gradient descent
//! on `Σ_k |G_k − mean(G)·(p_k / mean(p))^α|`, in which the terms after the minus count as constants. `mean` is the mean over the units with labels
//! in this step. At the end the factors are scaled so that they sum to K. They stay above 0. The step of the model uses the factors from before this
//! update. A larger α suits units that differ more (the paper has 1.5 and 0.12); with α = 0, all units are to have equal norms.
//!
//! By default, W is every dense tensor that does not belong to a single domain or branch (a task, a domain, or one task in one domain): for example
//! shared experts and gates, STAR's shared weights, the whole network of a pooled model. The paper uses only the last shared layer, to save time.
//! Here that saves no time; the setting [`GradNormConfig::shared`] selects that layer or another. W never has embedding tables, nor a tensor that
//! belongs to a branch and that other branches read too (PLE's experts of a branch below the last level). The norms do not include the weights `ω_k`,
//! which multiply the result afterwards. If a batch has labels of one unit only (as when units are domains and each batch has one domain), no factor
//! changes.
//!
//! # PCGrad
//!
//! The gradient of unit k is `g_k = ω_k ∇L_k`. For each unit i, the method starts with `g ← g_i`. Then for every other unit j, in random order: if
//! the inner product `⟨g, g_j⟩` is below 0, `g ← g − (⟨g, g_j⟩ / ‖g_j‖²)·g_j`. The sum of the K results g is the gradient of the step. The random
//! orders depend on the training seed and on the number of the step.
//!
//! The gradients include embedding tables and parameters of single units, as in the authors' program. The inner product `⟨g_i, g_j⟩` depends only on
//! parameters that both units use, because `g_i` is 0 for a parameter that only j uses. But `‖g_j‖²` is that of the whole `g_j`. So a unit's own
//! parameters make the projection smaller than it would be with shared parameters alone. A projection adds a multiple of `g_j`, also to j's own
//! parameters. In total, the gradient of the step is `Σ_j v_j·g_j` with factors `v_j ≥ 1`.
//!
//! # Cost
//!
//! `fixed`, `uncertainty` and `dwa` cost almost nothing. `gradnorm` and `pcgrad` need one forward pass, and one backward pass over the whole batch
//! for each unit with labels. So a step with K units takes about `(1 + 2K)/3` times as long. `gradnorm` keeps one more gradient of the model in
//! memory, `pcgrad` K more.

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

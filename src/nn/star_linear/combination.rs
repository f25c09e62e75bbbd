//! The ways to combine the shared layer with a domain's own parameters.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::nn::Size;

/// How a [`StarLinear`](super::StarLinear) combines the shared layer with a domain's own parameters.
///
/// Sheng et al. 2021 (section 3.4) multiply and leave other functions to later work. Star+ (Yeşil & Turgut 2024,
/// arXiv 2406.16568) names four: add, adaptive add, concatenation and gating, "to find the optimal balance between
/// domain-specific and shared information". Their equations below are this crate's reading of those names, chosen so that each
/// **starts as the shared layer**; low rank is of this crate.
///
/// With `y_s = x·W + b`, and `in` and `out` the layer's widths; the last column counts the parameters of one domain:
///
/// | combination | a row of domain d gets | at the start | parameters |
/// |---|---|---|---|
/// | product | `x·(W ⊙ W_d) + b + b_d` | `W_d = 1`, `b_d = 0` | `in·out + out` |
/// | add | `x·(W + W_d) + b + b_d` | `W_d = 0`, `b_d = 0` | `in·out + out` |
/// | adaptive add | `y_s + α_d ⊙ (x·W_d + b_d)` | `α_d = 1`, `W_d = 0`, `b_d = 0` | `in·out + 2·out` |
/// | sigmoid gate | `y_s + σ(x·G_d + c_d) ⊙ (x·W_d + b_d)` | all 0 | `2·in·out + 2·out` |
/// | concatenation | `[y_s, x·W_d + b_d]·([1; 1] + C_d)` | all 0 | `in·out + out + 2·out²` |
/// | low rank | `x·(W ⊙ (1 + U_d·V_dᵀ)) + b + b_d` | `U_d` random, `V_d = 0`, `b_d = 0` | `(in + out)·rank + out` |
///
/// Rows of no known domain get `y_s`. In a file a combination is its name in `snake_case`, low rank with its rank:
/// `"sigmoid_gate"`, `{"low_rank": {"rank": 8}}`, or `{"low_rank": {}}` for rank 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Combination {
    /// The weights are multiplied element by element, `W ⊙ W_d`, as in the STAR paper: the default. [`Factor`](super::Factor) has the
    /// parameters.
    #[default]
    Product,
    /// The weights are added, `W + W_d`. [`Summand`](super::Summand) has the parameters.
    Add,
    /// The weights are added, with a learned factor for each output of the domain's weights: `W + W_d·diag(α_d)`.
    /// [`AdaptiveSummand`](super::AdaptiveSummand) has the parameters.
    AdaptiveAdd,
    /// A learned sigmoid gate mixes the output of the shared map and that of the domain's map. [`SigmoidGate`](super::SigmoidGate) has the
    /// parameters.
    SigmoidGate,
    /// The outputs of the shared map and of the domain's map are concatenated, and a learned matrix maps them back to the width of the
    /// layer. [`Concatenated`](super::Concatenated) has the parameters.
    Concatenation,
    /// The shared weight is multiplied by a factor of low rank, `W ⊙ (1 + U_d·V_dᵀ)`. Use it for many domains: each adds only `(in +
    /// out)·rank` weights. [`LowRankFactor`](super::LowRankFactor) has the parameters.
    LowRank {
        /// The number of columns of `U_d` and `V_d`, 1 to 65536; default 4. If it is above the number of inputs or outputs of a layer, the
        /// layer uses the smaller of these two numbers.
        #[serde(default = "default_rank")]
        rank: usize,
    },
}

fn default_rank() -> usize {
    4
}

impl Combination {
    /// Returns [`Combination::LowRank`] with the default rank, 4.
    pub fn low_rank() -> Self {
        Self::LowRank { rank: default_rank() }
    }

    /// The size of a domain's own parameters in a layer: the last column of the table above.
    pub(super) fn size(self, input: f64, output: f64) -> Size {
        let values = match self {
            Self::Product | Self::Add => input * output + output,
            Self::AdaptiveAdd => input * output + 2.0 * output,
            Self::SigmoidGate => 2.0 * (input * output + output),
            Self::Concatenation => input * output + output + 2.0 * output * output,
            Self::LowRank { rank } => (input + output) * (rank as f64).min(input).min(output) + output,
        };
        // No combination has more than five.
        Size { values, tensors: 5.0 }
    }

    /// The number of values that a training step keeps for each value of the output, beside that output.
    pub(crate) fn row(self) -> f64 {
        match self {
            Self::Product | Self::Add | Self::LowRank { .. } => 0.0,
            Self::AdaptiveAdd => 2.0,
            Self::SigmoidGate | Self::Concatenation => 4.0,
        }
    }

    /// Notes invalid settings.
    pub(crate) fn check(self, problems: &mut Problems) {
        if let Self::LowRank { rank } = self {
            let most = crate::model::MAX_WIDTH;
            problems.require((1..=most).contains(&rank), || {
                format!("combination.low_rank.rank: 1 to {most}, found {rank}")
            });
        }
    }
}

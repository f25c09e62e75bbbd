//! The ways to combine the shared layer with a domain's own parameters.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::nn::Size;

/// How a star layer, [`StarLinear`](super::StarLinear), combines the affine map that all domains share with a domain's own parameters.
///
/// | combination | the output for a row x of domain d | at the start | parameters of one domain |
/// |---|---|---|---|
/// | product | `x·(W ⊙ W_d) + b + b_d` | `W_d = 1`, `b_d = 0` | `in·out + out` |
/// | add | `x·(W + W_d) + b + b_d` | `W_d = 0`, `b_d = 0` | `in·out + out` |
/// | adaptive add | `y_s + α_d ⊙ (x·W_d + b_d)` | `α_d = 1`, `W_d = 0`, `b_d = 0` | `in·out + 2·out` |
/// | sigmoid gate | `y_s + σ(x·G_d + c_d) ⊙ (x·W_d + b_d)` | all 0 | `2·in·out + 2·out` |
/// | concatenation | `[y_s, x·W_d + b_d]·([I; I] + C_d)` | all 0 | `in·out + out + 2·out²` |
/// | low rank | `x·(W ⊙ (1 + U_d·V_dᵀ)) + b + b_d` | `U_d` random, `V_d = 0`, `b_d = 0` | `(in + out)·rank + out` |
///
/// W and b are the weight and the bias of the shared map, and `y_s = x·W + b` is its output. The letters with the index d are the domain's
/// own parameters; the type that each variant names explains them. `in` and `out` are the numbers of inputs and outputs of the layer. 1
/// stands for a vector or matrix of ones, `[I; I]` for two identity matrices, one below the other, and σ for the sigmoid.
///
/// With every combination, the layer **starts as the shared map**: its output is then `y_s`. Rows of no known domain always get `y_s`.
///
/// The product is that of STAR (Sheng et al. 2021, section 3.4). Star+ (Yeşil & Turgut 2024, arXiv 2406.16568) names four others without
/// formulas: add, adaptive add, concatenation and gating. Their formulas here are this crate's reading of these names. Low rank is an
/// addition of this crate.
///
/// In a settings file, a combination is its name in `snake_case`, such as `"sigmoid_gate"`. Low rank has its rank too:
/// `{"low_rank": {"rank": 8}}`, or `{"low_rank": {}}` for the default rank, 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Combination {
    /// `y = x·(W ⊙ W_d) + b + b_d`: the shared weight W is multiplied element by element by a weight `W_d` of the domain, as in the STAR
    /// paper. The default. [`Factor`](super::Factor) has the parameters of a domain.
    #[default]
    Product,
    /// `y = x·(W + W_d) + b + b_d`: a weight `W_d` of the domain is added to the shared weight W. [`Summand`](super::Summand) has the
    /// parameters of a domain.
    Add,
    /// `y = x·W + b + α_d ⊙ (x·W_d + b_d)`: the output of the domain's own map is added to that of the shared map, each output times a
    /// learned factor; the vector `α_d` has the factors. [`AdaptiveSummand`](super::AdaptiveSummand) has the parameters of a domain.
    AdaptiveAdd,
    /// `y = y_s + g ⊙ (x·W_d + b_d)` with the gate `g = σ(x·G_d + c_d)`: the gate says how much of the domain's own map is added to the
    /// output `y_s = x·W + b` of the shared map. σ is the sigmoid. [`SigmoidGate`](super::SigmoidGate) has the parameters of a domain.
    SigmoidGate,
    /// `y = [y_s, y_d]·M_d`: the output `y_s = x·W + b` of the shared map and `y_d = x·W_d + b_d` of the domain's own map are put side by
    /// side, and a matrix `M_d = [I; I] + C_d` maps them back to the width of the layer. `[I; I]` are two identity matrices, one below the
    /// other, and `C_d` is learned. [`Concatenated`](super::Concatenated) has the parameters of a domain.
    Concatenation,
    /// `y = x·(W ⊙ (1 + U_d·V_dᵀ)) + b + b_d`: the shared weight W is multiplied element by element by a factor, which is computed from two
    /// small matrices of the domain, `U_d` and `V_d`, with `rank` columns each. Use it for many domains: each has only `(in + out)·rank`
    /// weights, where `in` and `out` are the numbers of inputs and outputs of the layer. [`LowRankFactor`](super::LowRankFactor) has the
    /// parameters of a domain.
    LowRank {
        /// The number of columns of the matrices `U_d` and `V_d`, 1 to 65536; default 4. A layer with fewer inputs or fewer outputs than
        /// this uses the smaller of these two numbers instead.
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

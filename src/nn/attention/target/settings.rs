//! The settings of the attention of a target over a history.

use serde::{Deserialize, Serialize};

use crate::model::MAX_WIDTH;
use crate::nn::ActivationKind;

/// How [`TargetAttention`](crate::nn::TargetAttention) turns the scores `s_t` of a row's events t into their weights `w_t`. In a settings
/// file the name is in `snake_case`: `"raw"` or `"softmax"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventWeights {
    /// The weight is the score itself, `w_t = s_t`; the default, as in the paper (Zhou et al. 2018). The weights need not sum to 1, so that a
    /// history with more fitting events gives a longer vector.
    #[default]
    Raw,
    /// `w_t = softmax_t(s_t / √D)` over the events of the row, where D is the number of values of an event's embedding. The weights of a row
    /// are positive and sum to 1.
    Softmax,
}

crate::settings! {
    /// The settings of [`TargetAttention`](crate::nn::TargetAttention), the attention of a target over the events of a history. A small net,
    /// a multilayer perceptron, scores each event; these settings describe the net and the use of its scores.
    #[derive(Default, Eq)]
    TargetAttentionSettings, TargetAttentionSettingsBuilder, in files {
        /// The widths of the hidden layers of the net that scores an event, in order: at least one layer, each width from 1 to 65536; default
        /// 32, 16.
        hidden: Vec<usize> = vec![32, 16], from impl Into<Vec<usize>>, as &[usize];
        /// How the scores of a row's events become their weights; default [`EventWeights::Raw`], the scores themselves.
        weights: EventWeights = EventWeights::Raw;
        /// The activation of the hidden layers of the net that scores an event; default PReLU, as in the paper (Zhou et al. 2018). Dice
        /// ([`ActivationKind::Dice`]) normalises a value by the mean and variance of its column; here they are taken over all events of a
        /// batch.
        activation: ActivationKind = ActivationKind::Prelu;
    }
    check(this, problems) {
        problems.require(!this.hidden.is_empty(), || "hidden: at least one layer, found none".into());
        for &width in &this.hidden {
            problems.require((1..=MAX_WIDTH).contains(&width), || {
                format!("hidden: 1 <= width <= {MAX_WIDTH}, found {width}")
            });
        }
    }
}

impl Eq for TargetAttentionSettingsBuilder {}

//! The settings of the attention of a target over a history.

use serde::{Deserialize, Serialize};

use crate::model::MAX_WIDTH;
use crate::nn::ActivationKind;

/// How the scores of a row's events become their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventWeights {
    /// The scores themselves, the default, as in the paper: a history with more fitting events gives a longer vector.
    #[default]
    Raw,
    /// `softmax(scores / √D)` over the events of the row, where D is the width of an event: the weights of a row are positive and their sum
    /// is 1.
    Softmax,
}

crate::settings! {
    /// The settings of [`TargetAttention`](crate::nn::TargetAttention), the attention of a target over the events of a history.
    #[derive(Default, Eq)]
    TargetAttentionSettings, TargetAttentionSettingsBuilder, in files {
        /// The widths of the hidden layers of the net that scores an event, at least one layer; default 32, 16.
        hidden: Vec<usize> = vec![32, 16], from impl Into<Vec<usize>>, as &[usize];
        /// How scores become weights; default raw.
        weights: EventWeights = EventWeights::Raw;
        /// The activation of the hidden layers; default PReLU, as in the paper. The statistics of Dice are those of all events of a batch.
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

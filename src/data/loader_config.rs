//! Settings for batches.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::loss::check_negatives;

/// Which rows a [`RowSource`](super::RowSource) puts into one batch: rows of several domains, or of one domain only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchOrder {
    /// A batch has rows of several domains. This is the default and the fastest order, because layers that domains share compute many rows at once.
    Mixed {
        /// The largest number of domains in a batch, at least 1; for 0, `build` of the settings returns an error. `None`, the default, means no
        /// limit. In each epoch, the domains are divided into groups of this size, and a batch has rows of one group only. The last group can be
        /// smaller. The groups are random if [`shuffle`](LoaderConfig::shuffle) is true.
        #[serde(default)]
        max_domains: Option<usize>,
    },
    /// A batch has rows of one domain only. If [`shuffle`](LoaderConfig::shuffle) is true, the batches of all domains follow each other in
    /// random order. STAR's paper trains in this way (Sheng et al., CIKM 2021, "Architecture Overview": a domain is drawn, then a mini-batch of
    /// its rows).
    OneDomain,
}

impl Default for BatchOrder {
    fn default() -> Self {
        Self::Mixed { max_domains: None }
    }
}

impl BatchOrder {
    /// Notes an invalid order; `name` is the setting that it belongs to.
    pub(crate) fn check(self, name: &str, problems: &mut Problems) {
        problems.require(self != Self::Mixed { max_domains: Some(0) }, || {
            format!("{name}: max_domains at least 1, found 0")
        });
    }
}

crate::settings! {
    /// How a [`RowSource`](super::RowSource) splits rows into batches.
    #[derive(Default)]
    LoaderConfig, LoaderConfigBuilder, in files {
        /// The number of rows in a batch, at least 1; the default is 4096. For 0, `build` returns an error. If [`BatchOrder`] divides the
        /// domains into groups, the last batch of each group can have fewer rows; otherwise only the last batch of an epoch can.
        batch_rows: usize = 4096;
        /// The seed of the random order of rows, which can be any number; the default is 0. The same seed gives the same order in an epoch with
        /// the same number.
        seed: u64 = 0;
        /// Which rows can be in one batch: rows of several domains, or of one. The default is [`BatchOrder::Mixed`], with any number of domains
        /// in a batch.
        order: BatchOrder = BatchOrder::default();
        /// For each task, in the order of the layout, the probability with which a pass keeps a label 0: above 0 and at most 1. For another
        /// number, `build` returns an error. If there is not one number for each task, reading the rows returns an error.
        ///
        /// A label 0 that is not kept is missing in this pass, and the pass skips a row without any label left: see
        /// [`Objective`](crate::loss::Objective). By default the list is empty, which means that all labels and rows are kept.
        negatives: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// Whether rows are shuffled in every epoch; the default is true. If it is false, the rows of each domain stay in the order of the data.
        /// Every epoch then has the same batches, unless `negatives` leaves out other labels in it.
        shuffle: bool = true;
    }
    check(this, problems) {
        problems.require(this.batch_rows >= 1, || "batch_rows: at least 1, found 0".into());
        this.order.check("order", problems);
        check_negatives("negatives", &this.negatives, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_checked() {
        let config: LoaderConfig = serde_json::from_str(r#"{"batch_rows": 16, "order": "one_domain"}"#).unwrap();
        let by_hand = LoaderConfig::builder().batch_rows(16).order(BatchOrder::OneDomain).build().unwrap();
        assert_eq!(config, by_hand);
        assert_eq!(serde_json::from_str::<LoaderConfig>("{}").unwrap(), LoaderConfig::default());
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LoaderConfig>(&text).unwrap(), config);
        let text = r#"{"batch_rows": 0, "order": {"mixed": {"max_domains": 0}}}"#;
        let error = serde_json::from_str::<LoaderConfig>(text).unwrap_err().to_string();
        assert!(
            error.starts_with("LoaderConfig: batch_rows: at least 1, found 0; order: max_domains at least 1, found 0")
        );
        assert!(serde_json::from_str::<LoaderConfig>(r#"{"batch_row": 1}"#).is_err());
    }
}

//! How rows are cut into batches.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Problems, Result};

/// Which rows may share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchOrder {
    /// Rows of any domain (the default), so that layers that all domains share run once over many rows.
    Mixed {
        /// At most this many domains in one batch, at least 1: domains are dealt into groups anew each epoch, and rows
        /// mix inside a group. `None` sets no bound.
        #[serde(default)]
        max_domains: Option<usize>,
    },
    /// Rows of one domain; the batches of all domains take turns in random order. This is how STAR's paper trains
    /// (Sheng et al., CIKM 2021, "Architecture Overview": a domain is drawn, then a mini-batch of its rows).
    OneDomain,
}

impl Default for BatchOrder {
    fn default() -> Self {
        Self::Mixed { max_domains: None }
    }
}

/// How a [`RowSource`](super::RowSource) cuts rows into batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LoaderConfigBuilder")]
pub struct LoaderConfig {
    pub(super) batch_rows: usize,
    pub(super) seed: u64,
    pub(super) order: BatchOrder,
    pub(super) shuffle: bool,
}

impl LoaderConfig {
    /// The defaults, to be changed.
    pub fn builder() -> LoaderConfigBuilder {
        LoaderConfigBuilder::default()
    }

    /// Rows a batch.
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// What the order of rows is drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Which rows may share a batch.
    pub fn order(&self) -> BatchOrder {
        self.order
    }

    /// Whether every epoch has an order of its own.
    pub fn shuffle(&self) -> bool {
        self.shuffle
    }
}

impl Default for LoaderConfig {
    fn default() -> Self {
        let LoaderConfigBuilder { batch_rows, seed, order, shuffle } = LoaderConfigBuilder::default();
        Self { batch_rows, seed, order, shuffle }
    }
}

/// Collects the settings of a [`LoaderConfig`].
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfigBuilder {
    batch_rows: usize,
    seed: u64,
    order: BatchOrder,
    shuffle: bool,
}

impl Default for LoaderConfigBuilder {
    fn default() -> Self {
        Self { batch_rows: 4096, seed: 0, order: BatchOrder::default(), shuffle: true }
    }
}

impl LoaderConfigBuilder {
    /// Rows a batch, at least 1. Default 4096. The last batch of an epoch, or of a group of domains, may hold fewer.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// What the order of rows is drawn from. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Which rows may share a batch. Default: [`BatchOrder::Mixed`] without a bound.
    pub fn order(mut self, order: BatchOrder) -> Self {
        self.order = order;
        self
    }

    /// Whether every epoch has an order of its own (the default) or all have that of the rows.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// The configuration, if all settings can be.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming every setting that is out of its range.
    pub fn build(self) -> Result<LoaderConfig> {
        let Self { batch_rows, seed, order, shuffle } = self;
        let mut problems = Problems::default();
        problems.require(batch_rows >= 1, || "batch_rows: at least 1, found 0".into());
        problems.require(order != BatchOrder::Mixed { max_domains: Some(0) }, || {
            "order: max_domains at least 1, found 0".into()
        });
        problems.into_result("LoaderConfig")?;
        Ok(LoaderConfig { batch_rows, seed, order, shuffle })
    }
}

impl TryFrom<LoaderConfigBuilder> for LoaderConfig {
    type Error = Error;

    fn try_from(builder: LoaderConfigBuilder) -> Result<Self> {
        builder.build()
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

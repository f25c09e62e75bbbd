//! What one column of a log means to a model.

use serde::{Deserialize, Serialize};

use super::Pooling;
use crate::error::Problems;

/// One input of a model, as a [`Schema`](super::Schema) declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// One value a row, embedded.
    Categorical(Categorical),
    /// One number a row.
    Numeric(Numeric),
    /// Any number of values a row, embedded and pooled.
    Bag(Bag),
}

/// How the values of a column become the ids of an embedding table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Coding {
    /// A row for every value of the fitting rows, in order of first appearance from id 1. Id 0 is shared by the values
    /// that occur fewer than `min_count` times there and by those that do not occur at all; so with a `min_count` of 1
    /// row 0 is never trained.
    Vocabulary {
        /// At least 1.
        min_count: usize,
    },
    /// `⌊crc32(value) · buckets / 2³²⌋`: nothing to fit or to keep, at the price of values that share a row. Every row
    /// is an ordinary one, row 0 too.
    Hashed {
        /// Rows of the table, `1 ..= 2³² − 1`.
        buckets: usize,
    },
    /// The values already are the ids `0 .. rows`.
    Ids {
        /// Rows of the table, `1 ..= 2³² − 1`.
        rows: usize,
    },
}

impl Default for Coding {
    /// A vocabulary of every value.
    fn default() -> Self {
        Self::Vocabulary { min_count: 1 }
    }
}

impl Coding {
    fn check(self, name: &str, problems: &mut Problems) {
        let in_range = |rows: usize| (1..=u32::MAX as usize).contains(&rows);
        match self {
            Self::Vocabulary { min_count } => {
                problems.require(min_count >= 1, || format!("feature {name:?}: min_count >= 1, found 0"));
            }
            Self::Hashed { buckets } => problems
                .require(in_range(buckets), || format!("feature {name:?}: 1 <= buckets < 2^32, found {buckets}")),
            Self::Ids { rows } => {
                problems.require(in_range(rows), || format!("feature {name:?}: 1 <= rows < 2^32, found {rows}"));
            }
        }
    }
}

/// The options of embedded features: how values become ids, and the table that they read.
macro_rules! embedded_options {
    ($counted:literal) => {
        #[doc = concat!("Gives values seen fewer than `count` times", $counted, " the out-of-vocabulary row, which is thereby trained.")]
        /// Default 1, the least.
        pub fn min_count(mut self, count: usize) -> Self {
            self.coding = Coding::Vocabulary { min_count: count };
            self
        }

        /// Hashes values into this many rows instead of keeping a vocabulary: `1 ..= 2³² − 1`.
        pub fn hashed(mut self, buckets: usize) -> Self {
            self.coding = Coding::Hashed { buckets };
            self
        }

        /// Takes the values as ids `0 .. rows`, `rows` in `1 ..= 2³² − 1`.
        pub fn ids(mut self, rows: usize) -> Self {
            self.coding = Coding::Ids { rows };
            self
        }

        /// Reads the embedding table of this name. Default: one of the feature's name, for itself.
        ///
        /// Features of one table share its rows and its ids: they need the same coding, and a vocabulary has the values of all of them.
        pub fn table(mut self, table: impl Into<String>) -> Self {
            self.table = Some(table.into());
            self
        }

        /// The width of the embedding table, at least 1. Default: the model's `embedding_dim`.
        pub fn dim(mut self, dim: usize) -> Self {
            self.dim = Some(dim);
            self
        }

        pub(super) fn coding(&self) -> Coding {
            self.coding
        }
    };
}

/// An embedded feature with one value a row. An empty cell is a value like any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categorical {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default)]
    coding: Coding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
}

impl Categorical {
    /// A feature that reads the column of the same name. By default, it has a vocabulary of all values in the fitting rows, and an embedding
    /// table of its own; the methods below change this.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, coding: Coding::default(), table: None, dim: None }
    }

    /// Reads this column. Default: the one that has the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    embedded_options!("");
}

/// How a number becomes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// `(x − mean) / std` (the default), clipped to ±65,536; no fitting row is that far from 0.
    #[default]
    Standard,
    /// `t = sign(x)·ln(1 + |x|)`, then `(t − mean) / std`: for counts, prices and whatever else has a long tail.
    SignedLog,
    /// The number as it is, clipped to ±1e18.
    Unscaled,
    /// An embedded field of at most this many quantile buckets. Id 0 is a missing value; bucket `i` has id `i + 1`.
    ///
    /// A value with more rows than a bucket's share (many zeros, say) is a bucket of its own, and the others share the rest of the rows
    /// equally. There are never more buckets than distinct values among the fitting rows.
    Buckets(usize),
}

/// A feature with one finite number a row; an empty cell is a missing value.
///
/// Mean, standard deviation and quantiles are those of the fitting rows. A missing value becomes 0, that is the mean of
/// a standardised column; if the fitting rows had one, a second input named `age?` (for `age`) is 1 where the value is
/// missing and 0 elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default)]
    transform: Transform,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
}

impl Numeric {
    /// The column of this name, standardised.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, transform: Transform::default(), dim: None }
    }

    /// Reads this column. Default: the one that has the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Standardises `sign(x)·ln(1 + |x|)`.
    pub fn signed_log(mut self) -> Self {
        self.transform = Transform::SignedLog;
        self
    }

    /// Leaves the numbers as they are.
    pub fn unscaled(mut self) -> Self {
        self.transform = Transform::Unscaled;
        self
    }

    /// Embeds the number's quantile bucket: at most this many buckets, at least 2.
    pub fn buckets(mut self, count: usize) -> Self {
        self.transform = Transform::Buckets(count);
        self
    }

    /// The width of the embeddings of buckets, at least 1. Default: the model's `embedding_dim`.
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = Some(dim);
        self
    }

    pub(super) fn transform(&self) -> Transform {
        self.transform
    }
}

/// An embedded feature with any number of values a row: genres, tags, a history.
///
/// The cell is cut at each separator; empty pieces count for nothing, so an empty cell is an empty bag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bag {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    separator: String,
    #[serde(default)]
    pooling: Pooling,
    #[serde(default)]
    coding: Coding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
}

impl Bag {
    /// A feature with any number of values in a row: the cells of the column of the same name, cut at `separator`. By default, it has a
    /// vocabulary of all values in the fitting rows and an embedding table of its own, and a row's embeddings are averaged; the methods
    /// below change this.
    pub fn new(name: impl Into<String>, separator: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            column: None,
            separator: separator.into(),
            pooling: Pooling::default(),
            coding: Coding::default(),
            table: None,
            dim: None,
        }
    }

    /// Reads this column. Default: the one that has the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// How the embeddings of a row's values become one vector. Default: [`Pooling::Mean`].
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    embedded_options!(" (over all bags)");

    pub(super) fn separator(&self) -> &str {
        &self.separator
    }

    pub(super) fn pooled(&self) -> Pooling {
        self.pooling
    }
}

impl Feature {
    /// The feature's name: that of its field or numeric input in the [`Layout`](super::Layout).
    pub fn name(&self) -> &str {
        match self {
            Self::Categorical(categorical) => &categorical.name,
            Self::Numeric(numeric) => &numeric.name,
            Self::Bag(bag) => &bag.name,
        }
    }

    /// The column it is read from.
    pub fn column(&self) -> &str {
        let column = match self {
            Self::Categorical(categorical) => &categorical.column,
            Self::Numeric(numeric) => &numeric.column,
            Self::Bag(bag) => &bag.column,
        };
        column.as_deref().unwrap_or(self.name())
    }

    /// The embedding table that it reads; `None` if it is a number.
    pub fn table(&self) -> Option<&str> {
        let table = match self {
            Self::Categorical(categorical) => &categorical.table,
            Self::Bag(bag) => &bag.table,
            Self::Numeric(numeric) if matches!(numeric.transform, Transform::Buckets(_)) => &None,
            Self::Numeric(_) => return None,
        };
        Some(table.as_deref().unwrap_or(self.name()))
    }

    /// The width of its embedding table; `None` is the model's `embedding_dim`.
    pub fn dim(&self) -> Option<usize> {
        match self {
            Self::Categorical(categorical) => categorical.dim,
            Self::Numeric(numeric) => numeric.dim,
            Self::Bag(bag) => bag.dim,
        }
    }

    /// The coding of an embedded value; `None` for numbers.
    pub(super) fn coding(&self) -> Option<Coding> {
        match self {
            Self::Categorical(categorical) => Some(categorical.coding),
            Self::Bag(bag) => Some(bag.coding),
            Self::Numeric(_) => None,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let name = self.name();
        problems.require(self.dim() != Some(0), || format!("feature {name:?}: dim >= 1, found 0"));
        problems.require(self.dim().is_none() || self.table().is_some(), || {
            format!("feature {name:?}: dim is for embedded features; give the number buckets, or leave dim out")
        });
        problems.require(self.table() != Some(""), || format!("feature {name:?}: a table name that is not empty"));
        problems.require(!name.is_empty(), || "feature \"\": a name that is not empty".into());
        match self {
            Self::Categorical(categorical) => categorical.coding.check(name, problems),
            Self::Numeric(numeric) => {
                if let Transform::Buckets(count) = numeric.transform {
                    let in_range = (2..u32::MAX as usize).contains(&count);
                    problems.require(in_range, || format!("feature {name:?}: 2 <= buckets < 2^32 - 1, found {count}"));
                }
            }
            Self::Bag(bag) => {
                bag.coding.check(name, problems);
                if let Some(problem) = bag.pooling.problem() {
                    problems.require(false, || format!("feature {name:?}: {problem}"));
                }
                problems
                    .require(!bag.separator.is_empty(), || format!("feature {name:?}: a separator that is not empty"));
            }
        }
    }
}

impl From<Categorical> for Feature {
    fn from(categorical: Categorical) -> Self {
        Self::Categorical(categorical)
    }
}

impl From<Numeric> for Feature {
    fn from(numeric: Numeric) -> Self {
        Self::Numeric(numeric)
    }
}

impl From<Bag> for Feature {
    fn from(bag: Bag) -> Self {
        Self::Bag(bag)
    }
}

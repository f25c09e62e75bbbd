//! What one column of a log means to a model.

use serde::{Deserialize, Serialize};

use super::Pooling;
use crate::error::Problems;

/// One input of a model: which column of the log it reads, and how the values become input values. A [`Schema`](super::Schema) is a list of
/// features and the columns with other meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// Each row has one value, for example an item. The model looks up a trained vector for it, its embedding.
    Categorical(Categorical),
    /// Each row has one number, for example a price. A row can also lack it.
    Numeric(Numeric),
    /// Each row has a list of any number of values, for example tags. The embeddings of the values are combined by a [`Pooling`].
    Bag(Bag),
}

/// How the values of a [`Categorical`] or [`Bag`] feature become ids. An id is the number of a row in the feature's embedding table, counted
/// from 0; each row of the table is a trained vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Coding {
    /// The default, with a `min_count` of 1. The encoder learns a list of values from the rows on which it is fitted, and gives each value
    /// its own id: 1, 2, … in the order of first appearance.
    ///
    /// All other values have id 0: those that occur less often than `min_count`, and those that do not occur. With a `min_count` of 1, no
    /// fitting row has id 0, so the vector of id 0 is not trained.
    Vocabulary {
        /// How often a value must occur in the fitting rows to get its own id, at least 1. With 0,
        /// [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
        min_count: usize,
    },
    /// The id is computed from the value by a hash: `⌊crc32(value) · buckets / 2³²⌋`. No list of values is learned or stored, but different
    /// values can get the same id and then have the same vector. Id 0 has no special meaning.
    Hashed {
        /// The number of different ids and of rows of the embedding table, 1 to 2³² − 1. Ids are 0 to `buckets - 1`. With another number,
        /// [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
        buckets: usize,
    },
    /// The values of the column are ids already: integers from 0 to `rows - 1`. Reading a log with another value returns an error.
    Ids {
        /// The number of rows of the embedding table, 1 to 2³² − 1. With another number,
        /// [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
        rows: usize,
    },
}

impl Default for Coding {
    /// A vocabulary with a `min_count` of 1: every value of the fitting rows gets its own id.
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
        #[doc = concat!("Gives an id of its own only to values that occur at least `count` times in the fitting rows", $counted, ".")]
        /// Rarer values share id 0 with unknown values, so the vector of id 0 is trained on them.
        ///
        /// `count` is at least 1, the default; with 0, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error. This sets
        /// [`Coding::Vocabulary`] and replaces an earlier coding.
        pub fn min_count(mut self, count: usize) -> Self {
            self.coding = Coding::Vocabulary { min_count: count };
            self
        }

        /// Computes the id of a value by a hash instead of a vocabulary ([`Coding::Hashed`]). `buckets` is the number of different ids, 1 to
        /// 2³² − 1; with another number, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
        pub fn hashed(mut self, buckets: usize) -> Self {
            self.coding = Coding::Hashed { buckets };
            self
        }

        /// Uses the values of the column as ids ([`Coding::Ids`]): they must be integers from 0 to `rows - 1`. `rows` is 1 to 2³² − 1; with
        /// another number, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
        pub fn ids(mut self, rows: usize) -> Self {
            self.coding = Coding::Ids { rows };
            self
        }

        /// Sets the name of the embedding table in which the feature's ids are looked up. By default a feature has its own table, with the
        /// feature's name.
        ///
        /// Features with the same table name share its vectors: a value has the same id and vector in all of them, and the vocabulary has the
        /// values of all of them. They must have the same [`Coding`] and the same width.
        pub fn table(mut self, table: impl Into<String>) -> Self {
            self.table = Some(table.into());
            self
        }

        /// Sets the number of values in each vector of the feature's embedding table, 1 to 65,536. The default is the model's `embedding_dim`.
        ///
        /// With 0, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error; above 65,536, `build` of a model's settings does.
        pub fn dim(mut self, dim: usize) -> Self {
            self.dim = Some(dim);
            self
        }

        pub(super) fn coding(&self) -> Coding {
            self.coding
        }
    };
}

/// A feature with one value in each row, for example a user or an item. Each value becomes an id, for which the model has a trained vector. An
/// empty cell is a value like any other.
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
    /// Makes a feature with this name, which reads the column with the same name. By default it has its own embedding table, and every value
    /// of the fitting rows gets its own id; other methods change this.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, coding: Coding::default(), table: None, dim: None }
    }

    /// Sets the name of the column that the feature reads. The default is the column with the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    embedded_options!("");
}

/// How the number of a [`Numeric`] feature becomes an input of the model. The mean and the standard deviation (`std`) are those of the rows on
/// which the encoder is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// The default: the input is `(x − mean) / std`, clipped to the range from −65,536 to 65,536. No fitting row is clipped.
    #[default]
    Standard,
    /// First `t = sign(x)·ln(1 + |x|)`, then the input is `(t − mean) / std`, with the mean and `std` of `t`, clipped as in
    /// [`Transform::Standard`]. Choose it if a few values are much larger than the others, as for counts and prices.
    SignedLog,
    /// The input is the number itself, clipped to the range from −1e18 to 1e18. Choose it if the numbers are scaled already.
    Unscaled,
    /// The range of the numbers is divided into at most this number of buckets, 2 to 2³² − 2, and the model has a trained vector for each
    /// bucket. Choose it if the effect of the number is far from linear. With another count,
    /// [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
    ///
    /// Buckets have about the same number of fitting rows. A value with more rows than such a share (for example many zeros) usually gets
    /// its own bucket. If there are fewer distinct values than buckets, each value gets one bucket. Id 0 means a missing value, and the buckets have
    /// the ids 1, 2, … in ascending order.
    Buckets(usize),
}

/// A feature with one finite number in each row, for example an age. An empty cell is a missing value.
///
/// By default the input of the model is `(x − mean) / std` ([`Transform::Standard`]), with the mean and the standard deviation of the rows on
/// which the encoder is fitted. A missing value becomes 0. If a fitting row lacks the value, there is a second input, named `age?` for the
/// feature `age`: it is 1 if the value is missing, and 0 otherwise. With [buckets](Numeric::buckets), a missing value has the id 0 instead.
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
    /// Makes a feature with this name, which reads the column with the same name. By default the numbers are standardised: see
    /// [`Transform::Standard`].
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, transform: Transform::default(), dim: None }
    }

    /// Sets the name of the column that the feature reads. The default is the column with the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Takes the logarithm of large numbers before they are standardised: see [`Transform::SignedLog`]. Use it for counts and prices.
    pub fn signed_log(mut self) -> Self {
        self.transform = Transform::SignedLog;
        self
    }

    /// Uses the numbers as they are, clipped to the range from −1e18 to 1e18: see [`Transform::Unscaled`].
    pub fn unscaled(mut self) -> Self {
        self.transform = Transform::Unscaled;
        self
    }

    /// Divides the range of the numbers into at most `count` buckets, each with a trained vector: see [`Transform::Buckets`]. `count` is 2 to
    /// 2³² − 2; with another one, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
    pub fn buckets(mut self, count: usize) -> Self {
        self.transform = Transform::Buckets(count);
        self
    }

    /// Sets the number of values in the vector of each bucket, 1 to 65,536. The default is the model's `embedding_dim`. Without
    /// [`Numeric::buckets`], or with 0, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error; above 65,536, `build` of a
    /// model's settings does.
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = Some(dim);
        self
    }

    pub(super) fn transform(&self) -> Transform {
        self.transform
    }
}

/// A feature with a list of any number of values in each row, for example genres, tags or a user's history. Each value becomes an id, for
/// which the model has a trained vector; a [`Pooling`] combines the vectors of a row.
///
/// The text of a cell is split at each separator, and empty pieces are ignored. So an empty cell is an empty list.
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
    /// Makes a feature with this name, which reads the column with the same name and splits its cells at `separator`. The separator is a text
    /// of one or more characters; if it is empty, [`SchemaBuilder::build`](super::SchemaBuilder::build) returns an error.
    ///
    /// By default it has its own embedding table, every value of the fitting rows gets its own id, and the vectors of a row are averaged.
    /// Other methods change this.
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

    /// Sets the name of the column that the feature reads. The default is the column with the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Sets how the model combines the vectors of a row's values. The default is their mean, [`Pooling::Mean`].
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    embedded_options!(", counted over all lists");

    pub(super) fn separator(&self) -> &str {
        &self.separator
    }

    pub(super) fn pooled(&self) -> Pooling {
        self.pooling
    }
}

impl Feature {
    /// Returns the name of the feature. Its field or numeric input in the [`Layout`](super::Layout) has the same name.
    pub fn name(&self) -> &str {
        match self {
            Self::Categorical(categorical) => &categorical.name,
            Self::Numeric(numeric) => &numeric.name,
            Self::Bag(bag) => &bag.name,
        }
    }

    /// Returns the name of the column that the feature reads. It is the feature's name unless another column was set.
    pub fn column(&self) -> &str {
        let column = match self {
            Self::Categorical(categorical) => &categorical.column,
            Self::Numeric(numeric) => &numeric.column,
            Self::Bag(bag) => &bag.column,
        };
        column.as_deref().unwrap_or(self.name())
    }

    /// Returns the name of the embedding table in which the feature's ids are looked up, or `None` if it is a number without buckets.
    pub fn table(&self) -> Option<&str> {
        let table = match self {
            Self::Categorical(categorical) => &categorical.table,
            Self::Bag(bag) => &bag.table,
            Self::Numeric(numeric) if matches!(numeric.transform, Transform::Buckets(_)) => &None,
            Self::Numeric(_) => return None,
        };
        Some(table.as_deref().unwrap_or(self.name()))
    }

    /// Returns the number of values in the vectors of the feature's embedding table, if it was set. `None` means the model's `embedding_dim`.
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

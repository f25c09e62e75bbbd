//! What one column of a log means to a model.

use serde::{Deserialize, Serialize};

use super::Pooling;
use crate::error::Problems;

/// One input of a model: which column of the log it reads, and how the values of this column become ids or numbers. A [`Schema`](super::Schema)
/// is a list of features, and of columns with other meanings, such as labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// Each row has one value, for example an item. The model looks up a trained vector for it, its embedding.
    Categorical(Categorical),
    /// Each row has one number, for example a price. The number can be missing in some rows.
    Numeric(Numeric),
    /// Each row has a list of any number of values, for example tags. The embeddings of the values are combined by a [`Pooling`].
    Bag(Bag),
    /// One combination of the values of several columns a row, embedded.
    Cross(Cross),
}

/// How the values of a [`Categorical`] or [`Bag`] feature become ids. An id is the number of a row in the feature's embedding table, counted
/// from 0; each row of the table is a trained vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Coding {
    /// The default, with a `min_count` of 1. The encoder learns a vocabulary from the rows on which it is fitted: a list of values, each with
    /// its own id. The ids are 1, 2, … in the order in which the values first appear.
    ///
    /// All other values have id 0: those that occur in these rows less often than `min_count`, and those that do not occur there. With a
    /// `min_count` of 1, none of these rows has id 0, so training fills its vector in another way: see [`Unknown`](crate::train::Unknown).
    Vocabulary {
        /// How often a value must occur in the rows on which the encoder is fitted to get its own id, at least 1. With 0,
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        min_count: usize,
    },
    /// The id is computed from the value by a hash: `⌊crc32(value) · buckets / 2³²⌋`. No list of values is learned or stored, but different
    /// values can get the same id and then have the same vector. Id 0 has no special meaning.
    Hashed {
        /// The number of different ids and of rows of the embedding table, 1 to 2³² − 1. Ids are 0 to `buckets - 1`. With another number,
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        buckets: usize,
    },
    /// The values of the column are ids already: integers from 0 to `rows - 1`. Reading a log with another value returns an error.
    Ids {
        /// The number of rows of the embedding table, 1 to 2³² − 1. With another number,
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        rows: usize,
    },
}

impl Default for Coding {
    /// Returns [`Coding::Vocabulary`] with a `min_count` of 1: every value in the rows on which the encoder is fitted gets its own id.
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

/// The setting of features with one id a row, which can have target statistics.
macro_rules! statistics_option {
    () => {
        /// Whether the feature has [target statistics](crate::data::TargetStatistics): the rates of labels among earlier rows with its value.
        /// Default: what the schema says of all features.
        pub fn statistics(mut self, statistics: bool) -> Self {
            self.statistics = Some(statistics);
            self
        }
    };
}

/// The options of embedded features: how values become ids, and the table that they read.
macro_rules! embedded_options {
    ($counted:literal) => {
        #[doc = concat!("Gives an id of its own only to values that occur at least `count` times in the fitting rows", $counted, ".")]
        /// Rarer values share id 0 with unknown values, so the vector of id 0 is trained on them. The fitting rows are those that
        /// [`Encoder::fit`](crate::data::Encoder::fit) learns from.
        ///
        /// `count` is at least 1, which is the default; with 0, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error. This
        /// method sets [`Coding::Vocabulary`] and replaces an earlier [`Coding`] of the feature.
        pub fn min_count(mut self, count: usize) -> Self {
            self.coding = Coding::Vocabulary { min_count: count };
            self
        }

        /// Computes the id of a value from its text, by a hash ([`Coding::Hashed`]); no list of values is learned. `buckets` is the number of
        /// different ids, 1 to 2³² − 1. With another number, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        pub fn hashed(mut self, buckets: usize) -> Self {
            self.coding = Coding::Hashed { buckets };
            self
        }

        /// Uses the values of the column as ids ([`Coding::Ids`]): they must be integers from 0 to `rows - 1`, otherwise reading a log returns
        /// an error. `rows` is the number of rows of the embedding table, 1 to 2³² − 1. With another number,
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        pub fn ids(mut self, rows: usize) -> Self {
            self.coding = Coding::Ids { rows };
            self
        }

        /// Sets the name of the embedding table in which the feature's ids are looked up. By default a feature has its own table, with the
        /// feature's name.
        ///
        /// Features with the same table name share one table: a value has the same id and the same vector in all of them. If they have a
        /// vocabulary, it has the values of all of them. They must have the same [`Coding`] and the same [width](Self::dim()); otherwise
        /// [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
        pub fn table(mut self, table: impl Into<String>) -> Self {
            self.table = Some(table.into());
            self
        }

        /// Sets the number of values in each vector of the feature's embedding table, 1 to 65,536. The default is the model's `embedding_dim`.
        ///
        /// With 0, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error. For a number above 65,536, `build` of a model's
        /// settings returns one.
        pub fn dim(mut self, dim: usize) -> Self {
            self.dim = Some(dim);
            self
        }

        pub(in crate::data) fn coding(&self) -> Coding {
            self.coding
        }
    };
}

// After the macro, which it uses.
mod cross;

pub use cross::Cross;
pub(super) use cross::spell;

/// A feature with one value in each row, for example a user or an item. Each value becomes an id, for which the model has a trained vector. An
/// empty cell is not an error: the empty text is a value like any other.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statistics: Option<bool>,
}

impl Categorical {
    /// Makes a feature with this name, which reads the column with the same name. By default it has its own embedding table, and every value in
    /// the rows on which the encoder is fitted gets its own id. Other methods change this.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, coding: Coding::default(), table: None, dim: None, statistics: None }
    }

    /// Sets the name of the column that the feature reads. The default is the column with the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    embedded_options!("");
    statistics_option!();
}

/// How the number of a [`Numeric`] feature becomes an input of the model. Everything is fitted on the rows on which the encoder is fitted: the
/// mean and the standard deviation (`std`), quantiles and the choice of [`Transform::Auto`]. It stays as it was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// One of the others, chosen by the distribution of the fitting rows; the default. The first line that is true decides:
    ///
    /// 1. At most two distinct values: [`Standard`](Self::Standard).
    /// 2. At least 2,000 rows with a value: [`PiecewiseEmbedding`](Self::PiecewiseEmbedding), with a bin for each 500 of them, at most 32.
    /// 3. More than half of the rows with a value have the same one, or the middle nine tenths are in less than a quarter of the range (heavy
    ///    tails): [`Quantile`](Self::Quantile).
    /// 4. Otherwise [`Standard`](Self::Standard).
    ///
    /// The encoder's schema and [`DataReport::numbers`](super::DataReport::numbers) have the choice.
    #[default]
    Auto,
    /// `(x − mean) / std`, clipped to ±65,536; no fitting row is that far from 0.
    Standard,
    /// The encoder first computes `t = sign(x)·ln(1 + |x|)`. The input is then `(t − mean) / std`, with the mean and the standard deviation of
    /// `t`, clipped as in [`Transform::Standard`]. Choose it if a few values are much larger than the others, as for counts and prices.
    SignedLog,
    /// `Φ⁻¹(F(x))`, where `F` is the empirical distribution function of the fitting rows and `Φ` that of the normal distribution: a number
    /// by its rank, whatever its scale and tails.
    ///
    /// Equal values have the middle rank of their rows. Between values that the fitting rows have, the result is interpolated linearly (to
    /// 0.01, as the encoder does not keep all values); beyond the least and the largest, it stays.
    Quantile,
    /// The input is the number itself, clipped to the range from −1e18 to 1e18. Choose it if the numbers are scaled already.
    Unscaled,
    /// The range of the numbers is divided into buckets, and the model has a trained vector for each bucket. The argument is the largest number
    /// of buckets, 2 to 2³² − 2; with another number, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error. Choose buckets if
    /// the effect of the number is far from linear.
    ///
    /// All buckets have about the same number of the rows on which the encoder is fitted. A value with more rows than that (for example, zero is
    /// often such a value) usually gets its own bucket. If there are fewer distinct values than buckets, each value gets one bucket. Id 0 means
    /// a missing value, and the buckets have the ids 1, 2, … in ascending order of their numbers.
    Buckets(usize),
    /// Piecewise linear encoding with at most this many bins, `1 ..= 1024`: a numeric input `e_t` for each bin `b_(t−1) ..= b_t`, named
    /// `age[1]`, `age[2]`, … (for `age`).
    ///
    /// `e_t` is 0 below the bin, 1 above it, and `(x − b_(t−1)) / (b_t − b_(t−1))` in it. Numbers are clamped to the range of the fitting
    /// rows. The ends of the bins are quantiles. If there are at most `bins + 1` distinct values, each is the end of a bin; and a value that
    /// has more rows than a bin's share (many zeros, say) is an end, with the next numbers that the fitting rows have on both sides.
    ///
    /// Gorishniy, Rubachev, Babenko: On Embeddings for Numerical Features in Tabular Deep Learning (NeurIPS 2022), section 3.2. There, the
    /// first and the last bin are not clamped, and frequent values have no bins of their own.
    Piecewise(usize),
    /// An embedded field that is a linear function of the [piecewise encoding](Transform::Piecewise): `W·e + c`, with a matrix and a bias
    /// for this feature (section 3.2 of the paper; its variant without ReLU).
    ///
    /// It is stored as an embedding table. Row 0 is a missing value; row `t + 1` is the vector at the end `b_t` of a bin, `c + Σ_(s<=t) W_s`.
    /// A number between two ends reads their two rows, in proportion. So a step reads and updates two rows whatever the number of bins, and
    /// the table trains, serves and exports like any other. It starts from normal random rows, as other tables do.
    PiecewiseEmbedding(usize),
}

impl Transform {
    /// The largest number of bins.
    const MOST_BINS: usize = 1024;

    /// Whether the number becomes an embedded field; [`Transform::Auto`] may choose to.
    pub(super) fn embeds(self) -> bool {
        matches!(self, Self::Auto | Self::Buckets(_) | Self::PiecewiseEmbedding(_))
    }

    fn check(self, name: &str, problems: &mut Problems) {
        match self {
            Self::Buckets(count) => problems.require((2..u32::MAX as usize).contains(&count), || {
                format!("feature {name:?}: 2 <= buckets < 2^32 - 1, found {count}")
            }),
            Self::Piecewise(bins) | Self::PiecewiseEmbedding(bins) => {
                problems.require((1..=Self::MOST_BINS).contains(&bins), || {
                    format!("feature {name:?}: 1 <= bins <= {}, found {bins}", Self::MOST_BINS)
                });
            }
            _ => {}
        }
    }
}

/// A feature with one finite number in each row, for example an age. An empty cell is a missing value.
///
/// Its [`Transform`] says how it becomes numeric inputs or an embedded field. By default, the numbers of the rows on which the encoder is fitted
/// decide ([`Transform::Auto`]).
///
/// An embedded number has a vector for missing values. As a numeric input, a missing value becomes 0. If a fitting row lacks the value, there is
/// one more input, named `age?` for the feature `age`: it is 1 if the value is missing, and 0 otherwise.
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
    /// Makes a feature with this name, which reads the column with the same name. By default the distribution of the numbers decides how they are
    /// encoded: see [`Transform::Auto`].
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), column: None, transform: Transform::default(), dim: None }
    }

    /// Sets the name of the column that the feature reads. The default is the column with the feature's name.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Sets how the number is encoded. The default is [`Transform::Auto`].
    ///
    /// ```
    /// use starple::data::{Numeric, Transform};
    ///
    /// let age = Numeric::new("age").transform(Transform::PiecewiseEmbedding(32)).dim(8);
    /// ```
    pub fn transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// Standardises the number: [`Transform::Standard`].
    pub fn standard(self) -> Self {
        self.transform(Transform::Standard)
    }

    /// Replaces each number `x` by `sign(x)·ln(1 + |x|)` before it is standardised: see [`Transform::SignedLog`]. Use it if a few numbers are
    /// much larger than the others, as for counts and prices.
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
    /// 2³² − 2; with another number, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
    pub fn buckets(mut self, count: usize) -> Self {
        self.transform = Transform::Buckets(count);
        self
    }

    /// Sets the number of values in the vectors of an embedded number, 1 to 65,536: of [buckets](Numeric::buckets), of a
    /// [piecewise embedding](Transform::PiecewiseEmbedding), and of the embedding that [`Transform::Auto`] may choose. The default is the model's
    /// `embedding_dim`. With another transform, or with 0, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error; above 65,536,
    /// `build` of a model's settings does.
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = Some(dim);
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How the number is encoded.
    pub fn encoding(&self) -> Transform {
        self.transform
    }

    /// Replaces [`Transform::Auto`] by its choice. A width stays only where there is a table.
    pub(super) fn choose(&mut self, transform: Transform) {
        self.transform = transform;
        self.dim = self.dim.filter(|_| transform.embeds());
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
    /// of one or more characters; if it is empty, [`SchemaBuilder::build`](crate::data::SchemaBuilder::build) returns an error.
    ///
    /// By default the feature has its own embedding table, every value in the rows on which the encoder is fitted gets its own id, and the
    /// vectors of a row are averaged. Other methods change this.
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
            Self::Cross(cross) => &cross.name,
        }
    }

    /// Returns the names of the columns that the feature reads: those of a [`Cross`], or one. The one is the feature's name unless another
    /// column was set.
    pub fn columns(&self) -> &[String] {
        let (name, column) = match self {
            Self::Categorical(categorical) => (&categorical.name, &categorical.column),
            Self::Numeric(numeric) => (&numeric.name, &numeric.column),
            Self::Bag(bag) => (&bag.name, &bag.column),
            Self::Cross(cross) => return &cross.columns,
        };
        std::slice::from_ref(column.as_ref().unwrap_or(name))
    }

    /// The column of a feature that has one; of a [`Cross`], the first.
    pub(super) fn column(&self) -> &str {
        self.columns().first().map_or("", String::as_str)
    }

    /// Returns the name of the embedding table in which the feature's ids are looked up. The result is `None` for a [`Numeric`] feature whose
    /// [`Transform`] gives numeric inputs. With [`Transform::Auto`], it is the name of the table that the feature has if the encoder chooses an
    /// embedding.
    pub fn table(&self) -> Option<&str> {
        let table = match self {
            Self::Categorical(categorical) => &categorical.table,
            Self::Bag(bag) => &bag.table,
            Self::Cross(cross) => &cross.table,
            Self::Numeric(numeric) if numeric.transform.embeds() => &None,
            Self::Numeric(_) => return None,
        };
        Some(table.as_deref().unwrap_or(self.name()))
    }

    /// Returns the number of values in each vector of the feature's embedding table, as the schema sets it. The result is `None` if the schema
    /// does not set it: then it is the model's `embedding_dim`.
    pub fn dim(&self) -> Option<usize> {
        match self {
            Self::Categorical(categorical) => categorical.dim,
            Self::Numeric(numeric) => numeric.dim,
            Self::Bag(bag) => bag.dim,
            Self::Cross(cross) => cross.dim,
        }
    }

    /// Whether it has target statistics; `None`: what the schema says of all features.
    pub(super) fn statistics(&self) -> Option<bool> {
        match self {
            Self::Categorical(categorical) => categorical.statistics,
            Self::Cross(cross) => cross.statistics,
            Self::Bag(_) | Self::Numeric(_) => None,
        }
    }

    /// Whether it has one id a row, so that it can have target statistics.
    pub(super) fn has_one_id(&self) -> bool {
        !matches!(self, Self::Bag(_)) && self.table().is_some()
    }

    /// The coding of an embedded value; `None` for numbers.
    pub(super) fn coding(&self) -> Option<Coding> {
        match self {
            Self::Categorical(categorical) => Some(categorical.coding),
            Self::Bag(bag) => Some(bag.coding),
            Self::Cross(cross) => Some(cross.coding),
            Self::Numeric(_) => None,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let name = self.name();
        problems.require(self.dim() != Some(0), || format!("feature {name:?}: dim >= 1, found 0"));
        problems.require(self.dim().is_none() || self.table().is_some(), || {
            format!("feature {name:?}: dim is for embedded features; give the number buckets or a piecewise embedding, or leave dim out")
        });
        problems.require(self.table() != Some(""), || format!("feature {name:?}: a table name that is not empty"));
        problems.require(!name.is_empty(), || "feature \"\": a name that is not empty".into());
        match self {
            Self::Categorical(categorical) => categorical.coding.check(name, problems),
            Self::Cross(cross) => cross.check(problems),
            Self::Numeric(numeric) => numeric.transform.check(name, problems),
            Self::Bag(bag) => {
                bag.coding.check(name, problems);
                problems.require(bag.pooling != Pooling::Interpolate, || {
                    format!("feature {name:?}: a bag is pooled by sum, mean or keep; interpolate is how embedded numbers are read")
                });
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

impl From<Cross> for Feature {
    fn from(cross: Cross) -> Self {
        Self::Cross(cross)
    }
}

//! The declaration of what a log's columns mean.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Sequence;
use super::feature::{Bag, Categorical, Cross, Feature, Numeric};
use super::statistics::{self, StatisticsFeatures, TargetStatistics};
use super::target::Label;
use crate::error::{Error, Problems, Result};

/// What the columns of a log mean: which columns are features and of what kind, which are labels, and which one has the domain.
///
/// You write a schema by hand. Columns that it does not name are not read. Everything that depends on the rows (vocabularies, means, the list of
/// domains) is not part of it: an [`Encoder`](super::Encoder) learns that.
///
/// ```
/// use starple::data::{Categorical, Numeric, Schema};
///
/// let schema = Schema::builder()
///     .categorical("item")
///     .feature(Categorical::new("user").min_count(2))
///     .feature(Numeric::new("price").signed_log())
///     .bag("genres", "|")
///     .domain("page")
///     .label("click")
///     .build()?;
/// assert_eq!(schema.labels(), ["click"]);
/// # Ok::<(), starple::Error>(())
/// ```
///
/// A schema can also be read from a file with serde. It then passes the same check as in [`SchemaBuilder::build`]:
///
/// ```
/// # use starple::data::Schema;
/// let text = r#"{
///     "features": [
///         {"kind": "categorical", "name": "user", "coding": {"vocabulary": {"min_count": 2}}},
///         {"kind": "numeric", "name": "price", "transform": "signed_log"},
///         {"kind": "bag", "name": "genres", "separator": "|", "pooling": "sum"}
///     ],
///     "domain": "page",
///     "labels": ["click", "click"]
/// }"#;
/// let error = serde_json::from_str::<Schema>(text).unwrap_err();
/// assert!(error.to_string().starts_with("Schema: label \"click\": named twice"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SchemaBuilder")]
pub struct Schema {
    features: Vec<Feature>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sequences: Vec<Sequence>,
    domain: Option<String>,
    #[serde(rename = "labels")]
    tasks: Vec<Label>,
    /// The names of `tasks`.
    #[serde(skip)]
    labels: Vec<String>,
    weight: Option<String>,
    split: Option<String>,
    group: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    target_statistics: TargetStatistics,
}

fn is_default(settings: &TargetStatistics) -> bool {
    *settings == TargetStatistics::default()
}

impl Schema {
    /// Returns an empty builder. Add at least one feature, then call [`SchemaBuilder::build`].
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder::default()
    }

    /// Returns the features, which are the inputs of a model, in the order in which they were added.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The features, for an encoder to put in what it chose.
    pub(super) fn features_mut(&mut self) -> &mut [Feature] {
        &mut self.features
    }

    /// The sequences of events: bags whose values belong together.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Returns the name of the column that has the domain of each row. `None` means that all rows belong to one domain, named `all`.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Returns the label columns with the kinds of their tasks, in the order in which they were added.
    pub fn tasks(&self) -> &[Label] {
        &self.tasks
    }

    /// Returns the names of the label columns, in the order in which they were added. Each label column is a task: the model predicts its
    /// labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the name of the column that has the weight of each row. A weight multiplies the part of its row in the loss and in metrics.
    /// `None` means that every row has the weight 1.
    pub fn weight(&self) -> Option<&str> {
        self.weight.as_deref()
    }

    /// Returns the name of the column that says to which split (`train`, `val` or `test`) a row belongs, or `None` if there is no such column.
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// Returns the name of the column that has the group of each row, for example its user, or `None` if there is no such column. Metrics such
    /// as [GAUC](crate::metrics::gauc()) compare scores within a group.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Which features have statistics of earlier labels, and how they are computed.
    pub fn target_statistics(&self) -> &TargetStatistics {
        &self.target_statistics
    }

    /// Returns a copy of the schema without the label, weight, split and group columns. Use it to read rows that have no labels yet.
    pub fn unlabelled(&self) -> Self {
        Self {
            features: self.features.clone(),
            sequences: self.sequences.clone(),
            domain: self.domain.clone(),
            tasks: Vec::new(),
            labels: Vec::new(),
            weight: None,
            split: None,
            group: None,
            // What an encoder has fitted does not depend on it.
            target_statistics: TargetStatistics::default(),
        }
    }
}

/// Collects the features and columns of a [`Schema`]; start with [`Schema::builder`]. The methods that add or set something do not fail:
/// [`SchemaBuilder::build`] checks everything and returns the errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaBuilder {
    #[serde(default)]
    features: Vec<Feature>,
    #[serde(default)]
    sequences: Vec<Sequence>,
    #[serde(default)]
    domain: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    weight: Option<String>,
    #[serde(default)]
    split: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    target_statistics: TargetStatistics,
}

impl SchemaBuilder {
    /// Adds a feature with its options: a [`Categorical`], [`Numeric`], [`Bag`], [`Cross`] or [`Feature`]. Features keep the order in which they are added.
    pub fn feature(mut self, feature: impl Into<Feature>) -> Self {
        self.features.push(feature.into());
        self
    }

    /// Adds a [`Categorical`] feature with default options: each row has one value in the column `name`, and every value in the rows on which
    /// the encoder is fitted gets its own id.
    pub fn categorical(self, name: impl Into<String>) -> Self {
        self.feature(Categorical::new(name))
    }

    /// Adds a [`Numeric`] feature with default options: each row has one number in the column `name`, or an empty cell. The training rows
    /// decide how it is encoded: see [`Transform::Auto`](super::Transform::Auto).
    pub fn numeric(self, name: impl Into<String>) -> Self {
        self.feature(Numeric::new(name))
    }

    /// Adds a [`Bag`] feature with default options: each row has a list of values in the column `name`. The text of a cell is split at
    /// `separator`, and the vectors of its values are averaged.
    pub fn bag(self, name: impl Into<String>, separator: impl Into<String>) -> Self {
        self.feature(Bag::new(name, separator))
    }

    /// Adds a [`Cross`] with default options: a feature whose values are the combinations of the values of these columns.
    pub fn cross<S: Into<String>>(self, name: impl Into<String>, columns: impl IntoIterator<Item = S>) -> Self {
        self.feature(Cross::new(name, columns))
    }

    /// Adds a sequence of events: bag features, which are declared by themselves, whose values belong together.
    pub fn sequence(mut self, sequence: Sequence) -> Self {
        self.sequences.push(sequence);
        self
    }

    /// Sets the name of the column that has the domain of each row. Without this column, all rows belong to one domain, named `all`.
    pub fn domain(mut self, column: impl Into<String>) -> Self {
        self.domain = Some(column.into());
        self
    }

    /// Adds a label column. Each label column is a task: the model predicts its labels. The name of a column alone means a binary task, whose
    /// cells are 0 and 1; a [`Label`] can be of another kind. A cell is empty if the label is missing. For a cell that the kind does not allow,
    /// reading a log returns an error.
    pub fn label(mut self, column: impl Into<Label>) -> Self {
        self.labels.push(column.into());
        self
    }

    /// Adds several label columns, in this order. Each is added as by [`SchemaBuilder::label`].
    pub fn labels<S: Into<Label>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.labels.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Sets the name of the column that has the weight of each row. A weight multiplies the part of its row in the loss and in metrics. Each
    /// must be a finite number of at least 0; otherwise reading a log returns an error. Without this column, every row has the weight 1.
    pub fn weight(mut self, column: impl Into<String>) -> Self {
        self.weight = Some(column.into());
        self
    }

    /// Sets the name of the column that says to which split a row belongs: `train`, `val` or `test`. [`Table::split`](super::Table::split) and
    /// [`Splits::of_table`](super::Splits::of_table) need it. By default there is no such column.
    pub fn split(mut self, column: impl Into<String>) -> Self {
        self.split = Some(column.into());
        self
    }

    /// Sets the name of the column that has the group of each row, for example a user or a session. Metrics such as
    /// [GAUC](crate::metrics::gauc()) compare scores within a group. By default there are no groups.
    pub fn group(mut self, column: impl Into<String>) -> Self {
        self.group = Some(column.into());
        self
    }

    /// Which features have statistics of earlier labels, and how they are computed. Default: features with many values
    /// ([`StatisticsFeatures::Auto`]), in a random order, with fitted strengths.
    pub fn target_statistics(mut self, settings: TargetStatistics) -> Self {
        self.target_statistics = settings;
        self
    }

    /// Checks all features and columns, and returns the schema.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with a message that names every problem:
    ///
    /// * There is no feature, two features have the same name, or a feature has the name `age?` while a numeric feature is named `age`.
    /// * The name of a feature, table, label, weight, split, domain or group is empty.
    /// * The separator of a bag is empty, or a setting of a feature is out of its range.
    /// * Two features use the same embedding table but have a different [`Coding`](super::Coding) or width. A numeric feature that is embedded
    ///   must have a table of its own.
    /// * A sequence has features that are no bags, or attention without the targets that it needs.
    /// * A label, split or weight column is named twice, or it also has another use: as one of the other two, a feature, the domain or the
    ///   group.
    pub fn build(self) -> Result<Schema> {
        let mut problems = Problems::default();
        self.check_features(&mut problems);
        self.check_tables(&mut problems);
        Sequence::check_all(&self.sequences, &self.features, &mut problems);
        self.check_roles(&mut problems);
        self.check_statistics(&mut problems);
        problems.into_result("Schema")?;
        let Self { features, sequences, domain, labels: tasks, weight, split, group, target_statistics } = self;
        let labels = tasks.iter().map(|label| label.name().to_owned()).collect();
        Ok(Schema { features, sequences, domain, tasks, labels, weight, split, group, target_statistics })
    }

    /// The names of statistics are free, and no setting of them is without effect.
    fn check_statistics(&self, problems: &mut Problems) {
        let settings = &self.target_statistics;
        let of_all = settings.features() != StatisticsFeatures::None;
        let on = |feature: &&Feature| feature.has_one_id() && feature.statistics().unwrap_or(of_all);
        // Every label of a name, as the next check reports labels that are listed twice.
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for feature in self.features.iter().filter(|feature| matches!(feature, Feature::Numeric(_))) {
            taken.insert(feature.name().to_owned(), feature.name());
        }
        let binary = self.labels.iter().filter(|label| label.kind().is_binary());
        let labels: BTreeSet<&str> = binary.map(Label::name).collect();
        for feature in self.features.iter().filter(on) {
            for name in statistics::names(feature.name(), labels.iter().copied()) {
                let other = taken.insert(name.clone(), feature.name()).filter(|other| *other != feature.name());
                problems.require(other.is_none(), || {
                    let (other, feature) = (other.unwrap_or_default(), feature.name());
                    format!("feature {other:?}: the name {name:?} is kept for the target statistics of {feature:?}")
                });
            }
        }
        for feature in self.features.iter().filter(|feature| feature.statistics() == Some(true)) {
            problems.require(self.labels.is_empty() || !labels.is_empty(), || {
                format!(
                    "feature {:?}: statistics have no effect without a binary label; leave them out",
                    feature.name()
                )
            });
        }
        if let Some(setting) = settings.details().filter(|_| !self.features.iter().any(|feature| on(&feature))) {
            problems.require(false, || {
                format!("target_statistics: {setting} has no effect, as no feature has statistics; leave it out")
            });
        }
        problems.require(settings.domain_strength().is_none() || self.domain.is_some(), || {
            "target_statistics: domain_strength has no effect without a domain column; leave it out".into()
        });
    }

    fn check_features(&self, problems: &mut Problems) {
        problems.require(!self.features.is_empty(), || "features: at least one".into());
        let mut names = HashSet::new();
        for feature in &self.features {
            let name = feature.name();
            feature.check(problems);
            problems
                .require(names.insert(name), || format!("feature {name:?}: named twice (give one of the two a name)"));
        }
        for feature in self.features.iter().filter(|feature| matches!(feature, Feature::Numeric(_))) {
            let of_bins = |name: &&str| {
                let number = name.strip_prefix(feature.name())?.strip_prefix('[')?.strip_suffix(']')?;
                (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(())
            };
            for name in self.features.iter().map(Feature::name).filter(|name| of_bins(name).is_some()) {
                problems.require(false, || {
                    format!("feature {name:?}: the name is kept for a piecewise encoding of {:?}", feature.name())
                });
            }
        }
        for feature in &self.features {
            let indicator = format!("{}?", feature.name());
            let taken = matches!(feature, Feature::Numeric(_)) && names.contains(indicator.as_str());
            problems.require(!taken, || {
                format!("feature {indicator:?}: the name is kept for the missing values of {:?}", feature.name())
            });
        }
    }

    /// Features of one table have one coding and one width.
    fn check_tables(&self, problems: &mut Problems) {
        let mut first: HashMap<&str, &Feature> = HashMap::new();
        for feature in &self.features {
            let Some(table) = feature.table() else { continue };
            let Some(other) = first.get(table) else {
                first.insert(table, feature);
                continue;
            };
            let (name, other_name) = (feature.name(), other.name());
            if name == other_name {
                continue;
            }
            problems.require(feature.coding().is_some() && feature.coding() == other.coding(), || {
                format!("table {table:?}: {other_name:?} and {name:?} need the same coding, and numbers a table of their own")
            });
            problems.require(feature.dim() == other.dim(), || {
                format!("table {table:?}: {other_name:?} and {name:?} need the same dim")
            });
        }
    }

    fn check_roles(&self, problems: &mut Problems) {
        // Uses that shut out every other use of the column, then those that do not.
        let mut exclusive = HashMap::new();
        let labels = self.labels.iter().map(|label| ("label", label.name()));
        let weight = self.weight.iter().map(|column| ("weight", column.as_str()));
        let split = self.split.iter().map(|column| ("split", column.as_str()));
        self.labels.iter().for_each(|label| label.check(problems));
        for (role, column) in labels.chain(weight).chain(split) {
            problems.require(!column.is_empty(), || format!("{role}: a column name that is not empty"));
            match exclusive.insert(column, role) {
                None => {}
                Some(other) if other == role => problems.require(false, || format!("{role} {column:?}: named twice")),
                Some(other) => problems.require(false, || format!("column {column:?}: both {other} and {role}")),
            }
        }
        let columns = self.features.iter().flat_map(Feature::columns);
        let features = columns.map(|column| ("feature", column.as_str()));
        let domain = self.domain.iter().map(|column| ("domain", column.as_str()));
        let group = self.group.iter().map(|column| ("group", column.as_str()));
        let time = self.target_statistics.time().map(|column| ("target_statistics.order.time", column));
        for (role, column) in features.chain(domain).chain(group).chain(time) {
            if let Some(other) = exclusive.get(column) {
                problems.require(false, || format!("column {column:?}: both {other} and {role}"));
            }
        }
        for (role, column) in [("domain", &self.domain), ("group", &self.group)] {
            let empty = column.as_ref().is_some_and(String::is_empty);
            problems.require(!empty, || format!("{role}: a column name that is not empty"));
        }
    }
}

impl TryFrom<SchemaBuilder> for Schema {
    type Error = Error;

    fn try_from(builder: SchemaBuilder) -> Result<Self> {
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pooling;

    fn complete() -> Schema {
        Schema::builder()
            .categorical("user")
            .feature(Categorical::new("user_hash").column("user").hashed(100))
            .feature(Categorical::new("slot").ids(8))
            .numeric("age")
            .feature(Numeric::new("price").signed_log())
            .feature(Numeric::new("bid").unscaled())
            .feature(Numeric::new("price_bucket").column("price").buckets(10))
            .feature(Bag::new("genres", "|").pooling(Pooling::Sum).min_count(3))
            .feature(Cross::new("user_x_slot", ["user", "slot"]).hashed(50).dim(4))
            .domain("page")
            .labels(["click", "buy"])
            .weight("weight")
            .split("split")
            .group("user")
            .build()
            .unwrap()
    }

    #[test]
    fn json_round_trip() {
        let schema = complete();
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
        assert_eq!(schema.features()[1].columns(), ["user"]);
        assert_eq!(schema.features()[1].name(), "user_hash");
    }

    #[test]
    fn short_forms_take_the_defaults() {
        let text = r#"{"features": [{"kind": "categorical", "name": "a"}, {"kind": "numeric", "name": "b"},
            {"kind": "bag", "name": "c", "separator": ","}], "labels": ["y"]}"#;
        let by_hand = Schema::builder().categorical("a").numeric("b").bag("c", ",").label("y").build().unwrap();
        assert_eq!(serde_json::from_str::<Schema>(text).unwrap(), by_hand);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            r#"{"features": [{"kind": "categorical", "name": "a"}], "lables": ["y"]}"#,
            r#"{"features": [{"kind": "categorical", "name": "a", "mincount": 2}]}"#,
            r#"{"features": [{"kind": "categorical", "name": "a", "coding": {"vocabulary": {"min": 2}}}]}"#,
            r#"{"features": [{"kind": "text", "name": "a"}]}"#,
        ] {
            let error = serde_json::from_str::<Schema>(text).unwrap_err().to_string();
            assert!(error.contains("unknown"), "{error}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let error = Schema::builder()
            .categorical("click")
            .feature(Categorical::new("a").min_count(0))
            .feature(Categorical::new("a").hashed(0))
            .feature(Numeric::new("age").buckets(1))
            .categorical("age?")
            .bag("tags", "")
            .cross("twice", ["u", "u"])
            .feature(Cross::new("of_ids", ["", "click"]).ids(9))
            .cross("one", ["u"])
            .label("click")
            .label("click")
            .weight("click")
            .split("s")
            .domain("s")
            .group("")
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Schema: feature \"a\": min_count >= 1, found 0; \
             feature \"a\": 1 <= buckets < 2^32, found 0; \
             feature \"a\": named twice (give one of the two a name); \
             feature \"age\": 2 <= buckets < 2^32 - 1, found 1; \
             feature \"tags\": a separator that is not empty; \
             feature \"twice\": columns: \"u\" is listed twice; \
             feature \"of_ids\": columns: names that are not empty, found one at position 0; \
             feature \"of_ids\": coding: a combination is no id; use hashed or vocabulary; \
             feature \"one\": columns: at least two to combine, found 1; \
             feature \"age?\": the name is kept for the missing values of \"age\"; \
             label \"click\": named twice; \
             column \"click\": both label and weight; \
             column \"click\": both weight and feature; \
             column \"click\": both weight and feature; \
             column \"s\": both split and domain; \
             group: a column name that is not empty"
        );
    }

    #[test]
    fn no_feature_is_a_problem() {
        let error = Schema::builder().label("click").build().unwrap_err();
        assert_eq!(error.to_string(), "Schema: features: at least one");
    }

    #[test]
    fn an_unlabelled_schema_keeps_features_and_domain() {
        let schema = complete().unlabelled();
        assert_eq!(schema.features(), complete().features());
        assert_eq!(schema.domain(), Some("page"));
        assert!(schema.labels().is_empty() && schema.weight().is_none() && schema.split().is_none());
    }
}

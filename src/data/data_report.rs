//! Counts of values that the encoder does not know, of missing numbers, and of rows that were left out.

use serde::Serialize;

use super::{Batch, Encoder, NumberReport, OwnHistory, StatisticsStrengths, Table};
use crate::error::{Result, quoted};

/// A value for each of the three splits: training, validation and test rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BySplit<T> {
    /// The value for the training rows.
    pub train: T,
    /// The value for the validation rows.
    pub val: T,
    /// The value for the test rows.
    pub test: T,
}

impl<T> BySplit<T> {
    fn of(mut value: impl FnMut(usize) -> T) -> Self {
        Self { train: value(0), val: value(1), test: value(2) }
    }

    fn named(&self) -> [(&'static str, &T); 3] {
        [("train", &self.train), ("val", &self.val), ("test", &self.test)]
    }
}

/// How many values of a feature are unknown, or how many of its cells are empty, out of how many in total: `count` out of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// The number of unknown values, or of empty cells. It is at most `of`.
    pub count: usize,
    /// The number of all values, including unknown ones, or of all cells, including empty ones. A row has one cell and one value of each
    /// feature. For a [`Bag`](super::Bag) feature, it can have any number of values.
    pub of: usize,
}

impl Share {
    /// Returns true if `count` is more than half of `of`. The result is false if both are 0.
    pub fn is_most(self) -> bool {
        self.count > self.of / 2
    }
}

/// How many values of one feature are unknown, or how many of its cells are empty, for each split. [`DataReport::unknown`] lists the unknown
/// values, and [`DataReport::missing`] the empty cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeatureShare {
    /// The name of the feature in the schema.
    pub feature: String,
    /// The number of unknown values, or of empty cells, in each split, with the number of all values or cells of the feature in that split.
    #[serde(flatten)]
    pub splits: BySplit<Share>,
}

/// The rows that were treated in a special way because of one value in the split column or the domain column. In [`DataReport::left_out`] they
/// were left out; in [`DataReport::shared`] they got the id [`DomainId::SHARED`](super::DomainId::SHARED).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The name of the column that has the value: the split column or the domain column.
    pub column: String,
    /// The value in that column, for example the name of an unknown domain.
    pub value: String,
    /// The split that the rows belong to: `val` or `test`. It is `None` if `column` is the split column, because such rows belong to no split.
    pub split: Option<&'static str>,
    /// The number of rows with this value in this split, at least 1.
    pub rows: usize,
    #[serde(skip)]
    pub(super) first: u32,
}

impl LeftOut {
    /// An entry without rows; `first` is the number of the first row.
    pub(super) fn new(column: &str, value: &str, split: Option<&'static str>, first: u32) -> Self {
        Self { column: column.to_owned(), value: value.to_owned(), split, rows: 0, first }
    }

    pub(super) fn in_split(self, split: &'static str) -> Self {
        Self { split: Some(split), ..self }
    }
}

/// Counts of unknown values, empty cells, and rows that were left out or have an unknown domain. Functions that encode [`Splits`](super::Splits)
/// make this report. If the [`SplitOptions`](super::SplitOptions) do not allow such rows, these functions return an error instead.
///
/// If most values of a feature are unknown in the validation or test split, that split probably spells them differently from the training
/// split.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct DataReport {
    /// The number of encoded rows in each split. Rows that were left out are not counted.
    pub rows: BySplit<usize>,
    /// For each feature with a vocabulary ([`Coding::Vocabulary`](super::Coding::Vocabulary)), how many of its values are unknown, in the order
    /// of the schema. A value is unknown, and has id 0, if it occurs in the training rows less often than the feature's `min_count`, for example
    /// never.
    pub unknown: Vec<FeatureShare>,
    /// For each numeric feature, how many of its cells are empty. The features are in the order of the schema.
    pub missing: Vec<FeatureShare>,
    /// For each numeric feature, how it is encoded, and its distribution among the training rows.
    pub numbers: Vec<NumberReport>,
    /// For each feature with [target statistics](super::TargetStatistics) and each binary task, the strengths of the priors.
    pub statistics: Vec<StatisticsStrengths>,
    /// The rows that were left out because of their split or domain. There is one entry for each value of the split column, and one for each
    /// domain and split. The list is empty if no rows were left out.
    pub left_out: Vec<LeftOut>,
    /// The rows that were kept although no training row has their domain: they got the id [`DomainId::SHARED`](super::DomainId::SHARED). There
    /// is one entry for each domain and split. The list is empty if there are no such rows.
    pub shared: Vec<LeftOut>,
    /// For each sequence that has a target, how often the targets of training rows are in their own histories.
    pub own_history: Vec<OwnHistory>,
    /// Warnings about probable mistakes in the data, one sentence each. The list is empty if there are none.
    pub warnings: Vec<String>,
}

impl DataReport {
    pub(super) fn new(
        encoder: &Encoder,
        batches: BySplit<&Batch>,
        tables: [(&Table, &[u32]); 3],
        numbers: Vec<NumberReport>,
        [left_out, shared]: [Vec<LeftOut>; 2],
    ) -> Result<Self> {
        let batches = [batches.train, batches.val, batches.test];
        let unknown = shares(&batches.map(|batch| encoder.unknown_values(batch)));
        let [train, val, test] = tables.map(|(table, rows)| encoder.missing_numbers(table, rows));
        let missing = shares(&[train?, val?, test?]);
        let rows = BySplit::of(|split| batches[split].rows());
        let (statistics, warnings) = (encoder.statistics(), encoder.warnings());
        let own_history = OwnHistory::all(encoder, batches[0]);
        let mut report = Self { rows, unknown, missing, numbers, statistics, left_out, shared, own_history, warnings };
        report.warn();
        Ok(report)
    }

    fn warn(&mut self) {
        let mut warnings = Vec::new();
        for FeatureShare { feature, splits } in &self.unknown {
            for (split, share) in splits.named().into_iter().filter(|(_, share)| share.is_most()) {
                let why = match split {
                    "train" => "occur fewer times than its min_count",
                    _ => "are in no training row (or in too few): are they written as there?",
                };
                let Share { count, of } = share;
                warnings
                    .push(format!("feature {}: {count} of {of} values of the {split} split {why}", quoted(feature)));
            }
        }
        for FeatureShare { feature, splits } in &self.missing {
            let train = splits.train;
            for (split, share) in
                splits.named().into_iter().skip(1).filter(|(_, share)| share.is_most() && !train.is_most())
            {
                let Share { count, of } = share;
                warnings.push(format!(
                    "feature {}: {count} of {of} cells of the {split} split are empty, and {} of {} of the training rows",
                    quoted(feature),
                    train.count,
                    train.of
                ));
            }
        }
        for (rows, done) in [(&self.left_out, "left out"), (&self.shared, "scored by the shared path")] {
            for LeftOut { column, value, split, rows, .. } in rows {
                let of = split.map_or_else(String::new, |split| format!(" of the {split} split"));
                let (column, value, plural) = (quoted(column), quoted(value), if *rows == 1 { "row" } else { "rows" });
                warnings.push(format!("{done}: {rows} {plural}{of} with {value} in column {column}"));
            }
        }
        warnings.extend(self.own_history.iter().filter_map(OwnHistory::warning));
        self.warnings.extend(warnings);
    }
}

/// Turns lists of features per split into lists of splits per feature.
fn shares(splits: &[Vec<(String, Share)>; 3]) -> Vec<FeatureShare> {
    let names = splits[0].iter().map(|(name, _)| name.clone()).enumerate();
    names.map(|(i, feature)| FeatureShare { feature, splits: BySplit::of(|split| splits[split][i].1) }).collect()
}

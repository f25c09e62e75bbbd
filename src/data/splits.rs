//! Training, validation and test rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data_report::{BySplit, DataReport, LeftOut};
use super::names::closest;
use super::{DataSet, Encoder, Layout, Schema, Table, UnknownDomain};
use crate::error::{Error, ErrorKind, Result, quoted};

/// The values of a split column.
const NAMES: [&str; 3] = ["train", "val", "test"];

/// How many values an error text or warning lists.
const LISTED: usize = 10;

/// What [`Splits`] do with validation and test rows whose domain no training row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDomainRows {
    /// Encoding returns an error of [`ErrorKind::UnknownDomain`]. Its message lists these domains, each with its number of rows. This is the
    /// default.
    #[default]
    Error,
    /// The rows are kept and get the id [`DomainId::SHARED`](super::DomainId::SHARED), whose documentation says how models score them. The
    /// encoder is set to [`UnknownDomain::Shared`], so that it gives this id also to rows that it encodes later, for example in serving.
    Shared,
    /// The rows are left out, and [`DataReport::left_out`] counts them. If a split then has no rows, encoding returns an error of
    /// [`ErrorKind::UnknownDomain`].
    Drop,
}

/// What [`Splits::of_table`] does with rows whose value in the split column is not `train`, `val` or `test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSplitRows {
    /// It returns an error of [`ErrorKind::Data`]. The message lists these values, each with its number of rows. This is the default, because a
    /// value such as `Train` is probably a mistake.
    #[default]
    Error,
    /// The rows are left out, and [`DataReport::left_out`] counts them.
    Drop,
}

/// What [`Splits`] do with rows that have an unknown domain or an unknown split. By default, encoding returns an error for both. In a run file
/// of the `train` example, the keys `unknown_domain` and `unknown_split` of `[data]` set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitOptions {
    /// What to do with validation and test rows whose domain no training row has. By default, encoding returns an error.
    pub unknown_domain: UnknownDomainRows,
    /// What to do with rows whose value in the split column is not `train`, `val` or `test`. By default, [`Splits::of_table`] returns an error.
    /// Other functions do not use this option.
    pub unknown_split: UnknownSplitRows,
}

/// The training, validation and test rows of a log, encoded by one encoder that is fitted on the training rows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Splits {
    /// The encoder that was fitted on the training rows. It is `None` if [`Splits::of_sets`] made the splits.
    pub encoder: Option<Encoder>,
    /// The layout of all three splits: the names and sizes of their fields, numeric inputs, domains and tasks. Build the model's settings with
    /// it.
    pub layout: Layout,
    /// The training rows. The encoder and the model learn from these rows only.
    pub train: Arc<DataSet>,
    /// The validation rows. After each epoch, training measures the model on them, to stop early and to choose the best epoch.
    pub val: DataSet,
    /// The test rows. They are for measuring the trained model at the end; training does not use them.
    pub test: DataSet,
    /// Counts of unknown values, empty cells, and rows that were left out. If [`Splits::of_sets`] made the splits, nothing is counted: all
    /// counts are 0, and all lists are empty.
    pub report: DataReport,
}

impl Splits {
    /// Makes splits from three data sets that are encoded already. The layout of the splits is that of `train`. This function does not check
    /// that `val` and `test` have the same layout.
    pub fn of_sets(train: impl Into<Arc<DataSet>>, val: DataSet, test: DataSet) -> Self {
        let train = train.into();
        Self { encoder: None, layout: train.layout().clone(), train, val, test, report: DataReport::default() }
    }

    /// Encodes training, validation and test rows. `parts` has three entries, for these splits in this order. Each entry is a table and the
    /// numbers of the rows of this table that belong to the split, counted from 0. The encoder is fitted on the training rows only.
    ///
    /// # Errors
    /// * The errors of [`Encoder::fit`], [`Encoder::encode_training`] and [`Encoder::encode`].
    /// * [`ErrorKind::UnknownDomain`] if validation or test rows have a domain that no training row has, and [`SplitOptions::unknown_domain`] is
    ///   [`UnknownDomainRows::Error`]. Also if such rows were left out, and a split then has no rows.
    /// * [`ErrorKind::Data`] if all rows of a split have the weight 0.
    ///
    /// # Panics
    /// If a row number is not less than the number of rows of its table.
    pub fn encode(schema: &Schema, parts: [(&Table, &[u32]); 3], options: SplitOptions) -> Result<Self> {
        Self::encode_all(schema, parts, options, Vec::new())
    }

    /// Encodes the rows of one table. The split column of the schema says to which split a row belongs: its value is `train`, `val` or `test`.
    ///
    /// # Errors
    /// * [`ErrorKind::Config`] if the schema has no split column.
    /// * [`ErrorKind::Data`] if one of these three values is in no row. Also if rows have other values, and [`SplitOptions::unknown_split`] is
    ///   [`UnknownSplitRows::Error`]. The message lists the values that were found.
    /// * The errors of [`Splits::encode`].
    pub fn of_table(schema: &Schema, table: &Table, options: SplitOptions) -> Result<Self> {
        let strangers = strangers(table)?;
        if let (false, UnknownSplitRows::Error) = (strangers.is_empty(), options.unknown_split) {
            return Err(unknown_splits(table, &strangers));
        }
        let [train, val, test] = NAMES.map(|split| table.split(split));
        Self::encode_all(schema, [(table, &train?), (table, &val?), (table, &test?)], options, strangers)
    }

    fn encode_all(
        schema: &Schema,
        parts: [(&Table, &[u32]); 3],
        options: SplitOptions,
        mut left_out: Vec<LeftOut>,
    ) -> Result<Self> {
        let [(table, rows), ..] = parts;
        let (mut encoder, numbers) = Encoder::fit_and_report(schema, table, rows)?;
        let unknown = unknown_domains(&encoder, parts)?;
        let mut rows = parts.map(|(_, rows)| rows.to_vec());
        if !unknown.is_empty() {
            match options.unknown_domain {
                UnknownDomainRows::Error => return Err(error_of_domains(&encoder, parts, &unknown)),
                UnknownDomainRows::Shared => encoder = encoder.on_unknown_domain(UnknownDomain::Shared),
                UnknownDomainRows::Drop => {
                    for ((table, _), rows) in parts.iter().zip(&mut rows) {
                        encoder.retain_known_domains(table, rows)?;
                    }
                    left_out.extend(unknown.iter().cloned());
                    if let Some((_, name)) = rows.iter().zip(NAMES).find(|(rows, _)| rows.is_empty()) {
                        let text = format!("all rows of the {name} split belong to domains that no training row has");
                        return Err(Error::new(ErrorKind::UnknownDomain, text).at_path(table.source()));
                    }
                }
            }
        } else if options.unknown_domain == UnknownDomainRows::Shared {
            // Serving can meet unknown domains even if these rows have none.
            encoder = encoder.on_unknown_domain(UnknownDomain::Shared);
        }
        let encode = |split: usize| {
            let (table, rows) = (parts[split].0, &rows[split]);
            let batch = if split == 0 { encoder.encode_training(table, rows)? } else { encoder.encode(table, rows)? };
            check_weights(&batch, table, NAMES[split])?;
            Ok::<_, Error>(batch)
        };
        let (train, val, test) = (encode(0)?, encode(1)?, encode(2)?);
        let shared = if options.unknown_domain == UnknownDomainRows::Shared { unknown } else { Vec::new() };
        let tables = [0, 1, 2].map(|split| (parts[split].0, &rows[split][..]));
        let batches = BySplit { train: &*train, val: &*val, test: &*test };
        let report = DataReport::new(&encoder, batches, tables, numbers, [left_out, shared])?;
        let layout = encoder.layout().clone();
        Ok(Self { encoder: Some(encoder), layout, train: Arc::new(train), val, test, report })
    }
}

/// Returns an error if all weights of a split are 0: then there is nothing to learn or measure.
fn check_weights(batch: &DataSet, table: &Table, split: &str) -> Result<()> {
    if batch.weights.is_empty() || batch.weights.iter().any(|&weight| weight > 0.0) {
        return Ok(());
    }
    let text = format!("all {} rows of the {split} split weigh 0", batch.rows());
    Err(Error::new(ErrorKind::Data, text).at_path(table.source()).with_help("leave `weight` out if all rows weigh 1"))
}

/// The values of the split column that are not a split.
fn strangers(table: &Table) -> Result<Vec<LeftOut>> {
    let (column, text) = table.split_column()?;
    let mut found: Vec<LeftOut> = Vec::new();
    let mut places = vec![None; text.dictionary.len()];
    for (row, &code) in text.codes.iter().enumerate() {
        let value = &*text.dictionary[code as usize];
        if NAMES.contains(&value) {
            continue;
        }
        let place = *places[code as usize].get_or_insert_with(|| {
            found.push(LeftOut::new(column, value, None, row as u32));
            found.len() - 1
        });
        found[place].rows += 1;
    }
    Ok(found)
}

fn unknown_splits(table: &Table, strangers: &[LeftOut]) -> Error {
    let rows: usize = strangers.iter().map(|stranger| stranger.rows).sum();
    let list = described(strangers, &NAMES);
    let text = format!("expected train, val or test, found something else in {rows} of {} rows: {list}", table.rows());
    table
        .locate(Error::new(ErrorKind::Data, text), strangers[0].first, &strangers[0].column)
        .with_help("correct them, or set unknown_split = \"drop\" to leave these rows out")
}

/// The domains of validation and test rows that the encoder does not know.
fn unknown_domains(encoder: &Encoder, parts: [(&Table, &[u32]); 3]) -> Result<Vec<LeftOut>> {
    let mut found = Vec::new();
    for ((table, rows), split) in parts.into_iter().zip(NAMES) {
        found.extend(encoder.unknown_domains(table, rows)?.into_iter().map(|domain| domain.in_split(split)));
    }
    Ok(found)
}

fn error_of_domains(encoder: &Encoder, parts: [(&Table, &[u32]); 3], unknown: &[LeftOut]) -> Error {
    let rows: usize = unknown.iter().map(|domain| domain.rows).sum();
    let list = described(unknown, &encoder.layout().domains);
    let plural = if rows == 1 { "row belongs" } else { "rows belong" };
    let text = format!("{rows} validation or test {plural} to domains that no training row has: {list}");
    let split = NAMES.iter().position(|&name| Some(name) == unknown[0].split).unwrap_or_default();
    let error = Error::new(ErrorKind::UnknownDomain, text).with_help(
        "set unknown_domain = \"shared\" to score such rows by the shared path, or \"drop\" to leave them out",
    );
    parts[split].0.locate(error, unknown[0].first, &unknown[0].column)
}

/// `"Train" (3 rows; did you mean "train"?), "trian" (1 row)`.
fn described<S: AsRef<str>>(values: &[LeftOut], known: &[S]) -> String {
    let one = |left: &LeftOut| {
        let plural = if left.rows == 1 { "" } else { "s" };
        let split = left.split.map(|split| format!(" of {split}")).unwrap_or_default();
        let meant = closest(left.value.trim(), known).map(|name| format!("; did you mean {}?", quoted(name)));
        format!("{} ({} row{plural}{split}{})", quoted(&left.value), left.rows, meant.unwrap_or_default())
    };
    let shown: Vec<String> = values.iter().take(LISTED).map(one).collect();
    match values.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

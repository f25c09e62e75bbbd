//! Rows to learn from, to stop by, and to be judged on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data_report::{BySplit, DataReport, LeftOut};
use super::names::closest;
use super::{DataSet, Encoder, Layout, Schema, Table, UnknownDomain};
use crate::error::{Error, ErrorKind, Result, quoted};

/// The values of a split column.
const NAMES: [&str; 3] = ["train", "val", "test"];

/// How many values an error or warning lists.
const LISTED: usize = 10;

/// What to do with validation and test rows of a domain that no training row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDomainRows {
    /// They are an error that counts and names them (the default).
    #[default]
    Error,
    /// They keep their place, and models answer by their shared path ([`UnknownDomain::Shared`]), in service too.
    Shared,
    /// They are left out, and counted in [`DataReport::left_out`].
    Drop,
}

/// What to do with rows whose split column holds none of `train`, `val` and `test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSplitRows {
    /// They are an error that counts and names them (the default): `Train` is likely a mistake.
    #[default]
    Error,
    /// They are left out, and counted in [`DataReport::left_out`].
    Drop,
}

/// What to do with rows that have no place in [`Splits`]. Run files have keys of the same names in `[data]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitOptions {
    /// Rows of a domain that no training row has.
    pub unknown_domain: UnknownDomainRows,
    /// Rows of no split.
    pub unknown_split: UnknownSplitRows,
}

/// The three splits of a log, encoded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Splits {
    /// What encoded them, fitted on the first part; none where rows never were text.
    pub encoder: Option<Encoder>,
    /// Fields, domains and tasks of all three.
    pub layout: Layout,
    /// What models learn from.
    pub train: Arc<DataSet>,
    /// What early stop and the choice of the best epoch look at.
    pub val: DataSet,
    /// What models are judged by. No training run sees it.
    pub test: DataSet,
    /// What of the rows is unknown to the encoder, missing or left out; empty where rows never were text.
    pub report: DataReport,
}

impl Splits {
    /// Splits of rows that are ids already.
    pub fn of_sets(train: impl Into<Arc<DataSet>>, val: DataSet, test: DataSet) -> Self {
        let train = train.into();
        Self { encoder: None, layout: train.layout().clone(), train, val, test, report: DataReport::default() }
    }

    /// Encodes these rows of these tables: those to learn from, to stop by, and to be judged on. Vocabularies, scales
    /// and domains are fitted on the first alone.
    ///
    /// # Errors
    /// Those of [`Encoder::fit`] and [`Encoder::encode`]; [`ErrorKind::UnknownDomain`], with the number of rows of each, for domains that
    /// no training row has, unless the options say otherwise; [`ErrorKind::Data`] if all rows of a split weigh 0.
    pub fn encode(schema: &Schema, parts: [(&Table, &[u32]); 3], options: SplitOptions) -> Result<Self> {
        Self::encode_all(schema, parts, options, Vec::new())
    }

    /// Encodes the rows of one table whose split column holds `train`, `val` and `test`.
    ///
    /// # Errors
    /// Those of [`Table::split`] and [`Splits::encode`]; [`ErrorKind::Data`], with the number of rows of each, for other values in the split
    /// column, unless the options say otherwise.
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
        let mut encoder = Encoder::fit(schema, table, rows)?;
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
            // The service that gets the model may meet some.
            encoder = encoder.on_unknown_domain(UnknownDomain::Shared);
        }
        let encode = |split: usize| {
            let (table, rows) = (parts[split].0, &rows[split]);
            let batch = encoder.encode(table, rows)?;
            check_weights(&batch, table, NAMES[split])?;
            Ok::<_, Error>(batch)
        };
        let (train, val, test) = (encode(0)?, encode(1)?, encode(2)?);
        let shared = if options.unknown_domain == UnknownDomainRows::Shared { unknown } else { Vec::new() };
        let tables = [0, 1, 2].map(|split| (parts[split].0, &rows[split][..]));
        let batches = BySplit { train: &*train, val: &*val, test: &*test };
        let report = DataReport::new(&encoder, batches, tables, left_out, shared)?;
        let layout = encoder.layout().clone();
        Ok(Self { encoder: Some(encoder), layout, train: Arc::new(train), val, test, report })
    }
}

/// Weights that are all 0 leave nothing to learn from or to measure.
fn check_weights(batch: &DataSet, table: &Table, split: &str) -> Result<()> {
    if batch.weights.is_empty() || batch.weights.iter().any(|&weight| weight > 0.0) {
        return Ok(());
    }
    let text = format!("all {} rows of the {split} split weigh 0", batch.rows());
    Err(Error::new(ErrorKind::Data, text)
        .at_path(table.source())
        .with_help("leave `weight` out for rows that all weigh 1"))
}

/// The values of the split column that name no split.
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

/// The domains that validation and test rows have and the encoder does not know.
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

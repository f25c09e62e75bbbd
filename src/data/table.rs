//! A log in memory, before it is encoded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Feature;
use super::names::listed;
use crate::error::{Error, ErrorKind, Result, quoted};

/// The columns of a log that a [`Schema`](super::Schema) names, in memory. They are not encoded yet: [`Encoder::encode`](super::Encoder::encode)
/// turns their rows into a [`DataSet`](super::DataSet). [`Table::read`] makes a table from files.
///
/// The rows of a table are numbered from 0. A table does not depend on an encoder: every encoder with the same schema can encode it.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) source: PathBuf,
    /// Each file of a folder, with its first row.
    pub(super) parts: Vec<(usize, PathBuf)>,
    pub(super) rows: usize,
    pub(super) lines: Lines,
    pub(super) columns: Vec<(String, Column)>,
    /// The combinations of the columns of each cross, which have the form of a column of text.
    pub(super) crosses: Vec<(Vec<String>, Text)>,
    /// The name of the split column.
    pub(super) split: Option<String>,
    /// Tells tables apart; copies are one table.
    pub(super) identity: Arc<()>,
}

/// A column. A column of the file that is used in two ways is stored twice.
#[derive(Debug, Clone)]
pub(super) enum Column {
    Text(Text),
    Bag(Bags),
    /// NaN where the cell is empty, otherwise finite.
    Number(Vec<f64>),
    /// Valid labels of the task's kind, NaN where the cell is empty.
    Label(Vec<f32>),
    /// Finite, at least 0.
    Weight(Vec<f32>),
}

/// A column with one value per row.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) codes: Vec<u32>,
    /// The values by code, in order of first appearance.
    pub(super) dictionary: Vec<Box<str>>,
}

/// A column with any number of values per row.
#[derive(Debug, Clone)]
pub(super) struct Bags {
    pub(super) separator: String,
    /// Where the codes of each row begin; one more entry than rows.
    pub(super) offsets: Vec<usize>,
    pub(super) codes: Vec<u32>,
    pub(super) dictionary: Vec<Box<str>>,
}

impl Bags {
    pub(super) fn row(&self, row: u32) -> &[u32] {
        &self.codes[self.offsets[row as usize]..self.offsets[row as usize + 1]]
    }
}

/// The line at which each row starts. Most rows are one line, so only the exceptions are stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    /// From this row on, rows are one line each, starting at this line.
    runs: Vec<(usize, u64)>,
}

impl Lines {
    pub(super) fn push(&mut self, row: usize, line: u64) {
        let expected = self.runs.last().map(|&(from, start)| start + (row - from) as u64);
        if expected != Some(line) {
            self.runs.push((row, line));
        }
    }

    fn of(&self, row: usize) -> u64 {
        let run = self.runs.partition_point(|&(from, _)| from <= row) - 1;
        let (from, start) = self.runs[run];
        start + (row - from) as u64
    }
}

impl Table {
    /// Returns the number of rows, from 1 to 2³² − 1. It is never 0, because reading a log without rows returns an error.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the path of the file or folder that was read, or the name that [`Table::from_reader`] was given.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Returns the path of the file from which a row was read. If a folder was read, it is the path of one of the files in it. `row` is the
    /// number of the row in the table, counted from 0.
    ///
    /// # Panics
    /// If `row` is not less than [`Table::rows`].
    pub fn file(&self, row: u32) -> &Path {
        assert!((row as usize) < self.rows, "row {row} of a table of {} rows", self.rows);
        let part = self.parts.partition_point(|&(from, _)| from <= row as usize) - 1;
        &self.parts[part].1
    }

    /// Returns the line at which a row starts in its file, counted from 1. In a Parquet file it is the number of the row in the file,
    /// counted from 1. `row` is the number of the row in the table, counted from 0.
    ///
    /// # Panics
    /// If `row` is not less than [`Table::rows`].
    pub fn line(&self, row: u32) -> u64 {
        assert!((row as usize) < self.rows, "row {row} of a table of {} rows", self.rows);
        self.lines.of(row as usize)
    }

    /// Returns the numbers of all rows, 0 to [`Table::rows`] − 1, in ascending order. Pass them to an encoder to use all rows.
    pub fn all(&self) -> Vec<u32> {
        (0..self.rows as u32).collect()
    }

    /// Returns the distinct values of the split column, such as `train`, `val` and `test`, in the order in which they first appear.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the schema with which the table was read has no split column.
    pub fn splits(&self) -> Result<Vec<&str>> {
        Ok(self.split_column()?.1.dictionary.iter().map(AsRef::as_ref).collect())
    }

    /// Returns the numbers of the rows whose value in the split column is `name`. They are counted from 0 and in ascending order.
    ///
    /// # Errors
    /// * [`ErrorKind::Config`] if the schema with which the table was read has no split column.
    /// * [`ErrorKind::Data`] if no row has the value `name`. The message lists the values that occur.
    pub fn split(&self, name: &str) -> Result<Vec<u32>> {
        let (column, text) = self.split_column()?;
        let Some(code) = text.dictionary.iter().position(|value| &**value == name) else {
            let text = format!("no row is in split {}; the splits are {}", quoted(name), listed(&text.dictionary));
            return Err(Error::new(ErrorKind::Data, text).at_path(&self.source).in_column(column));
        };
        let code = code as u32;
        Ok((0..self.rows as u32).filter(|&row| text.codes[row as usize] == code).collect())
    }

    pub(super) fn split_column(&self) -> Result<(&str, &Text)> {
        let Some(column) = &self.split else {
            return Err(Error::new(ErrorKind::Config, "the schema names no split column")
                .at_path(&self.source)
                .with_help("declare it with SchemaBuilder::split"));
        };
        Ok((column, self.text(column)?))
    }

    pub(super) fn text(&self, column: &str) -> Result<&Text> {
        self.find(column, "text", |column| if let Column::Text(text) = column { Some(text) } else { None })
    }

    /// The values of a feature with one id a row, which is a column or a cross.
    pub(super) fn text_of(&self, feature: &Feature) -> Result<&Text> {
        let Feature::Cross(_) = feature else { return self.text(feature.column()) };
        let found = self.crosses.iter().find(|(columns, _)| columns == feature.columns());
        found.map(|(_, text)| text).ok_or_else(|| {
            let message = format!("the table does not have the combinations of columns {}", listed(feature.columns()));
            Error::new(ErrorKind::Layout, message)
                .at_path(&self.source)
                .with_help("read the table with the encoder's own schema")
        })
    }

    pub(super) fn bags(&self, column: &str, separator: &str) -> Result<&Bags> {
        self.find(column, "a bag", |column| match column {
            Column::Bag(bags) if bags.separator == separator => Some(bags),
            _ => None,
        })
    }

    pub(super) fn numbers(&self, column: &str) -> Result<&[f64]> {
        self.find(
            column,
            "numbers",
            |column| if let Column::Number(numbers) = column { Some(&**numbers) } else { None },
        )
    }

    pub(super) fn weights(&self, column: &str) -> Option<&[f32]> {
        self.columns.iter().find_map(|(name, data)| match data {
            Column::Weight(weights) if name == column => Some(&**weights),
            _ => None,
        })
    }

    pub(super) fn labels(&self, column: &str) -> Option<&[f32]> {
        self.columns.iter().find_map(|(name, data)| match data {
            Column::Label(labels) if name == column => Some(&**labels),
            _ => None,
        })
    }

    fn find<'a, T: ?Sized>(
        &'a self,
        column: &str,
        what: &str,
        of: impl Fn(&'a Column) -> Option<&'a T>,
    ) -> Result<&'a T> {
        let found = self.columns.iter().filter(|(name, _)| name == column).find_map(|(_, data)| of(data));
        found.ok_or_else(|| {
            Error::new(ErrorKind::Layout, format!("the table does not have this column as {what}"))
                .at_path(&self.source)
                .in_column(column)
                .with_help("read the table with the encoder's own schema")
        })
    }

    /// Adds the file, line and column of a cell to an error.
    pub(super) fn locate(&self, error: Error, row: u32, column: &str) -> Error {
        error.at_path(self.file(row)).at_line(self.line(row)).in_column(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_gaps() {
        let written = [2, 3, 4, 7, 8, 20, 21];
        let mut lines = Lines::default();
        for (row, &line) in written.iter().enumerate() {
            lines.push(row, line);
        }
        assert_eq!((0..written.len()).map(|row| lines.of(row)).collect::<Vec<_>>(), written);
        assert_eq!(lines.runs.len(), 3);
    }
}

//! Builds a [`Table`] from cells. All file formats use it.

mod crosses;
#[cfg(feature = "parquet")]
mod typed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::crosses::CrossBuilder;
use super::Schema;
use super::feature::{Coding, Feature};
use super::interner::{Interner, invalid_utf8};
use super::read_options::Bounds;
use super::table::{Bags, Column, Lines, Table, Text};
use super::target::TaskKind;
use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "parquet")]
pub(super) use typed::{TypedBuilder, Value};

/// Receives rows cell by cell, checks them, and builds the columns of a [`Table`].
pub(super) struct TableBuilder {
    /// Names of the columns to read, each once.
    sources: Vec<String>,
    columns: Vec<ColumnBuilder>,
    parts: Vec<(usize, PathBuf)>,
    rows: usize,
    lines: Lines,
    crosses: Vec<CrossBuilder>,
    split: Option<String>,
    bounds: Bounds,
    /// The bytes of a row in all columns, without the values of dictionaries and bags.
    row_bytes: u64,
}

/// From this number of rows on, columns use extra memory to be read faster. It does not pay for a few rows.
const MANY_ROWS: usize = 1000;

struct ColumnBuilder {
    source: usize,
    cells: Cells,
}

/// The cells of one column so far.
enum Cells {
    Text { codes: Vec<u32>, values: Interner },
    Bag(BagCells),
    Number(Vec<f64>),
    Label(Vec<f32>, TaskKind),
    Weight(Vec<f32>),
}

struct BagCells {
    separator: String,
    /// The separator if it is one character: the search is then much faster.
    single: Option<char>,
    offsets: Vec<usize>,
    codes: Vec<u32>,
    values: Interner,
    last: Vec<u8>,
}

impl TableBuilder {
    /// A builder for the columns that `schema` names.
    pub(super) fn new(schema: &Schema, bounds: Bounds) -> Self {
        let mut builder = Self {
            sources: Vec::new(),
            columns: Vec::new(),
            parts: Vec::new(),
            rows: 0,
            lines: Lines::default(),
            crosses: Vec::new(),
            split: schema.split().map(str::to_owned),
            bounds,
            row_bytes: 0,
        };
        for feature in schema.features() {
            let column = feature.column();
            match feature {
                Feature::Categorical(categorical) => builder.text(column, id_limit(categorical.coding())),
                Feature::Bag(bag) => builder.bag(column, bag.separator(), id_limit(bag.coding())),
                Feature::Numeric(_) => builder.add(column, Cells::Number(Vec::new())),
                Feature::Cross(_) => {
                    for column in feature.columns() {
                        builder.text(column, None);
                    }
                }
            }
        }
        for column in [schema.domain(), schema.split(), schema.group()].into_iter().flatten() {
            builder.text(column, None);
        }
        for label in schema.tasks() {
            builder.add(label.name(), Cells::Label(Vec::new(), label.kind()));
        }
        if let Some(column) = schema.weight() {
            builder.add(column, Cells::Weight(Vec::new()));
        }
        if let Some(column) = schema.target_statistics().time() {
            builder.add(column, Cells::Number(Vec::new()));
        }
        for feature in schema.features().iter().filter(|feature| matches!(feature, Feature::Cross(_))) {
            builder.cross(feature.columns());
        }
        let of_crosses = builder.crosses.len() as u64 * CrossBuilder::ROW_BYTES;
        builder.row_bytes = builder.columns.iter().map(|column| column.cells.row_bytes()).sum::<u64>() + of_crosses;
        builder
    }

    /// The next rows are from this file.
    pub(super) fn start(&mut self, part: &Path) {
        self.parts.push((self.rows, part.to_owned()));
    }

    /// The limits of the read.
    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The bytes of the table in memory.
    fn bytes(&self) -> u64 {
        let values: u64 = self.columns.iter().map(|column| column.cells.value_bytes()).sum();
        let combined: u64 = self.crosses.iter().map(CrossBuilder::value_bytes).sum();
        self.rows as u64 * self.row_bytes + values + combined
    }

    /// The names of the columns to read. [`TableBuilder::push`] asks for cells by position in this list.
    pub(super) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Adds a row that starts at `line`. `cell` returns the cell of the column at a position in [`TableBuilder::sources`].
    ///
    /// An error names column and value; the caller adds file and line.
    pub(super) fn push<'a>(&mut self, line: u64, cell: impl Fn(usize) -> &'a [u8]) -> Result<()> {
        self.expect(1)?;
        for column in &mut self.columns {
            let bytes = cell(column.source);
            if let Err(error) = column.cells.push(bytes) {
                return Err(error.in_column(&self.sources[column.source]).with_value(String::from_utf8_lossy(bytes)));
            }
        }
        self.lines.push(self.rows, line);
        self.rows += 1;
        self.cross_new_rows()?;
        self.bounds.check_bytes(self.bytes())
    }

    /// Combines the values of the rows that the crosses do not have yet.
    fn cross_new_rows(&mut self) -> Result<()> {
        let Self { columns, crosses, .. } = self;
        crosses.iter_mut().try_for_each(|cross| cross.extend(|part| columns[part].cells.text()))
    }

    /// Prepares for `rows` more rows.
    fn expect(&mut self, rows: usize) -> Result<()> {
        self.check_rows(rows as u64)?;
        if (self.rows..self.rows + rows).contains(&MANY_ROWS) {
            for column in &mut self.columns {
                column.cells.expect_many();
            }
        }
        Ok(())
    }

    /// Checks, before anything is allocated, that `rows` more rows are within the limits.
    pub(super) fn check_rows(&self, rows: u64) -> Result<()> {
        self.bounds.check_rows(rows.saturating_add(self.rows as u64))?;
        self.bounds.check_bytes(rows.saturating_mul(self.row_bytes).saturating_add(self.bytes()))
    }

    /// The finished table.
    pub(super) fn finish(self, source: PathBuf) -> Table {
        let Self { sources, columns, parts, rows, lines, crosses, split, .. } = self;
        let columns = columns.into_iter().map(|column| (sources[column.source].clone(), column.cells.finish()));
        let columns: Vec<(String, Column)> = columns.collect();
        let crosses = crosses.into_iter().map(|cross| cross.finish(&columns)).collect();
        Table { source, parts, rows, lines, columns, crosses, split, identity: Arc::default() }
    }

    fn source(&mut self, column: &str) -> usize {
        self.sources.iter().position(|name| name == column).unwrap_or_else(|| {
            self.sources.push(column.to_owned());
            self.sources.len() - 1
        })
    }

    /// Adds these cells, unless the column already has cells of this kind.
    fn add(&mut self, column: &str, cells: Cells) {
        let source = self.source(column);
        let same = |other: &ColumnBuilder| {
            other.source == source && std::mem::discriminant(&other.cells) == std::mem::discriminant(&cells)
        };
        if !self.columns.iter().any(same) {
            self.columns.push(ColumnBuilder { source, cells });
        }
    }

    fn text(&mut self, column: &str, limit: Option<usize>) {
        self.add(column, Cells::Text { codes: Vec::new(), values: Interner::default() });
        let source = self.source(column);
        for other in self.columns.iter_mut().filter(|other| other.source == source) {
            if let Cells::Text { values, .. } = &mut other.cells {
                values.narrow(limit);
            }
        }
    }

    /// Adds the combinations of these columns of text, unless they are there already.
    fn cross(&mut self, columns: &[String]) {
        if self.crosses.iter().any(|cross| cross.columns() == columns) {
            return;
        }
        let part = |column: &String| {
            let is_text = |other: &ColumnBuilder| {
                self.sources[other.source] == *column && matches!(other.cells, Cells::Text { .. })
            };
            self.columns.iter().position(is_text).expect("the parts were added before")
        };
        let parts = columns.iter().map(part).collect();
        self.crosses.push(CrossBuilder::new(columns.to_vec(), parts));
    }

    fn bag(&mut self, column: &str, separator: &str, limit: Option<usize>) {
        let source = self.source(column);
        let same = self.columns.iter_mut().find_map(|other| match &mut other.cells {
            Cells::Bag(bag) if other.source == source && bag.separator == separator => Some(&mut bag.values),
            _ => None,
        });
        if let Some(values) = same {
            values.narrow(limit);
            return;
        }
        let mut letters = separator.chars();
        let single = letters.next().filter(|_| letters.next().is_none());
        let mut values = Interner::default();
        values.narrow(limit);
        let bag = BagCells {
            separator: separator.to_owned(),
            single,
            offsets: vec![0],
            codes: Vec::new(),
            values,
            last: Vec::new(),
        };
        self.columns.push(ColumnBuilder { source, cells: Cells::Bag(bag) });
    }
}

/// The limit for ids in a column of ids.
fn id_limit(coding: Coding) -> Option<usize> {
    if let Coding::Ids { rows } = coding { Some(rows) } else { None }
}

impl Cells {
    /// The codes and values of a column of text.
    fn text(&self) -> (&[u32], &Interner) {
        let Self::Text { codes, values } = self else { unreachable!("the parts of a cross are text") };
        (codes, values)
    }

    fn expect_many(&mut self) {
        match self {
            Self::Text { values, .. } | Self::Bag(BagCells { values, .. }) => values.expect_many(),
            Self::Number(_) | Self::Label(..) | Self::Weight(_) => {}
        }
    }

    /// The bytes of a row, without those that [`Cells::value_bytes`] counts.
    fn row_bytes(&self) -> u64 {
        match self {
            Self::Text { .. } | Self::Label(..) | Self::Weight(_) => 4,
            Self::Bag(_) | Self::Number(_) => 8,
        }
    }

    /// The bytes of the distinct values, and of the codes of bags.
    fn value_bytes(&self) -> u64 {
        match self {
            Self::Text { values, .. } => values.bytes(),
            Self::Bag(bag) => bag.values.bytes() + 4 * bag.codes.len() as u64,
            Self::Number(_) | Self::Label(..) | Self::Weight(_) => 0,
        }
    }

    fn push(&mut self, cell: &[u8]) -> Result<()> {
        match self {
            Self::Text { codes, values } => codes.push(values.code(cell)?),
            Self::Bag(bag) => bag.push(cell)?,
            Self::Number(numbers) => numbers.push(number(cell)?),
            Self::Label(labels, kind) => labels.push(label(cell, *kind)?),
            Self::Weight(weights) => weights.push(weight(cell)?),
        }
        Ok(())
    }

    fn finish(self) -> Column {
        match self {
            Self::Text { codes, values } => Column::Text(Text { codes, dictionary: values.finish() }),
            Self::Bag(bag) => Column::Bag(Bags {
                separator: bag.separator,
                offsets: bag.offsets,
                codes: bag.codes,
                dictionary: bag.values.finish(),
            }),
            Self::Number(numbers) => Column::Number(numbers),
            Self::Label(labels, _) => Column::Label(labels),
            Self::Weight(weights) => Column::Weight(weights),
        }
    }
}

impl BagCells {
    fn push(&mut self, cell: &[u8]) -> Result<()> {
        if let [.., from, to] = self.offsets[..]
            && self.last == cell
        {
            self.codes.extend_from_within(from..to);
        } else {
            let text = std::str::from_utf8(cell).map_err(|_| invalid_utf8())?;
            let (codes, values) = (&mut self.codes, &mut self.values);
            let mut take = |piece: &str| -> Result<()> {
                if !piece.is_empty() {
                    codes.push(values.code(piece.as_bytes())?);
                }
                Ok(())
            };
            match self.single {
                Some(letter) => text.split(letter).try_for_each(&mut take)?,
                None => text.split(&*self.separator).try_for_each(&mut take)?,
            }
            self.last.clear();
            self.last.extend_from_slice(cell);
        }
        self.offsets.push(self.codes.len());
        Ok(())
    }
}

/// The number in a cell, if it is one.
fn parse(cell: &[u8]) -> Option<f64> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}

pub(super) fn number(cell: &[u8]) -> Result<f64> {
    let cell = cell.trim_ascii();
    if cell.is_empty() {
        return Ok(f64::NAN);
    }
    let number = parse(cell).ok_or_else(|| {
        Error::new(ErrorKind::Data, "expected a number").with_help("an empty cell is a missing value")
    })?;
    as_number(number)
}

pub(super) fn as_number(number: f64) -> Result<f64> {
    if !number.is_finite() {
        return Err(
            Error::new(ErrorKind::Data, "expected a finite number").with_help("an empty cell is a missing value")
        );
    }
    // Models compute in f32.
    if number.abs() > f32::MAX.into() {
        return Err(Error::new(ErrorKind::Data, "expected a number from -3.4e38 to 3.4e38, as 32 bits hold it")
            .with_help("an empty cell is a missing value"));
    }
    Ok(number)
}

fn label(cell: &[u8], kind: TaskKind) -> Result<f32> {
    match cell {
        b"0" => return Ok(0.0),
        b"1" => return Ok(1.0),
        _ => {}
    }
    let cell = cell.trim_ascii();
    if cell.is_empty() {
        return Ok(f32::NAN);
    }
    // Data frames write a label column with missing values as 0.0 and 1.0.
    as_label(parse(cell).unwrap_or(f64::NAN), kind)
}

fn as_label(number: f64, kind: TaskKind) -> Result<f32> {
    let label = number as f32;
    // A number that rounds to 1 is not 1.
    if kind.accepts(label) && (!kind.is_binary() || f64::from(label) == number) {
        return Ok(label);
    }
    let message = format!("expected {} or an empty cell", kind.labels());
    Err(Error::new(ErrorKind::Data, message).with_help("empty is a missing label"))
}

fn weight(cell: &[u8]) -> Result<f32> {
    as_weight(parse(cell.trim_ascii()).unwrap_or(f64::NAN))
}

fn as_weight(number: f64) -> Result<f32> {
    let weight = number as f32;
    if weight.is_finite() && weight >= 0.0 {
        return Ok(weight);
    }
    Err(Error::new(ErrorKind::Data, "expected a weight: a finite number, at least 0")
        .with_help("1 is the weight of an ordinary row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_other_kinds_are_numbers() {
        for (cell, kind, wanted) in [
            ("-3.5", TaskKind::Regression, Some(-3.5)),
            (" 7e2 ", TaskKind::Regression, Some(700.0)),
            ("0", TaskKind::Count, Some(0.0)),
            ("2.5", TaskKind::Count, Some(2.5)),
            ("-1", TaskKind::Count, None),
            ("inf", TaskKind::Regression, None),
            ("1e39", TaskKind::Count, None),
            ("many", TaskKind::Count, None),
            ("1.00000001", TaskKind::Binary, None),
        ] {
            assert_eq!(label(cell.as_bytes(), kind).ok(), wanted, "{cell:?}");
        }
        let error = label(b"-1", TaskKind::Count).unwrap_err().to_string();
        assert!(error.contains("expected a finite number of at least 0 or an empty cell"), "{error}");
    }

    #[test]
    fn labels_as_people_write_them() {
        for (cell, wanted) in [("0", 0.0), ("1", 1.0), ("0.0", 0.0), ("1.0", 1.0), (" 1 ", 1.0), ("-0", 0.0)] {
            assert_eq!(label(cell.as_bytes(), TaskKind::Binary).unwrap(), wanted, "{cell:?}");
        }
        assert!(label(b"", TaskKind::Binary).unwrap().is_nan());
        for cell in ["2", "-1", "0.5", "true", "NaN", "1e-9"] {
            assert!(label(cell.as_bytes(), TaskKind::Binary).is_err(), "{cell:?}");
        }
    }

    #[test]
    fn numbers_are_finite_or_missing() {
        assert_eq!(number(b" -1.5e3 ").unwrap(), -1500.0);
        assert!(number(b"").unwrap().is_nan() && number(b"  ").unwrap().is_nan());
        assert_eq!(number(b"-3.4e38").unwrap(), -3.4e38);
        for cell in ["nan", "inf", "-Infinity", "1e999", "1,5", "0x10", "12a", "1e300", "-3.5e38"] {
            assert!(number(cell.as_bytes()).is_err(), "{cell:?}");
        }
    }

    #[test]
    fn weights_are_finite_and_not_negative() {
        assert_eq!(weight(b"0").unwrap(), 0.0);
        assert_eq!(weight(b"1700.09").unwrap(), 1700.09);
        for cell in ["", "-0.5", "inf", "1e39", "heavy"] {
            assert!(weight(cell.as_bytes()).is_err(), "{cell:?}");
        }
    }
}

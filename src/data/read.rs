//! Reads files and folders of files into a [`Table`].

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::columns::TableBuilder;
use super::delimited::Records;
use super::gzip::Members;
use super::names::position;
use super::{ReadOptions, Schema, Table};
use crate::error::{Error, ErrorKind, Result, quoted};

/// The size of the read buffer: large enough to make system calls cheap, small enough for the cache.
const BUFFER: usize = 1 << 16;

/// A format of delimited text. The first line has the column names, and every other line is a row. A line break in a quoted cell, or after an
/// escape character, is part of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Cells are separated by commas. A cell can be enclosed in double quotes (`"`), or in another character that [`ReadOptions::quote`] sets.
    Csv,
    /// Cells are separated by tabs. A double quote is an ordinary character of a cell, unless [`ReadOptions::quote`] sets it as the quote.
    Tsv,
}

impl Format {
    pub(super) fn delimiter(self) -> u8 {
        match self {
            Self::Csv => b',',
            Self::Tsv => b'\t',
        }
    }
}

/// The format of a file, according to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text { format: Format, gzipped: bool },
    Parquet,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, gzipped) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
        match Path::new(stem).extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Some(Self::Text { format: Format::Csv, gzipped }),
            Some("tsv") => Some(Self::Text { format: Format::Tsv, gzipped }),
            Some("parquet") if !gzipped => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Whether files of both kinds can be parts of one log.
    fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Text { format: a, .. }, Self::Text { format: b, .. }) => a == b,
            (a, b) => a == b,
        }
    }
}

impl Table {
    /// Reads the columns that `schema` names from a file or a folder of files, with the default [`ReadOptions`]. The name of a file must end
    /// with `.csv`, `.tsv`, `.csv.gz` or `.tsv.gz`. With the Cargo feature `parquet`, it can also end with `.parquet`.
    ///
    /// Column names must match those of the schema exactly. Spaces around numbers, labels and weights are ignored. Text is kept as it is, with
    /// one exception: numbers and booleans that are used as ids get one spelling (see [`id_spelling`](super::id_spelling)). In delimited text,
    /// lines end with `\n` or `\r\n`; a byte order mark and blank lines are skipped.
    ///
    /// # Folders
    /// All files of a folder are read as one log, in the order of their names. Files whose names begin with `_` or `.` (such as `_SUCCESS`) are
    /// skipped. All files must have the same format, but some can be gzipped and others not. Every file must have the columns that the schema
    /// names, in any order, and every text file must begin with the column names. The error of a file has its path.
    ///
    /// # Parquet
    /// Columns can have the types `BYTE_ARRAY` (text), `INT32`, `INT64`, `FLOAT`, `DOUBLE` and `BOOLEAN`. For nested columns, decimals, dates
    /// and times, reading returns an error. Data can be uncompressed or compressed with Snappy, gzip or Zstandard. A null is read as an empty
    /// cell.
    ///
    /// The table equals that of a CSV file with the same cells, so an encoder that was fitted on one can encode the other. Numbers and booleans
    /// that are used as ids have one spelling ([`id_spelling`](super::id_spelling)): `3` for the integer and the float, the shortest decimal form
    /// (`0.1`) for other floats, and `true` or `false`. A float that is too large to be an exact integer (from 2⁵³, for `FLOAT` from 2²⁴) is
    /// written with an exponent, `1e16`, so that it does not match the id of an integer. Booleans that are used as numbers are 1 and 0. A `FLOAT`
    /// that is used as a number is its shortest decimal form: 0.1, not 0.10000000149.
    ///
    /// A Parquet file has no lines. Instead of a line, [`Table::line`] and errors have the number of the row in the file, counted from 1.
    ///
    /// # Errors
    /// * [`ErrorKind::Config`] if the name of the file has another ending, if it ends with `.parquet` and the Cargo feature is off, or if a
    ///   folder contains files of other kinds, a folder, or no files to read.
    /// * [`ErrorKind::Io`] if a file cannot be read.
    /// * [`ErrorKind::Data`] if the content does not match the schema (see [`Table::from_reader`]), or if compressed data is damaged. For
    ///   Parquet also if a column has a wrong type or compression.
    pub fn read(path: impl AsRef<Path>, schema: &Schema) -> Result<Self> {
        Self::read_with(path, schema, &ReadOptions::default())
    }

    /// Reads the columns that `schema` names from a file or a folder of files, as [`Table::read`] does, but with the quotes, escapes and limits
    /// of `options`.
    ///
    /// # Errors
    /// The errors of [`Table::read`]. Also [`ErrorKind::Config`] if the quote or the escape character is the separator of the format, or if both
    /// are the same character.
    pub fn read_with(path: impl AsRef<Path>, schema: &Schema, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        let parts = if path.is_dir() { parts(path)? } else { vec![(path.to_owned(), kind(path)?)] };
        // Checked before any file is opened: without the feature, this error is the useful one.
        #[cfg(not(feature = "parquet"))]
        if let Some((part, _)) = parts.iter().find(|(_, kind)| matches!(kind, Kind::Parquet)) {
            return Err(without_parquet(part));
        }
        let sizes = parts
            .iter()
            .map(|(part, _)| fs::metadata(part).map(|data| data.len()).map_err(|error| unopened(part, &error)));
        let size = sizes.sum::<Result<u64>>()?;
        let mut builder = TableBuilder::new(schema, options.bounds(Some(size)));
        for (part, kind) in &parts {
            builder.start(part);
            match *kind {
                Kind::Text { format, gzipped } => {
                    let file = open(part)?;
                    let failure = if gzipped { gzip_failure } else { read_failure };
                    if gzipped {
                        let reader = Members::new(BufReader::with_capacity(BUFFER, file));
                        read(reader, format, part, options, &mut builder, failure)
                    } else {
                        read(file, format, part, options, &mut builder, failure)
                    }
                }
                Kind::Parquet => read_parquet(part, &mut builder),
            }?;
        }
        Ok(builder.finish(path.to_owned()))
    }

    /// Reads the columns that `schema` names from any reader of delimited text, with the default [`ReadOptions`]. `name` takes the place of the
    /// file's path in errors and in [`Table::source`]. Compressed text and Parquet cannot be read in this way.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the reader fails. [`ErrorKind::Data`] if the content does not match the schema. The error has the line, and the
    /// column if there is one. The cases are:
    ///
    /// * a column is missing or occurs twice, or there are no rows;
    /// * a row has more or fewer cells than the header;
    /// * a number is not finite, is too large for `f32` or cannot be parsed; a label is not 0, 1 or empty; a weight is negative, not finite or
    ///   cannot be parsed; an id of a feature with [`Coding::Ids`](super::Coding::Ids) is out of range;
    /// * the text is not UTF-8;
    /// * the closing quote of a cell is missing, or something other than a separator or the end of the line follows it;
    /// * a carriage return outside quotes has no line feed after it;
    /// * the content exceeds a limit of [`ReadOptions`].
    pub fn from_reader(reader: impl Read, format: Format, name: impl Into<PathBuf>, schema: &Schema) -> Result<Self> {
        Self::from_reader_with(reader, format, name, schema, &ReadOptions::default())
    }

    /// Reads the columns that `schema` names from any reader of delimited text, as [`Table::from_reader`] does, but with the quotes, escapes and
    /// limits of `options`.
    ///
    /// # Errors
    /// The errors of [`Table::from_reader`]. Also [`ErrorKind::Config`] if the quote or the escape character is the separator of the format, or
    /// if both are the same character.
    pub fn from_reader_with(
        reader: impl Read,
        format: Format,
        name: impl Into<PathBuf>,
        schema: &Schema,
        options: &ReadOptions,
    ) -> Result<Self> {
        let name = name.into();
        let mut builder = TableBuilder::new(schema, options.bounds(None));
        builder.start(&name);
        read(reader, format, &name, options, &mut builder, read_failure)?;
        Ok(builder.finish(name))
    }
}

fn kind(path: &Path) -> Result<Kind> {
    Kind::of(path).ok_or_else(|| {
        let text = "expected a file named *.csv, *.tsv, *.csv.gz, *.tsv.gz or *.parquet, or a folder of such files";
        Error::new(ErrorKind::Config, text)
            .at_path(path)
            .with_help("rename the file, or read it with Table::from_reader")
    })
}

/// The files of a folder, in the order of their names.
fn parts(folder: &Path) -> Result<Vec<(PathBuf, Kind)>> {
    let unreadable =
        |error: io::Error| Error::new(ErrorKind::Io, format!("cannot read the folder: {error}")).at_path(folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(['_', '.']) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let refuse = |path: &Path, text: &str| Err(Error::new(ErrorKind::Config, text).at_path(path));
    let mut parts: Vec<(PathBuf, Kind)> = Vec::new();
    for path in paths {
        if path.is_dir() {
            return refuse(&path, "expected the files of a log, found a folder in their folder").map_err(|error| {
                error.with_help("give the folder that holds the files, or put all files into one folder")
            });
        }
        let kind =
            kind(&path).map_err(|error| error.with_help("move it away, or let its name begin with `_` to skip it"))?;
        if let Some((first, other)) = parts.first()
            && !kind.goes_with(*other)
        {
            let first = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return refuse(
                &path,
                &format!("expected all files of the folder to have the format of {}", quoted(&first)),
            );
        }
        parts.push((path, kind));
    }
    if parts.is_empty() {
        return refuse(
            folder,
            "expected files named *.csv, *.tsv, *.csv.gz, *.tsv.gz or *.parquet in this folder, found none",
        );
    }
    Ok(parts)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unopened(path, &error))
}

fn unopened(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot open the file: {error}")).at_path(path)
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, builder: &mut TableBuilder) -> Result<()> {
    super::parquet::read(open(path)?, path, builder)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: &mut TableBuilder) -> Result<()> {
    Err(without_parquet(path))
}

#[cfg(not(feature = "parquet"))]
fn without_parquet(path: &Path) -> Error {
    Error::new(ErrorKind::Config, "this program is built without the feature that reads Parquet")
        .at_path(path)
        .with_help("build it with `--features parquet`, or save the log as CSV")
}

fn read(
    reader: impl Read,
    format: Format,
    source: &Path,
    options: &ReadOptions,
    builder: &mut TableBuilder,
    failure: impl Fn(&io::Error) -> Error,
) -> Result<()> {
    let dialect = options.dialect(format)?;
    let bounds = builder.bounds().clone();
    let mut records = Records::new(reader, dialect, &bounds);
    fill(&mut records, builder, &failure).map_err(|error| {
        let line = error.line().unwrap_or(records.line());
        error.at_path(source).at_line(line)
    })
}

/// Reads all rows into `builder`. An error without a line belongs to the last record.
fn fill<R: Read>(
    records: &mut Records<'_, R>,
    builder: &mut TableBuilder,
    failure: &impl Fn(&io::Error) -> Error,
) -> Result<()> {
    if !records.next(failure)? {
        return Err(Error::new(ErrorKind::Data, "expected a line of column names, found an empty file"));
    }
    let cells = records.len();
    let positions = locate(records, builder.sources())?;
    let mut rows = false;
    while records.next(failure)? {
        if records.len() != cells {
            return Err(Error::new(
                ErrorKind::Data,
                format!("expected {cells} cells, as in the header, found {}", records.len()),
            )
            .with_help(records.dialect().advice()));
        }
        builder.push(records.line(), |source| records.cell(positions[source]))?;
        rows = true;
    }
    if !rows {
        return Err(Error::new(ErrorKind::Data, "expected rows below the header, found none"));
    }
    Ok(())
}

/// The position of every column in `wanted` in the header, which is the last record that was read.
fn locate<R: Read>(header: &Records<'_, R>, wanted: &[String]) -> Result<Vec<usize>> {
    let names = (0..header.len())
        .map(|position| {
            let name = header.cell(position);
            str::from_utf8(name).map_err(|_| {
                Error::new(ErrorKind::Data, "expected column names in UTF-8")
                    .with_value(String::from_utf8_lossy(name))
                    .with_help("save the file in UTF-8")
            })
        })
        .collect::<Result<Vec<_>>>()?;
    wanted.iter().map(|column| position(column, &names, "header")).collect()
}

fn read_failure(error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read the rest of the file: {error}"))
}

fn gzip_failure(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Data, "the gzip stream is truncated").with_help("copy or compress the file again")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::new(ErrorKind::Data, format!("the gzip stream is corrupt: {error}"))
                .with_help("copy or compress the file again")
        }
        _ => read_failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::builder().categorical("a").numeric("b").label("y").build().unwrap()
    }

    fn lines(text: &str) -> Vec<u64> {
        let table = Table::from_reader(text.as_bytes(), Format::Csv, "t.csv", &schema()).unwrap();
        table.all().into_iter().map(|row| table.line(row)).collect()
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        assert_eq!(lines("a,b,y\nx,1,0\nx,1,0\n"), [2, 3]);
        assert_eq!(lines("a,b,y\r\nx,1,0\r\nx,1,0"), [2, 3]);
        assert_eq!(lines("a,b,y\n\nx,1,0\n\n\nx,1,0\n"), [3, 6]);
        assert_eq!(lines("\n\na,b,y\nx,1,0\n\n\nx,1,0"), [4, 7]);
        assert_eq!(lines("a,b,y\r\n\r\nx,1,0\r\n\r\nx,1,0\r\n"), [3, 5]);
        assert_eq!(lines("a,b,y\n\"x\nx\",1,0\nx,1,0\n"), [2, 4]);
        assert_eq!(lines("a,b,y\nx,1,0\n\n\"x\n\nx\",1,0"), [2, 4]);
        assert_eq!(lines("a,b,y\r\n\"x\r\nx\",1,\"0\"\r\nx,1,0\r\n"), [2, 4]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(lines("\u{feff}a,b,y\nx,1,0\n"), [2]);
    }

    #[test]
    fn tabs_and_unused_columns() {
        let text = "y\tother\tb\ta\n1\tanything\t2.5\tx,y\n";
        let table = Table::from_reader(text.as_bytes(), Format::Tsv, "t.tsv", &schema()).unwrap();
        assert_eq!(&*table.text("a").unwrap().dictionary[0], "x,y");
        assert_eq!(table.numbers("b").unwrap(), [2.5]);
        assert_eq!(table.labels("y").unwrap(), [1.0]);
        assert_eq!(table.columns.len(), 3);
    }
}

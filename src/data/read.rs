//! Reads delimited text, plain or gzipped, into a [`Table`].

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;

use super::columns::TableBuilder;
use super::names::position;
use super::{Schema, Table};
use crate::error::{Error, ErrorKind, Result};

/// Large enough that system calls do not show, small enough for the cache.
const BUFFER: usize = 1 << 16;

/// How the cells of a line are told apart. Either way a cell may be quoted with `"`, and the first line names the
/// columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// By commas.
    Csv,
    /// By tabs.
    Tsv,
}

impl Format {
    fn delimiter(self) -> u8 {
        match self {
            Self::Csv => b',',
            Self::Tsv => b'\t',
        }
    }
}

impl Table {
    /// Reads the columns that `schema` names from a `.csv`, `.tsv`, `.csv.gz`, `.tsv.gz` or, with the feature `parquet`,
    /// `.parquet` file.
    ///
    /// Names of columns must be exact. Cells of numeric features, labels and weights may be surrounded by spaces; text is
    /// taken as it is. In delimited text, blank lines are skipped, and so is a byte order mark.
    ///
    /// # Parquet
    /// The columns may be of type `BYTE_ARRAY` (text), `INT32`, `INT64`, `FLOAT`, `DOUBLE` or `BOOLEAN`, not nested, and
    /// not decimals, dates or times; plain or compressed by Snappy, gzip or Zstandard. Null is an empty cell.
    ///
    /// A table is that of the CSV file with the same cells, so that an encoder fitted on one encodes the other. Numbers and
    /// booleans that are used as ids have one spelling ([`id_spelling`](super::id_spelling)): `3` for the integer and for the float,
    /// `0.1` (by the fewest digits that tell the value apart), `true`, `false`. A float too large to tell an integer from its neighbours
    /// (from 2⁵³, a `FLOAT` from 2²⁴) has an exponent, `1e16`, and is no integer's id. Booleans that are used as numbers are 1 and 0, and
    /// a `FLOAT` is the number that its fewest digits write, 0.1 and not 0.10000000149.
    ///
    /// There are no lines: where an error or [`Table::line`] says line, it is the number of the row, counted from 1.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for another extension, or `.parquet` without the feature; [`ErrorKind::Io`] if the file
    /// cannot be read; [`ErrorKind::Data`] if its content is not what the schema asks for: see [`Table::from_reader`], and
    /// in Parquet also a column of a wrong type or compression, or a file that is corrupt or cut off.
    pub fn read(path: impl AsRef<Path>, schema: &Schema) -> Result<Self> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, gzipped) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
        let format = match Path::new(stem).extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Format::Csv,
            Some("tsv") => Format::Tsv,
            Some("parquet") if !gzipped => return read_parquet(path, schema),
            _ => {
                let text = "expected a file named *.csv, *.tsv, *.csv.gz, *.tsv.gz or *.parquet";
                return Err(Error::new(ErrorKind::Config, text)
                    .at_path(path)
                    .with_help("for other names there is Table::from_reader"));
            }
        };
        let file = open(path)?;
        if gzipped {
            let reader = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
            read(reader, format, path.to_owned(), schema, gzip_failure)
        } else {
            read(file, format, path.to_owned(), schema, read_failure)
        }
    }

    /// Reads the columns that `schema` names from any source of bytes; `name` stands for the file in error texts.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the reader fails, [`ErrorKind::Data`] with line and column if the content is not what the
    /// schema asks for: a column that is missing or there twice, a row with more or fewer cells than the header, text
    /// in a numeric column, a number that is not finite, a label other than 0 and 1, a negative weight, an id out of
    /// range, bytes that are not UTF-8, no rows at all.
    pub fn from_reader(reader: impl Read, format: Format, name: impl Into<PathBuf>, schema: &Schema) -> Result<Self> {
        read(reader, format, name.into(), schema, read_failure)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::new(ErrorKind::Io, format!("cannot open the file: {error}")).at_path(path))
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, schema: &Schema) -> Result<Table> {
    super::parquet::read(open(path)?, path.to_owned(), schema)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: &Schema) -> Result<Table> {
    Err(Error::new(ErrorKind::Config, "reading Parquet is a feature that this program is built without")
        .at_path(path)
        .with_help("build it with `--features parquet`, or save the log as CSV"))
}

fn read(
    reader: impl Read,
    format: Format,
    source: PathBuf,
    schema: &Schema,
    failure: impl Fn(&io::Error) -> Error,
) -> Result<Table> {
    let mut builder = TableBuilder::new(schema);
    let mut line = 1;
    match fill(reader, format, &mut builder, &mut line, failure) {
        Ok(()) => Ok(builder.finish(source)),
        Err(error) => Err(error.at_path(source).at_line(line)),
    }
}

/// Reads all rows into `builder`. `line` is where it is, and so where an error occurred.
fn fill(
    reader: impl Read,
    format: Format,
    builder: &mut TableBuilder,
    line: &mut u64,
    failure: impl Fn(&io::Error) -> Error,
) -> Result<()> {
    let failure = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => failure(&error),
        other => unreachable!("records of bytes and of any length fail by their reader alone: {other:?}"),
    };
    // Lines end at `\n` alone, and a `\r` before it is dropped by `next`: the parser would otherwise count the `\n` of
    // `\r\n` to the following record, and line numbers would be off by one.
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(format.delimiter())
        .terminator(csv::Terminator::Any(b'\n'))
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(BUFFER)
        .from_reader(Watched { inner: reader, ended: false, odd_quotes: false });
    let mut record = ByteRecord::new();
    if !next(&mut reader, &mut record, line).map_err(failure)? {
        return Err(Error::new(ErrorKind::Data, "expected a line of column names, found an empty file"));
    }
    let cells = record.len();
    let positions = locate(&record, builder.sources())?;
    let mut rows = false;
    while next(&mut reader, &mut record, line).map_err(failure)? {
        let watched = reader.get_ref();
        if watched.ended && watched.odd_quotes && last(&record).contains(&b'\n') {
            return Err(Error::new(ErrorKind::Data, "a quoted cell of this row is never closed")
                .with_help("write a quote inside a quoted cell twice"));
        }
        if record.len() != cells {
            return Err(Error::new(
                ErrorKind::Data,
                format!("expected {cells} cells, as in the header, found {}", record.len()),
            )
            .with_help("quote cells that hold the delimiter, a quote or a line break"));
        }
        builder.push(*line, |source| cell(&record, positions[source]))?;
        rows = true;
    }
    if !rows {
        return Err(Error::new(ErrorKind::Data, "expected rows below the header, found none"));
    }
    Ok(())
}

/// Reads the next record that is not a blank line, and sets `line` to the one it starts at.
///
/// At the end, and if reading fails, `line` is the last one that was reached.
fn next<R: Read>(
    reader: &mut csv::Reader<Watched<R>>,
    record: &mut ByteRecord,
    line: &mut u64,
) -> Result<bool, csv::Error> {
    loop {
        let before = reader.position().line();
        *line = before;
        if !reader.read_byte_record(record)? {
            return Ok(false);
        }
        let after = reader.position().line();
        if after != before + 1 {
            // Blank lines came first, or cells hold line breaks, or the last line has no end.
            let inside = record.as_slice().iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
            *line = after - inside - u64::from(!reader.get_ref().ended);
        }
        if !(record.len() == 1 && &record[0] == b"\r") {
            return Ok(true);
        }
    }
}

/// A cell without the `\r` of a line's end.
fn cell(record: &ByteRecord, position: usize) -> &[u8] {
    if position + 1 == record.len() { last(record) } else { &record[position] }
}

fn last(record: &ByteRecord) -> &[u8] {
    let cell = &record[record.len() - 1];
    cell.strip_suffix(b"\r").unwrap_or(cell)
}

/// Passes bytes on and notes what the parser does not tell.
struct Watched<R> {
    inner: R,
    /// Nothing is left; so the record that the parser gave last had no line end.
    ended: bool,
    /// The number of quotes so far is odd, as it is inside a quoted cell. A quote that is never closed takes in all
    /// that follows, and nothing else would show.
    odd_quotes: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ended = count == 0;
        let quotes: usize = buffer[..count].iter().map(|&byte| usize::from(byte == b'"')).sum();
        self.odd_quotes ^= quotes % 2 == 1;
        Ok(count)
    }
}

/// The position of every wanted column in the header.
fn locate(header: &ByteRecord, wanted: &[String]) -> Result<Vec<usize>> {
    let names = (0..header.len())
        .map(|position| {
            let name = cell(header, position);
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
    Error::new(ErrorKind::Io, format!("cannot read on: {error}"))
}

fn gzip_failure(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Data, "the gzip stream is cut off").with_help("copy or compress the file again")
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

//! How text is cut into cells, and how much of a log is read.

use super::Format;
use crate::error::{Error, ErrorKind, Problems, Result};

/// A row may have this many times the bytes of one cell.
const ROW_CELLS: usize = 16;

/// The least that a file may take in memory.
const LEAST_BYTES: u64 = 1 << 30;

/// How many times its own size a larger file may take in memory.
const EXPANSION: u64 = 256;

/// How a log is read: the quotes and escapes of delimited text, and limits that keep a small file from taking all memory.
///
/// Errors name the setting they come from; run files have keys of the same names in `[data]`.
///
/// ```
/// use starple::data::{Format, ReadOptions, Schema, Table};
///
/// let schema = Schema::builder().categorical("title").label("click").build()?;
/// let log = "title,click\n\"say \\\"hi\\\"\",1\n";
/// let read = |options: &ReadOptions| Table::from_reader_with(log.as_bytes(), Format::Csv, "log.csv", &schema, options);
/// assert!(read(&ReadOptions::default()).unwrap_err().to_string().contains("escape"));
/// assert_eq!(read(&ReadOptions::default().escape('\\'))?.rows(), 1);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    quote: Mark,
    escape: Mark,
    max_rows: usize,
    /// `None`: by the file's size.
    max_bytes: Option<u64>,
    max_cell_bytes: usize,
    max_columns: usize,
}

/// A character with a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Nothing was said: the format has one, or none.
    Unsaid,
    Nothing,
    Is(char),
}

impl Mark {
    fn of(letter: Option<char>) -> Self {
        letter.map_or(Self::Nothing, Self::Is)
    }

    /// The character, or that of the format.
    fn or(self, of_format: Option<char>) -> Option<char> {
        match self {
            Self::Unsaid => of_format,
            Self::Nothing => None,
            Self::Is(letter) => Some(letter),
        }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            quote: Mark::Unsaid,
            escape: Mark::Unsaid,
            max_rows: u32::MAX as usize,
            max_bytes: None,
            max_cell_bytes: 1 << 20,
            max_columns: 1 << 16,
        }
    }
}

impl ReadOptions {
    /// What cells may be quoted with, or `None` if quotes are content like any other. Default: `"` in CSV, nothing in TSV.
    ///
    /// A quoted cell may hold separators and line breaks; a quote in it is written twice. A quote inside a cell that does not begin with
    /// one is content.
    pub fn quote(mut self, quote: impl Into<Option<char>>) -> Self {
        self.quote = Mark::of(quote.into());
        self
    }

    /// What makes content of a quote, separator, line break or escape after it; before anything else it is content itself. `None` for
    /// nothing. Default: nothing, and it is an error if a backslash leaves open whether a quoted cell ends.
    pub fn escape(mut self, escape: impl Into<Option<char>>) -> Self {
        self.escape = Mark::of(escape.into());
        self
    }

    /// How many rows a table may have. Default: 2³² − 1, which is the most.
    pub fn max_rows(mut self, rows: usize) -> Self {
        self.max_rows = rows;
        self
    }

    /// How many bytes may come out of a file: text after decompression, and the table in memory, each of them. Default: 256 times the
    /// file's size, or 1 GiB if that is more; without bound for [`Table::from_reader`](super::Table::from_reader).
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many bytes a cell may have; a row may have 16 times as many. Default: 1 MiB.
    pub fn max_cell_bytes(mut self, bytes: usize) -> Self {
        self.max_cell_bytes = bytes;
        self
    }

    /// How many columns a file may have. Default: 65,536.
    pub fn max_columns(mut self, columns: usize) -> Self {
        self.max_columns = columns;
        self
    }

    /// How cells of this format are told apart.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming each character that cannot have its role.
    pub(super) fn dialect(&self, format: Format) -> Result<Dialect> {
        let delimiter = format.delimiter();
        let quote = self.quote.or(if format == Format::Csv { Some('"') } else { None });
        let escape = self.escape.or(None);
        let mut problems = Problems::default();
        let possible = |letter: char| letter.is_ascii() && !['\n', '\r', char::from(delimiter)].contains(&letter);
        for (name, letter) in [("quote", quote), ("escape", escape)] {
            problems.require(letter.is_none_or(possible), || {
                format!(
                    "{name}: one ASCII character, not the separator and not a line break, found {:?}",
                    letter.unwrap_or_default()
                )
            });
        }
        problems.require(quote != escape || quote.is_none(), || {
            "escape: another character than the quote, which may be written twice anyway".into()
        });
        problems.into_result("ReadOptions")?;
        let byte = |letter: Option<char>| letter.map(|letter| letter as u8);
        Ok(Dialect { delimiter, quote: byte(quote), escape: byte(escape), escape_unsaid: self.escape == Mark::Unsaid })
    }

    /// The limits for files of this number of bytes, if that is known.
    pub(super) fn bounds(&self, size: Option<u64>) -> Bounds {
        let by_size = || size.map_or(u64::MAX, |size| size.saturating_mul(EXPANSION).max(LEAST_BYTES));
        Bounds {
            rows: self.max_rows.min(u32::MAX as usize),
            bytes: self.max_bytes.unwrap_or_else(by_size),
            cell_bytes: self.max_cell_bytes,
            columns: self.max_columns,
        }
    }
}

/// How the cells of a line are told apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    /// Whether nothing was said of escapes, so that a backslash before a quote is looked at twice.
    pub(super) escape_unsaid: bool,
}

impl Dialect {
    /// What to do about a row with too many or too few cells.
    pub(super) fn advice(self) -> &'static str {
        match (self.quote, self.escape) {
            (Some(_), None) => "quote cells that hold the delimiter, a quote or a line break",
            (Some(_), Some(_)) => "quote cells that hold the delimiter or a line break, or escape these",
            (None, Some(_)) => "escape delimiters and line breaks in cells; if cells are quoted, set quote = \"\\\"\"",
            (None, None) => {
                "if cells that hold the delimiter or a line break are quoted, set quote = \"\\\"\"; if these are escaped, escape = \"\\\\\""
            }
        }
    }
}

/// How much is read.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) rows: usize,
    pub(super) bytes: u64,
    pub(super) cell_bytes: usize,
    pub(super) columns: usize,
}

impl Bounds {
    pub(super) fn check_rows(&self, rows: u64) -> Result<()> {
        let limit = self.rows;
        if rows <= limit as u64 {
            return Ok(());
        }
        let help = if limit < u32::MAX as usize { "set max_rows" } else { "read it in parts" };
        Err(Error::new(ErrorKind::Data, format!("expected at most {limit} rows (max_rows)")).with_help(help))
    }

    pub(super) fn check_bytes(&self, bytes: u64) -> Result<()> {
        let limit = self.bytes;
        if bytes <= limit {
            return Ok(());
        }
        let text = format!("expected a log that takes at most {limit} bytes when it is unpacked (max_bytes)");
        Err(Error::new(ErrorKind::Data, text).with_help("set max_bytes if the file is to be trusted"))
    }

    pub(super) fn check_cell(&self, bytes: usize, quoted: bool) -> Result<()> {
        // Quotes are no content.
        let (limit, quotes) = (self.cell_bytes, 2 * usize::from(quoted));
        if bytes <= limit.saturating_add(quotes) {
            return Ok(());
        }
        let help = if quoted { "is its quote never closed? else set max_cell_bytes" } else { "set max_cell_bytes" };
        Err(Error::new(ErrorKind::Data, format!("expected a cell of at most {limit} bytes (max_cell_bytes)"))
            .with_help(help))
    }

    pub(super) fn check_row(&self, bytes: usize) -> Result<()> {
        let limit = self.cell_bytes.saturating_mul(ROW_CELLS);
        if bytes <= limit {
            return Ok(());
        }
        let text = format!("expected a row of at most {limit} bytes, {ROW_CELLS} times max_cell_bytes");
        Err(Error::new(ErrorKind::Data, text).with_help("set max_cell_bytes"))
    }

    pub(super) fn check_columns(&self, columns: usize) -> Result<()> {
        let limit = self.columns;
        if columns <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Data, format!("expected at most {limit} columns (max_columns)"))
            .with_help("set max_columns"))
    }
}

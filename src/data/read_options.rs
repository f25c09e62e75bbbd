//! How text is cut into cells, and how much of a log is read.

use super::Format;
use crate::error::{Error, ErrorKind, Problems, Result};

/// A row may have this many times the bytes of one cell.
const ROW_CELLS: usize = 16;

/// The least that a file may take in memory.
const LEAST_BYTES: u64 = 1 << 30;

/// How many times its own size a larger file may take in memory.
const EXPANSION: u64 = 256;

crate::settings! {
    /// How a log is read: the quotes and escapes of delimited text, and limits that keep a small file from taking all memory.
    ///
    /// Errors of reading name the setting that they come from.
    ///
    /// ```
    /// use starple::data::{Format, ReadOptions, Schema, Table};
    ///
    /// let schema = Schema::builder().categorical("title").label("click").build()?;
    /// let log = "title,click\n\"say \\\"hi\\\"\",1\n";
    /// let read = |options: &ReadOptions| Table::from_reader_with(log.as_bytes(), Format::Csv, "log.csv", &schema, options);
    /// assert!(read(&ReadOptions::default()).unwrap_err().to_string().contains("escape"));
    /// assert_eq!(read(&ReadOptions::builder().escape('\\').build()?)?.rows(), 1);
    /// # Ok::<(), starple::Error>(())
    /// ```
    #[derive(Default)]
    ReadOptions, ReadOptionsBuilder, in files {
        /// The character that quotes a cell, ASCII and neither the separator nor a line break. Empty: quotes are content. Default: `"` in
        /// CSV, empty in TSV.
        ///
        /// A quoted cell may hold separators and line breaks; a quote in it is written twice. A quote inside a cell that does not begin
        /// with one is content.
        quote: Option<String> = None, some impl Into<String>, as Option<&str>;
        /// The character that makes content of a quote, separator, line break or escape after it, and is content itself before anything
        /// else; ASCII, and neither the quote, the separator nor a line break. Empty: none. Default: none, and it is an error
        /// if a backslash leaves open whether a quoted cell ends.
        escape: Option<String> = None, some impl Into<String>, as Option<&str>;
        /// The most rows of a table, at most 2³² − 1, the default.
        max_rows: usize = u32::MAX as usize;
        /// The most bytes that may come out of a file: text after decompression, and the table in memory, each of them. Default: 256
        /// times the file's size, or 1 GiB if that is more; no bound for [`Table::from_reader`](super::Table::from_reader).
        max_bytes: Option<u64> = None, some u64;
        /// The most bytes of a cell; a row may have 16 times as many. Default: 1 MiB.
        max_cell_bytes: usize = 1 << 20;
        /// The most columns of a file; default 65,536.
        max_columns: usize = 1 << 16;
    }
    check(this, problems) {
        for (name, text) in [("quote", &this.quote), ("escape", &this.escape)] {
            let valid = |text: &String| text.len() <= 1 && text.is_ascii() && !text.contains(['\n', '\r']);
            problems.require(text.as_ref().is_none_or(valid), || {
                format!("{name}: one ASCII character that is not a line break, or empty for none, found {:?}", text.as_deref().unwrap_or_default())
            });
        }
        let rows = this.max_rows;
        problems.require(u32::try_from(rows).is_ok(), || format!("max_rows: at most {}, found {rows}", u32::MAX));
    }
}

impl ReadOptions {
    /// How cells of this format are told apart.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names each character that this format does not permit.
    pub(super) fn dialect(&self, format: Format) -> Result<Dialect> {
        let delimiter = format.delimiter();
        let of_format = if format == Format::Csv { "\"" } else { "" };
        let [quote, escape] =
            [self.quote().unwrap_or(of_format), self.escape().unwrap_or("")].map(|text| text.bytes().next());
        let mut problems = Problems::default();
        for (name, letter) in [("quote", quote), ("escape", escape)] {
            problems.require(letter != Some(delimiter), || {
                format!("{name}: another character than the separator {:?}", char::from(delimiter))
            });
        }
        problems.require(quote != escape || quote.is_none(), || {
            "escape: another character than the quote, which may be written twice anyway".into()
        });
        problems.into_result("ReadOptions")?;
        Ok(Dialect { delimiter, quote, escape, escape_unsaid: self.escape().is_none() })
    }

    /// The limits for files of this number of bytes, if that is known.
    pub(super) fn bounds(&self, size: Option<u64>) -> Bounds {
        let by_size = || size.map_or(u64::MAX, |size| size.saturating_mul(EXPANSION).max(LEAST_BYTES));
        Bounds {
            rows: self.max_rows(),
            bytes: self.max_bytes().unwrap_or_else(by_size),
            cell_bytes: self.max_cell_bytes(),
            columns: self.max_columns(),
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

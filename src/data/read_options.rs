//! Options for reading a log: quotes, escapes and limits.

use super::Format;
use crate::error::{Error, ErrorKind, Problems, Result};

/// The limit for the bytes of a row is the limit for a cell times this.
const ROW_CELLS: usize = 16;

/// The smallest default of `max_bytes`.
const LEAST_BYTES: u64 = 1 << 30;

/// The default of `max_bytes` is the size of the file times this, if that is larger than [`LEAST_BYTES`].
const EXPANSION: u64 = 256;

crate::settings! {
    /// How [`Table::read_with`](super::Table::read_with) reads a log: the quote and escape characters of delimited text, and limits.
    ///
    /// The limits keep a damaged or malicious file from taking all memory. If a file exceeds one, reading returns an error of
    /// [`ErrorKind::Data`], whose message names the setting to change.
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
        /// The character that encloses quoted cells, or an empty text if cells are never quoted. It must be one ASCII character and not a line
        /// break; otherwise `build` returns an error. If it is the separator, reading returns an error. `None`, the default, means `"` for CSV,
        /// and no quotes for TSV.
        ///
        /// A quoted cell can contain separators and line breaks. A quote inside it is written twice. If a cell does not begin with a quote, the
        /// quotes in it are ordinary characters.
        quote: Option<String> = None, some impl Into<String>, as Option<&str>;
        /// The escape character, or an empty text for none. It must be one ASCII character and not a line break; otherwise `build` returns an
        /// error. If it is the quote or the separator, reading returns an error. A quote, separator, line break or escape character that follows
        /// the escape character is part of the cell. Before any other character, the escape character itself is part of the cell.
        ///
        /// `None`, the default, means that there are no escapes. Then reading returns an error if the end of a quoted cell would depend on
        /// whether a backslash is an escape. With an empty text, there is no such error: a backslash is always part of the cell.
        escape: Option<String> = None, some impl Into<String>, as Option<&str>;
        /// The largest number of rows of a table. It is at most 2³² − 1, which is the default; for a larger number, `build` returns an error.
        /// Reading a log with more rows returns an error.
        max_rows: usize = u32::MAX as usize;
        /// The largest number of bytes of a log after decompression, and also of the table in memory. Reading a log with more bytes returns an
        /// error. `None`, the default, means 256 times the size of the file or folder, but at least 1 GiB. For
        /// [`Table::from_reader_with`](super::Table::from_reader_with), which does not know the size, `None` means no limit. Every number is
        /// valid.
        max_bytes: Option<u64> = None, some u64;
        /// The largest number of bytes of a cell, without its quotes; the default is 1 MiB (1,048,576). The largest number of bytes of a row is
        /// 16 times this number. Reading a longer cell or row returns an error. Every number is valid.
        max_cell_bytes: usize = 1 << 20;
        /// The largest number of columns of a file; the default is 65,536. Columns that the schema does not name count too. Reading a file with
        /// more columns returns an error. Every number is valid.
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
    /// The delimiter, quote and escape for this format.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming each character that this format does not permit.
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
            "escape: expected another character than the quote; a quote inside a quoted cell can be written twice anyway".into()
        });
        problems.into_result("ReadOptions")?;
        Ok(Dialect { delimiter, quote, escape, escape_unsaid: self.escape().is_none() })
    }

    /// The limits for files of `size` bytes in total, if that is known.
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

/// The characters that separate and quote the cells of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    /// Whether `escape` was not set: a backslash before a quote can then be an error.
    pub(super) escape_unsaid: bool,
}

impl Dialect {
    /// Advice for a row with too many or too few cells.
    pub(super) fn advice(self) -> &'static str {
        match (self.quote, self.escape) {
            (Some(_), None) => "quote cells that contain the delimiter, a quote or a line break",
            (Some(_), Some(_)) => "quote cells that contain the delimiter or a line break, or escape these characters",
            (None, Some(_)) => "escape delimiters and line breaks in cells; if cells are quoted, set quote = \"\\\"\"",
            (None, None) => {
                "if cells that contain the delimiter or a line break are quoted, set quote = \"\\\"\"; if these characters are escaped, set escape = \"\\\\\""
            }
        }
    }
}

/// The limits of a read.
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
        Err(Error::new(ErrorKind::Data, format!("expected at most {limit} rows (max_rows), found more"))
            .with_help(help))
    }

    pub(super) fn check_bytes(&self, bytes: u64) -> Result<()> {
        let limit = self.bytes;
        if bytes <= limit {
            return Ok(());
        }
        let text = format!("expected a log of at most {limit} bytes after decompression (max_bytes), found more");
        Err(Error::new(ErrorKind::Data, text).with_help("set max_bytes if you trust the file"))
    }

    pub(super) fn check_cell(&self, bytes: usize, quoted: bool) -> Result<()> {
        // The quotes around a cell do not count.
        let (limit, quotes) = (self.cell_bytes, 2 * usize::from(quoted));
        if bytes <= limit.saturating_add(quotes) {
            return Ok(());
        }
        let help = if quoted { "close the quote of the cell, or set max_cell_bytes" } else { "set max_cell_bytes" };
        Err(Error::new(
            ErrorKind::Data,
            format!("expected a cell of at most {limit} bytes (max_cell_bytes), found more"),
        )
        .with_help(help))
    }

    pub(super) fn check_row(&self, bytes: usize) -> Result<()> {
        let limit = self.cell_bytes.saturating_mul(ROW_CELLS);
        if bytes <= limit {
            return Ok(());
        }
        let text = format!("expected a row of at most {limit} bytes ({ROW_CELLS} times max_cell_bytes), found more");
        Err(Error::new(ErrorKind::Data, text).with_help("set max_cell_bytes"))
    }

    pub(super) fn check_columns(&self, columns: usize) -> Result<()> {
        let limit = self.columns;
        if columns <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Data, format!("expected at most {limit} columns (max_columns), found more"))
            .with_help("set max_columns"))
    }
}

//! Reads the records of delimited text strictly: text that two programs could read differently is an error.

use std::io::{self, Read};
use std::ops::Range;

use super::read_options::{Bounds, Dialect};
use crate::error::{Error, ErrorKind, Result};

/// The initial size of the buffer: large enough to make system calls cheap, small enough for the cache.
const BUFFER: usize = 1 << 16;

/// Some programs write these bytes at the start of a UTF-8 file. They are not content.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads records one by one from a source of bytes.
pub(super) struct Records<'a, R> {
    inner: R,
    dialect: Dialect,
    bounds: &'a Bounds,
    /// `buffer[start..end]` holds the bytes that were read and not yet parsed.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// An error of the source. It is reported after the records that were read before it.
    failed: Option<Error>,
    /// The number of bytes that were read.
    total: u64,
    /// The line at which the record at `start` begins.
    next_line: u64,
    /// The line of the last record.
    line: u64,
    cells: Vec<Cell>,
    /// The content of cells with escapes or doubled quotes, after these are resolved.
    unescaped: Vec<u8>,
    classes: [Class; 256],
}

/// The place of a cell's content.
#[derive(Debug, Clone)]
enum Cell {
    /// In `buffer`.
    Plain(Range<usize>),
    /// In `unescaped`.
    Unescaped(Range<usize>),
}

/// The meaning of a byte outside quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Content,
    Delimiter,
    LineFeed,
    CarriageReturn,
    Escape,
}

/// The size of a complete record that begins at `start`.
#[derive(Debug, Clone, Copy)]
struct Whole {
    bytes: usize,
    line_feeds: u64,
}

/// A complete cell.
struct End {
    cell: Cell,
    /// The position of the byte after it.
    at: usize,
}

impl<'a, R: Read> Records<'a, R> {
    pub(super) fn new(inner: R, dialect: Dialect, bounds: &'a Bounds) -> Self {
        let mut classes = [Class::Content; 256];
        if let Some(escape) = dialect.escape {
            classes[usize::from(escape)] = Class::Escape;
        }
        classes[usize::from(dialect.delimiter)] = Class::Delimiter;
        classes[usize::from(b'\n')] = Class::LineFeed;
        classes[usize::from(b'\r')] = Class::CarriageReturn;
        Self {
            inner,
            dialect,
            bounds,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            ended: false,
            failed: None,
            total: 0,
            next_line: 1,
            line: 1,
            cells: Vec::new(),
            unescaped: Vec::new(),
            classes,
        }
    }

    /// The line at which the last record starts. At the end of the source and after an error, the last line that was reached.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The delimiter, quotes and escapes.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The number of cells of the last record.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell of the last record.
    pub(super) fn cell(&self, position: usize) -> &[u8] {
        match &self.cells[position] {
            Cell::Plain(range) => &self.buffer[range.clone()],
            Cell::Unescaped(range) => &self.unescaped[range.clone()],
        }
    }

    /// Reads the next record, without blank lines; false if there is none. Errors about content have a line.
    pub(super) fn next(&mut self, failure: &impl Fn(&io::Error) -> Error) -> Result<bool> {
        if self.total == 0 {
            self.fill(failure)?;
            if self.buffer[..self.end].starts_with(BYTE_ORDER_MARK) {
                self.start = BYTE_ORDER_MARK.len();
            }
        }
        loop {
            self.line = self.next_line;
            if self.ended && self.start == self.end {
                return Ok(false);
            }
            let Some(whole) = self.parse()? else {
                self.fill(failure)?;
                continue;
            };
            let blank = matches!(&self.cells[..], [Cell::Plain(only)] if only.is_empty());
            self.start += whole.bytes;
            self.next_line += whole.line_feeds;
            if !blank {
                return Ok(true);
            }
        }
    }

    /// Reads until the buffer is full. If one record fills the whole buffer, the buffer grows.
    fn fill(&mut self, failure: &impl Fn(&io::Error) -> Error) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.end < self.buffer.len() && !self.ended {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    self.total += count as u64;
                    self.bounds.check_bytes(self.total)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(failure(&error));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Splits the record at `start` into cells; `None` if its end is not in the buffer yet.
    fn parse(&mut self) -> Result<Option<Whole>> {
        self.cells.clear();
        self.unescaped.clear();
        let (mut at, mut line_feeds) = (self.start, 0);
        loop {
            let quoted =
                self.dialect.quote.is_some() && self.buffer[at..self.end].first() == self.dialect.quote.as_ref();
            let end = if quoted { self.quoted(at, &mut line_feeds)? } else { self.plain(at, &mut line_feeds)? };
            let (from, to) = (at, end.as_ref().map_or(self.end, |end| end.at));
            self.bounds
                .check_cell(to - from, quoted)
                .map_err(|error| error.at_line(self.line + line_feeds_before(&self.buffer[self.start..from])))?;
            self.bounds.check_row(to - self.start)?;
            let Some(End { cell, at: end }) = end else { return Ok(None) };
            self.cells.push(cell);
            self.bounds.check_columns(self.cells.len())?;
            let rest = &self.buffer[end..self.end];
            match rest {
                [b'\r', b'\n', ..] => {
                    return Ok(Some(Whole { bytes: end + 2 - self.start, line_feeds: line_feeds + 1 }));
                }
                [b'\n', ..] => return Ok(Some(Whole { bytes: end + 1 - self.start, line_feeds: line_feeds + 1 })),
                // These occur only at the end of the file.
                [] | [b'\r'] => return Ok(Some(Whole { bytes: end + rest.len() - self.start, line_feeds })),
                _ => at = end + 1,
            }
        }
    }

    /// Parses the cell at `at`, which does not begin with a quote.
    fn plain(&mut self, at: usize, line_feeds: &mut u64) -> Result<Option<End>> {
        let data = &self.buffer[..self.end];
        // `part` is the start of the content that is not in `unescaped` yet.
        let (mut end, mut part, first) = (at, at, self.unescaped.len());
        loop {
            while end < data.len() && self.classes[usize::from(data[end])] == Class::Content {
                end += 1;
            }
            let Some(&byte) = data.get(end) else {
                if self.ended {
                    break;
                }
                return Ok(None);
            };
            match self.classes[usize::from(byte)] {
                Class::Escape => match escaped(self.dialect, &data[end + 1..]) {
                    None if self.ended => end = data.len(),
                    None => return Ok(None),
                    Some(0) => end += 1,
                    Some(count) => {
                        self.unescaped.extend_from_slice(&data[part..end]);
                        part = end + 1;
                        end = part + count;
                        *line_feeds += line_feeds_before(&data[part..end]);
                    }
                },
                Class::CarriageReturn => match data.get(end + 1) {
                    Some(b'\n') => break,
                    None if self.ended => break,
                    None => return Ok(None),
                    Some(_) => return Err(lone_carriage_return().at_line(self.line + *line_feeds)),
                },
                _ => break,
            }
        }
        if part == at {
            return Ok(Some(End { cell: Cell::Plain(at..end), at: end }));
        }
        self.unescaped.extend_from_slice(&data[part..end]);
        Ok(Some(End { cell: Cell::Unescaped(first..self.unescaped.len()), at: end }))
    }

    /// Parses the cell at `at`, which begins with a quote.
    fn quoted(&mut self, at: usize, line_feeds: &mut u64) -> Result<Option<End>> {
        let Dialect { quote: Some(quote), escape, .. } = self.dialect else {
            unreachable!("a cell is quoted only if there is a quote character")
        };
        let opened = self.line + *line_feeds;
        let data = &self.buffer[..self.end];
        let (mut end, mut part, first) = (at + 1, at + 1, self.unescaped.len());
        let mut backslash = false;
        loop {
            let found = match escape {
                Some(escape) => memchr::memchr2(quote, escape, &data[end..]),
                None => memchr::memchr(quote, &data[end..]),
            };
            let Some(found) = found else {
                return if self.ended { Err(never_closed(backslash).at_line(opened)) } else { Ok(None) };
            };
            end += found;
            if Some(data[end]) == escape {
                match escaped(self.dialect, &data[end + 1..]) {
                    None if self.ended => return Err(never_closed(false).at_line(opened)),
                    None => return Ok(None),
                    Some(0) => end += 1,
                    Some(count) => {
                        self.unescaped.extend_from_slice(&data[part..end]);
                        part = end + 1;
                        end = part + count;
                    }
                }
                continue;
            }
            backslash |= end > at + 1 && data[end - 1] == b'\\' && self.dialect.escape_unsaid;
            match &data[end + 1..] {
                [] | [_] if !self.ended => return Ok(None),
                [next, rest @ ..] if *next == quote => {
                    // One program reads a quote and continues, another ends the cell.
                    if data[end - 1] == b'\\' && self.dialect.escape_unsaid && ends_cell(self.dialect, rest) {
                        return Err(ambiguous().at_line(opened + line_feeds_before(&data[at..end])));
                    }
                    self.unescaped.extend_from_slice(&data[part..=end]);
                    end += 2;
                    part = end;
                }
                rest if ends_cell(self.dialect, rest) => break,
                rest => {
                    let closed = opened + line_feeds_before(&data[at..end]);
                    return Err(closed_inside(opened, closed, rest, backslash).at_line(opened));
                }
            }
        }
        *line_feeds += line_feeds_before(&data[at..end]);
        let cell = if part == at + 1 {
            Cell::Plain(part..end)
        } else {
            self.unescaped.extend_from_slice(&data[part..end]);
            Cell::Unescaped(first..self.unescaped.len())
        };
        // A line with one empty quoted cell is not a blank line.
        let cell = if let Cell::Plain(range) = &cell
            && range.is_empty()
        {
            Cell::Unescaped(first..first)
        } else {
            cell
        };
        Ok(Some(End { cell, at: end + 1 }))
    }
}

/// How many of the bytes after an escape become content. 0 if the escape is content itself; `None` if more bytes are needed to decide.
fn escaped(dialect: Dialect, rest: &[u8]) -> Option<usize> {
    match rest {
        [] | [b'\r'] => None,
        [b'\r', b'\n', ..] => Some(2),
        [byte, ..] => {
            let special = [Some(dialect.delimiter), Some(b'\n'), dialect.quote, dialect.escape].contains(&Some(*byte));
            Some(usize::from(special))
        }
    }
}

/// Whether a quote before these bytes closes its cell.
fn ends_cell(dialect: Dialect, rest: &[u8]) -> bool {
    matches!(rest, [] | [b'\n' | b'\r'] | [b'\n', ..] | [b'\r', b'\n', ..]) || rest.first() == Some(&dialect.delimiter)
}

fn line_feeds_before(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

const DOUBLE_OR_ESCAPE: &str =
    "write a quote inside a quoted cell twice; if the file writes quotes as \\\", set escape = \"\\\\\"";
const DOUBLE_OR_OFF: &str =
    "write a quote inside a quoted cell twice, or set quote = \"\" if quotes are ordinary characters";

fn never_closed(backslash: bool) -> Error {
    Error::new(ErrorKind::Data, "the quoted cell that begins here is never closed").with_help(if backslash {
        DOUBLE_OR_ESCAPE
    } else {
        DOUBLE_OR_OFF
    })
}

fn closed_inside(opened: u64, closed: u64, rest: &[u8], backslash: bool) -> Error {
    let rest = String::from_utf8_lossy(&rest[..rest.len().min(16)]);
    let next = rest.chars().next().unwrap_or_default();
    let place = if opened == closed { String::new() } else { format!(" in line {closed}") };
    let text = format!(
        "expected a separator or the end of the line after the closing quote of this cell{place}, found {next:?}"
    );
    Error::new(ErrorKind::Data, text).with_help(if backslash { DOUBLE_OR_ESCAPE } else { DOUBLE_OR_OFF })
}

fn ambiguous() -> Error {
    Error::new(ErrorKind::Data, "a backslash before two quotes: the cell could end here or continue")
        .with_help("set escape = \"\\\\\" if backslashes escape quotes, or escape = \"\" if quotes are written twice")
}

fn lone_carriage_return() -> Error {
    Error::new(ErrorKind::Data, "a carriage return without a line feed after it")
        .with_help("end lines with a line feed or with both, and quote cells that contain a carriage return")
}

#[cfg(test)]
mod tests;

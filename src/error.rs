//! The error type of the crate: what went wrong, where, and what to do.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// A [`std::result::Result`] whose error type is this crate's [`Error`], unless another type is given.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: [`Error::kind`] returns it. If you `match` on it, add a wildcard arm (`_ =>`), because later versions can add kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system could not open, read or write a file. Check the path, the permissions and the space on the disk.
    Io,
    /// Rows of a log, a batch or a request are invalid: for example a column is missing, a row has too few cells, a value has the wrong type, or
    /// there are no rows.
    Data,
    /// A row or a call names a domain that the encoder or the layout does not have. Add the domain to the encoder and the model. Or let the
    /// encoder accept such rows: see [`UnknownDomain::Shared`](crate::data::UnknownDomain::Shared).
    UnknownDomain,
    /// One or more settings or arguments are invalid. The message names each of them.
    Config,
    /// Two values that must fit together do not, for example rows and a model, or an encoder and a model. Their features, domains, tasks, sizes
    /// or settings differ. The message says what differs.
    Layout,
    /// A loss, gradient, score, parameter or stored number is NaN or infinite. In training, a lower learning rate often helps.
    NonFinite,
    /// This crate did not write the file: its first bytes differ from those of all files that this crate writes.
    Foreign,
    /// A file that this crate wrote is damaged: it is truncated, its checksum is wrong, or it changed while it was read. Copy the file again.
    Corrupt,
    /// A newer version of this crate wrote the file, in a format that this version cannot read. Upgrade the crate.
    Version,
    /// A file that this crate wrote is valid, but it holds something else than the caller asked for: for example a checkpoint instead of a
    /// model, or a model of another kind.
    Kind,
    /// A file that this crate wrote lacks a required part, for example a tensor or the encoder. The message names the missing parts.
    Missing,
    /// A file that this crate wrote has a part that this version does not know, for example a tensor. The message names the unknown parts.
    Unknown,
    /// A tensor in a file that this crate wrote has another shape or type than the settings in the file require. The message has both: what was
    /// expected and what was found.
    Shape,
    /// The caller stopped the work before its end. This crate itself does not return this kind; its companion crate `starple-lab` does.
    Interrupted,
}

/// An error of this crate.
///
/// Its text (`to_string()`) says where the error is (file, line, column), what was found, what was expected and what to do. Facts that are not
/// known are left out. A program can get the facts from [`Error::kind`], [`Error::path`], [`Error::line`], [`Error::column`] and
/// [`Error::value`].
#[derive(thiserror::Error)]
#[error("{}", .0)]
pub struct Error(Box<Detail>);

#[derive(Debug)]
struct Detail {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    line: Option<u64>,
    column: Option<String>,
    value: Option<Excerpt>,
    help: Option<String>,
}

/// The most characters of a value or name in an error text.
const SHOWN: usize = 80;

/// The most characters of a message; lists of this crate are shorter.
const LONGEST: usize = 8192;

/// The beginning of a value; the rest, which may be large, is dropped.
#[derive(Debug)]
struct Excerpt {
    text: String,
    /// The length of the whole value.
    bytes: usize,
}

impl Excerpt {
    fn of(text: String) -> Self {
        let (bytes, shown) = (text.len(), beginning(&text).len());
        // Not `truncate`, which would keep the memory of the whole value.
        Self { text: if shown < bytes { text[..shown].to_owned() } else { text }, bytes }
    }
}

/// The first characters of a text, at most [`SHOWN`].
fn beginning(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// Returns a text in double quotes, for an error message that shows a name or value from a file or a client. Control characters are escaped. If
/// the text has more than 80 characters, only the first 80 are shown, followed by the length of the whole text in bytes.
///
/// ```
/// assert_eq!(starple::quoted("home\x1b[2J").to_string(), r#""home\u{1b}[2J""#);
/// assert_eq!(starple::quoted(&"x".repeat(1000)).to_string(), format!("\"{}\"… (1000 bytes)", "x".repeat(80)));
/// ```
pub fn quoted(text: &(impl AsRef<str> + ?Sized)) -> impl fmt::Display + '_ {
    let text = text.as_ref();
    Quoted { text: beginning(text), bytes: text.len() }
}

struct Quoted<'a> {
    text: &'a str,
    bytes: usize,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)?;
        if self.text.len() < self.bytes { write!(f, "… ({} bytes)", self.bytes) } else { Ok(()) }
    }
}

/// Returns the text in a form that is safe to print on a terminal: control characters and characters that change the direction of writing are
/// escaped. Line breaks (`\n`) and tabs are not escaped.
///
/// ```
/// assert_eq!(starple::printable("home\x1b[2J"), r"home\u{1b}[2J");
/// assert_eq!(starple::printable("home"), "home");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if acts(letter) { shown.extend(letter.escape_debug()) } else { shown.push(letter) }
    }
    shown.into()
}

/// Returns the text on one line, in a form that is safe to print on a terminal: it is escaped as by [`printable`], and line breaks (`\n`) and
/// tabs are escaped too.
///
/// ```
/// assert_eq!(starple::one_line("home\tpage\n"), r"home\tpage\n");
/// ```
pub fn one_line(text: &str) -> Cow<'_, str> {
    let shown = printable(text);
    if shown.contains(['\n', '\t']) { Cow::Owned(shown.replace('\n', "\\n").replace('\t', "\\t")) } else { shown }
}

/// Whether the character controls a terminal.
fn acts(letter: char) -> bool {
    let direction = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || letter.is_control() && !matches!(letter, '\n' | '\t')
}

impl Error {
    /// Makes an error of this kind. `message` should say what was expected and what was found. If it has more than 8,192 characters, the rest is
    /// cut off. Use this function in your own [`RowSource`](crate::data::RowSource)s and nets.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            let bytes = message.len();
            message = format!("{}… ({bytes} bytes)", &message[..end]);
        }
        Self(Box::new(Detail { kind, message, path: None, line: None, column: None, value: None, help: None }))
    }

    /// Sets the path of the file in which the error is, and replaces an earlier path. The text of the error begins with it.
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Sets the line of the file at which the error is, counted from 1, and replaces an earlier line.
    pub fn at_line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Sets the name of the column or setting in which the error is, and replaces an earlier name.
    pub fn in_column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Sets the wrong value that was found, and replaces an earlier value. Only its first 80 characters are kept.
    pub fn with_value(mut self, value: impl Into<String>) -> Self {
        self.0.value = Some(Excerpt::of(value.into()));
        self
    }

    /// Sets advice on what the user can do, and replaces earlier advice. It is shown at the end of the error's text, in parentheses.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Returns the kind of the error: what went wrong. A program can use it to treat some errors differently from others.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the path of the file in which the error is, or `None` if it is not in a file. For rows in memory, the result can be a name
    /// instead of a path, such as `rows`.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns the line of the file at which the error is, counted from 1, or `None` if it is not known. For a Parquet file or rows in memory,
    /// the result is the number of the row, counted from 1.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }

    /// Returns the name of the column or setting in which the error is. The result is `None` if the error is not in one column or setting.
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    /// Returns the wrong value that was found, as it was written. If it has more than 80 characters, the result is its first 80. It is `None` if
    /// the error has no such value.
    pub fn value(&self) -> Option<&str> {
        self.0.value.as_ref().map(|value| &*value.text)
    }
}

impl From<std::io::Error> for Error {
    /// Makes an error of [`ErrorKind::Io`], whose message is that of the operating system.
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string())
    }
}

impl fmt::Display for Detail {
    /// `data.csv:17: column "label": found "2": expected 0, 1 or an empty cell (advice)`.
    ///
    /// Names and values come from files and clients: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            f.write_str(&printable(&path.to_string_lossy()))?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": ")?;
        } else if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column {}: ", quoted(column))?;
        }
        if let Some(Excerpt { text, bytes }) = &self.value {
            write!(f, "found {}: ", Quoted { text, bytes: *bytes })?;
        }
        f.write_str(&printable(&self.message))?;
        if let Some(help) = &self.help {
            write!(f, " ({})", printable(help))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    // If `main` returns an error, Rust prints its `Debug`: the message is more useful there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A list of the problems that a check found, so that one [`Error`] can name all invalid settings at once. In the check of a type that
/// [`settings!`](crate::settings!) defines, the argument `problems` is such a list.
///
/// ```
/// use starple::Problems;
///
/// let (layers, dropout) = (0, 1.5);
/// let mut problems = Problems::default();
/// problems.require(layers > 0, || "layers: at least one".into());
/// problems.require((0.0..1.0).contains(&dropout), || format!("dropout: 0 <= p < 1, found {dropout}"));
/// let error = problems.into_result("MyConfig").unwrap_err();
/// assert_eq!(error.to_string(), "MyConfig: layers: at least one; dropout: 0 <= p < 1, found 1.5");
/// ```
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem if `holds` is false. Only then `what` is called; it returns the description of the problem. The description should name
    /// the setting, what is valid and what was found.
    pub fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }

    /// Returns true if no problem was added to the list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `Ok` if no problem was added.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a problem was added. The message has the text `of` (the name of the type of the settings), then all problems.
    pub fn into_result(self, of: &str) -> Result<()> {
        self.into_error(ErrorKind::Config, of)
    }

    /// [`Problems::into_result`] with another kind of error.
    pub(crate) fn into_error(self, kind: ErrorKind, of: &str) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Error::new(kind, format!("{of}: {}", self.0.join("; ")))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_where_what_and_what_to_do() {
        let error = Error::new(ErrorKind::Data, "expected 0, 1 or an empty cell")
            .at_path("log.csv")
            .at_line(17)
            .in_column("label")
            .with_value("2")
            .with_help("a label is a click or none");
        assert_eq!(
            error.to_string(),
            "log.csv:17: column \"label\": found \"2\": expected 0, 1 or an empty cell (a label is a click or none)"
        );
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.line(), Some(17));
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn long_values_are_cut_and_nothing_acts_on_a_terminal() {
        let hostile = "\x1b]0;owned\x07\u{202e}";
        let error = Error::new(ErrorKind::Data, format!("expected {hostile}\n\tand more"))
            .at_path(hostile)
            .in_column(hostile.repeat(1000))
            .with_value(format!("é{}", "x".repeat(1 << 20)))
            .with_help(hostile);
        let text = error.to_string();
        assert!(text.len() < 2000, "{} bytes", text.len());
        assert!(text.contains(&format!("found \"é{}\"… (1048578 bytes): expected", "x".repeat(79))), "{text}");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n' && letter != '\t'), "{text:?}");
        assert!(!text.contains('\u{202e}') && text.contains("\n\tand more"));
        assert_eq!(error.value().map(|value| value.chars().count()), Some(80));
        // Eighty are not cut.
        let whole = "y".repeat(80);
        assert_eq!(quoted(&whole).to_string(), format!("{whole:?}"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert!(matches!(one_line("größe, 検索 ±"), Cow::Borrowed("größe, 検索 ±")));
        assert_eq!(one_line("a\u{1b}[31mb\r\n\t\u{7f}\u{9b}"), "a\\u{1b}[31mb\\r\\n\\t\\u{7f}\\u{9b}");
        assert_eq!(one_line("x\u{202e}y\u{2066}"), "x\\u{202e}y\\u{2066}");
    }

    #[test]
    fn problems_are_all_named_at_once() {
        let mut problems = Problems::default();
        problems.require(1 < 0, || "hidden: at least one layer".into());
        problems.require(true, || unreachable!());
        problems.require(2 < 0, || "dropout: 0 <= p < 1, found 2".into());
        let error = problems.into_result("StarConfig").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), "StarConfig: hidden: at least one layer; dropout: 0 <= p < 1, found 2");
    }
}

//! Aligned text tables for a terminal.

use std::borrow::Cow;
use std::fmt;

use starple::one_line;

/// One cell of a [`TextTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text, aligned left.
    Text(String),
    /// A number as it will be printed, aligned right.
    Number(String),
    /// A number that has no value here; printed as `–`.
    Undefined,
    /// Nothing: the column does not apply to this row.
    Blank,
}

impl Cell {
    /// This number with a fixed number of decimals.
    pub fn number(value: f64, decimals: usize) -> Self {
        Self::Number(format!("{value:.decimals$}"))
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Number(text) => one_line(text),
            Self::Undefined => "–".into(),
            Self::Blank => "".into(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Number(count.to_string())
    }
}

/// With four decimals; see [`Cell::number`] for others.
impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::number(value, 4)
    }
}

/// `None` is [`Cell::Undefined`].
impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Undefined, Self::from)
    }
}

/// A table of text and numbers that displays with its columns aligned.
///
/// Text is aligned left and numbers right. Widths count characters. Control characters, which names in a log may have, are
/// escaped: `\u{1b}`.
///
/// ```
/// use starple_lab::table::{Cell, TextTable};
///
/// let mut table = TextTable::new(["model", "rows", "AUC"]);
/// table.row([Cell::from("pooled"), 1200.into(), 0.7312.into()]);
/// table.row([Cell::from("star"), 9.into(), None.into()]);
/// table.note("AUC is undefined where all rows are of one class.");
/// let expected = "\
/// model   rows     AUC
/// ────────────────────
/// pooled  1200  0.7312
/// star       9       –
/// –: AUC is undefined where all rows are of one class.
/// ";
/// assert_eq!(table.to_string(), expected);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Row numbers in front of which a line is drawn.
    rules: Vec<usize>,
    note: Option<String>,
}

impl TextTable {
    /// An empty table with these columns.
    pub fn new<H: Into<String>>(headers: impl IntoIterator<Item = H>) -> Self {
        let headers = headers.into_iter().map(|header| one_line(&header.into()).into_owned()).collect();
        Self { headers, rows: Vec::new(), rules: vec![0], note: None }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If there are more or fewer cells than columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        let cells: Vec<_> = cells.into_iter().collect();
        let columns = self.headers.len();
        assert_eq!(cells.len(), columns, "{} cells for {columns} columns", cells.len());
        self.rows.push(cells);
        self
    }

    /// Draws a line in front of the row that is added next.
    pub fn rule(&mut self) -> &mut Self {
        self.rules.push(self.rows.len());
        self
    }

    /// Says why a cell may be undefined. Printed under the table when it has such a cell.
    pub fn note(&mut self, why: impl Into<String>) -> &mut Self {
        self.note = Some(one_line(&why.into()).into_owned());
        self
    }

    fn column(&self, column: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().map(move |row| &row[column])
    }

    /// A column's width, and whether its header stands to the right as its numbers do.
    fn measure(&self, column: usize) -> (usize, bool) {
        let header = self.headers[column].chars().count();
        let width = self.column(column).map(|cell| cell.text().chars().count()).fold(header, usize::max);
        let numeric = self.column(column).any(|cell| matches!(cell, Cell::Number(_) | Cell::Undefined));
        let text = self.column(column).any(|cell| matches!(cell, Cell::Text(_)));
        (width, numeric && !text)
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = (0..self.headers.len()).map(|column| self.measure(column)).collect();
        let write_line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = (Cow<'_, str>, bool)>| {
            let mut line = String::new();
            for ((text, right), (width, _)) in cells.zip(&columns) {
                let padding = " ".repeat(width - text.chars().count());
                let (before, after) = if right { (padding, String::new()) } else { (String::new(), padding) };
                line.extend([&before, &*text, &after, "  "]);
            }
            writeln!(f, "{}", line.trim_end())
        };

        write_line(
            f,
            &mut self.headers.iter().zip(&columns).map(|(header, (_, right))| (header.as_str().into(), *right)),
        )?;
        let full = columns.iter().map(|(width, _)| width + 2).sum::<usize>().saturating_sub(2);
        for (number, row) in self.rows.iter().enumerate() {
            if self.rules.contains(&number) {
                writeln!(f, "{}", "─".repeat(full))?;
            }
            write_line(f, &mut row.iter().map(|cell| (cell.text(), !matches!(cell, Cell::Text(_)))))?;
        }
        match &self.note {
            Some(note) if self.rows.iter().flatten().any(|cell| *cell == Cell::Undefined) => writeln!(f, "–: {note}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_blanks_and_wide_headers() {
        let mut table = TextTable::new(["", "positives"]);
        table.row([Cell::from("größe"), 7_usize.into()]).rule().row([Cell::from("all"), Cell::Blank]);
        assert_eq!(table.to_string(), "       positives\n────────────────\ngröße          7\n────────────────\nall\n");
    }

    #[test]
    fn names_from_a_log_do_not_reach_the_terminal_as_they_are() {
        let evil = "feed\u{1b}[2J\u{202e}\nx";
        let mut table = TextTable::new([evil, "n"]);
        table.row([Cell::from(evil), 7_usize.into()]).row([Cell::Text(evil.into()), Cell::Undefined]).note(evil);
        let text = table.to_string();
        let shown = "feed\\u{1b}[2J\\u{202e}\\nx";
        assert_eq!(text, format!("{shown}  n\n{}\n{shown}  7\n{shown}  –\n–: {shown}\n", "─".repeat(shown.len() + 3)));
    }

    #[test]
    fn no_note_without_an_undefined_cell() {
        let mut table = TextTable::new(["AUC"]);
        table.note("why").row([Cell::from(0.5)]);
        assert!(!table.to_string().contains("why"));
    }

    #[test]
    #[should_panic(expected = "1 cells for 2 columns")]
    fn a_short_row_is_refused() {
        TextTable::new(["a", "b"]).row([Cell::Blank]);
    }
}

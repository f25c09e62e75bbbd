//! A feature made of several columns.

use serde::{Deserialize, Serialize};

use super::Coding;
use crate::error::Problems;

/// An embedded feature whose value is the combination of the values of several columns: what a user thinks of a genre, say, which neither the
/// user nor the genre tells alone.
///
/// A row has one value, so a cross is a field with one id a row, and has a coding, a table and a width as a
/// [`Categorical`](super::Categorical) has. The columns may be those of other features, the domain's, or columns that nothing else reads. Each
/// is read as text, an empty cell as a value like any other.
///
/// The text of the combination is the [spelling](super::super::id_spelling) of each part, in the order of the columns, with `|` between them. A
/// `|` or `\` inside a part is written `\|` or `\\`, so different combinations never have the same text. A [`Categorical`](super::Categorical)
/// over a column that holds these texts gives the same ids.
///
/// There are many more combinations than values, and most are rare: give a vocabulary a `min_count` above 1, or hash.
///
/// ```
/// use starple::data::{Cross, Encoder, Format, Schema, Table};
///
/// let cross = Cross::new("user_x_genre", ["user", "genre"]);
/// let schema = Schema::builder().categorical("user").categorical("genre").feature(cross).label("click").build()?;
/// let log = "user,genre,click\nann,drama,1\nann,crime,0\nbob,drama,0\nann,drama,1\n";
/// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
/// let encoder = Encoder::fit(&schema, &table, &table.all())?;
/// let batch = encoder.encode(&table, &table.all())?;
/// assert_eq!((0..4).map(|row| batch.ids[2].row(row)[0]).collect::<Vec<_>>(), [1, 2, 3, 1]);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cross {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    #[serde(default)]
    pub(super) coding: Coding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dim: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) statistics: Option<bool>,
}

impl Cross {
    /// A feature of the combinations of these columns, at least two. By default, it has a vocabulary of all combinations in the fitting rows,
    /// and an embedding table of its own; the methods below change this. [`Cross::ids`] is an error: a combination is no id.
    pub fn new<S: Into<String>>(name: impl Into<String>, columns: impl IntoIterator<Item = S>) -> Self {
        Self {
            name: name.into(),
            columns: columns.into_iter().map(Into::into).collect(),
            coding: Coding::default(),
            table: None,
            dim: None,
            statistics: None,
        }
    }

    embedded_options!("");
    statistics_option!();

    pub(super) fn check(&self, problems: &mut Problems) {
        let Self { name, columns, coding, .. } = self;
        problems.require(columns.len() >= 2, || {
            let found = columns.len();
            format!("feature {name:?}: columns: at least two to combine, found {found}")
        });
        for (i, column) in columns.iter().enumerate() {
            problems.require(!column.is_empty(), || {
                format!("feature {name:?}: columns: names that are not empty, found one at position {i}")
            });
            problems.require(!columns[..i].contains(column), || {
                format!("feature {name:?}: columns: {column:?} is listed twice")
            });
        }
        problems.require(!matches!(coding, Coding::Ids { .. }), || {
            format!("feature {name:?}: coding: a combination is no id; use hashed or vocabulary")
        });
        coding.check(name, problems);
    }
}

/// Writes the text of a combination of values: see [`Cross`].
pub(in crate::data) fn spell<'a>(parts: impl IntoIterator<Item = &'a str>, text: &mut String) {
    text.clear();
    for (i, part) in parts.into_iter().enumerate() {
        if i > 0 {
            text.push('|');
        }
        for letter in part.chars() {
            if matches!(letter, '|' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::data::id_spelling;

    #[test]
    fn different_combinations_have_different_texts() {
        let pieces = ["", "a", "|", "\\", "a|", "|a", "\\|", "|\\", "\\\\", "a b", "b", " "];
        let mut found = HashMap::new();
        let mut text = String::new();
        for first in pieces {
            for second in pieces {
                spell([first, second], &mut text);
                assert_eq!(id_spelling(&text), text);
                assert_eq!(found.insert(text.clone(), (first, second)), None, "{text:?}");
                for third in pieces {
                    spell([first, second, third], &mut text);
                    assert_eq!(found.insert(text.clone(), (first, second)), None, "{text:?}");
                }
            }
        }
        spell(["3", "a|b\\"], &mut text);
        assert_eq!(text, "3|a\\|b\\\\");
    }
}

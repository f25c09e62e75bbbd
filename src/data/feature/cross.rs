//! A feature made of several columns.

use serde::{Deserialize, Serialize};

use super::Coding;
use crate::error::Problems;

/// A feature whose value is the combination of the values of several columns. For example, the cross of user and genre has one trained vector for
/// each pair of a user and a genre. So the model can learn whether this user likes this genre, which neither column says alone.
///
/// A row has one combination, which becomes one id. The options are those of a [`Categorical`](super::Categorical) feature: how ids are made
/// ([`Coding`]), the embedding table, and the width of its vectors. The columns can be those of other features, the domain column, or columns
/// that no other feature reads. Every column is read as text. An empty cell is a value like any other.
///
/// The text of a combination consists of the values in the order of the columns, with `|` between them. Each value is written as
/// [`id_spelling`](crate::data::id_spelling) says, and a `|` or `\` inside it as `\|` or `\\`; so different combinations have different texts.
/// A [`Categorical`](super::Categorical) feature over a column with these texts would get the same ids.
///
/// There are usually many more combinations than values of one column, and most combinations are rare. So use [`Cross::min_count`] with a count
/// above 1, or [`Cross::hashed`].
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
    /// Makes a feature whose values are the combinations of the values of `columns`. `name` is the name of the feature. `columns` has the names of
    /// at least two columns, each of them once and not empty.
    ///
    /// By default, the feature has a vocabulary of all combinations that occur in the rows on which the encoder is fitted, and its own embedding
    /// table. The other methods change this. But do not call [`Cross::ids`], because a combination is not an integer.
    ///
    /// Invalid columns and [`Cross::ids`] are errors of [`SchemaBuilder::build`](crate::data::SchemaBuilder::build).
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

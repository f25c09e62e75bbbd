//! Names that are looked up, lists of them and near misses, for error texts.

use crate::error::{Error, ErrorKind, Result, quoted};

/// How many names an error text lists before it only counts the rest.
const LISTED: usize = 30;

/// `"a", "b", "c"`, shortened to `… and 70 more` where there are very many.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<_> = names.iter().take(LISTED).map(|name| quoted(name).to_string()).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Where `column` is among the names of a file's columns, which `holder` (its header, the file) has.
pub(super) fn position(column: &str, names: &[&str], holder: &str) -> Result<usize> {
    let mut found = (0..names.len()).filter(|&i| names[i] == column);
    match (found.next(), found.next()) {
        (Some(position), None) => Ok(position),
        (Some(first), Some(second)) => Err(Error::new(
            ErrorKind::Data,
            format!("the {holder} has this name twice, as columns {} and {}", first + 1, second + 1),
        )
        .in_column(column)
        .with_help("rename one of the two")),
        (None, _) => {
            let text = format!("the {holder} has no such name; the columns are {}", listed(names));
            let error = Error::new(ErrorKind::Data, text).in_column(column);
            Err(match closest(column, names) {
                Some(name) => error.with_help(format!("did you mean {}?", quoted(name))),
                None => error,
            })
        }
    }
}

/// The name nearest to `wanted` by edits, upper and lower case being alike; `None` if more than half would change.
pub(crate) fn closest<'a, S: AsRef<str>>(wanted: &str, names: &'a [S]) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    let distances = names.iter().map(|name| {
        let letters: Vec<char> = name.as_ref().to_lowercase().chars().collect();
        (edits(&wanted, &letters), letters.len(), name.as_ref())
    });
    let (distance, length, name) = distances.min_by_key(|&(distance, ..)| distance)?;
    (2 * distance <= wanted.len().max(length)).then_some(name)
}

/// Levenshtein's distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_strangers_are_not() {
        let names = ["user_id", "item_id", "label"];
        assert_eq!(closest("user", &names), Some("user_id"));
        assert_eq!(closest("userid", &names), Some("user_id"));
        assert_eq!(closest("Label", &names), Some("label"));
        assert_eq!(closest("lable", &names), Some("label"));
        assert_eq!(closest("x", &names), None);
        assert_eq!(closest::<&str>("x", &[]), None);
    }

    #[test]
    fn distance_of_a_textbook_pair() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(edits(&letters("kitten"), &letters("sitting")), 3);
        assert_eq!(edits(&letters(""), &letters("abc")), 3);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..32).map(|i| i.to_string()).collect();
        assert_eq!(listed(&names[..2]), "\"0\", \"1\"");
        assert!(listed(&names).ends_with("\"29\" and 2 more"));
    }
}

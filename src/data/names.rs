//! Looks up names. For error texts: lists of names, and names that were probably meant.

use crate::error::{Error, ErrorKind, Result, quoted};

/// How many names an error text lists. It counts the rest.
const LISTED: usize = 30;

/// `"a", "b", "c"`; a long list ends with `… and 70 more`.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<_> = names.iter().take(LISTED).map(|name| quoted(name).to_string()).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The position of `column` among the column names of a file. `holder` is what has the names in an error text: "header" or "file".
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

/// Returns the one of `names` that is most similar to `wanted`, for a "did you mean" in an error message. The result is `None` if no name has a
/// similarity of at least 0.5.
///
/// The similarity is `1 − edits / length of the longer name`, from 0 to 1. `edits` is the smallest number of edits that turn one name into the
/// other. An edit replaces, adds or removes a letter, or swaps two adjacent letters (the Damerau-Levenshtein distance). Upper and lower case are
/// equal. If several names are equally similar, the first is returned.
///
/// ```
/// assert_eq!(starple::closest("lable", &["user", "label"]), Some("label"));
/// assert_eq!(starple::closest("price", &["user", "label"]), None);
/// ```
pub fn closest<'a, S: AsRef<str>>(wanted: &str, names: &'a [S]) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let alike = |name: &str| strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase());
    let names = names.iter().map(|name| (alike(name.as_ref()), name.as_ref()));
    let (alike, name) = names.rev().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (alike >= 0.5).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_found_and_others_are_not() {
        let names = ["user_id", "item_id", "label"];
        assert_eq!(closest("user", &names), Some("user_id"));
        assert_eq!(closest("userid", &names), Some("user_id"));
        assert_eq!(closest("Label", &names), Some("label"));
        assert_eq!(closest("lable", &names), Some("label"));
        assert_eq!(closest("x", &names), None);
        assert_eq!(closest::<&str>("x", &[]), None);
    }

    #[test]
    fn half_the_letters_may_differ_and_the_first_of_equals_is_named() {
        // Two of four letters: two swaps, or a swap and a replacement. Three edits are too many.
        assert_eq!(closest("badc", &["abcd"]), Some("abcd"));
        assert_eq!(closest("bacx", &["abcd"]), Some("abcd"));
        assert_eq!(closest("bayx", &["abcd"]), None);
        assert_eq!(closest("ab", &["ax", "ay"]), Some("ax"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..32).map(|i| i.to_string()).collect();
        assert_eq!(listed(&names[..2]), "\"0\", \"1\"");
        assert!(listed(&names).ends_with("\"29\" and 2 more"));
    }
}

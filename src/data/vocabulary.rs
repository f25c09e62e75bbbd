//! A list of distinct values with fast look-up.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id_spelling;
use crate::error::{Error, ErrorKind, Result};

/// A list of distinct values that also finds the position of a value. It is serialized as the list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Arc<str>>", into = "Vec<Arc<str>>")]
pub(super) struct Vocabulary {
    values: Vec<Arc<str>>,
    positions: HashMap<Arc<str>, u32>,
}

/// How often values occur in one column or several, in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct ValueCounts<'a> {
    counts: Vec<(&'a str, usize)>,
    positions: HashMap<&'a str, usize>,
}

impl<'a> ValueCounts<'a> {
    /// Counts the values of one more column, which are codes of a dictionary.
    pub(super) fn add(&mut self, dictionary: &'a [Box<str>], codes: impl Iterator<Item = u32>) {
        // Each distinct value is looked up once.
        let mut found: Vec<Option<usize>> = vec![None; dictionary.len()];
        for code in codes {
            let position = *found[code as usize].get_or_insert_with(|| {
                let value = &*dictionary[code as usize];
                *self.positions.entry(value).or_insert_with(|| {
                    self.counts.push((value, 0));
                    self.counts.len() - 1
                })
            });
            self.counts[position].1 += 1;
        }
    }

    /// The values that occur at least this often.
    pub(super) fn at_least(&self, min_count: usize) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        for (value, _) in self.counts.iter().filter(|(_, count)| *count >= min_count) {
            vocabulary.insert(value);
        }
        vocabulary
    }
}

impl Vocabulary {
    /// The values that occur at least `min_count` times among `codes`, in order of first appearance.
    pub(super) fn fit(dictionary: &[Box<str>], codes: impl Iterator<Item = u32>, min_count: usize) -> Self {
        let mut counts = ValueCounts::default();
        counts.add(dictionary, codes);
        counts.at_least(min_count)
    }

    /// The position of `value`, counted from 0.
    pub(super) fn position(&self, value: &str) -> Option<u32> {
        self.positions.get(value).copied()
    }

    /// The values in order.
    pub(super) fn values(&self) -> &[Arc<str>] {
        &self.values
    }

    /// Appends the values of `other` that are new, in their order, and returns them.
    pub(super) fn extend(&mut self, other: &Self) -> &[Arc<str>] {
        let known = self.values.len();
        for value in &other.values {
            self.insert(value);
        }
        &self.values[known..]
    }

    /// Appends `value`; false if the list has it already.
    pub(super) fn insert(&mut self, value: &str) -> bool {
        if self.positions.contains_key(value) {
            return false;
        }
        let value: Arc<str> = value.into();
        self.positions.insert(Arc::clone(&value), self.values.len() as u32);
        self.values.push(value);
        true
    }
}

impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl TryFrom<Vec<Arc<str>>> for Vocabulary {
    type Error = Error;

    fn try_from(values: Vec<Arc<str>>) -> Result<Self> {
        let mut vocabulary = Self::default();
        for value in values {
            // Older files can have other spellings.
            if !vocabulary.insert(id_spelling(&value)) {
                return Err(Error::new(ErrorKind::Config, "expected distinct values, this one occurs twice")
                    .with_value(&*value));
            }
        }
        Ok(vocabulary)
    }
}

impl From<Vocabulary> for Vec<Arc<str>> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(min_count: usize) -> Vec<String> {
        let dictionary = ["a", "b", "c", "d"].map(Box::from);
        let vocabulary = Vocabulary::fit(&dictionary, [2, 0, 2, 1, 0, 2].into_iter(), min_count);
        vocabulary.values().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn first_appearance_orders_and_rare_values_are_left_out() {
        assert_eq!(fitted(1), ["c", "a", "b"]);
        assert_eq!(fitted(2), ["c", "a"]);
        assert_eq!(fitted(3), ["c"]);
        assert!(fitted(4).is_empty());
    }

    #[test]
    fn on_disk_it_is_a_list_of_distinct_values() {
        let vocabulary: Vocabulary = serde_json::from_str(r#"["x", "y"]"#).unwrap();
        assert_eq!((vocabulary.position("y"), vocabulary.position("z")), (Some(1), None));
        assert_eq!(serde_json::to_string(&vocabulary).unwrap(), r#"["x","y"]"#);
        let error = serde_json::from_str::<Vocabulary>(r#"["x", "y", "x"]"#).unwrap_err().to_string();
        assert!(error.starts_with("found \"x\": expected distinct values"), "{error}");
        let spelled: Vocabulary = serde_json::from_str(r#"["3.0", "True"]"#).unwrap();
        assert_eq!((spelled.position("3"), spelled.position("true")), (Some(0), Some(1)));
        assert!(serde_json::from_str::<Vocabulary>(r#"["3.0", "3"]"#).is_err());
    }
}

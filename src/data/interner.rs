//! Gives codes to the distinct values of a column.

use std::collections::HashMap;

use super::id_spelling;
use crate::error::{Error, ErrorKind, Result};

/// The distinct values of a column, spelled by [`id_spelling`], and their codes.
#[derive(Default)]
pub(super) struct Interner {
    codes: HashMap<Box<[u8]>, u32>,
    /// The previous value. Logs are often sorted by user, so the next value is often the same.
    last: Vec<u8>,
    last_code: u32,
    /// A cache of short values and their codes; each value has one possible slot. Empty until there are many rows. A hit saves the map's
    /// hash, which is slow because it resists hostile input.
    recent: Vec<(u64, u32)>,
    /// By code, the bytes of the value.
    lens: Vec<u32>,
    /// If set, values must be integers below this.
    limit: Option<usize>,
    /// The approximate bytes of the values in memory.
    bytes: u64,
}

/// The approximate bytes of a value in addition to its text: its entry in the map, and the allocator's overhead.
pub(super) const VALUE_BYTES: u64 = 64;

/// `recent` has `2^RECENT_BITS` slots.
const RECENT_BITS: u32 = 12;

impl Interner {
    /// Sets the limit, unless the current limit is smaller.
    pub(super) fn narrow(&mut self, limit: Option<usize>) {
        self.limit = match (self.limit, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Allocates the cache, which pays only in long columns.
    pub(super) fn expect_many(&mut self) {
        self.recent = vec![(NO_VALUE, 0); 1 << RECENT_BITS];
    }

    /// The code of a value. A value that is new gets a new code.
    pub(super) fn code(&mut self, value: &[u8]) -> Result<u32> {
        if self.last == value && !self.codes.is_empty() {
            return Ok(self.last_code);
        }
        let packed = packed(value).filter(|_| !self.recent.is_empty());
        let code = match packed {
            None => self.look_up(value)?,
            Some(packed) => {
                let slot = (packed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - RECENT_BITS)) as usize;
                if self.recent[slot].0 != packed {
                    self.recent[slot] = (packed, self.look_up(value)?);
                }
                self.recent[slot].1
            }
        };
        self.last.clear();
        self.last.extend_from_slice(value);
        self.last_code = code;
        Ok(code)
    }

    fn look_up(&mut self, value: &[u8]) -> Result<u32> {
        // `insert` refuses bytes that are not UTF-8.
        let value = str::from_utf8(value).map_or(value, |text| id_spelling(text).as_bytes());
        match self.codes.get(value) {
            Some(&code) => Ok(code),
            None => self.insert(value),
        }
    }

    /// Adds a new value. Each distinct value is checked only here.
    #[cold]
    fn insert(&mut self, value: &[u8]) -> Result<u32> {
        let text = std::str::from_utf8(value).map_err(|_| invalid_utf8())?;
        if let Some(limit) = self.limit {
            id(text, limit)?;
        }
        // Only a bag column can have this many distinct values.
        let code = u32::try_from(self.codes.len()).map_err(|_| {
            Error::new(ErrorKind::Data, "expected fewer than 2^32 distinct values in a column, found more")
        })?;
        self.codes.insert(value.into(), code);
        self.lens.push(value.len() as u32);
        self.bytes += value.len() as u64 + VALUE_BYTES;
        Ok(code)
    }

    /// The approximate bytes of the values in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the value with this code.
    pub(super) fn len_of(&self, code: u32) -> u64 {
        self.lens[code as usize].into()
    }

    /// The values by code.
    pub(super) fn finish(self) -> Vec<Box<str>> {
        let mut dictionary = vec![Box::<str>::default(); self.codes.len()];
        for (value, code) in self.codes {
            let text = String::from_utf8(value.into_vec()).expect("checked when it was inserted");
            dictionary[code as usize] = text.into_boxed_str();
        }
        dictionary
    }
}

/// A number that [`packed`] returns for no value.
const NO_VALUE: u64 = u64::MAX;

/// The length and the bytes of a value of at most 7 bytes in one number, which differs for different values.
fn packed(value: &[u8]) -> Option<u64> {
    (value.len() <= 7).then(|| value.iter().fold(value.len() as u64, |packed, &byte| (packed << 8) | u64::from(byte)))
}

pub(super) fn invalid_utf8() -> Error {
    Error::new(ErrorKind::Data, "expected UTF-8").with_help("save the file in UTF-8")
}

/// Parses the id of a row of an embedding table with `rows` rows. `text` is spelled by [`id_spelling`].
pub(super) fn id(text: &str, rows: usize) -> Result<u32> {
    text.parse::<u32>().ok().filter(|&id| (id as usize) < rows).ok_or_else(|| {
        Error::new(ErrorKind::Data, format!("expected an integer id from 0 to {}", rows - 1))
            .with_help("leave out `ids` to number the values by a vocabulary")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_of_all_lengths_keep_their_codes() {
        // Three passes, so that short values use their slots several times.
        let values: Vec<String> = (0..20_000_u64).map(|i| (i * i * i).to_string()).chain([String::new()]).collect();
        let mut interner = Interner::default();
        let mut wanted = HashMap::new();
        for (i, value) in values.iter().chain(values.iter().rev()).chain(&values).enumerate() {
            if i == 1000 {
                interner.expect_many();
            }
            let next = wanted.len() as u32;
            let code = *wanted.entry(value).or_insert(next);
            assert_eq!(interner.code(value.as_bytes()).unwrap(), code, "{value:?}");
        }
        let dictionary = interner.finish();
        assert!(wanted.into_iter().all(|(value, code)| *dictionary[code as usize] == **value));
    }

    #[test]
    fn packing_tells_values_apart() {
        let zeros = [0; 8];
        let all: Vec<Option<u64>> = (0..=8).map(|len| packed(&zeros[..len])).collect();
        assert!(all[..8].is_sorted_by(|a, b| a < b) && all[8].is_none());
        assert!(packed(&[0xff; 7]).unwrap() < NO_VALUE);
    }

    #[test]
    fn codes_count_up_and_the_empty_value_is_one_of_them() {
        let mut interner = Interner::default();
        let codes: Vec<u32> = ["", "a", "a", "b", "", "a"].map(|value| interner.code(value.as_bytes()).unwrap()).into();
        assert_eq!(codes, [0, 1, 1, 2, 0, 1]);
        assert_eq!(interner.finish(), ["".into(), "a".into(), Box::<str>::from("b")]);
    }
}

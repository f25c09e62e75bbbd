//! A value of a request, before it is encoded.

use std::fmt::{self, Write as _};

use super::columns::{as_number, number};
use super::spelling::FloatId;
use crate::Result;

/// A value of one column in a row of a request, which is not encoded yet: text as in a file, a number or a boolean.
///
/// Every variant can be used in every column. The feature that reads the column decides what the value means:
///
/// * For a numeric feature, text is parsed as a number, empty text is a missing value, and a boolean is 1 or 0.
/// * For a bag, text is split at the separator of the feature. Empty text is an empty bag.
/// * For all other features and the domain, the value is an id. A number or boolean gets the spelling that it has in a file: see
///   [`id_spelling`](super::id_spelling).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    /// A text, as it would be in a cell of a CSV file, but without the quotes around the cell.
    Text(&'a str),
    /// A number. For a numeric feature, it must be finite and in the range of `f32`; otherwise encoding returns an error. For other features and
    /// the domain, it is an id. An `f64` does not hold all digits of integers from 2⁵³ on: use [`RawValue::Integer`] for them.
    Number(f64),
    /// An integer. If it is an id, it keeps all its digits, so use this variant for ids that are integers.
    Integer(i128),
    /// A boolean. For a numeric feature, it is 1 or 0. For other features and the domain, it is the id `true` or `false`.
    Boolean(bool),
}

impl<'a> RawValue<'a> {
    /// The text of the value. A number or boolean is written to `buffer`.
    pub(super) fn text<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        if let Self::Text(text) = self {
            return text;
        }
        buffer.clear();
        // Writing to a string cannot fail.
        let _ = write!(buffer, "{self}");
        buffer
    }

    /// The number; NaN for empty text.
    pub(super) fn number(self) -> Result<f64> {
        match self {
            Self::Text(text) => number(text.as_bytes()),
            Self::Number(number) => as_number(number),
            Self::Integer(number) => as_number(number as f64),
            Self::Boolean(boolean) => Ok(f64::from(u8::from(boolean))),
        }
    }
}

impl fmt::Display for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => FloatId(*number).fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for RawValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for RawValue<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for RawValue<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for RawValue<'_> {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for RawValue<'_> {
            fn from(number: $integer) -> Self {
                Self::Integer(number.into())
            }
        })*
    };
}

integers!(i32, i64, u32, u64);

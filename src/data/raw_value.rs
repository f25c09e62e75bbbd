//! A value of a request, before it is encoded.

use std::fmt::{self, Write as _};

use super::columns::{as_number, number};
use super::spelling::FloatId;
use crate::Result;

/// A value of a request that is not encoded yet: text as in a file, a number or a boolean.
///
/// Every variant can be used in every column:
///
/// * In a numeric column, text is parsed as a number, empty text is a missing value, and a boolean is 1 or 0.
/// * In a bag column, text has the separators of the schema, and empty text is an empty bag.
/// * In all other columns, a number or boolean is an id, with the spelling of [`id_spelling`](super::id_spelling), as in a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    /// A text, as it would be in a cell of a CSV file, without quotes.
    Text(&'a str),
    /// A number. In a numeric column it must be finite and in the range of f32; in other columns it is an id. Integers from 2⁵³ on lose digits:
    /// use [`RawValue::Integer`] for them.
    Number(f64),
    /// An integer. As an id it keeps all its digits, so use it for ids that are numbers.
    Integer(i128),
    /// A boolean. It is 1 or 0 in a numeric column, and the id `true` or `false` in other columns.
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

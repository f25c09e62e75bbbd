//! A value as a request carries it.

use std::fmt::{self, Write as _};

use super::columns::{as_number, number};
use super::spelling::FloatId;
use crate::Result;

/// One raw value of a row that is in memory: text as it would be written in a file, or a number.
///
/// Either serves for any column. Text in a numeric column is read as a number, and empty text is a missing value there, an empty bag in
/// a bag. A number or boolean in another column is an id in its one spelling ([`id_spelling`](super::id_spelling)): the same as in a
/// file. A boolean in a numeric column is 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    /// What would be in the cell.
    Text(&'a str),
    /// A finite number.
    Number(f64),
    /// A whole number of up to 64 bits with all its digits, as ids are.
    Integer(i128),
    /// A boolean.
    Boolean(bool),
}

impl<'a> RawValue<'a> {
    /// The text, written to `buffer` if it has to be.
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

    /// The number; NaN for an empty text.
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

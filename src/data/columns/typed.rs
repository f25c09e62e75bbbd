//! Rows from a source with typed cells, such as Parquet, column by column.

use std::io::Write;

use super::{Cells, TableBuilder, as_label, as_number, as_weight};
use crate::data::read_options::Bounds;
use crate::data::spelling::{FloatId, SingleId};
use crate::error::{Error, Result};

/// A typed cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::data) enum Value<'a> {
    /// An empty cell.
    Missing,
    Text(&'a [u8]),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Single(f32),
    Boolean(bool),
}

impl Value<'_> {
    /// The text that this cell would have in a CSV file. Numbers and booleans get the spelling of an id.
    fn text<'a>(&'a self, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        buffer.clear();
        let written = match *self {
            Self::Missing => return b"",
            Self::Text(text) => return text,
            Self::Boolean(boolean) => return if boolean { b"true" } else { b"false" },
            Self::Integer(integer) => write!(buffer, "{integer}"),
            Self::Unsigned(integer) => write!(buffer, "{integer}"),
            Self::Float(float) => write!(buffer, "{}", FloatId(float)),
            Self::Single(float) => write!(buffer, "{}", SingleId(float)),
        };
        written.expect("writing to a vector cannot fail");
        buffer
    }

    /// A key that differs for different values of one column. All values of a column have the same type.
    ///
    /// The key of a text is its address, so that it is valid only while the text lives.
    fn key(&self) -> (u64, usize) {
        match *self {
            Self::Missing => (0, 0),
            Self::Text(text) => (text.as_ptr().addr() as u64, text.len()),
            Self::Integer(integer) => (integer as u64, 1),
            Self::Unsigned(integer) => (integer, 1),
            Self::Float(float) => (float.to_bits(), 1),
            Self::Single(float) => (float.to_bits().into(), 1),
            Self::Boolean(boolean) => (boolean.into(), 1),
        }
    }

    /// The number, or `None` if the type is not numeric.
    fn number(&self) -> Option<f64> {
        match *self {
            Self::Missing | Self::Text(_) => None,
            Self::Integer(integer) => Some(integer as f64),
            Self::Unsigned(integer) => Some(integer as f64),
            Self::Float(float) => Some(float),
            Self::Single(float) => Some(widen(float)),
            Self::Boolean(boolean) => Some(f64::from(u8::from(boolean))),
        }
    }
}

/// The f64 with the shortest decimal form of `value`, as if it had been read from text.
fn widen(value: f32) -> f64 {
    // Integers of this size are exact in both types.
    if value.fract() == 0.0 && value.abs() < 1e7 {
        return value.into();
    }
    value.to_string().parse().expect("a written float can be parsed")
}

/// Adds rows with typed cells, column by column, to a [`TableBuilder`].
pub(in crate::data) struct TypedBuilder<'b> {
    builder: &'b mut TableBuilder,
    /// One per column of the table.
    recent: Vec<Recent>,
    /// The number of rows of earlier files.
    before: usize,
}

impl<'b> TypedBuilder<'b> {
    /// Starts to add the rows of one file.
    pub(in crate::data) fn new(builder: &'b mut TableBuilder) -> Self {
        let recent = builder.columns.iter().map(|_| Recent::default()).collect();
        Self { recent, before: builder.rows, builder }
    }

    /// The limits of the read.
    pub(in crate::data) fn bounds(&self) -> &Bounds {
        &self.builder.bounds
    }

    /// Checks that `rows` more rows are within the limits.
    pub(in crate::data) fn check_rows(&self, rows: u64) -> Result<()> {
        self.builder.check_rows(rows)
    }

    /// The names of the columns to read. [`TypedBuilder::push`] asks for cells by position in this list.
    pub(in crate::data) fn sources(&self) -> &[String] {
        self.builder.sources()
    }

    /// The number of rows of this file that were added.
    pub(in crate::data) fn rows(&self) -> usize {
        self.builder.rows - self.before
    }

    /// Adds `rows` rows. Their line numbers are their row numbers. `cells(position, each)` calls `each` with the cells of one column, in order.
    ///
    /// An error names line, column and value. It is the error of the first invalid row.
    pub(in crate::data) fn push<'a>(
        &mut self,
        rows: usize,
        cells: impl Fn(usize, &mut dyn FnMut(Value<'a>) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let Self { builder, recent, before } = self;
        let first = builder.rows - *before + 1;
        builder.expect(rows)?;
        // The bytes that the columns may add in this call; each column is compared with it alone.
        let others = rows as u64 * builder.row_bytes + builder.bytes();
        let left = builder.bounds.bytes.saturating_sub(others);
        let mut buffer = Vec::new();
        let mut correct = rows;
        let mut outcome = Ok(());
        for (column, recent) in builder.columns.iter_mut().zip(recent) {
            let mut row = 0;
            let allowed = column.cells.value_bytes().saturating_add(left);
            // Texts live only during this call, so keys of texts must not be kept.
            let mut text = false;
            let pushed = cells(column.source, &mut |value| {
                if row < correct {
                    text |= matches!(value, Value::Text(_));
                    let place =
                        |error: Error| error.at_line((first + row) as u64).in_column(&builder.sources[column.source]);
                    if let Value::Text(text) = value {
                        builder.bounds.check_cell(text.len(), false).map_err(place)?;
                    }
                    column
                        .cells
                        .push_value(&value, recent, &mut buffer)
                        .map_err(|error| place(error).with_value(String::from_utf8_lossy(value.text(&mut buffer))))?;
                    if column.cells.value_bytes() > allowed {
                        builder.bounds.check_bytes(u64::MAX).map_err(place)?;
                    }
                    row += 1;
                }
                Ok(())
            });
            if text {
                recent.forget();
            }
            if pushed.is_err() {
                correct = row;
                outcome = pushed;
            }
        }
        outcome?;
        builder.lines.push(builder.rows, first as u64);
        builder.rows += rows;
        builder.cross_new_rows()?;
        builder.bounds.check_bytes(builder.bytes())
    }
}

impl Cells {
    /// Adds one cell. `buffer` is scratch space.
    fn push_value(&mut self, value: &Value, recent: &mut Recent, buffer: &mut Vec<u8>) -> Result<()> {
        match (self, value.number()) {
            (Self::Text { codes, values }, _) => {
                codes.push(recent.code(value.key(), || values.code(value.text(buffer)))?);
            }
            (Self::Number(numbers), Some(number)) => numbers.push(as_number(number)?),
            (Self::Label(labels, kind), Some(number)) => labels.push(as_label(number, *kind)?),
            (Self::Weight(weights), Some(number)) => weights.push(as_weight(number)?),
            (cells, _) => cells.push(value.text(buffer))?,
        }
        Ok(())
    }
}

/// A small cache from keys of values to their codes. Each key has one possible slot. A hit saves writing a number as text, and comparing and
/// hashing text.
#[derive(Default)]
struct Recent(Vec<((u64, usize), u32)>);

impl Recent {
    /// It has `2^BITS` slots after the first value.
    const BITS: u32 = 12;
    /// The code of an empty slot. Codes are smaller, because there are fewer codes than rows.
    const NO_CODE: u32 = u32::MAX;

    fn code(&mut self, key: (u64, usize), look_up: impl FnOnce() -> Result<u32>) -> Result<u32> {
        if self.0.is_empty() {
            self.0 = vec![((0, 0), Self::NO_CODE); 1 << Self::BITS];
        }
        let slot = (key.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - Self::BITS)) as usize;
        let slot = &mut self.0[slot];
        if slot.0 != key || slot.1 == Self::NO_CODE {
            *slot = (key, look_up()?);
        }
        Ok(slot.1)
    }

    fn forget(&mut self) {
        self.0.fill(((0, 0), Self::NO_CODE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_csv_file_holds() {
        for (value, wanted) in [
            (Value::Missing, ""),
            (Value::Text(b" a"), " a"),
            (Value::Integer(-3), "-3"),
            (Value::Integer(i64::MIN), "-9223372036854775808"),
            (Value::Unsigned(u64::MAX), "18446744073709551615"),
            (Value::Float(3.0), "3"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(-1e16), "-1e16"),
            (Value::Single(0.1), "0.1"),
            (Value::Boolean(true), "true"),
            (Value::Boolean(false), "false"),
        ] {
            assert_eq!(str::from_utf8(value.text(&mut b"before".to_vec())).unwrap(), wanted);
        }
    }

    #[test]
    fn integers_are_rounded_to_the_nearest_number_as_their_digits_are() {
        for integer in [0, 1, -7, (1 << 53) + 1, i64::MAX, i64::MIN] {
            assert_eq!(Value::Integer(integer).number(), integer.to_string().parse().ok());
        }
        assert_eq!(Value::Unsigned(u64::MAX).number(), u64::MAX.to_string().parse().ok());
    }
}

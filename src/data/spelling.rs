//! One spelling for the numbers and booleans that are ids, whatever they were read from.

use std::fmt;

/// From here on an `f64` no longer tells all integers apart.
const EXACT_F64: f64 = 9_007_199_254_740_992.0;

/// From here on an `f32` no longer tells all integers apart.
#[cfg(any(test, feature = "parquet"))]
const EXACT_F32: f32 = 16_777_216.0;

/// The one spelling of an id that is written as `text`: of a value of a categorical feature or a bag, of a domain, split or group.
///
/// Programs write the same id as `3` or `3.0` (a column of integers becomes one of floats as soon as a value is missing) and the same
/// boolean as `true`, `True` or `TRUE`. Vocabularies, hashes and domains know the first of these alone, and everything that reads ids
/// comes through here: delimited text, Parquet, [`Encoder::encode_rows`](super::Encoder::encode_rows) and predictors.
///
/// * An integer with a fraction of zeros loses the fraction: `3.0` and `3.00` are `3`, `-2.0` is `-2`. It is done on the digits, so
///   that ids of any length keep them. `-0` is `0`.
/// * `True`, `TRUE` and other such spellings are `true`; likewise `false`.
/// * Any other text is an id of its own: `007` and `007.0`, `3.10`, `1e3`, `+3`, ` 3`.
///
/// ```
/// use starple::data::id_spelling;
///
/// assert_eq!(["3", "3.0", "-2.00", "-0.0"].map(id_spelling), ["3", "3", "-2", "0"]);
/// assert_eq!(id_spelling("9007199254740993.0"), "9007199254740993");
/// assert_eq!(["True", "FALSE"].map(id_spelling), ["true", "false"]);
/// assert_eq!(["007", "007.0", "3.10", "1e3", "truth"].map(id_spelling), ["007", "007.0", "3.10", "1e3", "truth"]);
/// ```
pub fn id_spelling(text: &str) -> &str {
    match text.as_bytes() {
        [.., b'0'] => integer(text),
        [b't' | b'T', ..] if text.eq_ignore_ascii_case("true") => "true",
        [b'f' | b'F', ..] if text.eq_ignore_ascii_case("false") => "false",
        _ => text,
    }
}

/// The integer that `text`, which ends in a zero, writes with a fraction of zeros; else the text.
fn integer(text: &str) -> &str {
    let zeros = text.trim_end_matches('0');
    // Without a point the zeros are digits of the integer.
    let whole = zeros.strip_suffix('.').unwrap_or(text);
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    match digits {
        _ if !plain => text,
        "0" => "0",
        _ if digits.starts_with('0') => text,
        _ => whole,
    }
}

/// A float as the id it is: an integer where the float tells it from its neighbours; beyond, with an exponent, so that it is not taken
/// for an integer whose last digits the float does not have.
pub(super) struct FloatId(pub(super) f64);

/// How a 32-bit number is written as an id.
#[cfg(any(test, feature = "parquet"))]
pub(super) struct SingleId(pub(super) f32);

impl fmt::Display for FloatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("0"),
            x if x.is_finite() && x.abs() >= EXACT_F64 => write!(f, "{x:e}"),
            x => write!(f, "{x}"),
        }
    }
}

#[cfg(any(test, feature = "parquet"))]
impl fmt::Display for SingleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("0"),
            x if x.is_finite() && x.abs() >= EXACT_F32 => write!(f, "{x:e}"),
            x => write!(f, "{x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "", "0", "-", ".0", "-.0", "3.", "3.10", "3.0.0", "1.0e0", "00", "00.0", "-007.0", "+3.0", "3.0 ", " 3.0",
            "１.0", "a.0", "10", "100", "1e10", "t", "f", "true ", "yes", "12.50", "1,000.0", "0x10", "NaN",
        ] {
            assert_eq!(id_spelling(text), text);
        }
    }

    #[test]
    fn numbers_and_booleans_have_one_spelling() {
        for (text, wanted) in [
            ("0.0", "0"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("10.0", "10"),
            ("-120.00", "-120"),
            ("123456789012345678901234567890.0", "123456789012345678901234567890"),
            ("tRUE", "true"),
            ("False", "false"),
        ] {
            assert_eq!(id_spelling(text), wanted);
            assert_eq!(id_spelling(wanted), wanted);
        }
    }

    #[test]
    fn floats_are_spelled_as_integers_while_they_tell_them_apart() {
        for (float, wanted) in [
            (3.0, "3"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (9_007_199_254_740_992.0, "9.007199254740992e15"),
            (1_152_921_504_606_846_976.0, "1.152921504606847e18"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(FloatId(float).to_string(), wanted);
            assert_eq!(id_spelling(wanted), wanted);
        }
        for (float, wanted) in [
            (3.0, "3"),
            (0.1, "0.1"),
            (16_777_215.0, "16777215"),
            (16_777_216.0, "1.6777216e7"),
            (123_456_789.0, "1.2345679e8"),
        ] {
            assert_eq!(SingleId(float).to_string(), wanted);
        }
    }
}

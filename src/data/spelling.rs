//! One spelling for numbers and booleans that are used as ids, for every source of values.

use std::fmt;

/// From 2⁵³ on, an `f64` cannot represent every integer.
const EXACT_F64: f64 = 9_007_199_254_740_992.0;

/// From 2²⁴ on, an `f32` cannot represent every integer.
#[cfg(any(test, feature = "parquet"))]
const EXACT_F32: f32 = 16_777_216.0;

/// Returns the standard spelling of an id. An id in this sense is the text of a value of a categorical feature, of a bag, or of the domain,
/// split or group column.
///
/// Programs write the same id in different ways: `3` or `3.0` (a data frame turns integers into floats if a value is missing), `true`, `True` or
/// `TRUE`. Vocabularies, hashes and domains have only the standard spelling. The crate uses this function wherever it reads ids: in delimited
/// text, in Parquet, in [`Encoder::encode_rows`](super::Encoder::encode_rows) and in predictors.
///
/// * An integer with a fraction of zeros loses the fraction: `3.0` and `3.00` become `3`, and `-2.0` becomes `-2`. The function works on the
///   digits, so integers of any length stay exact. `-0` becomes `0`.
/// * `true` and `false` in any case become lowercase.
/// * Every other text is not changed, for example `007`, `007.0`, `3.10`, `1e3`, `+3` and ` 3`. Each of these is a different id.
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

/// `text`, which ends with a zero, without a fraction of zeros if it is an integer; otherwise `text`.
fn integer(text: &str) -> &str {
    let zeros = text.trim_end_matches('0');
    // Without a point, the zeros belong to the integer.
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

/// Writes a float as an id. An integer that the float represents exactly is written as an integer. A larger one is written with an exponent, so
/// that it does not match the id of an integer whose last digits are lost in the float.
pub(super) struct FloatId(pub(super) f64);

/// Writes an `f32` as an id, as [`FloatId`] does for an `f64`.
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

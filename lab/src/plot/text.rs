//! The width of text, cutting and wrapping.

use std::borrow::Cow;

/// The width of text of this size, as in `DejaVu Sans`, the widest of the usual sans-serif fonts.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// The advance of a character, in units of the size, rounded up.
fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' => 0.28,
        ' ' | ',' | '.' | 'I' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '|' | '/' | ':' | ';' | '-' | '!' => 0.42,
        'm' | 'M' | 'W' | '%' | '@' => 1.0,
        'w' | '+' | '=' | '<' | '>' | '~' | '±' | '#' => 0.84,
        'A'..='Z' | '&' => 0.79,
        ' '..='~' | 'ß'..='ſ' => 0.64,
        // Other scripts may have wide characters.
        _ => 1.0,
    }
}

/// The text; if it is wider than `width`, it is cut and ends in `…`.
pub(crate) fn fit(text: &str, size: f64, width: f64) -> Cow<'_, str> {
    if text_width(text, size) <= width {
        return Cow::Borrowed(text);
    }
    let mut room = width / size - advance('…');
    let kept = text.chars().take_while(|&c| {
        room -= advance(c);
        room >= 0.0
    });
    Cow::Owned(kept.chain(['…']).collect())
}

/// The text in lines of at most `width`, broken between words.
pub(crate) fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(" ", size) + text_width(word, size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_stays_and_text_that_does_not_is_cut_to_fit() {
        assert_eq!(fit("search", 12.0, 100.0), "search");
        let cut = fit("a_very_long_name_of_a_domain", 12.0, 80.0);
        assert!(cut.ends_with('…') && cut.starts_with("a_very"), "{cut}");
        assert!(text_width(&cut, 12.0) <= 80.0);
        assert_eq!(fit("search", 12.0, 0.0), "…");
    }

    #[test]
    fn lines_keep_all_words_and_the_width() {
        let text = "the quick brown fox jumps over the lazy dog";
        let lines = wrap(text, 10.0, 90.0);
        assert!(lines.len() > 2 && lines.iter().all(|line| text_width(line, 10.0) <= 90.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap("unbreakable", 10.0, 1.0), ["unbreakable"]);
    }
}

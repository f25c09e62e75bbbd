//! Texts from files and clients, made fit for logs and answers.

use starple::printable;

/// Bytes of an error text in an answer or in the log.
const LONGEST: usize = 2000;

/// The text without anything that a terminal would obey, and cut where it is longer than an error needs to be.
pub(crate) fn shown(text: &str) -> String {
    let begin = |text: &str| text.floor_char_boundary(LONGEST);
    // Before it is escaped, for it may be large; and after, for that may make it six times as long.
    let escaped = printable(&text[..begin(text)]);
    if text.len() <= LONGEST && escaped.len() <= LONGEST {
        return escaped.into_owned();
    }
    format!("{}… ({} bytes)", &escaped[..begin(&escaped)], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_terminals_are_left_alone() {
        assert_eq!(shown("a\x1b[31mb"), r"a\u{1b}[31mb");
        let long = "é".repeat(1500);
        assert_eq!(shown(&long), format!("{}… (3000 bytes)", "é".repeat(1000)));
        assert!(shown(&"\x1b".repeat(1500)).len() < LONGEST + 20);
    }
}

//! Records compared with hand-written results, and with the csv crate.

use proptest::prelude::*;

use super::*;
use crate::data::{Format, ReadOptions};

/// A reader that returns a few bytes at a time.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

type Rows = Vec<(u64, Vec<String>)>;

fn records(text: &[u8], format: Format, options: &ReadOptions) -> Result<Rows> {
    let bounds = options.bounds(None);
    let mut records = Records::new(Drops(text, 3), options.dialect(format).unwrap(), &bounds);
    let mut all = Vec::new();
    while records.next(&|error| panic!("{error}"))? {
        let cells = (0..records.len()).map(|i| String::from_utf8(records.cell(i).to_vec()).unwrap());
        all.push((records.line(), cells.collect()));
    }
    Ok(all)
}

fn csv(text: &str) -> Result<Rows> {
    records(text.as_bytes(), Format::Csv, &ReadOptions::default())
}

fn row(line: u64, cells: &[&str]) -> (u64, Vec<String>) {
    (line, cells.iter().map(ToString::to_string).collect())
}

#[test]
fn cells_and_lines_by_hand() {
    for (text, wanted) in [
        ("a,b\n1,2\n", vec![row(1, &["a", "b"]), row(2, &["1", "2"])]),
        ("a,b\r\n1,2\r\n", vec![row(1, &["a", "b"]), row(2, &["1", "2"])]),
        ("a,b\n1,", vec![row(1, &["a", "b"]), row(2, &["1", ""])]),
        ("\u{feff}a\n\n\r\nb\r", vec![row(1, &["a"]), row(4, &["b"])]),
        ("\"\"\n\n", vec![row(1, &[""])]),
        ("\"a\"\"b\",\"c\nd\",\"e,f\"\r\ng", vec![row(1, &["a\"b", "c\nd", "e,f"]), row(3, &["g"])]),
        ("\"a\r\nb\"\n\"c\rd\"", vec![row(1, &["a\r\nb"]), row(3, &["c\rd"])]),
        ("5\" screen,a\"b\n", vec![row(1, &["5\" screen", "a\"b"])]),
        ("\"C:\\\",b\n", vec![row(1, &["C:\\", "b"])]),
        ("\"a\"", vec![row(1, &["a"])]),
        ("", vec![]),
    ] {
        assert_eq!(csv(text).unwrap(), wanted, "{text:?}");
    }
}

#[test]
fn malformed_quotes_are_errors_at_their_line() {
    for (text, line, says) in [
        (
            "a\n\"b\"c\n",
            2,
            "expected a separator or the end of the line after the closing quote of this cell, found 'c'",
        ),
        ("a\n\"5 inch\nb\nc,\"d\"\n", 2, "of this cell in line 4, found 'd'"),
        ("a\n\"say \\\"hi\\\"\"\n", 2, "set escape = \"\\\\\""),
        ("a,b\n\"x\\\"\",1\n", 2, "set escape = \"\\\\\""),
        ("a\nb\n\n\"c\nd\n", 4, "the quoted cell that begins here is never closed"),
        ("a\n\"", 2, "never closed"),
        ("a\n\"b\" \n", 2, "found ' '"),
        ("a\rb\rc", 1, "a carriage return without a line feed"),
        ("a\nb,\"c\"\rd\n", 2, "found '\\r'"),
    ] {
        let error = csv(text).unwrap_err();
        assert_eq!(error.line(), Some(line), "{text:?}: {error}");
        assert!(error.to_string().contains(says), "{text:?}: {error}");
    }
}

#[test]
fn escapes_are_resolved_if_they_are_set() {
    let options = ReadOptions::builder().escape('\\').build().unwrap();
    let read = |text: &str| records(text.as_bytes(), Format::Csv, &options).unwrap();
    assert_eq!(read("\"say \\\"hi\\\"\",b\n"), [row(1, &["say \"hi\"", "b"])]);
    assert_eq!(read("\"x\\\\\",\"\\\"\"\n"), [row(1, &["x\\", "\""])]);
    assert_eq!(read("\"C:\\new\\\nx\",a\\,b,c\"\\\"d\n1"), [row(1, &["C:\\new\nx", "a,b", "c\"\"d"]), row(3, &["1"])]);
    assert_eq!(read("a\\\nb,\"\"\"\"\nc"), [row(1, &["a\nb", "\""]), row(3, &["c"])]);
    assert_eq!(read("a\\"), [row(1, &["a\\"])]);
    // As MySQL writes it.
    let tsv = records(b"a\\\tb\tc\\\\\t\"d\n", Format::Tsv, &options).unwrap();
    assert_eq!(tsv, [row(1, &["a\tb", "c\\", "\"d"])]);
    // With escapes turned off, a backslash is content.
    let options = ReadOptions::builder().escape("").build().unwrap();
    assert_eq!(records(b"\"x\\\"\",1\"\n", Format::Csv, &options).unwrap(), [row(1, &["x\\\",1"])]);
}

#[test]
fn tsv_has_no_quotes_unless_they_are_set() {
    let text = b"\"a\tb\"\n\"c\"\td\n";
    let plain = records(text, Format::Tsv, &ReadOptions::default()).unwrap();
    assert_eq!(plain, [row(1, &["\"a", "b\""]), row(2, &["\"c\"", "d"])]);
    let quoted = records(text, Format::Tsv, &ReadOptions::builder().quote('"').build().unwrap()).unwrap();
    assert_eq!(quoted, [row(1, &["a\tb"]), row(2, &["c", "d"])]);
    let single = records(b"'a''b',\"\n", Format::Csv, &ReadOptions::builder().quote('\'').build().unwrap()).unwrap();
    assert_eq!(single, [row(1, &["a'b", "\""])]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// What the csv crate writes is read back unchanged.
    #[test]
    fn what_another_program_writes_is_read(
        rows in prop::collection::vec(prop::collection::vec("[ab,\"\r\n\t]{0,5}", 1..4), 0..6),
        crlf: bool,
    ) {
        let mut writer = ::csv::WriterBuilder::new();
        writer.flexible(true).terminator(if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') });
        let mut writer = writer.from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let read = records(&text, Format::Csv, &ReadOptions::default()).unwrap();
        prop_assert_eq!(read.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>(), rows);
    }

    /// The csv crate, which is lenient, reads every accepted text in the same way.
    #[test]
    fn what_is_accepted_is_read_as_others_do(text in "[ab,\"\n]{0,24}") {
        if let Ok(read) = csv(&text) {
            let mut other = ::csv::ReaderBuilder::new();
            let mut other = other.has_headers(false).flexible(true).from_reader(text.as_bytes());
            let other: Vec<Vec<String>> =
                other.records().map(|record| record.unwrap().iter().map(String::from).collect()).collect();
            prop_assert_eq!(read.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>(), other);
        }
    }

    /// No input panics, and line numbers increase.
    #[test]
    fn any_bytes(text in "[a,\"\\\\\r\n\u{feff}]{0,40}", escape: bool, drop in 1_usize..9) {
        let options = if escape { ReadOptions::builder().escape('\\').build().unwrap() } else { ReadOptions::default() };
        let bounds = options.bounds(None);
        let mut records = Records::new(Drops(text.as_bytes(), drop), options.dialect(Format::Csv).unwrap(), &bounds);
        let mut last = 0;
        while let Ok(true) = records.next(&|error| panic!("{error}")) {
            prop_assert!(records.line() > last);
            last = records.line();
        }
    }
}

#[test]
fn records_larger_than_the_buffer_and_bounds() {
    let long = "x".repeat(3 * BUFFER);
    let text = format!("a,b\n{long},\"{long}\n{long}\"\n1,2\n");
    assert_eq!(csv(&text).unwrap()[1..], [row(2, &[&long, &format!("{long}\n{long}")]), row(4, &["1", "2"])]);
    let options = ReadOptions::builder().max_cell_bytes(10).max_columns(3).max_bytes(100).build().unwrap();
    for (text, line, says) in [
        (format!("a\n{}", "x".repeat(11)), 2, "max_cell_bytes"),
        (format!("a\n\"{}\"", "x\n".repeat(11)), 2, "max_cell_bytes"),
        ("a\n1,2,3,4\n".to_owned(), 2, "max_columns"),
        ("a\n".repeat(51), 1, "max_bytes"),
    ] {
        let error = records(text.as_bytes(), Format::Csv, &options).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.line().is_none_or(|found| found == line), "{error}");
    }
    let options = ReadOptions::builder().max_cell_bytes(1 << 10).build().unwrap();
    let row: String = vec!["x".repeat(1 << 10); 17].join(",");
    assert!(records(row.as_bytes(), Format::Csv, &options).unwrap_err().to_string().contains("max_cell_bytes"));
}

//! Checks the complete text of every error that a data file can cause: where, what was found, what was expected, what to do.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use starple::data::{Categorical, Encoder, Format, Numeric, Schema, Table};
use starple::{Error, ErrorKind};

fn schema() -> Schema {
    Schema::builder()
        .categorical("user_id")
        .feature(Categorical::new("slot").ids(8))
        .numeric("age")
        .bag("tags", "|")
        .domain("page")
        .label("label")
        .weight("weight")
        .split("split")
        .build()
        .unwrap()
}

const HEADER: &str = "user_id,slot,age,tags,page,label,weight,split";
const ROW: &str = "u1,3,31,a|b,home,1,1.0,train";

fn read(bytes: &[u8]) -> Error {
    Table::from_reader(bytes, Format::Csv, "log.csv", &schema()).expect_err("the file is wrong")
}

/// The error of a file whose third line is `row`.
fn error_of(row: &str) -> Error {
    read(format!("{HEADER}\n{ROW}\n{row}\n").as_bytes())
}

#[track_caller]
fn assert_text(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.to_string(), text);
    assert_eq!(error.kind(), kind);
}

#[test]
fn the_correct_file_is_read() {
    let text = format!("{HEADER}\n{ROW}\n{ROW}\n");
    assert_eq!(Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap().rows(), 2);
}

#[test]
fn missing_column() {
    let error = read(b"userid,slot,age,tags,page,label,weight,split\n");
    assert_text(
        &error,
        ErrorKind::Data,
        "log.csv:1: column \"user_id\": the header has no such name; the columns are \"userid\", \"slot\", \"age\", \
         \"tags\", \"page\", \"label\", \"weight\", \"split\" (did you mean \"userid\"?)",
    );
    assert_eq!((error.line(), error.column()), (Some(1), Some("user_id")));
}

#[test]
fn missing_column_with_nothing_like_it() {
    let schema = Schema::builder().categorical("impression").label("y").build().unwrap();
    let error = Table::from_reader(&b"x,y\n1,1\n"[..], Format::Csv, "log.csv", &schema).unwrap_err();
    assert_text(
        &error,
        ErrorKind::Data,
        "log.csv:1: column \"impression\": the header has no such name; the columns are \"x\", \"y\"",
    );
}

#[test]
fn duplicate_column() {
    let error = read(format!("{HEADER},age\n{ROW},1\n").as_bytes());
    assert_text(
        &error,
        ErrorKind::Data,
        "log.csv:1: column \"age\": the header has this name twice, as columns 3 and 9 (rename one of the two)",
    );
}

#[test]
fn text_in_a_numeric_column() {
    let error = error_of("u2,3,old,,home,0,1,train");
    assert_text(
        &error,
        ErrorKind::Data,
        "log.csv:3: column \"age\": found \"old\": expected a number (an empty cell is a missing value)",
    );
    assert_eq!((error.line(), error.column(), error.value()), (Some(3), Some("age"), Some("old")));
    assert_eq!(error.path().unwrap().to_str(), Some("log.csv"));
}

#[test]
fn numbers_that_are_not_finite() {
    for value in ["NaN", "inf"] {
        assert_text(
            &error_of(&format!("u2,3,{value},,home,0,1,train")),
            ErrorKind::Data,
            &format!(
                "log.csv:3: column \"age\": found {value:?}: expected a finite number (an empty cell is a missing value)"
            ),
        );
    }
}

#[test]
fn label_two() {
    assert_text(
        &error_of("u2,3,31,,home,2,1,train"),
        ErrorKind::Data,
        "log.csv:3: column \"label\": found \"2\": expected 0, 1 or an empty cell (empty is a missing label)",
    );
}

#[test]
fn negative_weight() {
    assert_text(
        &error_of("u2,3,31,,home,0,-1,train"),
        ErrorKind::Data,
        "log.csv:3: column \"weight\": found \"-1\": expected a weight: a finite number, at least 0 \
         (1 is the weight of an ordinary row)",
    );
}

#[test]
fn id_out_of_range() {
    for value in ["8", "-1", "x", ""] {
        assert_text(
            &error_of(&format!("u2,{value},31,,home,0,1,train")),
            ErrorKind::Data,
            &format!(
                "log.csv:3: column \"slot\": found {value:?}: expected an integer id from 0 to 7 \
                 (leave out `ids` to number the values by a vocabulary)"
            ),
        );
    }
}

#[test]
fn ragged_rows() {
    assert_text(
        &error_of("u2,3,31,a,b,home,0,1,train"),
        ErrorKind::Data,
        "log.csv:3: expected 8 cells, as in the header, found 9 \
         (quote cells that contain the delimiter, a quote or a line break)",
    );
    assert_text(
        &error_of("u2,3"),
        ErrorKind::Data,
        "log.csv:3: expected 8 cells, as in the header, found 2 \
         (quote cells that contain the delimiter, a quote or a line break)",
    );
}

#[test]
fn quote_that_is_never_closed() {
    let error = read(format!("{HEADER}\n{ROW}\nu2,3,31,,home,0,1,\"train\n{ROW}\n{ROW}\n").as_bytes());
    assert_text(
        &error,
        ErrorKind::Data,
        "log.csv:3: the quoted cell that begins here is never closed \
         (write a quote inside a quoted cell twice, or set quote = \"\" if quotes are ordinary characters)",
    );
}

#[test]
fn empty_file() {
    for text in ["", "\n\n", "\r\n"] {
        let error = read(text.as_bytes());
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().ends_with(": expected a line of column names, found an empty file"), "{error}");
    }
    assert_eq!(read(b"").to_string(), "log.csv:1: expected a line of column names, found an empty file");
}

#[test]
fn header_without_rows() {
    assert_text(
        &read(format!("{HEADER}\n").as_bytes()),
        ErrorKind::Data,
        "log.csv:2: expected rows below the header, found none",
    );
}

#[test]
fn invalid_utf8() {
    let mut bytes = format!("{HEADER}\n{ROW}\n").into_bytes();
    bytes.extend_from_slice(b"caf\xe9,3,31,,home,0,1,train\n");
    assert_text(
        &read(&bytes),
        ErrorKind::Data,
        "log.csv:3: column \"user_id\": found \"caf\u{fffd}\": expected UTF-8 (save the file in UTF-8)",
    );
    assert_text(
        &read(b"user_id,\xff\n"),
        ErrorKind::Data,
        "log.csv:1: found \"\u{fffd}\": expected column names in UTF-8 (save the file in UTF-8)",
    );
}

#[test]
fn lines_are_right_in_files_of_other_systems() {
    let text = format!("{HEADER}\r\n\r\n{ROW}\r\nu2,3,old,,home,0,1,train\r\n");
    assert_eq!(read(text.as_bytes()).line(), Some(4));
}

#[test]
fn missing_file() {
    let path = tempfile::tempdir().unwrap().path().join("log.csv");
    let error = Table::read(&path, &schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let text = format!("{}: cannot open the file: ", path.display());
    assert!(error.to_string().starts_with(&text), "{error}");
}

#[test]
fn unknown_extension() {
    for name in ["log.parquet.gz", "log", "log.gz", "csv"] {
        assert_text(
            &Table::read(name, &schema()).unwrap_err(),
            ErrorKind::Config,
            &format!(
                "{name}: expected a file named *.csv, *.tsv, *.csv.gz, *.tsv.gz or *.parquet, or a folder of such files \
                 (rename the file, or read it with Table::from_reader)"
            ),
        );
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_without_the_feature() {
    assert_text(
        &Table::read("log.parquet", &schema()).unwrap_err(),
        ErrorKind::Config,
        "log.parquet: this program is built without the feature that reads Parquet \
         (build it with `--features parquet`, or save the log as CSV)",
    );
}

/// One file of `members` gzip streams, as parallel compressors write it.
fn gzipped(text: &str, members: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in text.as_bytes().chunks(text.len().div_ceil(members)) {
        let mut encoder = GzEncoder::new(&mut bytes, Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    bytes
}

fn long_log() -> String {
    (0..5000)
        .fold(format!("{HEADER}\n"), |log, row| log + &format!("u{},3,{row},a|b,home,1,1.0,train\n", row * 7919 % 4999))
}

#[test]
fn gzip_of_one_and_of_several_members() {
    let directory = tempfile::tempdir().unwrap();
    for members in [1, 3] {
        let path = directory.path().join("LOG.CSV.GZ");
        fs::write(&path, gzipped(&long_log(), members)).unwrap();
        assert_eq!(Table::read(&path, &schema()).unwrap().rows(), 5000);
    }
}

#[test]
fn truncated_gzip() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv.gz");
    let bytes = gzipped(&long_log(), 1);
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Table::read(&path, &schema()).unwrap_err();
    let line = error.line().unwrap();
    assert!((1000..4000).contains(&line), "{line}");
    assert_text(
        &error,
        ErrorKind::Data,
        &format!("{}:{line}: the gzip stream is truncated (copy or compress the file again)", path.display()),
    );
    // All data is complete, only the checksum is missing.
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    assert!(Table::read(&path, &schema()).unwrap_err().to_string().contains("truncated"));
}

#[test]
fn corrupt_gzip() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv.gz");
    let mut bytes = gzipped(&long_log(), 1);
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Table::read(&path, &schema()).unwrap_err();
    assert_text(
        &error,
        ErrorKind::Data,
        &format!(
            "{}:5002: the gzip stream is corrupt: corrupt gzip stream does not have a matching checksum \
             (copy or compress the file again)",
            path.display()
        ),
    );
    fs::write(&path, long_log()).unwrap();
    let text = Table::read(&path, &schema()).unwrap_err().to_string();
    assert!(text.contains(":1: the gzip stream is corrupt: invalid gzip header"), "{text}");
}

#[test]
fn empty_gzip() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv.gz");
    fs::write(&path, b"").unwrap();
    let error = Table::read(&path, &schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.line(), Some(1));
}

#[test]
fn unknown_split() {
    let text = format!("{HEADER}\n{ROW}\nu2,3,,,home,0,1,test\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap();
    assert_eq!(table.split("test").unwrap(), [1]);
    assert_text(
        &table.split("valid").unwrap_err(),
        ErrorKind::Data,
        "log.csv: column \"split\": no row is in split \"valid\"; the splits are \"train\", \"test\"",
    );
    let schema = schema().unlabelled();
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    assert_text(
        &table.split("train").unwrap_err(),
        ErrorKind::Config,
        "log.csv: the schema names no split column (declare it with SchemaBuilder::split)",
    );
}

fn fitted() -> Encoder {
    let text = format!("{HEADER}\n{ROW}\nu2,3,,,search,0,1,train\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap();
    Encoder::fit(&schema(), &table, &table.all()).unwrap()
}

#[test]
fn unknown_domain() {
    let text = format!("{HEADER}\n\n{ROW}\nu2,3,,,mail,0,1,train\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "new.csv", &schema()).unwrap();
    assert!(fitted().encode(&table, &[0]).is_ok());
    assert_text(
        &fitted().encode(&table, &[0, 1]).unwrap_err(),
        ErrorKind::UnknownDomain,
        "new.csv:4: column \"page\": found \"mail\": unknown domain; the domains are \"home\", \"search\" \
         (set unknown_domain to \"shared\" to score such rows by the shared path, or add the domain to the encoder and the model)",
    );
}

#[test]
fn empty_domain() {
    let text = format!("{HEADER}\n{ROW}\nu2,3,,,,0,1,train\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap();
    assert!(Encoder::fit(&schema(), &table, &[0]).is_ok());
    assert_text(
        &Encoder::fit(&schema(), &table, &[0, 1]).unwrap_err(),
        ErrorKind::Data,
        "log.csv:3: column \"page\": expected the name of a domain, found an empty cell \
         (name the domain, or leave the row out)",
    );
}

#[test]
fn nothing_to_fit() {
    let text = format!("{HEADER}\n{ROW}\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap();
    assert_text(
        &Encoder::fit(&schema(), &table, &[]).unwrap_err(),
        ErrorKind::Data,
        "log.csv: expected rows to fit on, found none",
    );
    assert_text(
        &Encoder::fit(&schema().unlabelled(), &table, &[0]).unwrap_err(),
        ErrorKind::Config,
        "the schema names no label, so there is no task to learn (declare one with SchemaBuilder::label)",
    );
}

#[test]
fn table_of_another_schema() {
    let other = Schema::builder().feature(Numeric::new("years").column("age")).label("label").build().unwrap();
    let text = format!("{HEADER}\n{ROW}\n");
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &other).unwrap();
    assert_text(
        &fitted().encode(&table, &[0]).unwrap_err(),
        ErrorKind::Layout,
        "log.csv: column \"user_id\": the table does not have this column as text \
         (read the table with the encoder's own schema)",
    );
}

#[test]
fn rows_in_memory_are_checked_like_a_file() {
    let encoder = fitted();
    let good = || vec![("user_id", "u1"), ("slot", "3"), ("age", ""), ("tags", ""), ("page", "home")];
    assert!(encoder.encode_rows([good()]).is_ok());
    let spoilt = |change: fn(&mut Vec<(&'static str, &'static str)>)| {
        let mut row = good();
        change(&mut row);
        encoder.encode_rows([good(), row]).unwrap_err()
    };
    assert_text(
        &spoilt(|row| row[2].1 = "old"),
        ErrorKind::Data,
        "rows:2: column \"age\": found \"old\": expected a number (an empty cell is a missing value)",
    );
    assert_text(
        &spoilt(|row| row.truncate(4)),
        ErrorKind::Data,
        "rows:2: column \"page\": the row has no value for this column \
         (an empty value is a missing number, or an empty bag)",
    );
    assert_text(
        &spoilt(|row| row[0].0 = "usr_id"),
        ErrorKind::Data,
        "rows:2: column \"usr_id\": the schema has no such column; its columns are \"user_id\", \"slot\", \"age\", \
         \"tags\", \"page\" (did you mean \"user_id\"?)",
    );
    assert_text(
        &spoilt(|row| row.push(("age", "3"))),
        ErrorKind::Data,
        "rows:2: column \"age\": the row has this column twice",
    );
    assert_text(
        &spoilt(|row| row[4].1 = "mail"),
        ErrorKind::UnknownDomain,
        "rows:2: column \"page\": found \"mail\": unknown domain; the domains are \"home\", \"search\" \
         (set unknown_domain to \"shared\" to score such rows by the shared path, or add the domain to the encoder and the model)",
    );
    assert!(encoder.encode_rows([vec![("label", "1"), ("split", "test")]]).unwrap_err().column() == Some("user_id"));
}

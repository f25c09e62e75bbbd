//! Every error that a file can cause, word by word.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::basic::CompressionCodec;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::writer::TrackedWrite;
use starple::data::{ReadOptions, Schema, Table};
use starple::{Error, ErrorKind};
use tempfile::TempDir;

use crate::write::{Group, bytes, properties, write};

/// A file of these columns, and the error of reading it.
struct Case {
    _directory: TempDir,
    path: PathBuf,
}

impl Case {
    fn new(declaration: &str, groups: &[&dyn Fn(&mut Group)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.parquet");
        write(&path, declaration, properties(), groups);
        Self { _directory: directory, path }
    }

    /// The error of reading `a` as text, `b` as a number, `y` as a label and `w` as a weight.
    fn error(&self) -> Error {
        let schema = Schema::builder().categorical("a").numeric("b").label("y").weight("w").build().unwrap();
        Table::read(&self.path, &schema).expect_err("the file is wrong")
    }

    /// Asserts its text after the path of the file.
    #[track_caller]
    fn assert(&self, line: Option<u64>, text: &str) {
        let error = self.error();
        let line_text = line.map_or(String::new(), |line| format!(":{line}"));
        assert_eq!(error.to_string(), format!("{}{line_text}: {text}", self.path.display()));
        assert_eq!((error.kind(), error.line()), (ErrorKind::Data, line));
        assert_eq!(error.path(), Some(&*self.path));
    }
}

const COLUMNS: &str = "REQUIRED BYTE_ARRAY a (UTF8); OPTIONAL DOUBLE b; OPTIONAL INT32 y; OPTIONAL FLOAT w;";

/// A file of 5000 correct rows in two groups, and then one with these cells.
fn with_row(a: &[u8], b: Option<f64>, y: Option<i32>, w: Option<f32>) -> Case {
    let a: ByteArray = a.to_vec().into();
    Case::new(
        COLUMNS,
        &[&|group| correct(100, group), &|group| {
            group.all::<ByteArrayType>((0..4900).map(|_| bytes("x")).chain([a.clone()]));
            group.some::<DoubleType>((0..4900).map(|_| Some(0.5)).chain([b]));
            group.some::<Int32Type>((0..4900).map(|_| Some(1)).chain([y]));
            group.some::<FloatType>((0..4900).map(|_| Some(1.0)).chain([w]));
        }],
    )
}

fn correct(rows: usize, group: &mut Group) {
    group.all::<ByteArrayType>((0..rows).map(|_| bytes("x")));
    group.some::<DoubleType>((0..rows).map(|_| Some(0.5)));
    group.some::<Int32Type>((0..rows).map(|_| Some(1)));
    group.some::<FloatType>((0..rows).map(|_| Some(1.0)));
}

#[test]
fn wrong_cells() {
    let row = Some(5001);
    let number = "(an empty cell is a missing value)";
    let label = "(empty is a missing label)";
    let weight = "(1 is the weight of an ordinary row)";
    with_row(b"\xff", None, None, Some(1.0))
        .assert(row, "column \"a\": found \"\u{fffd}\": expected UTF-8 (save the file in UTF-8)");
    with_row(b"x", Some(f64::NAN), None, Some(1.0))
        .assert(row, &format!("column \"b\": found \"NaN\": expected a finite number {number}"));
    with_row(b"x", Some(f64::NEG_INFINITY), None, Some(1.0))
        .assert(row, &format!("column \"b\": found \"-inf\": expected a finite number {number}"));
    with_row(b"x", None, Some(2), Some(1.0))
        .assert(row, &format!("column \"y\": found \"2\": expected 0, 1 or an empty cell {label}"));
    with_row(b"x", None, None, Some(-0.5))
        .assert(row, &format!("column \"w\": found \"-0.5\": expected a weight: a finite number, at least 0 {weight}"));
    with_row(b"x", None, None, None)
        .assert(row, &format!("column \"w\": found \"\": expected a weight: a finite number, at least 0 {weight}"));
}

#[test]
fn text_in_a_numeric_column() {
    let declaration = COLUMNS.replace("DOUBLE b", "BYTE_ARRAY b");
    let file = Case::new(
        &declaration,
        &[&|group| {
            group.all::<ByteArrayType>(["x", "x", "x"].map(bytes));
            group.some::<ByteArrayType>([Some(bytes(" 1.5 ")), None, Some(bytes("old"))]);
            group.some::<Int32Type>([None, None, None]);
            group.some::<FloatType>([Some(1.0), Some(1.0), Some(1.0)]);
        }],
    );
    file.assert(Some(3), "column \"b\": found \"old\": expected a number (an empty cell is a missing value)");
}

#[test]
fn the_first_wrong_row_is_named_whatever_its_column() {
    let file = Case::new(
        COLUMNS,
        &[&|group| {
            group.all::<ByteArrayType>([bytes("x"), bytes("x"), bytes("x"), ByteArray::from(vec![0xff])]);
            group.some::<DoubleType>([None, None, Some(f64::NAN), None]);
            group.some::<Int32Type>([Some(1), Some(7), None, None]);
            group.some::<FloatType>([Some(1.0), Some(f32::NAN), Some(1.0), Some(1.0)]);
        }],
    );
    assert_eq!((file.error().line(), file.error().column()), (Some(2), Some("y")));
}

#[test]
fn missing_and_duplicate_columns() {
    let row = |group: &mut Group| correct(1, group);
    Case::new(&COLUMNS.replace(" a ", " A "), &[&row]).assert(
        None,
        "column \"a\": the file has no such name; the columns are \"A\", \"b\", \"y\", \"w\" (did you mean \"A\"?)",
    );
    Case::new(&COLUMNS.replace(" w;", " b;"), &[&row])
        .assert(None, "column \"b\": the file has this name twice, as columns 2 and 4 (rename one of the two)");
}

#[test]
fn nested_columns() {
    let text = "column \"a\": expected one value a row, found a list or another nested column \
                (write the values of a bag as one text with separators)";
    let rest = COLUMNS.split_once(';').unwrap().1;
    for column in [
        "REPEATED BYTE_ARRAY a (UTF8);",
        "OPTIONAL GROUP a (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (UTF8); } }",
        "REQUIRED GROUP a { REQUIRED BYTE_ARRAY a (UTF8); }",
    ] {
        Case::new(&format!("{column} {rest}"), &[]).assert(None, text);
    }
}

#[test]
fn columns_of_other_types() {
    let rest = COLUMNS.split_once(';').unwrap().1;
    for column in [
        "REQUIRED INT32 a (DATE)",
        "OPTIONAL INT64 a (TIMESTAMP(MICROS,true))",
        "OPTIONAL INT64 a (TIMESTAMP(NANOS,false))",
        "OPTIONAL INT64 a (DECIMAL(18,2))",
        "OPTIONAL BYTE_ARRAY a (BSON)",
        "OPTIONAL FIXED_LEN_BYTE_ARRAY (16) a (UUID)",
        "OPTIONAL FIXED_LEN_BYTE_ARRAY (2) a (FLOAT16)",
        "REQUIRED INT96 a",
    ] {
        let case = Case::new(&format!("{column}; {rest}"), &[]);
        let text = format!(
            "column \"a\": expected text, integers, floats or booleans, found `{column}` (cast the column to one of these)"
        );
        case.assert(None, &text);
    }
}

/// The same data below a footer in which the first column is described differently.
fn redescribe(path: &Path, change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) {
    let bytes = fs::read(path).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(path).unwrap()).unwrap();
    let mut metadata = metadata.into_builder();
    let mut group = metadata.take_row_groups().remove(0).into_builder();
    let mut columns = group.take_columns();
    columns[0] = change(columns[0].clone().into_builder()).build().unwrap();
    let group = group.set_column_metadata(columns).build().unwrap();
    // The old footer stays, where nothing points to it.
    let mut file = TrackedWrite::new(File::create(path).unwrap());
    file.write_all(&bytes).unwrap();
    ParquetMetaDataWriter::new_with_tracked(file, &metadata.add_row_group(group).build()).finish().unwrap();
}

#[test]
fn columns_that_are_not_as_the_footer_says() {
    let file = Case::new(COLUMNS, &[&|group| correct(10, group)]);
    redescribe(&file.path, |column| column.set_compression_codec(CompressionCodec::BROTLI));
    file.assert(
        None,
        "column \"a\": expected a column compressed by SNAPPY, GZIP, ZSTD or not at all, found BROTLI \
         (write the file with one of these)",
    );
    redescribe(&file.path, |column| column.set_compression_codec(CompressionCodec::UNCOMPRESSED).set_num_values(9));
    let again = "(copy or write the file again)";
    file.assert(None, &format!("column \"a\": the file is corrupt: 9 cells in a group of 10 rows {again}"));
    redescribe(&file.path, |column| column.set_num_values(10).set_compression_codec(CompressionCodec::ZSTD));
    let error = file.error();
    assert_eq!((error.kind(), error.line(), error.column()), (ErrorKind::Data, Some(1), Some("a")));
    assert!(error.to_string().contains("column \"a\": the file is corrupt: "), "{error}");
    // The decoder panics on this one.
    redescribe(&file.path, |column| column.set_total_compressed_size(-1));
    let text = "column \"a\": the file is corrupt: column start and length should not be negative";
    file.assert(None, &format!("{text} {again}"));
}

#[test]
fn no_rows() {
    Case::new(COLUMNS, &[]).assert(None, "expected rows, found none");
    Case::new(COLUMNS, &[&|group| correct(0, group)]).assert(None, "expected rows, found none");
}

#[test]
fn other_files() {
    let file = Case::new(COLUMNS, &[]);
    let help = "(delimited text is read from files named *.csv, *.tsv, *.csv.gz or *.tsv.gz)";
    for (content, found) in [("a,b,y,w\nx,1,1,1\n", "a,b,"), ("PAR", "PAR"), ("", "")] {
        fs::write(&file.path, content).unwrap();
        file.assert(None, &format!("found {found:?}: expected a Parquet file, which begins with \"PAR1\" {help}"));
    }
    fs::write(&file.path, "PAR1 secret PARE").unwrap();
    file.assert(None, "the file is encrypted (write it without encryption)");
}

#[test]
fn truncated_files() {
    let file = Case::new(COLUMNS, &[&|group| correct(1000, group)]);
    let bytes = fs::read(&file.path).unwrap();
    for length in [5, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file.path, &bytes[..length]).unwrap();
        file.assert(None, "the file is truncated: it does not end with \"PAR1\" (copy or write the file again)");
    }
    for length in [4, 11] {
        fs::write(&file.path, [&bytes[..length - 4], &bytes[bytes.len() - 4..]].concat()).unwrap();
        assert!(file.error().to_string().contains("the file is corrupt"), "{}", file.error());
    }
}

#[test]
fn missing_file_and_folder() {
    let directory = tempfile::tempdir().unwrap();
    let schema = Schema::builder().categorical("a").build().unwrap();
    let error = Table::read(directory.path().join("log.parquet"), &schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let folder = directory.path().join("logs.parquet");
    fs::create_dir(&folder).unwrap();
    let error = Table::read(&folder, &schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("in this folder, found none"), "{error}");
}

#[test]
fn limits_are_checked_before_memory_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    // Three million rows in a few kilobytes, and a table of 12 bytes a row.
    let rows = 3_000_000;
    let declaration = "REQUIRED INT64 a; REQUIRED DOUBLE b;";
    write(
        &path,
        declaration,
        properties(),
        &[&|group: &mut Group| {
            group.all::<Int64Type>(vec![7; rows]);
            group.all::<DoubleType>(vec![0.5; rows]);
        }],
    );
    assert!(fs::metadata(&path).unwrap().len() < 20_000);
    let schema = Schema::builder().categorical("a").numeric("b").build().unwrap();
    let read = |options: ReadOptions| Table::read_with(&path, &schema, &options);
    assert_eq!(read(ReadOptions::default()).unwrap().rows(), rows);
    for (options, says) in [
        (ReadOptions::builder().max_rows(rows - 1).build().unwrap(), "at most 2999999 rows (max_rows)"),
        (
            ReadOptions::builder().max_bytes(35_000_000).build().unwrap(),
            "at most 35000000 bytes after decompression (max_bytes)",
        ),
        (ReadOptions::builder().max_columns(1).build().unwrap(), "at most 1 columns (max_columns)"),
    ] {
        let error = read(options).unwrap_err();
        // Known from the footer: no row was read.
        assert_eq!((error.kind(), error.line()), (ErrorKind::Data, None), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(read(ReadOptions::builder().max_bytes(37_000_000).build().unwrap()).is_ok());
}

#[test]
fn cells_and_bags_are_counted_while_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    let long = "x|".repeat(1 << 19) + "x";
    write(
        &path,
        "REQUIRED BYTE_ARRAY a (UTF8); REQUIRED BYTE_ARRAY b (UTF8);",
        properties(),
        &[&|group: &mut Group| {
            group.all::<ByteArrayType>((0..50).map(|row| bytes(if row == 20 { &long } else { "x" })));
            // One value of the dictionary, and half a million codes a row.
            group.all::<ByteArrayType>((0..50).map(|_| bytes(&long[..long.len() - 1])));
        }],
    );
    let schema = Schema::builder().categorical("a").build().unwrap();
    let error = Table::read(&path, &schema).unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(21), Some("a")), "{error}");
    assert!(error.to_string().contains("at most 1048576 bytes (max_cell_bytes)"), "{error}");

    let schema = Schema::builder().bag("b", "|").build().unwrap();
    let read = |bytes| Table::read_with(&path, &schema, &ReadOptions::builder().max_bytes(bytes).build().unwrap());
    let error = read(60 << 20).unwrap_err();
    assert!(error.to_string().contains("(max_bytes)") && error.line().is_some_and(|line| line <= 31), "{error}");
    assert_eq!(read(101 << 20).unwrap().rows(), 50);
}

#[test]
fn numbers_beyond_32_bits() {
    let file = Case::new(
        "REQUIRED DOUBLE x; REQUIRED DOUBLE w;",
        &[&|group: &mut Group| {
            group.all::<DoubleType>([1.0, 3.4e38, 1e300]);
            group.all::<DoubleType>([1.0, 1e39, 1.0]);
        }],
    );
    let error = |schema: starple::data::SchemaBuilder| Table::read(&file.path, &schema.build().unwrap()).unwrap_err();
    let number = error(Schema::builder().numeric("x"));
    assert_eq!((number.line(), number.column()), (Some(3), Some("x")), "{number}");
    assert!(number.to_string().contains("from -3.4e38 to 3.4e38"), "{number}");
    let weight = error(Schema::builder().numeric("x").weight("w"));
    assert_eq!((weight.line(), weight.column()), (Some(2), Some("w")), "{weight}");
}

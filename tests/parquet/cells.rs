//! What is read, against what is read from CSV.

use std::path::Path;

use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type, Int96Type};
use parquet::file::properties::WriterVersion;
use starple::data::{Bag, Categorical, Encoder, Format, Numeric, Schema, Table};

use crate::write::{Group, bytes, properties, write};

/// One row of a log that has a column of every type.
struct Row {
    user: i64,
    zip: Option<String>,
    hash: u64,
    bits: u32,
    age: Option<i32>,
    price: f32,
    score: Option<f64>,
    tags: Option<String>,
    member: bool,
    click: Option<i32>,
    buy: Option<bool>,
    weight: f64,
}

const DECLARATION: &str = "
    REQUIRED INT64 user;
    REQUIRED BYTE_ARRAY unused (UTF8);
    OPTIONAL BYTE_ARRAY zip (UTF8);
    REQUIRED INT64 hash (INTEGER(64, false));
    REQUIRED INT32 bits (UINT_32);
    OPTIONAL INT32 age (INTEGER(8, true));
    REQUIRED FLOAT price;
    OPTIONAL DOUBLE score;
    OPTIONAL BYTE_ARRAY tags;
    REQUIRED BOOLEAN member;
    OPTIONAL INT32 click;
    OPTIONAL BOOLEAN buy;
    REQUIRED DOUBLE weight;";

/// `from` lets groups differ. There are enough rows for several chunks and pages.
fn rows(from: u64, count: u64) -> Vec<Row> {
    let row = |i: u64| {
        // Any fixed sequence without a short period does.
        let random = |salt: u64| (i * 31 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let some = |salt: u64| !random(salt).is_multiple_of(5);
        Row {
            user: random(1) as i64 % 900 - 450,
            zip: some(2).then(|| format!("{:05}", random(3) % 3000)),
            hash: u64::MAX - random(4) % 700,
            bits: u32::MAX - random(5) as u32 % 300,
            age: some(6).then(|| random(7) as i32 % 100 - 10),
            price: random(8) as f32 / 1000.0,
            score: some(9).then(|| (random(10) as f64 - 5e6) * 1.1),
            tags: some(11).then(|| format!("t{}|", random(12) % 50).repeat(random(13) as usize % 4) + "|u"),
            member: some(20),
            click: some(21).then(|| random(22) as i32 % 2),
            buy: some(23).then(|| random(24).is_multiple_of(2)),
            weight: random(25) as f64 / 7e6,
        }
    };
    (from..from + count).map(row).collect()
}

fn csv(rows: &[Row]) -> String {
    fn cell<T: ToString>(cell: Option<&T>) -> String {
        cell.map_or(String::new(), T::to_string)
    }
    let mut text = "user,zip,hash,bits,age,price,score,tags,member,member_number,click,buy,weight\n".to_owned();
    for row in rows {
        // As data frames write them: floats with a point.
        let price = format!("{:?}", row.price);
        let score = row.score.map(|score| format!("{score:?}"));
        let buy = row.buy.map(u8::from);
        text += &[
            row.user.to_string(),
            cell(row.zip.as_ref()),
            row.hash.to_string(),
            row.bits.to_string(),
            cell(row.age.as_ref()),
            price,
            cell(score.as_ref()),
            cell(row.tags.as_ref()),
            row.member.to_string(),
            u8::from(row.member).to_string(),
            cell(row.click.as_ref()),
            cell(buy.as_ref()),
            format!("{:?}", row.weight),
        ]
        .join(",");
        text.push('\n');
    }
    text
}

fn write_group(rows: &[Row], group: &mut Group) {
    group.all::<Int64Type>(rows.iter().map(|row| row.user));
    group.all::<ByteArrayType>(rows.iter().map(|_| bytes("zzz")));
    group.some::<ByteArrayType>(rows.iter().map(|row| row.zip.as_ref().map(bytes)));
    group.all::<Int64Type>(rows.iter().map(|row| row.hash as i64));
    group.all::<Int32Type>(rows.iter().map(|row| row.bits as i32));
    group.some::<Int32Type>(rows.iter().map(|row| row.age));
    group.all::<FloatType>(rows.iter().map(|row| row.price));
    group.some::<DoubleType>(rows.iter().map(|row| row.score));
    group.some::<ByteArrayType>(rows.iter().map(|row| row.tags.as_ref().map(bytes)));
    group.all::<BoolType>(rows.iter().map(|row| row.member));
    group.some::<Int32Type>(rows.iter().map(|row| row.click));
    group.some::<BoolType>(rows.iter().map(|row| row.buy));
    group.all::<DoubleType>(rows.iter().map(|row| row.weight));
}

/// Every column in every use that it can be put to. CSV cannot hold a boolean that is used both as text and as a number,
/// so `member_number` is the column of the latter.
fn schema(member_number: &str) -> Schema {
    Schema::builder()
        .feature(Categorical::new("user"))
        .categorical("zip")
        .categorical("hash")
        .categorical("bits")
        .feature(Categorical::new("age_text").column("age"))
        .feature(Categorical::new("price_text").column("price"))
        .feature(Categorical::new("score_text").column("score"))
        .feature(Numeric::new("zip_number").column("zip").unscaled())
        .feature(Numeric::new("hash_number").column("hash").unscaled())
        .feature(Numeric::new("bits_number").column("bits").unscaled())
        .feature(Numeric::new("age").unscaled())
        .feature(Numeric::new("price").unscaled())
        .feature(Numeric::new("price_bucket").column("price").buckets(50))
        .feature(Numeric::new("price_scaled").column("price").standard())
        .feature(Numeric::new("score").unscaled())
        .feature(Numeric::new("member").column(member_number).unscaled())
        .feature(Bag::new("tags", "|"))
        .feature(Bag::new("ages", "|").column("age"))
        .domain("member")
        .labels(["click", "buy"])
        .weight("weight")
        .group("user")
        .build()
        .unwrap()
}

/// Compares the Parquet file with the CSV of the same rows: what is learnt from either, and what either encodes to.
#[track_caller]
fn assert_same(path: &Path, rows: &[Row]) {
    let text = csv(rows);
    let wanted_schema = schema("member_number");
    let wanted = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &wanted_schema).unwrap();
    let wanted_encoder = Encoder::fit(&wanted_schema, &wanted, &wanted.all()).unwrap();

    let table = Table::read(path, &schema("member")).unwrap();
    let encoder = Encoder::fit(&schema("member"), &table, &table.all()).unwrap();
    assert_eq!(table.rows(), rows.len());
    assert_eq!(table.line(rows.len() as u32 - 1), rows.len() as u64);
    assert_eq!(encoder.layout(), wanted_encoder.layout());
    let learnt = |encoder: &Encoder| serde_json::to_string(encoder).unwrap().replace("member_number", "member");
    assert!(learnt(&encoder) == learnt(&wanted_encoder), "the encoders differ");
    let batch = encoder.encode_training(&table, &table.all()).unwrap();
    let wanted_batch = wanted_encoder.encode_training(&wanted, &wanted.all()).unwrap();
    // Missing labels are NaN, and so unequal to themselves, but not in print.
    assert!(format!("{batch:?}") == format!("{wanted_batch:?}"), "the batches differ");
}

#[test]
fn cells_are_those_of_the_csv() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("LOG.Parquet");
    let rows = rows(0, 10_000);
    write(&path, DECLARATION, properties(), &[&|group| write_group(&rows, group)]);
    assert_same(&path, &rows);
}

#[test]
fn files_of_all_makes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    let (first, second) = (rows(0, 1500), rows(1500, 700));
    let all = rows(0, 2200);
    let plain = || properties().set_dictionary_enabled(false);
    let pages = || properties().set_data_page_row_count_limit(300).set_write_batch_size(100);
    for properties in [
        properties().set_compression(Compression::SNAPPY),
        properties().set_compression(Compression::GZIP(GzipLevel::default())),
        properties().set_compression(Compression::ZSTD(ZstdLevel::default())),
        plain(),
        plain().set_writer_version(WriterVersion::PARQUET_2_0),
        pages(),
        pages().set_writer_version(WriterVersion::PARQUET_2_0).set_compression(Compression::ZSTD(ZstdLevel::default())),
        // The dictionary is given up on inside a column.
        pages().set_dictionary_page_size_limit(500),
        plain().set_column_encoding("price".into(), Encoding::BYTE_STREAM_SPLIT),
    ] {
        let [first, second] = [&first, &second].map(|rows| move |group: &mut Group| write_group(rows, group));
        write(&path, DECLARATION, properties, &[&first, &|group| write_group(&[], group), &second]);
        assert_same(&path, &all);
    }
}

#[test]
fn a_column_that_is_null_throughout_is_empty_cells() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    let declaration = "REQUIRED INT32 a; OPTIONAL INT32 b (UNKNOWN); REQUIRED INT32 y;";
    write(
        &path,
        declaration,
        properties(),
        &[&|group| {
            group.all::<Int32Type>([1, 2]);
            group.some::<Int32Type>([None, None]);
            group.all::<Int32Type>([0, 1]);
        }],
    );
    let schema = Schema::builder()
        .categorical("a")
        .categorical("b")
        .feature(Bag::new("bag", "|").column("b"))
        .feature(Numeric::new("number").column("b"))
        .label("y")
        .build()
        .unwrap();
    let table = Table::read(&path, &schema).unwrap();
    let text = "a,b,y\n1,,0\n2,,1\n";
    let wanted = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &wanted, &wanted.all()).unwrap();
    assert_eq!(encoder.encode(&table, &[0, 1]).unwrap(), encoder.encode(&wanted, &[0, 1]).unwrap());
}

#[test]
fn nested_columns_that_are_not_wanted_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    let declaration = "REQUIRED GROUP place { REQUIRED INT32 a; REQUIRED INT32 y; } REQUIRED INT32 a; REQUIRED INT32 y;
        REQUIRED INT96 time; REQUIRED INT32 place.a;";
    write(
        &path,
        declaration,
        properties(),
        &[&|group| {
            group.all::<Int32Type>([100, 200]);
            group.all::<Int32Type>([3, 3]);
            group.all::<Int32Type>([1, 2]);
            group.all::<Int32Type>([0, 1]);
            group.all::<Int96Type>([vec![1, 2, 3].into(), vec![1, 2, 3].into()]);
            group.all::<Int32Type>([7, 8]);
        }],
    );
    let schema = Schema::builder()
        .feature(Numeric::new("a").unscaled())
        .feature(Numeric::new("place.a").unscaled())
        .label("y")
        .build()
        .unwrap();
    let table = Table::read(&path, &schema).unwrap();
    let batch = Encoder::fit(&schema, &table, &[0]).unwrap().encode(&table, &[0, 1]).unwrap();
    assert_eq!(batch.numeric, ndarray::array![[1.0, 7.0], [2.0, 8.0]]);
    assert_eq!(batch.labels, ndarray::array![[0.0], [1.0]]);
}

/// A column of floats or booleans, and the same ids as CSV.
#[test]
fn ids_are_the_same_as_floats_integers_and_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.parquet");
    let declaration = "REQUIRED DOUBLE brand; REQUIRED FLOAT shop; REQUIRED BOOLEAN member; REQUIRED DOUBLE page; REQUIRED INT32 click;";
    let large = 9_007_199_254_740_992.0;
    write(
        &path,
        declaration,
        properties(),
        &[&|group: &mut Group| {
            group.all::<DoubleType>([3.0, -2.0, 0.5, large]);
            group.all::<FloatType>([3.0, -0.0, 16_777_215.0, 16_777_216.0]);
            group.all::<BoolType>([true, false, true, false]);
            group.all::<DoubleType>([1.0, 2.0, 1.0, 2.0]);
            group.all::<Int32Type>([0, 1, 0, 1]);
        }],
    );
    let schema = Schema::builder()
        .categorical("brand")
        .categorical("shop")
        .categorical("member")
        .domain("page")
        .label("click")
        .build()
        .unwrap();
    let table = Table::read(&path, &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    assert_eq!(encoder.layout().domains, ["1", "2"]);
    let row = |brand: &'static str, shop: &'static str, member: &'static str, page: &'static str| {
        [("brand", brand), ("shop", shop), ("member", member), ("page", page)]
    };
    let batch = encoder
        .encode_rows([
            row("3", "3.0", "True", "1.0"),
            row("-2.00", "0", "false", "2"),
            row("0.5", "16777215", "TRUE", "1"),
            // The floats do not know whether they are these integers.
            row("9007199254740992", "16777216", "False", "2"),
        ])
        .unwrap();
    let ids = |field: usize| (0..4).map(|row| batch.ids[field].row(row)[0]).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1), ids(2)), (vec![1, 2, 3, 0], vec![1, 2, 3, 0], vec![1, 2, 1, 2]));
}

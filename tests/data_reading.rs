//! Checks how text, folders and numbers are read, what is refused, and the limits.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use starple::data::{Bag, Categorical, Encoder, Format, Numeric, RawValue, ReadOptions, Schema, Table, id_spelling};
use starple::{Error, ErrorKind};

fn schema() -> Schema {
    Schema::builder().categorical("item").categorical("title").label("click").split("split").build().unwrap()
}

fn read_with(text: &str, format: Format, options: &ReadOptions) -> starple::Result<Table> {
    Table::from_reader_with(text.as_bytes(), format, "log", &schema(), options)
}

#[track_caller]
fn assert_error(error: &Error, line: u64, says: &str) {
    assert_eq!((error.kind(), error.line()), (ErrorKind::Data, Some(line)), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

/// 200 rows; the title of every tenth begins with a quote.
fn tsv(open: &str) -> String {
    let row = |i: usize| {
        let title = if i.is_multiple_of(10) { format!("{open}a\" title") } else { "a title".to_owned() };
        format!("i{}\t{title}\t{}\t{}\n", i % 7, i % 2, if i.is_multiple_of(5) { "val" } else { "train" })
    };
    (0..200).map(row).fold("item\ttitle\tclick\tsplit\n".to_owned(), |text, row| text + &row)
}

#[test]
fn quotes_in_tsv_are_content_unless_they_are_asked_for() {
    let table = read_with(&tsv("\""), Format::Tsv, &ReadOptions::default()).unwrap();
    assert_eq!((table.rows(), table.split("train").unwrap().len()), (200, 160));
    assert_eq!(table.line(199), 201);
    let quoting = ReadOptions::builder().quote('"').build().unwrap();
    assert_error(&read_with(&tsv("\""), Format::Tsv, &quoting).unwrap_err(), 2, "found ' '");
    let table = read_with("item\ttitle\tclick\tsplit\n1\t\"a\t\"\"b\"\t1\ttrain\n", Format::Tsv, &quoting).unwrap();
    assert_eq!(table.rows(), 1);
    let unquoted =
        read_with("item\ttitle\tclick\tsplit\n1\t\"a\tb\"\t1\ttrain\n", Format::Tsv, &ReadOptions::default());
    assert_error(&unquoted.unwrap_err(), 2, "set quote = ");
}

#[test]
fn quotes_with_backslashes_need_an_escape_setting() {
    let log = |title: &str| format!("item,title,click,split\n1,{title},1,train\n2,x,0,train\n");
    let read = |title: &str, options: &ReadOptions| read_with(&log(title), Format::Csv, options);
    for title in [r#""say \"hi\"""#, r#""\"""#, r#""a \"b\", c""#] {
        let error = read(title, &ReadOptions::default()).unwrap_err();
        assert_eq!(error.line(), Some(2), "{title}: {error}");
        assert!(error.to_string().contains("escape = \"\\\\\""), "{title}: {error}");
        let table = read(title, &ReadOptions::builder().escape('\\').build().unwrap()).unwrap();
        let encoder = Encoder::fit(&schema(), &table, &table.all()).unwrap();
        let plain = title[1..title.len() - 1].replace('\\', "");
        let batch = encoder.encode_rows([[("item", "1"), ("title", &plain)]]).unwrap();
        assert_eq!(batch.ids[1].row(0), [1], "{title}");
    }
    // A path that ends with a backslash is not ambiguous.
    assert_eq!(read(r#""C:\""#, &ReadOptions::default()).unwrap().rows(), 2);
}

#[test]
fn invalid_quote_and_escape_characters_are_named() {
    let builder = ReadOptions::builder;
    for options in [builder().quote('é'), builder().quote("<<"), builder().escape('\n')] {
        let error = options.build().unwrap_err();
        assert!(error.to_string().contains("one ASCII character that is not a line break"), "{error}");
    }
    for (options, says) in [
        (builder().quote(','), "quote: another character than the separator ','"),
        (builder().escape('"'), "escape: expected another character than the quote"),
    ] {
        let error = read_with("item,title,click,split\n", Format::Csv, &options.build().unwrap()).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(says), "{error}");
    }
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const HEADER: &str = "item,title,click,split\n";

#[test]
fn gzip_with_padding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv.gz");
    let bytes = gzipped(&format!("{HEADER}1,a,1,train\n"));
    fs::write(&path, [&bytes[..], &[0; 10_240]].concat()).unwrap();
    assert_eq!(Table::read(&path, &schema()).unwrap().rows(), 1);
    fs::write(&path, [&bytes[..], b"\0\0\0rest"].concat()).unwrap();
    assert_error(&Table::read(&path, &schema()).unwrap_err(), 3, "the gzip stream is corrupt");
}

#[test]
fn limits_are_errors_that_name_their_key() {
    let log: String = (0..1000).fold(HEADER.to_owned(), |log, i| log + &format!("{i},t{i},1,train\n"));
    let error = |options: ReadOptions| read_with(&log, Format::Csv, &options).unwrap_err();
    assert_error(&error(ReadOptions::builder().max_rows(999).build().unwrap()), 1001, "at most 999 rows (max_rows)");
    assert!(read_with(&log, Format::Csv, &ReadOptions::builder().max_rows(1000).build().unwrap()).is_ok());
    assert!(
        error(ReadOptions::builder().max_bytes(5000).build().unwrap())
            .to_string()
            .contains("at most 5000 bytes after decompression (max_bytes)")
    );
    assert_error(&error(ReadOptions::builder().max_columns(3).build().unwrap()), 1, "(max_columns)");

    let long = format!("{HEADER}1,{},1,train\n", "x".repeat(1 << 20));
    assert!(read_with(&long, Format::Csv, &ReadOptions::default()).is_ok());
    let long = format!("{HEADER}1,{},1,train\n", "x".repeat((1 << 20) + 1));
    let error = read_with(&long, Format::Csv, &ReadOptions::default()).unwrap_err();
    assert_error(&error, 2, "at most 1048576 bytes (max_cell_bytes)");
    assert!(error.to_string().len() < 200, "{error}");
    assert!(read_with(&long, Format::Csv, &ReadOptions::builder().max_cell_bytes(1 << 21).build().unwrap()).is_ok());
    // The end of a quote is not searched in the whole file either.
    let open = format!("{HEADER}1,\"{}", "x\n".repeat(1 << 20));
    assert_error(
        &read_with(&open, Format::Csv, &ReadOptions::default()).unwrap_err(),
        2,
        "close the quote of the cell",
    );
}

#[test]
fn a_small_file_cannot_take_all_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv.gz");
    // 60 MB of text in about 60 kB. The limit depends on the size of the file, but is at least 1 GiB.
    fs::write(&path, gzipped(&format!("{HEADER}{}", "1,a,1,train\n".repeat(5_000_000)))).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 300_000);
    let read =
        |bytes: u64| Table::read_with(&path, &schema(), &ReadOptions::builder().max_bytes(bytes).build().unwrap());
    assert!(read(20_000_000).unwrap_err().to_string().contains("max_bytes"));
    // The text is within the limit, but the table of 16 bytes per row is not.
    assert!(read(70_000_000).unwrap_err().line().unwrap() > 4_000_000);
    assert_eq!(read(90_000_000).unwrap().rows(), 5_000_000);
}

#[test]
fn folders_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let read = || Table::read(folder.path(), &schema());
    let error = read().unwrap_err();
    assert!(error.to_string().contains("in this folder, found none"), "{error}");

    file("part-2.csv", format!("{HEADER}3,c,1,test\n").as_bytes());
    // Columns in another order, and one additional column.
    file("part-0.csv.gz", &gzipped("more,split,title,item,click\n,train,a,1,1\n,train,b,2,0\n"));
    file("_SUCCESS", b"");
    file(".part-0.csv.gz.crc", b"\x01");
    let table = read().unwrap();
    assert_eq!((table.rows(), table.splits().unwrap()), (3, vec!["train", "test"]));
    assert_eq!([0, 1, 2].map(|row| table.line(row)), [2, 3, 2]);
    assert_eq!(
        [0, 2].map(|row| table.file(row).file_name().unwrap().to_str().unwrap()),
        ["part-0.csv.gz", "part-2.csv"]
    );

    file("part-3.csv", b"item,title,split\n4,d,test\n");
    let error = read().unwrap_err();
    assert!(error.path().unwrap().ends_with("part-3.csv") && error.column() == Some("click"), "{error}");
    fs::remove_file(folder.path().join("part-3.csv")).unwrap();
    for name in ["part-4.tsv", "notes.txt"] {
        file(name, b"");
        let error = read().unwrap_err();
        assert_eq!((error.kind(), error.path().unwrap().ends_with(name)), (ErrorKind::Config, true), "{error}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("day=1")).unwrap();
    assert!(read().unwrap_err().to_string().contains("day=1: expected the files of a log, found a folder"));
}

#[test]
fn errors_in_a_folder_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::builder().categorical("item").domain("page").label("click").build().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    file("a.csv", "item,page,click\n1,home,1\n2,home,0\n");
    file("b.csv", "item,page,click\n1,home,1\n\n2,mail,0\n");
    let table = Table::read(folder.path(), &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &[0, 1]).unwrap();
    let error = encoder.encode(&table, &table.all()).unwrap_err();
    assert_eq!((error.path(), error.line()), (Some(&*folder.path().join("b.csv")), Some(4)));
    file("b.csv", "item,page,click\n1,home,yes\n");
    let error = Table::read(folder.path(), &schema).unwrap_err();
    assert_eq!((error.path(), error.line()), (Some(Path::new(&folder.path().join("b.csv"))), Some(2)));
}

#[test]
fn ids_are_the_same_however_numbers_and_booleans_are_written() {
    let schema = Schema::builder()
        .categorical("brand")
        .feature(Categorical::new("hash").column("brand").hashed(1000))
        .feature(Categorical::new("slot").ids(50))
        .feature(Bag::new("tags", "|"))
        .categorical("member")
        .domain("page")
        .label("click")
        .build()
        .unwrap();
    let log = |float: &str, yes: &str| {
        let row = |i: u32| format!("{0}{float},{0}{float},{0}{float}|7,{yes},{1}{float},{2}\n", i % 25, i % 3, i % 2);
        (0..100).fold("brand,slot,tags,member,page,click\n".to_owned(), |log, i| log + &row(i))
    };
    let encoded = |float: &str, yes: &str| {
        let text = log(float, yes);
        let table = Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
        (Encoder::fit(&schema, &table, &table.all()).unwrap(), table)
    };
    let (integers, table) = encoded("", "true");
    let wanted = integers.encode(&table, &table.all()).unwrap();
    for (float, yes) in [(".0", "True"), (".00", "TRUE")] {
        let (floats, table) = encoded(float, yes);
        for encoder in [&integers, &floats] {
            let batch = encoder.encode(&table, &table.all()).unwrap();
            assert_eq!((&batch.ids, &batch.domains), (&wanted.ids, &wanted.domains));
        }
        assert_eq!(floats.domain("2.0").unwrap(), integers.domain("2").unwrap());
    }
    // Values as in requests.
    let row = |number: RawValue<'static>, yes: RawValue<'static>, page: &'static str| {
        [("brand", number), ("slot", number), ("tags", number), ("member", yes), ("page", page.into())]
    };
    let written = |cells: [(&'static str, RawValue<'static>); 5]| cells.map(|(name, value)| (name, value.to_string()));
    let one = integers.encode_rows([written(row(19_i64.into(), true.into(), "1"))]).unwrap();
    for (number, yes, page) in
        [(19.0.into(), "True".into(), "1.0"), ("19.0".into(), "TRUE".into(), "1"), ("19".into(), true.into(), "1.00")]
    {
        let other = integers.encode_rows([written(row(number, yes, page))]).unwrap();
        assert_eq!((&other.ids, &other.domains), (&one.ids, &one.domains));
    }
    assert_eq!(RawValue::from(9_007_199_254_740_993_i64).to_string(), id_spelling("9007199254740993.0"));
    assert_ne!(id_spelling("007"), id_spelling("7"));
}

#[test]
fn numbers_beyond_32_bits_are_errors_in_every_source() {
    let schema = Schema::builder()
        .numeric("x")
        .feature(Numeric::new("b").column("x").buckets(3))
        .label("y")
        .weight("w")
        .build()
        .unwrap();
    let read = |text: &str| Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema);
    let table = read("x,y,w\n1,0,1\n2,1,1\n3.4e38,0,1\n").unwrap();
    for x in ["1e300", "-1e39", "3.5e38"] {
        let error = read(&format!("x,y,w\n1,0,1\n{x},1,1\n")).unwrap_err();
        assert_eq!((error.line(), error.column(), error.value()), (Some(3), Some("x"), Some(x)));
        assert!(error.to_string().contains("from -3.4e38 to 3.4e38"), "{error}");
        let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
        assert_eq!(encoder.encode_rows([[("x", x)]]).unwrap_err().column(), Some("x"));
    }
    for w in ["1e300", "-1", "inf", "nan"] {
        assert_eq!(read(&format!("x,y,w\n1,0,{w}\n")).unwrap_err().column(), Some("w"));
    }
    // The encoded values are finite and clamped.
    let encoder = Encoder::fit(&schema, &table, &[0, 1]).unwrap();
    let batch = encoder.encode(&table, &table.all()).unwrap();
    assert_eq!(batch.numeric.column(0).to_vec(), [-1.0, 1.0, 65_536.0]);
}

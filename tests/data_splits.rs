//! Checks which rows splits refuse or leave out, and what they count.

use std::fmt::Write;

use starple::data::{
    Bag, Categorical, DomainId, Format, Numeric, Schema, Share, SplitOptions, Splits, Table, UnknownDomainRows,
    UnknownSplitRows,
};
use starple::{ErrorKind, Result};

fn schema() -> Schema {
    Schema::builder()
        .categorical("brand")
        .feature(Bag::new("tags", "|"))
        .numeric("age")
        .domain("page")
        .label("click")
        .split("split")
        .build()
        .unwrap()
}

fn table(schema: &Schema, text: &str) -> Table {
    Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn splits(text: &str, options: SplitOptions) -> Result<Splits> {
    Splits::of_table(&schema(), &table(&schema(), text), options)
}

/// Ten rows per split; `change` can replace each of them.
fn log(change: impl Fn(usize, &str) -> Option<String>) -> String {
    let mut log = "brand,tags,age,page,click,split\n".to_owned();
    for i in 0..30 {
        let split = ["train", "val", "test"][i % 3];
        let row = format!("b{},t1|t{},{i},home,{},{split}", i % 2, i % 2, i / 3 % 2);
        writeln!(log, "{}", change(i, &row).unwrap_or(row)).unwrap();
    }
    log
}

#[test]
fn other_values_of_the_split_column_are_counted_and_named() {
    let text = log(|i, row| match i {
        6 => Some(row.replace("train", "Train")),
        12 | 15 => Some(row.replace("train", "train ")),
        18 => Some(row.replace("train", "trian")),
        5 => Some(row.replace("test", "holdout")),
        _ => None,
    });
    let error = splits(&text, SplitOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        "log.csv:7: column \"split\": expected train, val or test, found something else in 5 of 30 rows: \"holdout\" (1 row), \
         \"Train\" (1 row; did you mean \"train\"?), \"train \" (2 rows; did you mean \"train\"?), \
         \"trian\" (1 row; did you mean \"train\"?) (correct them, or set unknown_split = \"drop\" to leave these rows out)"
    );
    let options = SplitOptions { unknown_split: UnknownSplitRows::Drop, ..SplitOptions::default() };
    let splits = splits(&text, options).unwrap();
    assert_eq!((splits.train.rows(), splits.val.rows(), splits.test.rows()), (6, 10, 9));
    let left_out: Vec<(&str, usize)> = splits.report.left_out.iter().map(|left| (&*left.value, left.rows)).collect();
    assert_eq!(left_out, [("holdout", 1), ("Train", 1), ("train ", 2), ("trian", 1)]);
    assert!(splits.report.warnings.contains(&"left out: 2 rows with \"train \" in column \"split\"".to_owned()));
}

#[test]
fn rows_of_unknown_domains() {
    let text =
        log(|i, row| ([4, 5, 8].contains(&i)).then(|| row.replace("home", if i == 4 { "Home" } else { "mail" })));
    let error = splits(&text, SplitOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownDomain);
    assert_eq!(
        error.to_string(),
        "log.csv:6: column \"page\": 3 validation or test rows belong to domains that no training row has: \
         \"Home\" (1 row of val; did you mean \"home\"?), \"mail\" (2 rows of test) \
         (set unknown_domain = \"shared\" to score such rows by the shared path, or \"drop\" to leave them out)"
    );
    let with = |unknown_domain| splits(&text, SplitOptions { unknown_domain, ..SplitOptions::default() }).unwrap();

    let shared = with(UnknownDomainRows::Shared);
    assert_eq!((shared.val.rows(), shared.test.rows()), (10, 10));
    assert_eq!(shared.test.domains.iter().filter(|&&domain| domain == DomainId::SHARED).count(), 2);
    assert_eq!(shared.encoder.unwrap().domain("elsewhere").unwrap(), DomainId::SHARED);
    assert!(
        shared
            .report
            .warnings
            .iter()
            .any(|line| line.starts_with("scored by the shared path: 2 rows of the test split"))
    );

    let dropped = with(UnknownDomainRows::Drop);
    assert_eq!((dropped.val.rows(), dropped.test.rows()), (9, 8));
    assert!(dropped.test.domains.iter().all(|&domain| domain == DomainId::new(0)));
    assert!(
        dropped
            .report
            .warnings
            .contains(&"left out: 2 rows of the test split with \"mail\" in column \"page\"".to_owned())
    );
    assert!(dropped.encoder.unwrap().domain("mail").is_err());

    let text = log(|_, row| row.ends_with("test").then(|| row.replace("home", "mail")));
    let options = SplitOptions { unknown_domain: UnknownDomainRows::Drop, ..SplitOptions::default() };
    assert!(splits(&text, options).unwrap_err().to_string().contains("all rows of the test split"));
}

#[test]
fn unknown_values_and_missing_numbers_are_counted_by_split() {
    let text = log(|i, row| match i % 3 {
        // Two of ten brands are unknown, and six of ten values of bags.
        1 if i < 6 => Some(row.replace('b', "c")),
        2 => Some(row.replace(&format!(",{i},"), ",,").replace("t1|t0", "t1|z|y").replace("t1|t1", "z")),
        _ => None,
    });
    let report = splits(&text, SplitOptions::default()).unwrap().report;
    assert_eq!((report.rows.train, report.rows.val, report.rows.test), (10, 10, 10));
    let share = |count, of| Share { count, of };
    let [brand, tags] = &report.unknown[..] else { panic!("{:?}", report.unknown) };
    assert_eq!((&*brand.feature, brand.splits.train, brand.splits.val), ("brand", share(0, 10), share(2, 10)));
    assert_eq!((&*tags.feature, tags.splits.val, tags.splits.test), ("tags", share(0, 20), share(15, 20)));
    let [age] = &report.missing[..] else { panic!("{:?}", report.missing) };
    assert_eq!((&*age.feature, age.splits.train, age.splits.test), ("age", share(0, 10), share(10, 10)));
    assert_eq!(
        report.warnings,
        [
            "feature \"tags\": 15 of 20 values of the test split are in no training row (or in too few): are they written as there?",
            "feature \"age\": 10 of 10 cells of the test split are empty, and 0 of 10 of the training rows",
        ]
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["unknown"][1]["test"]["count"], 15);
    assert_eq!(json["missing"][0]["feature"], "age");
}

#[test]
fn half_is_not_most() {
    let text = log(|i, row| (i % 6 == 2).then(|| row.replace('b', "c")));
    let report = splits(&text, SplitOptions::default()).unwrap().report;
    assert_eq!(report.unknown[0].splits.test, Share { count: 5, of: 10 });
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn a_high_min_count_and_few_buckets_are_said() {
    let schema = Schema::builder()
        .feature(Categorical::new("brand").min_count(6))
        .feature(Numeric::new("age").buckets(10))
        .feature(Numeric::new("click_rate").column("age").buckets(3))
        .domain("page")
        .label("click")
        .split("split")
        .build()
        .unwrap();
    let text = log(|i, row| {
        let page = if i % 2 == 0 { "home" } else { " Home" };
        Some(row.replace("home", page).replace(&format!(",{i},"), &format!(",{},", i % 4)))
    });
    let splits = Splits::of_table(&schema, &table(&schema, &text), SplitOptions::default()).unwrap();
    assert_eq!(
        splits.report.warnings,
        [
            "feature \"age\": 4 buckets of 10, as the training rows have no more different values",
            "the domains \" Home\" and \"home\" differ only by case or blanks: are they one?",
            "feature \"brand\": 10 of 10 values of the train split occur fewer times than its min_count",
            "feature \"brand\": 10 of 10 values of the val split are in no training row (or in too few): are they written as there?",
            "feature \"brand\": 10 of 10 values of the test split are in no training row (or in too few): are they written as there?",
        ]
    );
}

#[test]
fn weights_that_are_all_zero() {
    let schema = Schema::builder().categorical("item").label("click").weight("w").split("split").build().unwrap();
    let read = |weights: [&str; 3]| {
        let rows = weights.iter().zip(["train", "val", "test"]);
        let text = rows.map(|(w, split)| format!("a,0,{w},{split}\nb,1,{w},{split}\n")).collect::<Vec<_>>().concat();
        Splits::of_table(&schema, &table(&schema, &format!("item,click,w,split\n{text}")), SplitOptions::default())
    };
    assert!(read(["1", "0.5", "2"]).is_ok());
    for (weights, says) in [
        (["0", "1", "1"], "all 2 rows to learn from weigh 0"),
        (["1", "0", "1"], "all 2 rows of the val split weigh 0"),
        (["1", "1", "0"], "all 2 rows of the test split weigh 0"),
        // The weight is 0 as an f32.
        (["1e-60", "1", "1"], "all 2 rows to learn from weigh 0"),
    ] {
        let error = read(weights).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn buckets_far_beyond_the_rows_take_no_memory() {
    let schema = Schema::builder()
        .feature(Numeric::new("age").buckets(4_000_000_000))
        .label("click")
        .split("split")
        .build()
        .unwrap();
    let splits = Splits::of_table(&schema, &table(&schema, &log(|_, _| None)), SplitOptions::default()).unwrap();
    assert_eq!(splits.layout.tables[0].rows, 11);
    assert!(splits.report.warnings[0].contains("10 buckets of 4000000000"), "{:?}", splits.report.warnings);
}

//! Compares the encoding of logs with a simple implementation in this file.

use std::collections::HashMap;
use std::fmt::Write;

use proptest::prelude::*;
use starple::data::{
    Bag, Batch, Categorical, DomainId, Encoder, Format, Ids, Numeric, Pooling, Schema, Table, UnknownDomain,
};

/// One row of a random log, before it is written.
#[derive(Debug, Clone)]
struct Row {
    user: String,
    item: String,
    age: Option<f64>,
    tags: Vec<String>,
    page: String,
    click: Option<bool>,
    buy: Option<bool>,
    weight: f32,
}

fn row() -> impl Strategy<Value = Row> {
    let text = || prop_oneof!["[a-e]{0,2}", "[a, \"\n]{0,3}", "é|日本"];
    let label = || prop::option::of(any::<bool>());
    let tags = prop::collection::vec("[p-s]", 0..4);
    let age = prop::option::of((-1000..1000_i32).prop_map(|tenths| f64::from(tenths) / 10.0));
    let page = (0..12_u32).prop_map(|page| page.to_string());
    (text(), text(), age, tags, page, label(), label(), 0.0..5.0_f32).prop_map(
        |(user, item, age, tags, page, click, buy, weight)| Row { user, item, age, tags, page, click, buy, weight },
    )
}

fn schema(min_count: usize) -> Schema {
    Schema::builder()
        .categorical("user")
        .feature(Categorical::new("item").min_count(min_count))
        .feature(Numeric::new("age").standard())
        .feature(Bag::new("tags", "|").pooling(Pooling::Sum).min_count(min_count))
        .domain("page")
        .labels(["click", "buy"])
        .weight("weight")
        .group("user")
        .build()
        .unwrap()
}

fn csv(rows: &[Row]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let label = |label: Option<bool>| label.map_or(String::new(), |label| u8::from(label).to_string());
    let mut text = "buy,page,tags,unused,age,item,user,click,weight\n".to_owned();
    for row in rows {
        let age = row.age.map_or(String::new(), |age| age.to_string());
        let (item, user, tags) = (quoted(&row.item), quoted(&row.user), row.tags.join("|"));
        let (buy, click) = (label(row.buy), label(row.click));
        writeln!(text, "{buy},{},{tags},zzz,{age},{item},{user},{click},{}", row.page, row.weight).unwrap();
    }
    text
}

fn table(rows: &[Row], schema: &Schema) -> Table {
    Table::from_reader(csv(rows).as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

/// Ids from 1 for the values that occur at least `min_count` times, in order of first appearance.
fn vocabulary<'a>(values: &(impl Iterator<Item = &'a String> + Clone), min_count: usize) -> HashMap<&'a str, u32> {
    let mut ids = HashMap::new();
    for value in values.clone() {
        if values.clone().filter(|other| *other == value).count() >= min_count {
            let next = ids.len() as u32 + 1;
            ids.entry(value.as_str()).or_insert(next);
        }
    }
    ids
}

#[track_caller]
fn assert_close(found: f32, wanted: f64) {
    assert!((f64::from(found) - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "{found} is not {wanted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn encoding_is_what_it_says(
        log in prop::collection::vec(row(), 1..40),
        new in prop::collection::vec(row(), 1..20),
        keep in prop::collection::vec(any::<bool>(), 40),
        min_count in 1_usize..4,
    ) {
        let schema = schema(min_count);
        let mut rows: Vec<u32> = (0..log.len() as u32).filter(|&row| keep[row as usize]).collect();
        if rows.is_empty() {
            rows.push(0);
        }
        let encoder = Encoder::fit(&schema, &table(&log, &schema), &rows).unwrap();
        let encoder = encoder.on_unknown_domain(UnknownDomain::Shared);
        // Another table with other codes, and rows in another order.
        let chosen: Vec<u32> = (0..new.len() as u32).rev().collect();
        let batch = encoder.encode(&table(&new, &schema), &chosen).unwrap();
        batch.check(encoder.layout()).unwrap();

        let fit: Vec<&Row> = rows.iter().map(|&row| &log[row as usize]).collect();
        let users = vocabulary(&fit.iter().map(|row| &row.user), 1);
        let items = vocabulary(&fit.iter().map(|row| &row.item), min_count);
        let tags = vocabulary(&fit.iter().flat_map(|row| &row.tags), min_count);
        let sizes: Vec<usize> = encoder.layout().tables.iter().map(|table| table.rows).collect();
        prop_assert_eq!(sizes, [users.len() + 1, items.len() + 1, tags.len() + 1]);

        let ages: Vec<f64> = fit.iter().filter_map(|row| row.age).collect();
        let count = ages.len().max(1) as f64;
        let mean = ages.iter().sum::<f64>() / count;
        let variance = ages.iter().map(|age| (age - mean).powi(2)).sum::<f64>() / count;
        let constant = ages.iter().all(|&age| age == ages[0]);
        let std = if constant { 1.0 } else { variance.sqrt() };
        let missing = ages.len() < fit.len();
        prop_assert_eq!(encoder.layout().numeric.len(), 1 + usize::from(missing));

        let mut pages: Vec<u32> = fit.iter().map(|row| row.page.parse().unwrap()).collect();
        pages.sort_unstable();
        pages.dedup();

        for (i, row) in new.iter().rev().enumerate() {
            prop_assert_eq!(batch.ids[0].row(i), [users.get(row.user.as_str()).copied().unwrap_or(0)]);
            prop_assert_eq!(batch.ids[1].row(i), [items.get(row.item.as_str()).copied().unwrap_or(0)]);
            let wanted: Vec<u32> = row.tags.iter().map(|tag| tags.get(tag.as_str()).copied().unwrap_or(0)).collect();
            prop_assert_eq!(batch.ids[2].row(i), wanted);
            assert_close(batch.numeric[[i, 0]], row.age.map_or(0.0, |age| (age - mean) / std));
            if missing {
                prop_assert_eq!(batch.numeric[[i, 1]], if row.age.is_none() { 1.0 } else { 0.0 });
            }
            for (task, label) in [row.click, row.buy].into_iter().enumerate() {
                let found = batch.labels[[i, task]];
                prop_assert_eq!(label, (!found.is_nan()).then_some(found == 1.0));
            }
            let page: u32 = row.page.parse().unwrap();
            prop_assert_eq!(batch.domains[i].index(), pages.iter().position(|&other| other == page));
            prop_assert_eq!(batch.weights[i], row.weight);
            for (j, other) in new.iter().rev().enumerate() {
                prop_assert_eq!(batch.groups[i] == batch.groups[j], row.user == other.user);
            }
        }

        // A serialized and deserialized encoder encodes to the same bits.
        let again: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
        prop_assert_eq!(&again, &encoder);
        let second = again.encode(&table(&new, &schema), &chosen).unwrap();
        prop_assert_eq!(&second.ids, &batch.ids);
        prop_assert!(second.numeric.iter().zip(&batch.numeric).all(|(a, b)| a.to_bits() == b.to_bits()));

        // Rows that are not from a file are encoded in the same way.
        let raw: Vec<Vec<(&str, String)>> = new.iter().rev().map(|row| vec![
            ("page", row.page.clone()),
            ("user", row.user.clone()),
            ("item", row.item.clone()),
            ("age", row.age.map_or(String::new(), |age| age.to_string())),
            ("tags", row.tags.join("|")),
        ]).collect();
        let served = encoder.encode_rows(raw).unwrap();
        prop_assert_eq!(&served.ids, &batch.ids);
        prop_assert_eq!(&served.numeric, &batch.numeric);
        prop_assert_eq!(&served.domains, &batch.domains);
        prop_assert!(served.labels.iter().all(|label| label.is_nan()));
        prop_assert_eq!(served.labels.dim(), batch.labels.dim());
    }
}

fn small(text: &str, schema: &Schema) -> Table {
    Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn one(batch: &Batch, field: usize) -> &[u32] {
    match &batch.ids[field] {
        Ids::One(ids) => ids,
        _ => panic!("field {field} is not one id a row"),
    }
}

#[test]
fn only_the_fitting_rows_teach() {
    let schema =
        Schema::builder().categorical("item").feature(Numeric::new("price").standard()).label("click").build().unwrap();
    let text = "item,price,click\na,1,0\nb,3,1\nc,1000,1\n";
    let changed = "item,price,click\na,1,0\nb,3,1\nz,-7,0\n";
    let fit = |text| Encoder::fit(&schema, &small(text, &schema), &[0, 1]).unwrap();
    assert_eq!(fit(text), fit(changed));
    let batch = fit(text).encode(&small(text, &schema), &[0, 1, 2]).unwrap();
    assert_eq!(one(&batch, 0), [1, 2, 0]);
    // Mean 2, standard deviation 1.
    assert_eq!(batch.numeric.column(0).to_vec(), [-1.0, 1.0, 998.0]);
    // No fitted row lacks its price, so there is no indicator input: a missing price becomes the mean.
    let gap = fit(text).encode_rows([[("item", "a"), ("price", "")]]).unwrap();
    assert_eq!(gap.numeric, ndarray::array![[0.0]]);
}

#[test]
fn one_column_may_be_read_in_several_ways() {
    let schema = Schema::builder()
        .categorical("age")
        .feature(Numeric::new("age_scaled").column("age").unscaled())
        .feature(Numeric::new("age_bucket").column("age").buckets(2))
        .feature(Categorical::new("age_id").column("age").ids(100))
        .feature(Categorical::new("age_hash").column("age").hashed(7))
        .feature(Bag::new("age_digits", "0").column("age"))
        .label("click")
        .build()
        .unwrap();
    let table = small("age,click\n10,1\n20,0\n30,1\n40,\n", &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let names: Vec<&str> = encoder.layout().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["age", "age_bucket", "age_id", "age_hash", "age_digits"]);
    let sizes: Vec<usize> = encoder.layout().tables.iter().map(|table| table.rows).collect();
    assert_eq!(sizes, [5, 3, 100, 7, 5]);
    let batch = encoder.encode(&table, &[3, 0]).unwrap();
    assert_eq!(one(&batch, 0), [4, 1]);
    assert_eq!(one(&batch, 1), [2, 1]);
    assert_eq!(one(&batch, 2), [40, 10]);
    assert_eq!(batch.ids[4], Ids::Bag { offsets: vec![0, 1, 2], ids: vec![4, 1] });
    assert_eq!(batch.numeric, ndarray::array![[40.0], [10.0]]);
}

#[test]
fn domains_are_sorted_by_number_where_all_are_numbers() {
    let schema = Schema::builder().categorical("x").domain("d").label("y").build().unwrap();
    let domains = |names: [&str; 3]| {
        let text = names.iter().fold("x,d,y\n".to_owned(), |text, name| text + "1," + name + ",0\n");
        let table = small(&text, &schema);
        Encoder::fit(&schema, &table, &table.all()).unwrap().layout().domains.clone()
    };
    assert_eq!(domains(["10", "9", "-1"]), ["-1", "9", "10"]);
    assert_eq!(domains(["10", "9", "b"]), ["10", "9", "b"]);
    assert_eq!(domains(["b", "a", "b"]), ["a", "b"]);
}

#[test]
fn domains_can_be_added_and_unknown_ones_shared() {
    let schema = Schema::builder().categorical("x").domain("d").label("y").build().unwrap();
    let table = small("x,d,y\n1,b,0\n2,a,1\n", &schema);
    let mut encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    assert_eq!(encoder.domain("b").unwrap(), DomainId::new(1));
    assert!(encoder.domain("aa").is_err());
    assert_eq!(encoder.add_domain("aa").unwrap(), DomainId::new(2));
    assert_eq!(encoder.domain("aa").unwrap(), DomainId::new(2));
    assert_eq!(encoder.layout().domains, ["a", "b", "aa"]);
    assert!(encoder.add_domain("aa").is_err() && encoder.add_domain("").is_err());
    let read: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
    assert_eq!(read.layout(), encoder.layout());

    let encoder = encoder.on_unknown_domain(UnknownDomain::Shared);
    assert_eq!(encoder.domain("zz").unwrap(), DomainId::SHARED);
    let batch = encoder.encode_rows([[("x", "1"), ("d", "zz")], [("x", "1"), ("d", "aa")]]).unwrap();
    assert_eq!(batch.domains, [DomainId::SHARED, DomainId::new(2)]);
}

#[test]
fn without_a_domain_column_there_is_one_domain() {
    let schema = Schema::builder().categorical("x").label("y").build().unwrap();
    let table = small("x,y\n1,0\n", &schema);
    let mut encoder = Encoder::fit(&schema, &table, &[0]).unwrap();
    assert_eq!(encoder.layout().domains, ["all"]);
    assert_eq!(encoder.encode(&table, &[0, 0]).unwrap().domains, [DomainId::new(0); 2]);
    assert!(encoder.add_domain("other").is_err());
}

#[test]
fn rows_without_labels_can_be_read_and_encoded() {
    let schema = Schema::builder().categorical("x").label("y").weight("w").build().unwrap();
    let labelled = small("x,y,w\na,0,2\n", &schema);
    let encoder = Encoder::fit(&schema, &labelled, &[0]).unwrap();
    let batch = encoder.encode(&small("x\na\nb\n", &schema.unlabelled()), &[0, 1]).unwrap();
    assert_eq!(one(&batch, 0), [1, 0]);
    assert!(batch.labels.iter().all(|label| label.is_nan()) && batch.weights.is_empty());
    batch.check(encoder.layout()).unwrap();
}

#[test]
fn maps_are_rows_too() {
    let schema = Schema::builder().categorical("x").feature(Numeric::new("n").standard()).label("y").build().unwrap();
    let table = small("x,n,y\na,0,0\nb,2,0\n", &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let map = HashMap::from([("x".to_owned(), "b".to_owned()), ("n".to_owned(), "0".to_owned())]);
    let batch = encoder.encode_rows([&map]).unwrap();
    assert_eq!((one(&batch, 0), batch.numeric[[0, 0]]), (&[2][..], -1.0));
}

#[test]
fn spoilt_encoder_files_are_refused() {
    let schema = Schema::builder()
        .categorical("x")
        .feature(Categorical::new("h").column("x").hashed(5))
        .feature(Numeric::new("n").standard())
        .feature(Numeric::new("q").column("n").buckets(3))
        .domain("d")
        .label("y")
        .build()
        .unwrap();
    let table = small("x,n,d,y\na,0,p,0\nb,1,q,0\nc,2,q,1\n", &schema);
    let good = serde_json::to_string(&Encoder::fit(&schema, &table, &table.all()).unwrap()).unwrap();
    serde_json::from_str::<Encoder>(&good).unwrap();
    for (from, to, text) in [
        (r#"["a","b","c"]"#, r#"["a","b","a"]"#, "found \"a\": expected distinct values"),
        (r#"{"hashed":5}"#, r#"{"hashed":6}"#, "what \"h\" of the schema can have learned"),
        (r#""mean":1.0"#, r#""mean":1e999"#, "out of range"),
        (r#""std":"#, r#""std":-"#, "what \"n\" of the schema can have learned"),
        ("[1.0,2.0]", "[2.0,1.0]", "what \"q\" of the schema can have learned"),
        (r#"["p","q"]"#, "[]", "domains: at least one"),
        (r#","unknown_domain":"error""#, "", "missing field"),
        (r#"{"hashed":5},"#, "", "4 entries, one for each feature, found 3"),
    ] {
        let spoilt = good.replacen(from, to, 1);
        assert_ne!(spoilt, good, "{from} is not in {good}");
        let error = serde_json::from_str::<Encoder>(&spoilt).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

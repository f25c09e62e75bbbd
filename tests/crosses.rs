//! Checks features made of several columns against columns that were combined by hand.

use std::collections::HashMap;
use std::fmt::Write as _;

use starple::data::{Categorical, Cross, Encoder, Format, Schema, SchemaBuilder, Table, id_spelling};
use starple::train::{TrainConfig, Trainer};
use starple::{ErrorKind, Pooled, PooledConfig};

const VALUES: [&str; 7] = ["ann", "b c", "b", "", "x|y", "3.0", "\\"];

/// Rows of few values that meet in many combinations; the last column is the combination, written by hand.
fn log(rows: usize) -> String {
    let mut text = "user,genre,page,click,both\n".to_owned();
    for i in 0..rows {
        let (user, genre) = (VALUES[i * 5 % 7], VALUES[(i * i / 3 + i / 11) % 7]);
        let escaped = |value: &str| id_spelling(value).replace('\\', "\\\\").replace('|', "\\|");
        let both = format!("{}|{}", escaped(user), escaped(genre));
        let page = if i % 3 == 0 { "home" } else { "feed" };
        writeln!(text, "{user},{genre},{page},{},{both}", u8::from((i * 7 + i / 5) % 4 == 0)).unwrap();
    }
    text
}

fn read(text: &str, schema: &Schema) -> Table {
    Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn schema(build: impl FnOnce(SchemaBuilder) -> SchemaBuilder) -> Schema {
    build(Schema::builder().categorical("user").domain("page").label("click")).build().unwrap()
}

#[test]
fn a_cross_gives_the_bits_of_a_column_that_holds_the_combinations() {
    let text = log(400);
    for (crossed, by_hand) in [
        (Cross::new("both", ["user", "genre"]).hashed(20), Categorical::new("both").hashed(20)),
        (Cross::new("both", ["user", "genre"]).min_count(9), Categorical::new("both").min_count(9)),
        (Cross::new("both", ["user", "genre"]).dim(3), Categorical::new("both").dim(3)),
    ] {
        let models = [schema(|s| s.feature(crossed)), schema(|s| s.feature(by_hand))].map(|schema| {
            let table = read(&text, &schema);
            let encoder = Encoder::fit(&schema, &table, &table.all()[..300]).unwrap();
            let rows = encoder.encode(&table, &table.all()).unwrap();
            let mut model = Pooled::new(PooledConfig::builder(encoder.layout()).build().unwrap());
            let config = TrainConfig::builder().epochs(1).build().unwrap();
            Trainer::new(config).fit(&mut model, rows.clone(), None).unwrap();
            (rows.ids.clone(), model.score(&rows), encoder.layout().clone())
        });
        assert_eq!(models[0], models[1]);
    }
}

#[test]
fn every_combination_has_an_id_of_its_own_whatever_the_order_of_cells() {
    let text = log(300);
    let schema = schema(|s| s.feature(Cross::new("all", ["user", "genre", "page"]).min_count(2)));
    let table = read(&text, &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()[..200]).unwrap();
    let restored: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
    assert_eq!(restored, encoder);

    // By hand: ids count combinations that occur twice among the first rows, in order of first appearance.
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let mut counts = HashMap::new();
    rows[..200].iter().for_each(|row| *counts.entry(&row[..3]).or_insert(0) += 1);
    let mut ids: HashMap<&[&str], u32> = HashMap::new();
    for row in &rows[..200] {
        let next = ids.len() as u32 + 1;
        if counts[&row[..3]] >= 2 {
            ids.entry(&row[..3]).or_insert(next);
        }
    }
    let wanted: Vec<u32> = rows.iter().map(|row| ids.get(&row[..3]).copied().unwrap_or(0)).collect();
    assert!(wanted.contains(&0) && ids.len() > 20);
    let batch = restored.encode(&table, &table.all()).unwrap();
    assert_eq!((0..rows.len()).map(|row| batch.ids[1].row(row)[0]).collect::<Vec<_>>(), wanted);
    assert_eq!(encoder.layout().tables[1].rows, ids.len() + 1);

    // Rows in memory, in four orders of their cells.
    let names = ["user", "genre", "page"];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let cells = rows.iter().map(|row| order.map(|i| (names[i], row[i])));
        let encoded = restored.encode_rows(cells).unwrap();
        assert_eq!(encoded.ids, batch.ids);
        assert_eq!(encoded.domains, batch.domains);
    }
    let error = restored.encode_rows([[("user", "ann"), ("page", "home")]]).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Data, Some("genre")));
    let share = &restored.unknown_values(&batch)[1];
    assert_eq!((share.0.as_str(), share.1.count), ("all", wanted.iter().filter(|&&id| id == 0).count()));
}

#[test]
fn new_combinations_get_the_next_ids() {
    let schema =
        schema(|s| s.cross("both", ["user", "genre"]).feature(Cross::new("paged", ["page", "user"]).hashed(9)));
    let monday = read("user,genre,page,click\nann,drama,home,1\nbob,drama,home,0\n", &schema);
    let tuesday = read("user,genre,page,click\nbob,crime,home,1\nann,drama,app,0\nann,crime,home,0\n", &schema);
    let mut encoder = Encoder::fit(&schema, &monday, &monday.all()).unwrap();
    let growth = encoder.extend(&tuesday, &tuesday.all()).unwrap();
    assert_eq!(growth.to_string(), "both: 2 new values; new domain: \"app\"");
    let batch = encoder.encode(&tuesday, &tuesday.all()).unwrap();
    assert_eq!((0..3).map(|row| batch.ids[1].row(row)[0]).collect::<Vec<_>>(), [3, 1, 4]);
    assert_eq!(encoder.layout().tables[2].rows, 9);
}

#[test]
fn a_cross_shares_the_table_of_a_column_that_holds_its_texts() {
    let schema = schema(|s| s.cross("now", ["user", "genre"]).feature(Categorical::new("last").table("now")));
    let table = read("user,genre,last,page,click\nann,drama,ann|crime,home,1\nann,crime,ann|drama,home,0\n", &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let batch = encoder.encode(&table, &table.all()).unwrap();
    let ids = |field: usize| [batch.ids[field].row(0)[0], batch.ids[field].row(1)[0]];
    assert_eq!((ids(1), ids(2)), ([1, 2], [2, 1]));
    assert_eq!(encoder.layout().tables.len(), 2);
}

#[test]
fn a_table_without_the_combinations_is_refused() {
    let plain = schema(|s| s.categorical("genre"));
    let crossed = schema(|s| s.categorical("genre").cross("both", ["genre", "user"]));
    let text = log(20);
    let error = Encoder::fit(&crossed, &read(&text, &plain), &[0, 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);
    assert!(error.to_string().contains("the combinations of columns \"genre\", \"user\""), "{error}");
    let leak = Schema::builder().cross("leak", ["user", "click"]).label("click").build().unwrap_err().to_string();
    assert!(leak.contains("column \"click\": both label and feature"), "{leak}");
    let missing = Table::from_reader("user,page,click\n".as_bytes(), Format::Csv, "log.csv", &crossed).unwrap_err();
    assert_eq!(missing.column(), Some("genre"));
}

//! Checks target statistics against a second version of their equations, and that no row sees its own label.

use std::fmt::Write as _;

use ndarray::{Array2, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{
    Batch, Categorical, DataSet, DomainId, Encoder, Feature, Format, Label, Layout, Schema, SchemaBuilder,
    SplitOptions, Splits, StatisticsFeatures, StatisticsOrder, Table, TargetStatistics, UnknownDomain,
};
use starple::metrics::auc;
use starple::optim::OptimizerConfig;
use starple::serve::{Predictor, PredictorCache};
use starple::train::{TrainConfig, Trainer};
use starple::{ErrorKind, Pooled, PooledConfig, Star, StarConfig};

/// A row of a log: what the oracle reads. Labels are NaN where they are missing.
#[derive(Debug, Clone)]
struct Row {
    item: String,
    page: usize,
    day: f64,
    labels: [f64; 2],
    weight: f64,
}

const A: f64 = 7.5;
const B: f64 = 3.25;

/// Rows of two tasks with few rows for each value, missing labels, weights of 0, and days that several rows share.
fn log(seed: u64, rows: usize, pages: usize) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let row = |_| {
        let (item, page) = (rng.random_range(0..15), rng.random_range(0..pages));
        let p = 0.1 + 0.05 * item as f64 + 0.1 * page as f64 / pages as f64;
        let mut label = |p: f64| if rng.random_bool(0.2) { f64::NAN } else { f64::from(u8::from(rng.random_bool(p))) };
        let labels = [label(p), label(0.5)];
        let weight = f64::from(rng.random_range(0..5_u8)) / 2.0;
        Row { item: format!("i{item}"), page, day: f64::from(rng.random_range(0..60_u8)) / 4.0, labels, weight }
    };
    (0..rows).map(row).collect()
}

fn csv(rows: &[Row]) -> String {
    let cell = |x: f64| if x.is_nan() { String::new() } else { x.to_string() };
    let line = |row: &Row| {
        let [click, buy] = row.labels.map(cell);
        format!("{},p{},{},{click},{buy},{}\n", row.item, row.page, cell(row.day), row.weight)
    };
    "item,page,day,click,buy,weight\n".to_owned() + &rows.iter().map(line).collect::<String>()
}

fn read(rows: &[Row], schema: &Schema) -> Table {
    Table::from_reader(csv(rows).as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn by_day() -> TargetStatistics {
    let settings = TargetStatistics::builder().order(StatisticsOrder::Time("day".into()));
    settings.value_strength(B).domain_strength(A).build().unwrap()
}

fn columns() -> SchemaBuilder {
    Schema::builder().feature(Categorical::new("item").statistics(true)).domain("page").labels(["click", "buy"])
}

fn schema() -> Schema {
    columns().weight("weight").target_statistics(by_day()).build().unwrap()
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// What the documentation of `TargetStatistics` says, over and over for each row. It has no counters.
struct Oracle {
    /// Rows that all others follow.
    old: Vec<Row>,
    /// Rows that count where they are earlier.
    new: Vec<Row>,
    unit: f64,
    mean: f64,
    std: f64,
}

impl Oracle {
    fn new(old: &[Row], new: &[Row]) -> Self {
        let fitted = if old.is_empty() { new } else { old };
        let weights: Vec<f64> = fitted.iter().map(|row| row.weight).filter(|&weight| weight > 0.0).collect();
        let mut logs = Vec::new();
        for (i, row) in fitted.iter().enumerate().filter(|(_, row)| Self::counts(row)) {
            let before = fitted[..i].iter().filter(|other| Self::counts(other) && other.item == row.item).count();
            logs.push((before as f64).ln_1p());
        }
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let std = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
        let unit = weights.iter().sum::<f64>() / weights.len() as f64;
        Self { old: old.to_vec(), new: new.to_vec(), unit, mean, std }
    }

    fn counts(row: &Row) -> bool {
        row.weight > 0.0 && row.labels.iter().any(|label| !label.is_nan())
    }

    /// The labels n and c of rows.
    fn sums<'a>(&self, rows: impl Iterator<Item = &'a Row>, task: usize) -> (f64, f64) {
        rows.filter(|row| !row.labels[task].is_nan()).fold((0.0, 0.0), |(n, c), row| {
            let weight = row.weight / self.unit;
            (n + weight, c + weight * row.labels[task])
        })
    }

    /// `r_d` by these rows.
    fn rate(&self, rows: &[&Row], page: usize, task: usize) -> f64 {
        let (n, c) = self.sums(rows.iter().copied(), task);
        let r = (c + 0.5) / (n + 1.0);
        let s = 1.0 / (r * (1.0 - r));
        let (n, c) = self.sums(rows.iter().copied().filter(|row| row.page == page), task);
        (c + s * r) / (n + s)
    }

    /// The rows before this day.
    fn before(&self, day: f64) -> Vec<&Row> {
        self.old.iter().chain(self.new.iter().filter(|row| row.day < day)).collect()
    }

    /// The inputs of a value on a page: if a row of the training, on its day. `None` is no known page.
    fn inputs(&self, item: &str, page: Option<usize>, day: Option<f64>) -> [f64; 3] {
        let seen = self.before(day.unwrap_or(f64::INFINITY));
        let of_value: Vec<&Row> = seen.iter().copied().filter(|row| row.item == item).collect();
        let task = |task: usize| {
            let (n, c) = self.sums(of_value.iter().copied(), task);
            let old: Vec<&Row> = self.old.iter().collect();
            let expected = of_value.iter().enumerate().filter(|(_, row)| !row.labels[task].is_nan()).map(|(i, row)| {
                let is_old = i < self.old.iter().filter(|row| row.item == item).count();
                let rate = match day {
                    None => self.rate(&seen, row.page, task),
                    Some(_) if is_old => self.rate(&old, row.page, task),
                    Some(_) => self.rate(&self.before(row.day), row.page, task),
                };
                row.weight / self.unit * rate
            });
            let r = expected.sum::<f64>() / n;
            let lift = if n > 0.0 { logit((c + B * r) / (n + B)) - logit(r) } else { 0.0 };
            let Some(page) = page else { return lift };
            let rate = self.rate(&seen, page, task);
            let (n, c) = self.sums(of_value.iter().copied().filter(|row| row.page == page), task);
            logit((c + A * sigmoid(logit(rate) + lift)) / (n + A)) - logit(rate)
        };
        let rows = of_value.iter().filter(|row| Self::counts(row)).count();
        [task(0), task(1), ((rows as f64).ln_1p() - self.mean) / self.std]
    }
}

fn assert_inputs(found: &Array2<f32>, row: usize, expected: [f64; 3]) {
    for (column, expected) in expected.into_iter().enumerate() {
        let found = f64::from(found[[row, column]]);
        assert!((found - expected).abs() < 1e-5, "row {row}, column {column}: {found}, expected {expected}");
    }
}

#[test]
fn inputs_are_those_of_the_documentation() {
    let (rows, schema) = (log(1, 400, 3), schema());
    let table = read(&rows, &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    assert_eq!(encoder.layout().numeric, ["item~click", "item~buy", "item#"]);
    let oracle = Oracle::new(&[], &rows);
    let train = encoder.encode_training(&table, &table.all()).unwrap();
    for (i, row) in rows.iter().enumerate() {
        assert_inputs(&train.numeric, i, oracle.inputs(&row.item, Some(row.page), Some(row.day)));
    }
    // Another log, which counts no labels: a new value too.
    let encoder = encoder.on_unknown_domain(UnknownDomain::Shared);
    for item in ["i0", "i7", "i14", "new"] {
        for page in [Some(0), Some(2), None] {
            let name = page.map_or("elsewhere".into(), |page| format!("p{page}"));
            let batch = encoder.encode_rows([[("item", item), ("page", &name)]]).unwrap();
            assert_inputs(&batch.numeric, 0, oracle.inputs(item, page, None));
        }
    }
    let new = encoder.encode_rows([[("item", "new"), ("page", "p0")]]).unwrap();
    assert_eq!(new.numeric.slice(s![0, ..2]).to_vec(), [0.0, 0.0]);
}

#[test]
fn a_row_does_not_see_its_own_label_nor_those_of_its_day() {
    let (mut rows, schema) = (log(2, 300, 2), schema());
    for row in &mut rows {
        row.weight = 1.0;
    }
    (rows[100].labels, rows[100].day) = ([0.0, 1.0], 3.0);
    let inputs = |rows: &[Row]| {
        let table = read(rows, &schema);
        let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
        encoder.encode_training(&table, &table.all()).unwrap().into_batch().numeric
    };
    let before = inputs(&rows);
    rows[100].labels = [1.0, 0.0];
    let after = inputs(&rows);
    let mut changed = 0;
    for (i, row) in rows.iter().enumerate() {
        if row.day <= rows[100].day {
            assert_eq!(before.row(i), after.row(i), "row {i}");
        } else if row.item == rows[100].item {
            assert!(after[[i, 0]] > before[[i, 0]] && after[[i, 1]] < before[[i, 1]], "row {i}");
            changed += 1;
        }
    }
    assert!(changed > 3);
}

#[test]
fn new_rows_follow_all_rows_before() {
    let (monday, tuesday, schema) = (log(3, 250, 2), log(4, 200, 4), schema());
    let (first, second) = (read(&monday, &schema), read(&tuesday, &schema));
    let fitted = Encoder::fit(&schema, &first, &first.all()).unwrap();
    // The file of yesterday is read by another process.
    let mut encoder: Encoder = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
    encoder.extend(&second, &second.all()).unwrap();
    assert_eq!(encoder.layout().numeric, fitted.layout().numeric);
    assert_eq!(encoder.statistics(), fitted.statistics());
    let oracle = Oracle::new(&monday, &tuesday);
    let train = encoder.encode_training(&second, &second.all()).unwrap();
    for (i, row) in tuesday.iter().enumerate() {
        assert_inputs(&train.numeric, i, oracle.inputs(&row.item, Some(row.page), Some(row.day)));
    }
    for (item, page) in [("i3", 0), ("i3", 3), ("i9", 1)] {
        let batch = encoder.encode_rows([[("item", item), ("page", &*format!("p{page}"))]]).unwrap();
        assert_inputs(&batch.numeric, 0, oracle.inputs(item, Some(page), None));
    }
    // Some of the rows: the others are counted before them.
    let half: Vec<u32> = second.all().into_iter().filter(|row| row % 2 == 0).collect();
    let (new, others): (Vec<_>, Vec<_>) = tuesday.iter().cloned().enumerate().partition(|(i, _)| i % 2 == 0);
    let rows = |rows: Vec<(usize, Row)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    let (new, old) = (rows(new), [monday, rows(others)].concat());
    let oracle = Oracle { old, new, ..oracle };
    let train = encoder.encode_training(&second, &half).unwrap();
    for (i, row) in oracle.new.iter().enumerate() {
        assert_inputs(&train.numeric, i, oracle.inputs(&row.item, Some(row.page), Some(row.day)));
    }
}

/// Damages the statistics of a file.
type Change = fn(&mut serde_json::Value);

#[test]
fn files_keep_every_bit_and_are_checked() {
    let (rows, schema) = (log(5, 300, 3), schema());
    let table = read(&rows, &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let text = serde_json::to_string(&encoder).unwrap();
    let again: Encoder = serde_json::from_str(&text).unwrap();
    assert_eq!((&again, again.layout()), (&encoder, encoder.layout()));
    let all = table.all();
    let numeric = |encoder: &Encoder| encoder.encode_training(&table, &all).unwrap().into_batch().numeric;
    assert_eq!(numeric(&again), numeric(&encoder));

    // Counts without weights and of one domain are integers, and lists are left out.
    let plain = Schema::builder().feature(Categorical::new("item").statistics(true)).label("click");
    let plain =
        plain.target_statistics(TargetStatistics::builder().value_strength(2.0).build().unwrap()).build().unwrap();
    let small = Table::from_reader("item,click\na,1\nb,0\na,0\n".as_bytes(), Format::Csv, "s.csv", &plain).unwrap();
    let small = serde_json::to_value(Encoder::fit(&plain, &small, &small.all()).unwrap()).unwrap();
    let counts = r#"{"steps":[1,1],"rows":[2,1],"labelled":[[]],"positive":[[1,0]]}"#;
    assert_eq!(small["statistics"]["fields"][0]["counts"], serde_json::from_str::<serde_json::Value>(counts).unwrap());

    let changes: [(Change, &str); 8] = [
        (|file| file["unit"] = 0.into(), "the weight of a row above 0"),
        (|file| file["tasks"] = vec![7].into(), "binary tasks in ascending order, below 2"),
        (|file| file["fields"][0]["field"] = 9.into(), "fields with one id a row"),
        (|file| file["fields"][0]["strengths"][0][0] = 0.into(), "strengths from 0.5 to 100000"),
        (|file| file["fields"][0]["counts"]["steps"][2] = 1000.into(), "expected ids below 16, found 100"),
        (|file| file["fields"][0]["counts"]["domains"][0] = 5.into(), "expected domains below 3, found 5"),
        (|file| file["fields"][0]["counts"]["rows"][0] = 0.into(), "found 0"),
        (
            |file| file["fields"][0]["counts"]["positive"][1][3] = 99.into(),
            "at most as many labels 1 as labels, found 99",
        ),
    ];
    for (change, expected) in changes {
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        change(&mut file["statistics"]);
        let error = serde_json::from_value::<Encoder>(file).unwrap_err().to_string();
        assert!(error.starts_with("Encoder: statistics: ") && error.contains(expected), "{error}");
    }
    // A file of a version without statistics.
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file.as_object_mut().unwrap().remove("statistics");
    let old: Encoder = serde_json::from_value(file).unwrap();
    assert!(old.layout().numeric.is_empty() && old.statistics().is_empty());
}

#[test]
fn batches_rows_and_the_predictor_have_the_same_inputs() {
    let schema = columns()
        .categorical("user")
        .numeric("age")
        .target_statistics(TargetStatistics::builder().features(StatisticsFeatures::All).build().unwrap());
    let schema = schema.build().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut lines = String::from("user,item,age,page,click,buy\n");
    for _ in 0..200 {
        let (u, i, age, page) =
            (rng.random_range(0..9), rng.random_range(0..9), rng.random_range(0..70), rng.random_range(0..3));
        writeln!(lines, "u{u},i{i},{age},p{page},{},{}", rng.random_range(0..2), rng.random_range(0..2)).unwrap();
    }
    let read = |text: &str, schema: &Schema| Table::from_reader(text.as_bytes(), Format::Csv, "l.csv", schema).unwrap();
    let table = read(&lines, &schema);
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap().on_unknown_domain(UnknownDomain::Shared);
    let names = ["age", "item~click", "item~buy", "item#", "user~click", "user~buy", "user#"];
    assert_eq!(encoder.layout().numeric, names);

    let served = "user,item,age,page\nu1,i2,30,p0\nu1,new,31,p0\nzoe,i2,,p1\nu1,i3,3,elsewhere\n";
    let requests = read(served, &schema.unlabelled());
    let batch = encoder.encode(&requests, &requests.all()).unwrap();
    // In an order that is neither that of the schema nor of the file.
    let row = |line: &'static str| {
        let mut row: Vec<(&str, &str)> = ["user", "item", "age", "page"].into_iter().zip(line.split(',')).collect();
        row.reverse();
        row
    };
    let rows: Vec<Vec<(&str, &str)>> = served.lines().skip(1).map(row).collect();
    let by_rows = encoder.encode_rows(rows.iter().map(|row| row.iter().copied())).unwrap();
    assert_eq!((&by_rows.ids, &by_rows.numeric, &by_rows.domains), (&batch.ids, &batch.numeric, &batch.domains));
    assert!(batch.numeric.slice(s![.., 1..]).iter().any(|x| *x != 0.0));

    let star = Star::new(StarConfig::builder(encoder.layout()).hidden([8]).build().unwrap());
    let scores = star.predict(&batch, &batch.domains);
    let predictor = Predictor::builder(encoder, star).given(["user"]).build().unwrap();
    let mut cache = PredictorCache::default();
    for (row, expected) in rows.iter().zip(scores.rows()) {
        let value = |name: &str| row.iter().find(|(column, _)| *column == name).unwrap().1;
        let (user, own) = ([("user", value("user"))], [("item", value("item")), ("age", value("age"))]);
        let found = predictor.score(value("page"), user, [own], &mut cache).unwrap();
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5),
            "{found} {expected}"
        );
    }
    let together = predictor.predict_batch(&batch).unwrap();
    assert!(together.iter().zip(&scores).all(|(found, expected)| (found - expected).abs() < 1e-5));
}

#[test]
fn wrong_use_is_refused() {
    let (mut rows, schema) = (log(7, 100, 2), schema());
    for row in &mut rows {
        row.weight = 1.0;
    }
    let table = read(&rows, &schema);
    let mut encoder = Encoder::fit(&schema, &table, &table.all()[..50]).unwrap();
    let error = encoder.encode(&table, &[60, 7]).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::Config, Some(9)), "{error}");
    assert!(error.to_string().contains("encode_training"), "{error}");
    assert!(encoder.encode(&table, &table.all()[50..]).is_ok());
    let error = encoder.encode_training(&table, &table.all()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Data, Some("item")), "{error}");
    assert!(error.to_string().contains("has not learned from all of these rows"), "{error}");
    let unlabelled = Table::from_reader(csv(&rows).as_bytes(), Format::Csv, "u.csv", &schema.unlabelled()).unwrap();
    let before = encoder.clone();
    let error = encoder.extend(&unlabelled, &unlabelled.all()).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::Layout, Some("click")), "{error}");
    assert_eq!(encoder, before);
    rows[10].day = f64::NAN;
    let timeless = read(&rows, &schema);
    let error = Encoder::fit(&schema, &timeless, &timeless.all()).unwrap_err();
    assert_eq!((error.kind(), error.line(), error.column()), (ErrorKind::Data, Some(12), Some("day")), "{error}");
    let error = encoder.extend(&timeless, &timeless.all()).unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(12), Some("day")), "{error}");
    assert_eq!(encoder, before);

    let refused = |schema: SchemaBuilder, expected: &str| {
        let error = schema.build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(columns().numeric("item~click"), r#"the name "item~click" is kept for the target statistics of "item""#);
    let none = TargetStatistics::builder().features(StatisticsFeatures::None);
    let without = Schema::builder().categorical("item").domain("page").label("click");
    refused(
        without.clone().target_statistics(none.clone().value_strength(3.0).build().unwrap()),
        "value_strength has no effect",
    );
    let one = Schema::builder().categorical("item").label("click");
    let domain = TargetStatistics::builder().domain_strength(3.0).build().unwrap();
    refused(one.target_statistics(domain), "domain_strength has no effect without a domain column");
    refused(
        columns().target_statistics(
            TargetStatistics::builder().order(StatisticsOrder::Time("click".into())).build().unwrap(),
        ),
        "click",
    );
    let error = TargetStatistics::builder().value_strength(0.0).build().unwrap_err().to_string();
    assert!(error.contains("0.5 <= value_strength <= 100000, found 0"), "{error}");
}

#[test]
fn only_binary_tasks_have_rates() {
    let labels = [Label::regression("watch"), Label::binary("click"), Label::count("visits")];
    let schema = Schema::builder().feature(Categorical::new("item").statistics(true)).labels(labels).build().unwrap();
    let log = "item,watch,click,visits\na,2.5,1,7\nb,,0,2\na,-3,1,0\na,1,,4\n";
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "k.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    assert_eq!(encoder.layout().numeric, ["item~click", "item#"]);
    let [of_click] = &encoder.statistics()[..] else { panic!("one binary task") };
    assert_eq!(of_click.task, "click");
    let again: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
    assert_eq!(again, encoder);
    // a was clicked twice of two, b never.
    let x = |item| encoder.encode_rows([[("item", item)]]).unwrap().numeric[[0, 0]];
    assert!(x("a") > 0.0 && x("b") < 0.0 && x("c") == 0.0);

    let none = Schema::builder().feature(Categorical::new("item").statistics(true)).label(Label::count("visits"));
    let error = none.build().unwrap_err().to_string();
    assert!(error.contains("statistics have no effect without a binary label"), "{error}");
}

/// A log of values, each of which has its own log-odds, and of labels; `spread` is the deviation of the log-odds.
fn world(seed: u64, rows: usize, values: usize, spread: f64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let odds: Vec<f64> =
        (0..values).map(|_| spread * (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>()).collect();
    let mut text = String::from("item,page,click,split\n");
    for row in 0..rows {
        let (item, page) = (rng.random_range(0..values), rng.random_range(0..4));
        let click = u8::from(rng.random_bool(sigmoid(odds[item] - 0.8 + 0.4 * f64::from(page))));
        let split = if row % 4 > 0 {
            "train"
        } else if row % 8 > 0 {
            "val"
        } else {
            "test"
        };
        writeln!(text, "i{item},p{page},{click},{split}").unwrap();
    }
    text
}

fn world_columns(statistics: bool) -> SchemaBuilder {
    let item = Feature::from(Categorical::new("item").statistics(statistics));
    Schema::builder().feature(item).domain("page").label("click").split("split")
}

fn world_schema(statistics: bool) -> Schema {
    world_columns(statistics).build().unwrap()
}

/// The statistics alone as inputs of a net, trained on these rows; its AUC on them.
fn auc_of_statistics(rows: &DataSet) -> f64 {
    let layout = rows.layout();
    let layout = Layout::new(layout.domains.clone(), layout.tasks.clone()).numeric(layout.numeric.clone());
    let batch = Batch { ids: Vec::new(), ..rows.clone().into_batch() };
    let rows = DataSet::new(&layout, batch).unwrap();
    let mut model = Pooled::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([8]).build().unwrap());
    let settings = TrainConfig::builder().epochs(4).batch_rows(256).optimizer(OptimizerConfig::adam(0.01).unwrap());
    Trainer::new(settings.build().unwrap()).fit(&mut model, rows.clone(), None).unwrap();
    auc(&model.score(&rows).column(0).to_vec(), &rows.labels.column(0).to_vec()).unwrap()
}

#[test]
fn labels_that_are_noise_cannot_be_learned_from_statistics() {
    // About 7 rows a value, and rates that differ by domain only; the AUC is taken inside one domain.
    let text = world(8, 20_000, 2_000, 0.0);
    // Fitted strengths would see that there is nothing, and make all inputs nearly 0.
    let strengths = TargetStatistics::builder().value_strength(2.0).domain_strength(2.0).build().unwrap();
    let schema = world_columns(true).target_statistics(strengths).build().unwrap();
    let read = || Table::from_reader(text.as_bytes(), Format::Csv, "n.csv", &schema).unwrap();
    let table = read();
    let train = table.split("train").unwrap();
    let encoder = Encoder::fit(&schema, &table, &train).unwrap();
    let of_domain = |set: &DataSet| {
        let rows: Vec<u32> =
            (0..set.rows() as u32).filter(|&row| set.domains[row as usize] == DomainId::new(1)).collect();
        set.select(&rows)
    };
    let honest = auc_of_statistics(&of_domain(&encoder.encode_training(&table, &train).unwrap()));
    // The deviation of the AUC of 3,750 random scores is .0094; the net has about 60 parameters to fit.
    assert!((honest - 0.5).abs() < 0.03, "{honest}");
    // The test can fail: with counts of all rows the labels show.
    let leaking = of_domain(&encoder.encode(&read(), &train).unwrap());
    let leaking = auc_of_statistics(&leaking);
    assert!(leaking > 0.6, "{leaking}");
}

#[test]
fn in_one_epoch_statistics_help_where_values_have_few_rows() {
    let text = world(9, 24_000, 3_000, 1.5);
    let test_auc = |statistics: bool| {
        let schema = world_schema(statistics);
        let table = Table::from_reader(text.as_bytes(), Format::Csv, "w.csv", &schema).unwrap();
        let splits = Splits::of_table(&schema, &table, SplitOptions::default()).unwrap();
        assert_eq!(splits.report.statistics.len(), usize::from(statistics));
        let config = PooledConfig::builder(&splits.layout).embedding_dim(8).hidden([16]).build().unwrap();
        let mut model = Pooled::new(config);
        let settings =
            TrainConfig::builder().epochs(1).batch_rows(256).optimizer(OptimizerConfig::adam(0.005).unwrap());
        Trainer::new(settings.build().unwrap()).fit(&mut model, splits.train, None).unwrap();
        auc(&model.score(&splits.test).column(0).to_vec(), &splits.test.labels.column(0).to_vec()).unwrap()
    };
    let (with, without) = (test_auc(true), test_auc(false));
    assert!(with > without + 0.03, "{with} {without}");
}

#[test]
fn strengths_are_fitted_by_value_and_by_domain() {
    // Log-odds with a deviation of 1 at a rate of about ⅓ are a beta distribution with a strength of about 1/(r(1 − r)) − 1 = 3.5, as
    // var p ≈ r²(1 − r)² and var p = r(1 − r)/(s + 1). Domains agree.
    let (text, schema) = (world(10, 40_000, 1_500, 1.0), world_schema(true));
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "s.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let [fitted] = &encoder.statistics()[..] else { panic!("one feature and task") };
    assert_eq!((&*fitted.feature, &*fitted.task), ("item", "click"));
    assert!((2.5..8.0).contains(&fitted.value), "{fitted:?}");
    assert!(fitted.domain.unwrap() > 15.0, "{fitted:?}");
    // With no difference between values there is no limit to the strength.
    let text = world(11, 20_000, 200, 0.0);
    let table = Table::from_reader(text.as_bytes(), Format::Csv, "n.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    assert!(encoder.statistics()[0].value > 200.0, "{:?}", encoder.statistics());
}

#[test]
fn features_with_many_values_have_statistics_by_default() {
    let schema = Schema::builder().categorical("many").categorical("few").label("click").build().unwrap();
    let log = |values: usize| {
        let line = |i: usize| format!("{},{},{}\n", i % values, i % 5, i % 2);
        let text = "many,few,click\n".to_owned() + &(0..400).map(line).collect::<String>();
        Table::from_reader(text.as_bytes(), Format::Csv, "a.csv", &schema).unwrap()
    };
    let inputs = |values| {
        let table = log(values);
        Encoder::fit(&schema, &table, &table.all()).unwrap().layout().numeric.clone()
    };
    assert_eq!(inputs(100), ["many~click", "many#"]);
    assert!(inputs(99).is_empty());
}

//! The predictor against the long way round: a table from text, the encoder, and the model's own forward pass.

#[path = "../contract/allocations.rs"]
mod allocations;

use std::fmt::Write as _;

use ndarray::Array2;
use starple::data::{
    Bag, Batch, Categorical, Cross, DomainId, Encoder, Format, Ids, Numeric, RawValue, Schema, Table, UnknownDomain,
};
use starple::nn::LeafMut;
use starple::serve::{Calibration, CalibrationSettings, Method, Predictor, PredictorCache};
use starple::train::{TrainConfig, Trainer};
use starple::{ErrorKind, Star, StarConfig};

const DOMAINS: [&str; 3] = ["home", "search", "partner"];
const TOLERANCE: f32 = 1e-5;

type Cells<'a> = Vec<(&'a str, RawValue<'a>)>;

/// One row's raw values; `user` and `age` are the request's, the others a candidate's.
#[derive(Clone)]
struct Row {
    user: String,
    age: Option<f64>,
    item: u32,
    price: Option<f64>,
    tags: String,
    page: &'static str,
    click: u8,
}

fn schema() -> Schema {
    Schema::builder()
        .categorical("user")
        .numeric("age")
        .feature(Categorical::new("shelf").column("item").hashed(5))
        .categorical("item")
        .feature(Numeric::new("price").signed_log())
        .feature(Numeric::new("price_range").column("price").buckets(4))
        .feature(Bag::new("tags", "|"))
        .feature(Categorical::new("scene").column("page"))
        // Of what the request gives, of what a candidate has, and of both.
        .cross("user_x_page", ["page", "user"])
        .feature(Cross::new("item_x_tags", ["item", "tags"]).hashed(50))
        .feature(Cross::new("user_x_item", ["item", "page", "user"]).min_count(2))
        .domain("page")
        .label("click")
        .label("buy")
        .group("user")
        .build()
        .unwrap()
}

/// Rows of few values, so that users and items come again.
fn rows(count: usize) -> Vec<Row> {
    let row = |i: usize| {
        let mix = |modulus: usize| (i * 7919 + i / 7 * 104_729) % 1_000_003 % modulus;
        Row {
            user: format!("u{}", mix(13)),
            age: (mix(5) > 0).then_some(20.0 + mix(40) as f64),
            item: mix(17) as u32,
            price: (mix(11) > 0).then_some(mix(97) as f64 / 4.0),
            tags: ["", "red", "red|blue", "green||blue|red"][mix(4)].to_owned(),
            page: DOMAINS[mix(3)],
            click: u8::from(mix(19) < 6),
        }
    };
    (0..count).map(row).collect()
}

fn text(number: Option<f64>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

fn table(rows: &[Row]) -> Table {
    let mut log = String::from("user,age,item,price,tags,page,click,buy\n");
    for Row { user, age, item, price, tags, page, click } in rows {
        writeln!(log, "{user},{},{item},{},{tags},{page},{click},", text(*age), text(*price)).unwrap();
    }
    Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap()
}

struct World {
    rows: Vec<Row>,
    table: Table,
    encoder: Encoder,
    star: Star,
}

fn world() -> World {
    let rows = rows(600);
    let table = table(&rows);
    // Later rows have users and items that the first do not.
    let encoder =
        Encoder::fit(&schema(), &table, &table.all()[..200]).unwrap().on_unknown_domain(UnknownDomain::Shared);
    let config = StarConfig::builder(encoder.layout()).embedding_dim(4).embedding_std(0.5).hidden([12, 8]);
    let mut star = Star::new(config.build().unwrap());
    let settings = TrainConfig::builder().epochs(2).batch_rows(64).threads(1).build().unwrap();
    Trainer::new(settings).fit(&mut star, encoder.encode(&table, &table.all()).unwrap(), None).unwrap();
    World { rows, table, encoder, star }
}

impl World {
    fn predictor(&self, given: &[&str]) -> Predictor {
        let builder = Predictor::builder(self.encoder.clone(), self.star.clone());
        builder.given(given.iter().copied()).build().unwrap()
    }

    /// The long way round: these rows in this domain.
    fn probabilities(&self, rows: &[Row], domain: &str) -> Array2<f32> {
        let rows: Vec<Row> =
            rows.iter().map(|row| Row { page: Box::leak(domain.to_owned().into()), ..row.clone() }).collect();
        let table = table(&rows);
        let batch = self.encoder.encode(&table, &table.all()).unwrap();
        self.star.predict(&batch, batch.domains())
    }

    fn calibration(&self) -> Calibration {
        let batch = self.encoder.encode(&self.table, &self.table.all()).unwrap();
        let settings = CalibrationSettings { min_rows: 50, ..Method::Platt.into() };
        Calibration::fit(settings, &self.star.score(&batch), &batch, self.encoder.layout()).unwrap()
    }
}

/// A number, or the text of one, so that both ways in are taken.
fn number(value: Option<f64>, as_text: Option<&mut String>) -> RawValue<'_> {
    match (value, as_text) {
        (None, _) => "".into(),
        (Some(value), None) => value.into(),
        (Some(value), Some(buffer)) => {
            *buffer = value.to_string();
            RawValue::Text(buffer)
        }
    }
}

fn given(row: &Row) -> Cells<'_> {
    vec![("age", number(row.age, None)), ("user", row.user.as_str().into())]
}

/// In an order that is not the schema's, with a label that is not read.
fn candidate<'a>(row: &'a Row, price: &'a mut String, as_text: bool) -> Cells<'a> {
    let item = if as_text { RawValue::Number(row.item.into()) } else { row.item.into() };
    let price = number(row.price, as_text.then_some(price));
    vec![("tags", row.tags.as_str().into()), ("click", "1".into()), ("price", price), ("item", item)]
}

fn assert_close(found: &Array2<f32>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < TOLERANCE, "{found} is not {expected}");
    }
}

#[test]
fn a_request_scores_like_its_rows_in_a_file() {
    let world = world();
    let predictor = world.predictor(&["user", "age"]);
    assert_eq!(predictor.given().collect::<Vec<_>>(), ["user", "age"]);
    assert_eq!(predictor.own().collect::<Vec<_>>(), ["item", "price", "tags"]);
    let mut cache = PredictorCache::default();
    // The same cache for requests of other sizes, domains and users.
    for (of, domain) in [(0, "home"), (250, "search"), (3, "partner"), (400, "nowhere"), (401, "home")] {
        for count in [1, 150, 0, 7] {
            let user = &world.rows[of];
            let candidates: Vec<Row> = world.rows[of..of + count]
                .iter()
                .map(|row| Row { user: user.user.clone(), age: user.age, ..row.clone() })
                .collect();
            let mut prices = vec![String::new(); count];
            let cells = candidates.iter().zip(&mut prices).enumerate();
            let cells: Vec<Cells> = cells.map(|(i, (row, price))| candidate(row, price, i % 2 == 0)).collect();
            let found = predictor.score(domain, given(user), cells, &mut cache).unwrap();
            assert_eq!(found.dim(), (count, 2));
            // A file without rows is none.
            if count > 0 {
                assert_close(found, &world.probabilities(&candidates, domain));
            }
            let alike = found.iter().all(|p| *p == found[[0, 0]]);
            assert!(count < 7 || !alike, "candidates have scores of their own");
        }
    }
}

#[test]
fn nothing_given_is_a_request_too() {
    let world = world();
    let predictor = world.predictor(&[]);
    let mut prices = vec![String::new(); 40];
    let rows = &world.rows[..40];
    let cells = rows.iter().zip(&mut prices).map(|(row, price)| {
        let mut cells = candidate(row, price, false);
        cells.extend(given(row));
        cells
    });
    let mut cache = PredictorCache::default();
    let nobody: Cells = Vec::new();
    let found = predictor.score("search", nobody, cells, &mut cache).unwrap();
    assert_close(found, &world.probabilities(rows, "search"));
}

#[test]
fn rows_of_all_domains_score_like_the_model() {
    let world = world();
    let batch = world.encoder.encode(&world.table, &world.table.all()).unwrap();
    let expected = world.star.predict(&batch, batch.domains());
    for given in [&["user", "age"][..], &["tags"], &[]] {
        let predictor = world.predictor(given);
        assert_close(&predictor.predict_batch(&batch).unwrap(), &expected);
        assert_close(&predictor.predict_table(&world.table, &world.table.all()).unwrap(), &expected);
    }
    let Row { user, age, item, price, tags, page, .. } = &world.rows[5];
    let row = [("user", user.clone()), ("item", item.to_string()), ("tags", tags.clone()), ("page", (*page).into())];
    let row = row.into_iter().chain([("age", text(*age)), ("price", text(*price))]);
    let found = world.predictor(&["user"]).predict([row]).unwrap();
    assert_close(&found, &expected.slice(ndarray::s![5..6, ..]).to_owned());
}

#[test]
fn encoded_requests_score_like_raw_ones() {
    let world = world();
    let predictor = world.predictor(&["user", "age"]);
    let batch = world.encoder.encode(&world.table, &[9; 20]).unwrap();
    let mut cache = PredictorCache::default();
    let found = predictor.score_batch(DomainId::SHARED, &batch.slice(0..1), &batch, &mut cache).unwrap();
    assert_close(found, &world.star.predict(&batch, DomainId::SHARED));
}

#[test]
fn calibration_is_applied_by_domain_and_task() {
    let world = world();
    let calibration = world.calibration();
    let builder = Predictor::builder(world.encoder.clone(), world.star.clone());
    let predictor = builder.calibration(calibration.clone()).build().unwrap();
    assert_eq!(predictor.calibration(), Some(&calibration));
    let batch = world.encoder.encode(&world.table, &world.table.all()).unwrap();
    let logits = world.star.score(&batch);
    let expected = Array2::from_shape_fn(logits.dim(), |(row, task)| {
        calibration.probability(logits[[row, task]], batch.domains[row], task) as f32
    });
    let found = predictor.predict_batch(&batch).unwrap();
    assert_close(&found, &expected);
    let plain = world.star.predict(&batch, batch.domains());
    assert!((&found.column(0) - &plain.column(0)).iter().any(|d| d.abs() > 1e-3), "it changes something");
    // No row has a label for the other task.
    assert_close(
        &found.column(1).to_owned().insert_axis(ndarray::Axis(1)),
        &plain.slice(ndarray::s![.., 1..]).to_owned(),
    );
}

#[test]
fn a_warm_request_allocates_nothing() {
    let world = world();
    let builder = Predictor::builder(world.encoder.clone(), world.star.clone());
    let predictor = builder.given(["user", "age"]).calibration(world.calibration()).build().unwrap();
    let mut cache = PredictorCache::default();
    let mut prices = vec![String::new(); 200];
    let (of, user) = (&world.rows[..200], given(&world.rows[0]));
    let cells = of.iter().zip(&mut prices).enumerate();
    let cells: Vec<Cells> = cells.map(|(i, (row, price))| candidate(row, price, i % 2 == 0)).collect();
    let mut request = |domain: &str, from: usize| {
        let candidates = cells[from..].iter().map(|cells| cells.iter().copied());
        predictor.score(domain, user.iter().copied(), candidates, &mut cache).unwrap();
    };
    request("home", 0);
    request("nowhere", 0);
    let (ours, products) = allocations::during(|| {
        for (domain, from) in [("search", 100), ("home", 3), ("nowhere", 199), ("partner", 200), ("home", 0)] {
            request(domain, from);
        }
    });
    assert_eq!((ours, products), (0, 0), "allocations in five warm requests");

    let batch = world.encoder.encode(&world.table, &world.table.all()).unwrap();
    let first = batch.slice(0..1);
    let mut encoded = || _ = predictor.score_batch(DomainId::new(0), &first, &batch, &mut cache).unwrap();
    // Layers hand their outputs from buffer to buffer: the second call may still want a larger one.
    encoded();
    encoded();
    assert_eq!(allocations::during(encoded), (0, 0), "allocations in a warm encoded request");
}

#[test]
fn threads_share_it_and_get_the_same_bits() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Predictor>();
    let world = world();
    let predictor = world.predictor(&["user", "age"]);
    let score = |predictor: &Predictor| {
        let mut cache = PredictorCache::default();
        let mut all = Vec::new();
        for (i, domain) in DOMAINS.iter().cycle().take(30).enumerate() {
            let mut prices = vec![String::new(); 100];
            let cells = world.rows[i..i + 100].iter().zip(&mut prices).map(|(row, price)| candidate(row, price, true));
            let scores = predictor.score(domain, given(&world.rows[i]), cells, &mut cache).unwrap();
            all.extend(scores.iter().map(|p| p.to_bits()));
        }
        all
    };
    let expected = score(&predictor);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| predictor.clone()).map(|own| scope.spawn(move || score(&own))).collect();
        for thread in threads {
            assert!(thread.join().unwrap() == expected, "the same bits on every thread");
        }
    });
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let world = world();
    let strict = world.encoder.clone().on_unknown_domain(UnknownDomain::Error);
    let predictor = Predictor::builder(strict, world.star.clone()).given(["user", "age"]).build().unwrap();
    let mut cache = PredictorCache::default();
    let row = &world.rows[0];
    let good =
        |price: &'static str| -> Cells { vec![("item", 3.into()), ("price", price.into()), ("tags", "".into())] };
    let mut text = |domain: &str, given: Cells, last: Cells| {
        predictor.score(domain, given, [good("1"), last], &mut cache).unwrap_err().to_string()
    };
    assert_eq!(
        text("mail", given(row), good("2")),
        "request: column \"page\": found \"mail\": unknown domain; the domains are \"home\", \"partner\", \"search\" \
         (set unknown_domain to \"shared\" to score such rows by the shared path, or add the domain to the encoder and the model)"
    );
    assert_eq!(
        text("home", given(row), good("cheap")),
        "candidates:2: column \"price\": found \"cheap\": expected a number (an empty cell is a missing value)"
    );
    let mut infinite = good("");
    infinite[1].1 = f64::INFINITY.into();
    assert_eq!(
        text("home", given(row), infinite),
        "candidates:2: column \"price\": found \"inf\": expected a finite number (an empty cell is a missing value)"
    );
    assert_eq!(
        text("home", given(row), good("2")[..2].to_vec()),
        "candidates:2: column \"tags\": the row has no value for this column \
         (an empty value is a missing number, or an empty bag)"
    );
    assert_eq!(
        text("home", given(row)[..1].to_vec(), good("2")),
        "given: column \"user\": the row has no value for this column \
         (an empty value is a missing number, or an empty bag)"
    );
    let with = |name: &'static str| [good("2"), vec![(name, RawValue::Text("x"))]].concat();
    assert_eq!(
        text("home", given(row), with("user")),
        "candidates:2: column \"user\": a value that the request gives once, not each candidate"
    );
    assert_eq!(
        text("home", given(row), with("page")),
        "candidates:2: column \"page\": the domain is the request's, not a candidate's"
    );
    assert_eq!(
        text("home", given(row), with("itm")),
        "candidates:2: column \"itm\": the schema has no such column; its columns are \"item\", \"price\", \"tags\" \
         (did you mean \"item\"?)"
    );
    assert_eq!(text("home", given(row), with("tags")), "candidates:2: column \"tags\": the row has this column twice");
    assert_eq!(
        text("home", [given(row), vec![("item", 3.into())]].concat(), good("2")),
        "given: column \"item\": a value that each candidate has, not the request"
    );
    // After all those errors the cache is as good as new.
    let found = predictor.score("home", given(row), [good("")], &mut cache).unwrap();
    assert_close(
        found,
        &world.probabilities(&[Row { item: 3, price: None, tags: String::new(), ..row.clone() }], "home"),
    );
}

#[test]
fn a_score_that_is_not_finite_is_an_error() {
    let mut world = world();
    // So large that their products overflow where the input is not small.
    world.star.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            for value in values {
                *value *= 1e12;
            }
        }
    });
    let predictor = world.predictor(&["user", "age"]);
    let batch = world.encoder.encode(&world.table, &world.table.all()).unwrap();
    let logits = world.star.score(&batch);
    let first = logits.rows().into_iter().position(|row| row.iter().any(|z| !z.is_finite())).expect("some overflow");
    for error in [predictor.predict_batch(&batch), predictor.predict_table(&world.table, &world.table.all())] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NonFinite);
        let text = error.to_string();
        assert!(text.starts_with(&format!("rows:{}: the score of task ", first + 1)), "{text}");
    }
    let mut cache = PredictorCache::default();
    let (given, one) = (batch.slice(first..first + 1), batch.select(&[first as u32; 3]));
    let error = predictor.score_batch(batch.domains[first], &given, &one, &mut cache).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::NonFinite, Some(1)));
    assert!(error.to_string().contains("weights are damaged or too large"), "{error}");
}

#[test]
fn no_number_gives_a_score_that_is_not_finite() {
    let world = world();
    let predictor = world.predictor(&["user", "age"]);
    let mut cache = PredictorCache::default();
    let user = &world.rows[0];
    let mut price = String::new();
    let good = candidate(user, &mut price, false);
    let far: Cells = vec![("age", f64::from(f32::MAX).into()), ("user", user.user.as_str().into())];
    match predictor.score("home", far, [good], &mut cache) {
        Ok(scores) => assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)), "{scores}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NonFinite);
            assert!(error.to_string().contains("its largest input is \"age\""), "{error}");
        }
    }
}

#[test]
fn a_batch_of_another_layout_is_an_error() {
    let world = world();
    let predictor = world.predictor(&["user", "age"]);
    let mut cache = PredictorCache::default();
    let batch = world.encoder.encode(&world.table, &world.table.all()[..5]).unwrap();
    let given = batch.slice(0..1);
    let layout = world.encoder.layout();
    let field = |name: &str| layout.fields.iter().position(|field| field.name == name).unwrap();
    let (user, item, tags) = (field("user"), field("item"), field("tags"));
    let bag = |rows: usize| Ids::Bag { offsets: (0..=rows as u32).collect(), ids: vec![1; rows] };
    let spoilt = |batch: &Batch, field: usize, ids: Ids| {
        let mut batch = batch.clone();
        batch.ids[field] = ids;
        batch
    };
    let home = world.encoder.domain("home").unwrap();
    let mut refused = |given: &Batch, candidates: &Batch, kind: ErrorKind, text: &str| {
        let error = predictor.score_batch(home, given, candidates, &mut cache).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains(text)), (kind, true), "{error}");
    };
    let one_id = "expected one id a row, found a bag of ids a row";
    refused(&given, &spoilt(&batch, item, bag(5)), ErrorKind::Layout, one_id);
    refused(&spoilt(&given, user, bag(1)), &batch, ErrorKind::Layout, one_id);
    let a_bag = "column \"tags\": expected a bag of ids a row, found one id a row";
    refused(&given, &spoilt(&batch, tags, Ids::One(vec![1; 5])), ErrorKind::Layout, a_bag);
    let rows = layout.tables[item].rows as u32;
    refused(&given, &spoilt(&batch, item, Ids::One(vec![rows; 5])), ErrorKind::Data, "expected an id below");
    refused(&given, &spoilt(&batch, item, Ids::One(vec![1; 4])), ErrorKind::Layout, "expected 5 ids");
    refused(&batch, &batch, ErrorKind::Layout, "expected one row for what all candidates share, found 5");
    let fewer = Batch { numeric: batch.numeric.slice(ndarray::s![.., ..1]).to_owned(), ..batch.clone().into_batch() };
    refused(&given, &fewer, ErrorKind::Layout, "\"numeric\"");
    // What is given is not read of candidates, nor what they have of the row that gives.
    let unread = (spoilt(&given, item, bag(1)), spoilt(&batch, user, bag(5)));
    predictor.score_batch(home, &unread.0, &unread.1, &mut cache).unwrap();
    let error = predictor.score_batch(DomainId::new(3), &given, &batch, &mut cache).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownDomain);

    for (field, text) in [(item, one_id), (user, one_id)] {
        let error = predictor.predict_batch(&spoilt(&batch, field, bag(5))).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains(text)), (ErrorKind::Layout, true), "{error}");
    }
    let mut nowhere = batch.clone().into_batch();
    nowhere.domains[3] = DomainId::new(7);
    let error = predictor.predict_batch(&nowhere).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::UnknownDomain, Some(4)));
}

#[test]
#[should_panic(expected = "column \"user\": expected one id a row, found a bag of ids a row")]
fn a_model_does_not_score_a_bag_where_a_field_has_one_id() {
    let world = world();
    let mut batch = world.encoder.encode(&world.table, &world.table.all()[..5]).unwrap().into_batch();
    batch.ids[0] = Ids::Bag { offsets: (0..=5).collect(), ids: vec![1; 5] };
    world.star.score(&batch);
}

#[test]
fn unknown_values_of_a_request_are_counted() {
    let world = world();
    let predictor = world.predictor(&["user"]);
    let mut cache = PredictorCache::default();
    let mut price = String::new();
    let row = Row { user: "nobody".into(), item: 9999, tags: "red|pink||grey".into(), ..world.rows[0].clone() };
    let mut known = candidate(&world.rows[0], &mut price, false);
    known.push(("age", 30.into()));
    let mut other = String::new();
    let mut unknown = candidate(&row, &mut other, false);
    unknown.push(("age", 30.into()));
    predictor.score("home", [("user", "nobody")], [unknown.clone(), known, unknown], &mut cache).unwrap();
    let counts: Vec<_> = predictor.unknown(&cache).collect();
    // Those with a vocabulary: not the hashed shelf, nor what was a number.
    let of_request = [("user", 1), ("scene", 0), ("user_x_page", 1)];
    // All three combinations with a user that is unknown are.
    assert_eq!(counts, [&of_request[..], &[("item", 2), ("tags", 4), ("user_x_item", 3)]].concat());
    predictor.score("nowhere", [("user", "u1")], Vec::<Cells>::new(), &mut cache).unwrap();
    let counts: Vec<_> = predictor.unknown(&cache).collect();
    let of_request = [("user", 0), ("scene", 1), ("user_x_page", 1)];
    assert_eq!(counts, [&of_request[..], &[("item", 0), ("tags", 0), ("user_x_item", 0)]].concat());
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let world = world();
    let builder = || Predictor::builder(world.encoder.clone(), world.star.clone());
    let error = builder().given(["user", "shelf", "user", "agent"]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "given: \"shelf\": the name of a feature, not of a column; it reads column \"item\"; \"user\": given twice; \
         \"agent\": not a column of a feature"
    );
    let mut other = world.star.clone();
    other.add_domain("mail").unwrap();
    let error = Predictor::builder(world.encoder.clone(), other).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);

    let layout = starple::data::Layout { tasks: vec!["click".into()], ..world.encoder.layout().clone() };
    let none = Batch::default();
    let empty = Batch { ids: vec![starple::data::Ids::One(vec![]); 6], ..none };
    let fitted = Calibration::fit(Method::Platt, &Array2::zeros((0, 1)), &empty, &layout);
    assert!(fitted.is_err(), "a batch of another layout");
    let layout = starple::data::Layout { fields: vec![], numeric: vec![], ..layout };
    let batch = Batch { labels: Array2::zeros((0, 1)), ..Batch::default() };
    let calibration = Calibration::fit(Method::Platt, &Array2::zeros((0, 1)), &batch, &layout).unwrap();
    assert_eq!(builder().calibration(calibration).build().unwrap_err().kind(), ErrorKind::Layout);
}

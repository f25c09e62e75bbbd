//! Tables apart from fields: shared tables, tables of their own width, and nets that read values by field.

mod reading;

use std::collections::BTreeMap;
use std::io::Cursor;

use ndarray::{Array1, Array2, ArrayD, Ix1, Ix2, s};
use reading::{DIM, KEPT, Reading, TAGS, layout};
use serde_json::json;
use starple::ErrorKind;
use starple::data::{
    Bag, Batch, Categorical, DataSet, DomainId, Encoder, Format, Ids, Layout, Numeric, Pooling, Schema, Table,
};
use starple::loss::Objective;
use starple::model::{AnyConfig, Model, Mran, MranConfig, NewRows};
use starple::nn::{Leaf, LeafMut};
use starple::optim::{Clock, OptimizerConfig};
use starple::persist::{ModelFile, Saved};
use starple::serve::{Scorer, ScorerCache};
use starple::train::{Step, TrainConfig, Trainer};

const ROWS: usize = 12;

/// Histories of 0 to 5 items, of which three are kept.
fn rows(layout: &Layout) -> Batch {
    let bag = |most: usize, rows: u32| {
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for row in 0..ROWS {
            ids.extend((0..row % (most + 1)).map(|i| (row * 5 + i * 3) as u32 % rows));
            offsets.push(ids.len() as u32);
        }
        Ids::Bag { offsets, ids }
    };
    let one = |rows: u32, step: u32| Ids::One((0..ROWS as u32).map(|row| row * step % rows).collect());
    let batch = Batch {
        ids: vec![one(5, 3), one(7, 2), bag(5, 7), bag(2, 6)],
        numeric: Array2::from_shape_fn((ROWS, 1), |(row, _)| row as f32 / 6.0 - 1.0),
        labels: Array2::from_shape_fn((ROWS, 2), |(row, task)| f32::from(u8::from((row + task) % 3 == 0))),
        domains: (0..ROWS).map(|row| DomainId::new(row % 2)).collect(),
        ..Batch::default()
    };
    batch.check(layout).unwrap();
    batch
}

/// A model away from its start.
fn model() -> Model {
    let mut model = Model::new(Reading { layout: layout() });
    let mut value = 0.0_f32;
    model.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            for v in values {
                value = (value * 7.0 + 0.31) % 1.0;
                *v += value - 0.5;
            }
        }
    });
    model
}

type Values = BTreeMap<String, ArrayD<f64>>;

fn values(model: &Model) -> Values {
    let mut values = Values::new();
    model.visit(|path, leaf| {
        if let Leaf::Tensor(tensor, shape, _) = leaf {
            let tensor = tensor.iter().map(|&v| f64::from(v)).collect();
            values.insert(path.name(model.layout()), ArrayD::from_shape_vec(shape, tensor).unwrap());
        }
    });
    values
}

fn vector(values: &Values, name: &str) -> Array1<f64> {
    values[name].clone().into_dimensionality::<Ix1>().unwrap()
}

fn matrix(values: &Values, name: &str) -> Array2<f64> {
    values[name].clone().into_dimensionality::<Ix2>().unwrap()
}

/// The logits of the net's equations in f64; what a gradient is stopped at is read from `stopped`.
fn logits(values: &Values, stopped: &Values, batch: &Batch) -> Array2<f64> {
    let affine = |x: &Array1<f64>, name: &str| {
        let name = |part: &str| format!("net.{name}.layers.0.{part}");
        x.dot(&matrix(values, &name("weight"))) + vector(values, &name("bias"))
    };
    let mut logits = Array2::zeros((ROWS, 2));
    for row in 0..ROWS {
        let embedded = |values: &Values, field: usize, table: &str| -> Vec<Array1<f64>> {
            let table = matrix(values, &format!("embeddings.{table}"));
            batch.ids[field].row(row).iter().map(|&id| table.row(id as usize).to_owned()).collect()
        };
        let read = |values: &Values| {
            let history = embedded(values, 2, "item");
            let history = history[..history.len().min(KEPT)].to_vec();
            let tags = embedded(values, 3, "tags");
            let count = tags.len().max(1) as f64;
            let tags = tags.iter().fold(Array1::zeros(TAGS), |sum, tag| sum + tag) / count;
            (embedded(values, 0, "user")[0].clone(), embedded(values, 1, "item")[0].clone(), history, tags)
        };
        let (user, item, history, tags) = read(values);
        let q = affine(&item, "query");
        let scores: Vec<f64> = history.iter().map(|v| (q.dot(v) / (DIM as f64).sqrt()).exp()).collect();
        let mut attended = Array1::zeros(DIM);
        for (score, v) in scores.iter().zip(&history) {
            attended = attended + v * (score / scores.iter().sum::<f64>());
        }
        // The whole row, stopped.
        let (old_user, old_item, old_history, old_tags) = read(stopped);
        let mut x = [old_user.to_vec(), old_item.to_vec()].concat();
        x.extend(old_history.iter().flatten());
        x.resize(2 * DIM + KEPT * DIM, 0.0);
        x.push(old_history.len() as f64 / KEPT as f64);
        x.extend(&old_tags);
        x.push(f64::from(batch.numeric[[row, 0]]));
        let gate = affine(&Array1::from(x), "gate").mapv(|g| 2.0 / (1.0 + (-g).exp()));
        let all = [attended.to_vec(), (&user * &item).to_vec(), (gate * tags).to_vec(), old_user.to_vec()].concat();
        let domain = ["home", "search"][batch.domains[row].index().unwrap()];
        let own = |part: &str| format!("net.last.domain.{domain}.{part}");
        let weight = matrix(values, "net.last.shared.weight") * matrix(values, &own("weight"));
        let bias = vector(values, "net.last.shared.bias") + vector(values, &own("bias"));
        logits.row_mut(row).assign(&(Array1::from(all).dot(&weight) + bias));
    }
    logits
}

/// The mean over rows of the sum over tasks, as the default objective has it.
fn loss(values: &Values, stopped: &Values, batch: &Batch) -> f64 {
    let of = |(&z, &y): (&f64, &f32)| (1.0 + z.exp()).ln() - f64::from(y) * z;
    logits(values, stopped, batch).iter().zip(&batch.labels).map(of).sum::<f64>() / ROWS as f64
}

#[test]
fn a_net_that_reads_fields_follows_its_equations_and_their_derivatives() {
    let (model, batch) = (model(), rows(&layout()));
    let values = values(&model);
    let expected = logits(&values, &values, &batch);
    let found = model.forward(&batch, batch.domains());
    assert!(found.iter().zip(&expected).all(|(&found, expected)| (f64::from(found) - expected).abs() < 1e-5));

    let mut step = Step::new(&model, &Objective::default(), 0).unwrap();
    let gradient = step.gradient(&model, &batch, Clock { epoch: 0, step: 0 }).unwrap();
    let mut found: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (table, rows) in model.layout().tables.iter().zip(&gradient.tables) {
        let zeros = vec![0.0; table.dim.unwrap_or(DIM)];
        let dense = (0..table.rows as u32).flat_map(|row| rows.row(row as usize).unwrap_or(&zeros).to_vec());
        found.insert(format!("embeddings.{}", table.name), dense.collect());
    }
    let mut net = model.clone();
    *net.net_mut() = gradient.net.clone();
    net.visit(|path, leaf| {
        let name = path.name(model.layout());
        if let (Leaf::Tensor(values, ..), true) = (leaf, name.starts_with("net.")) {
            found.insert(name, values.to_vec());
        }
    });
    let mut moving = 0;
    for (name, found) in &found {
        for (i, &found) in found.iter().enumerate() {
            let h = 1e-5;
            let moved = |by: f64| {
                let mut moved = values.clone();
                moved.get_mut(name).unwrap().as_slice_mut().unwrap()[i] += by;
                loss(&moved, &values, &batch)
            };
            let expected = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((f64::from(found) - expected).abs() < 1e-5, "{name}[{i}]: {found}, expected {expected}");
            moving += usize::from(expected.abs() > 1e-4);
        }
    }
    assert!(moving > 100, "{moving} values move the loss");
}

#[test]
fn it_is_trained_saved_grown_and_served() {
    let mut model = model();
    let batch = rows(&layout());
    let before = values(&model);
    let settings = TrainConfig::builder().epochs(3).batch_rows(6).optimizer(OptimizerConfig::adam(0.05).unwrap());
    let data = DataSet::new(&layout(), batch.clone()).unwrap();
    Trainer::new(settings.build().unwrap()).fit(&mut model, data, None).unwrap();
    let after = values(&model);
    assert!(loss(&after, &after, &batch) < loss(&before, &before, &batch));

    let scores = model.score(&batch);
    let mut grown = Layout { domains: vec!["home".into(), "search".into(), "feed".into()], ..layout() };
    grown.tables[1].rows += 4;
    model.grow(&grown, NewRows::OutOfVocabulary).unwrap();
    assert_eq!(model.score(&batch), scores);
    let items = &model.embeddings().tables()[1];
    assert_eq!((model.embeddings().tables().len(), items.dim()), (3, (11, DIM)));
    assert_eq!(items.row(10), items.row(0));

    let mut file = Cursor::new(Vec::new());
    ModelFile::new(&model).write_to(&mut file).unwrap();
    let saved = Saved::from_reader_as::<Reading>(Cursor::new(file.into_inner())).unwrap();
    assert_eq!((saved.model.layout(), saved.model.net()), (&grown, model.net()));
    assert_eq!(saved.model.score(&batch), scores);

    for given in [&[][..], &["user", "history"], &["item", "price"], &["user", "item", "history", "tags", "price"]] {
        let scorer = Scorer::new(saved.model.clone(), given).unwrap();
        for domain in (0..3).map(DomainId::new).chain([DomainId::SHARED]) {
            for row in 0..ROWS {
                // A request of one candidate: its context and itself are the same row.
                let one = batch.slice(row..row + 1);
                let expected = model.forward(&one, domain);
                let mut cache = ScorerCache::default();
                let served = scorer.score(&scorer.context(domain, &one), &one, &mut cache);
                let apart = (served - &expected).mapv_into(f32::abs);
                assert!(apart.iter().all(|&apart| apart < 1e-5), "{given:?}, {domain:?}, row {row}: {apart}");
            }
        }
    }
}

/// Two fields that share a table are two tables of equal rows, whose gradients are added up: in every kind of model.
#[test]
fn a_shared_table_is_two_equal_ones_and_has_the_sum_of_their_gradients() {
    let shared = Layout::new(["home", "search"], ["click", "buy"]).field("user", 5).field("item", 7).width("item", 3);
    let apart = shared.clone().bag("seen", 7, Pooling::Sum).width("seen", 3).numeric(["price"]);
    let shared = shared.field_of("seen", "item", Some(Pooling::Sum)).numeric(["price"]);
    let mut batch = rows(&layout());
    batch.ids.truncate(3);
    for &kind in AnyConfig::KINDS.iter().filter(|&&kind| kind != "mran") {
        let mut settings = json!({ "kind": kind, "embedding_dim": 5, "embedding_std": 0.5 });
        if kind == "pepnet" {
            settings["priors"] = json!(["seen"]);
        }
        let [one, mut two] =
            [&shared, &apart].map(|layout| Model::new(AnyConfig::from_settings(settings.clone(), layout, 3).unwrap()));
        let (of_one, of_two) = (one.embeddings().tables(), two.embeddings_mut().tables_mut());
        assert_eq!(of_one.len() * 3, of_two.len() * 2, "{kind}");
        for (one, two) in of_one.chunks(2).zip(of_two.chunks_mut(3)) {
            two.clone_from_slice(&[one[0].clone(), one[1].clone(), one[1].clone()]);
        }
        assert_eq!(one.forward(&batch, batch.domains()), two.forward(&batch, batch.domains()), "{kind}");
        let [one, two] = [&one, &two].map(|model| {
            let mut step = Step::new(model, &Objective::default(), 0).unwrap();
            step.gradient(model, &batch, Clock { epoch: 0, step: 0 }).unwrap().tables.clone()
        });
        for (one, two) in one.chunks(2).zip(two.chunks(3)) {
            for row in 0..7 {
                let of =
                    |grad: &starple::nn::RowGrad| grad.row(row).map_or(Array1::zeros(3), |d| Array1::from(d.to_vec()));
                let apart = of(&one[1]) - (of(&two[1]) + of(&two[2]));
                assert!(apart.iter().all(|d| d.abs() < 1e-7), "{kind}, row {row}: {apart}");
            }
        }
    }
}

#[test]
fn a_layout_is_read_as_it_is_written() {
    let own = r#"{"fields":[{"name":"user","rows":9,"bag":null},{"name":"tags","rows":4,"dim":2,"bag":{"keep":3}}],"numeric":[],"domains":["all"],"tasks":["click"]}"#;
    let layout = Layout::new(["all"], ["click"]).field("user", 9).bag("tags", 4, Pooling::Keep(3)).width("tags", 2);
    assert_eq!(serde_json::from_str::<Layout>(own).unwrap(), layout);
    assert_eq!(serde_json::to_string(&layout).unwrap(), own);
    let shared = reading::layout();
    let written = serde_json::to_value(&shared).unwrap();
    assert_eq!(written["fields"][2], json!({ "name": "history", "table": "item", "bag": { "keep": 3 } }));
    assert_eq!(serde_json::from_value::<Layout>(written).unwrap(), shared);
    for field in [r#"{"name":"user","bag":null}"#, r#"{"name":"user","rows":9,"table":"user","bag":null}"#] {
        let text = format!(r#"{{"fields":[{field}],"numeric":[],"domains":["all"],"tasks":["click"]}}"#);
        let error = serde_json::from_str::<Layout>(&text).unwrap_err().to_string();
        assert!(error.contains("either the rows of its table or the table's name"), "{error}");
    }
    let text = own.replace(r#""rows":9,"#, r#""table":"items","#);
    let error = serde_json::from_str::<Layout>(&text).unwrap_err().to_string();
    assert!(error.contains("layout.fields.user: unknown table \"items\"; the tables are \"tags\""), "{error}");
}

#[test]
fn invalid_tables_are_all_named() {
    let layout = Layout::new(["all"], ["click"])
        .field("user", 9)
        .width("user", 0)
        .table("unread", 3)
        .field_of("item", "items", None)
        .bag("seen", 4, Pooling::Keep(0));
    let error = starple::StarConfig::builder(&layout).build().unwrap_err().to_string();
    for wrong in [
        "layout.tables.user: 1 <= dim <= 65536, found 0",
        "layout.tables.unread: no field reads it",
        "layout.fields.item: unknown table \"items\"; the tables are \"user\", \"unread\", \"seen\"",
        "layout.fields.seen: 1 <= keep <= 4096, found 0",
    ] {
        assert!(error.contains(wrong), "{error}");
    }
    let kept =
        (0..20).fold(Layout::new(["all"], ["click"]), |layout, i| layout.bag(format!("b{i}"), 9, Pooling::Keep(4096)));
    let error = starple::StarConfig::builder(&kept).embedding_dim(65_536).build().unwrap_err().to_string();
    assert!(error.contains("an embedded row has at most 2147483648 values, found 5368709140"), "{error}");
    let narrow = Layout::new(["all"], ["click"]).field("user", 9).width("user", 3);
    let error = MranConfig::builder(&narrow).build().unwrap_err();
    assert!(error.to_string().contains("one token of embedding_dim = 16 values for each field"), "{error}");
    Mran::new(MranConfig::builder(&narrow).embedding_dim(3).build().unwrap());
}

const LOG: &str = "user,item,history,page,click\n\
    ann,lamp,sofa|lamp,home,1\n\
    bob,vase,lamp|rug|sofa,search,0\n\
    ann,sofa,,home,0\n";

fn read(log: &str, schema: &Schema) -> Table {
    Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn schema() -> Schema {
    Schema::builder()
        .categorical("user")
        .feature(Categorical::new("item").dim(8))
        .feature(Bag::new("history", "|").table("item").dim(8).pooling(Pooling::Keep(2)))
        .domain("page")
        .label("click")
        .build()
        .unwrap()
}

#[test]
fn features_of_one_table_have_one_vocabulary_that_grows() {
    let schema = schema();
    let mut encoder = Encoder::fit(&schema, &read(LOG, &schema), &[0, 1, 2]).unwrap();
    let layout = encoder.layout().clone();
    // lamp, vase, sofa from the items, rug from the histories; row 0 is for all others.
    assert_eq!(
        layout.tables.iter().map(|t| (&*t.name, t.rows, t.dim)).collect::<Vec<_>>(),
        [("user", 3, None), ("item", 5, Some(8))]
    );
    let table = read(LOG, &schema);
    let encoded = encoder.encode(&table, &table.all()).unwrap();
    assert_eq!(encoded.ids[1], Ids::One(vec![1, 2, 3]));
    assert_eq!(encoded.ids[2], Ids::Bag { offsets: vec![0, 2, 5, 5], ids: vec![3, 1, 1, 4, 3] });
    let unknown = encoder.encode_rows([[("user", "x"), ("item", "rug"), ("history", "desk|lamp"), ("page", "home")]]);
    assert_eq!(unknown.unwrap().ids[1..], [Ids::One(vec![4]), Ids::Bag { offsets: vec![0, 2], ids: vec![0, 1] }]);

    let again: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
    assert_eq!(again, encoder);
    let mut broken = serde_json::to_value(&encoder).unwrap();
    broken["fitted"][2] = json!({ "shared": 0 });
    assert!(serde_json::from_value::<Encoder>(broken).unwrap_err().to_string().contains("history"));

    let tuesday = "user,item,history,page,click\nann,desk,bed,home,1\n";
    let growth = encoder.extend(&read(tuesday, &schema), &[0]).unwrap();
    assert_eq!(growth.to_string(), "item: 2 new values");
    assert_eq!(encoder.layout().tables[1].rows, 7);
    assert_eq!(encoder.encode(&table, &table.all()).unwrap().ids, encoded.ids);
    let mut model = starple::Pooled::new(starple::PooledConfig::builder(&layout).build().unwrap());
    model.grow(encoder.layout(), NewRows::OutOfVocabulary).unwrap();
    assert_eq!(model.embeddings().tables()[1].dim(), (7, 8));
    // user, item, two of the history and how many there are.
    assert_eq!(model.embeddings().width(), 16 + 8 + 2 * 8 + 1);
    assert_eq!(model.embeddings().tables()[1].slice(s![5.., ..]).nrows(), 2);
}

#[test]
fn a_value_is_frequent_if_all_features_of_its_table_have_it_often_enough() {
    let schema = Schema::builder()
        .feature(Categorical::new("item").min_count(2))
        .feature(Bag::new("history", "|").table("item").min_count(2))
        .domain("page")
        .label("click")
        .build()
        .unwrap();
    let encoder = Encoder::fit(&schema, &read(LOG, &schema), &[0, 1, 2]).unwrap();
    // lamp: once an item, twice in histories; sofa: once and twice; vase and rug: once.
    assert_eq!(encoder.layout().tables[0].rows, 3);
}

#[test]
fn features_that_cannot_share_a_table_are_refused() {
    let error = Schema::builder()
        .feature(Categorical::new("item").hashed(10))
        .feature(Bag::new("history", "|").table("item").dim(4))
        .feature(Numeric::new("price").buckets(5))
        .feature(Categorical::new("cost").table("price"))
        .feature(Numeric::new("age").standard().dim(3))
        .feature(Bag::new("tags", "|").pooling(Pooling::Keep(5000)))
        .label("click")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for wrong in [
        "table \"item\": \"item\" and \"history\" need the same coding",
        "table \"item\": \"item\" and \"history\" need the same dim",
        "table \"price\": \"price\" and \"cost\" need the same coding, and numbers a table of their own",
        "feature \"age\": dim is for embedded features",
        "feature \"tags\": 1 <= keep <= 4096, found 5000",
    ] {
        assert!(error.to_string().contains(wrong), "{error}");
    }
}

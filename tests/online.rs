//! Checks training on a new log: an encoder learns new values and domains, a model grows, frozen parts stay.

use std::collections::{BTreeMap, HashSet};

use starple::data::{Bag, Categorical, DataSet, Encoder, Format, Ids, Layout, Numeric, Pooling, Schema, Table};
use starple::loss::{GradNormConfig, Objective, Weighting};
use starple::model::{Branches, NewRows};
use starple::nn::Leaf;
use starple::optim::{Clip, OptimizerConfig};
use starple::train::{TrainConfig, TrainConfigBuilder, Trainer};
use starple::{AnyConfig, ErrorKind, Model, Ple, PleConfig, Star, StarConfig};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

fn schema() -> Schema {
    Schema::builder()
        .feature(Categorical::new("user").min_count(2))
        .categorical("item")
        .feature(Categorical::new("query").hashed(7))
        .feature(Categorical::new("hour").ids(24))
        .feature(Numeric::new("age").standard())
        .feature(Numeric::new("price").buckets(3))
        .feature(Bag::new("tags", "|").min_count(2))
        .domain("page")
        .label("click")
        .build()
        .unwrap()
}

fn read(rows: &str) -> Table {
    let text = format!("user,item,query,hour,age,price,tags,page,click\n{rows}");
    Table::from_reader(text.as_bytes(), Format::Csv, "log.csv", &schema()).unwrap()
}

const MONDAY: &str = "\
ann,lamp,q1,0,30,5,red|blue,home,1
bob,sofa,q2,1,40,9,red,home,0
ann,lamp,q1,2,,20,blue|old,10,0
eve,vase,q3,3,20,7,,home,1
";

/// `bob` and `dan` occur twice, `eve` and `cat` once.
const TUESDAY: &str = "\
dan,desk,q9,4,900,900,new|red,10,1
bob,lamp,q1,5,30,5,new|old,9,0
dan,sofa,q2,6,31,,old|rare,2,0
bob,oven,q7,7,,1,red,app,1
eve,oven,q7,23,33,3,,home,1
cat,lamp,q1,0,30,5,red|blue,home,0
";

fn one(ids: &Ids) -> Vec<u32> {
    (0..6).flat_map(|row| ids.row(row).to_vec()).collect()
}

#[test]
fn an_encoder_gives_new_values_the_next_ids() {
    let (monday, tuesday) = (read(MONDAY), read(TUESDAY));
    let fitted = Encoder::fit(&schema(), &monday, &monday.all()).unwrap();
    let mut encoder = fitted.clone();
    let growth = encoder.extend(&tuesday, &tuesday.all()).unwrap();
    // By hand: users ann 1 | bob 2, dan 3, in order of first appearance of those that occur twice on Tuesday; items lamp, sofa, vase |
    // desk, oven; tags red, blue | new, old; pages 10, home (not all are numbers) | by name.
    assert_eq!(growth.values, [("user".into(), 2), ("item".into(), 2), ("tags".into(), 2)]);
    assert_eq!(growth.domains, ["2", "9", "app"]);
    assert_eq!(
        growth.to_string(),
        r#"user: 2 new values; item: 2 new values; tags: 2 new values; new domains: "2", "9", "app""#
    );
    assert_eq!(encoder.layout().domains, ["10", "home", "2", "9", "app"]);
    let batch = encoder.encode(&tuesday, &tuesday.all()).unwrap();
    assert_eq!(one(&batch.ids[0]), [2, 3, 2, 3, 0, 0]);
    assert_eq!(one(&batch.ids[1]), [4, 1, 2, 5, 5, 1]);
    let tags: Vec<&[u32]> = (0..6).map(|row| batch.ids[5].row(row)).collect();
    assert_eq!(tags, [&[3, 1][..], &[3, 4], &[4, 0], &[1], &[], &[1, 2]]);
    let domains: Vec<usize> = batch.domains.iter().map(|domain| domain.index().unwrap()).collect();
    assert_eq!(domains, [0, 3, 2, 4, 1, 1]);

    // Fields with other codings, numbers, and rows with only known values do not change.
    let rows = |encoder: &Encoder| encoder.layout().tables.iter().map(|table| table.rows).collect::<Vec<_>>();
    assert_eq!(rows(&fitted), [2, 4, 7, 24, 4, 3]);
    assert_eq!(rows(&encoder), [4, 6, 7, 24, 4, 5]);
    assert_eq!(encoder.layout().numeric, fitted.layout().numeric);
    let known = [0];
    let of_known = |encoder: &Encoder| encoder.encode(&monday, &known).unwrap().into_batch();
    assert_eq!(of_known(&encoder), of_known(&fitted));
    let (old, new) = (fitted.encode(&monday, &monday.all()).unwrap(), encoder.encode(&monday, &monday.all()).unwrap());
    assert_eq!((&old.ids[1..5], &old.numeric, &old.domains), (&new.ids[1..5], &new.numeric, &new.domains));

    let again: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
    assert_eq!(again, encoder);
    assert_eq!(again.layout(), encoder.layout());

    // The second time everything is known. An empty list of rows has nothing new.
    for rows in [tuesday.all(), Vec::new()] {
        let growth = encoder.extend(&tuesday, &rows).unwrap();
        assert!(growth.is_empty() && growth.to_string() == "nothing new");
        assert_eq!(again, encoder);
    }
    // Only the given rows are read: in these, only `bob` occurs twice.
    let mut partly = fitted.clone();
    partly.extend(&tuesday, &[1, 3]).unwrap();
    assert_eq!(rows(&partly), [3, 5, 7, 24, 4, 3]);
    assert_eq!(partly.layout().domains, ["10", "home", "9", "app"]);
}

#[test]
fn an_encoder_does_not_change_if_extending_fails() {
    let monday = read(MONDAY);
    let fitted = Encoder::fit(&schema(), &monday, &monday.all()).unwrap();
    let mut encoder = fitted.clone();
    let nameless = read("zoe,rug,q1,0,30,5,,,1\nzoe,rug,q1,0,30,5,,home,1\n");
    let error = encoder.extend(&nameless, &nameless.all()).unwrap_err();
    assert_eq!((error.kind(), error.line(), error.column()), (ErrorKind::Data, Some(2), Some("page")));
    let other = Schema::builder().categorical("user").domain("page").label("click").build().unwrap();
    let other = Table::from_reader("user,page,click\nzoe,home,1\n".as_bytes(), Format::Csv, "o.csv", &other).unwrap();
    assert_eq!(encoder.extend(&other, &other.all()).unwrap_err().kind(), ErrorKind::Layout);
    assert_eq!((&encoder, encoder.layout()), (&fitted, fitted.layout()));
}

fn layout() -> Layout {
    Layout::new(["home", "search"], ["click"]).field("user", 5).bag("tags", 4, Pooling::Mean).numeric(["age"])
}

/// The bits of every tensor, by name.
fn values(model: &Model) -> BTreeMap<String, Vec<u32>> {
    let mut values = BTreeMap::new();
    model.visit(|path, leaf| {
        let bits = match leaf {
            Leaf::Tensor(v, ..) | Leaf::Average(v, _) => v.iter().map(|v| v.to_bits()).collect(),
            Leaf::Count(&count) => vec![count as u32],
        };
        values.insert(path.name(model.layout()), bits);
    });
    values
}

#[test]
fn a_layout_that_is_no_extension_is_refused_with_all_that_is_wrong() {
    let mut star = Star::new(StarConfig::builder(&layout()).hidden([4]).build().unwrap());
    let before = values(&star);
    let mut refused = |change: &dyn Fn(&mut Layout), parts: &[&str]| {
        let mut wrong = layout();
        wrong.tables[0].rows += 3;
        change(&mut wrong);
        let error = star.grow(&wrong, NewRows::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout);
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!((values(&star), star.layout()), (before.clone(), &layout()));
    };
    refused(
        &|l| {
            l.tables[0].rows = 4;
            l.fields[1].bag = Some(Pooling::Sum);
            l.numeric.clear();
            l.domains = vec!["search".into(), "home".into()];
            l.tasks.push("buy".into());
        },
        &[
            r#"table "user": expected 5 rows or more, found 4"#,
            r#"field "tags": expected bags of ids (Mean), found bags of ids (Sum)"#,
            r#"numeric: expected ["age"], found []"#,
            r#"domains: expected ["home", "search"] and others after them, found ["search", "home"]"#,
            r#"tasks: expected ["click"], found ["click", "buy"]"#,
        ],
    );
    refused(&|l| l.fields.swap(0, 1), &[r#"fields: expected ["user", "tags"], found ["tags", "user"]"#]);
    refused(&|l| l.fields[1].bag = None, &["found one id a row"]);
    refused(&|l| l.domains.truncate(1), &[r#"found ["home"]"#]);
    for name in ["", "home", "(shared)"] {
        refused(&|l| l.domains.push(name.into()), &[&format!("found {name:?} as number 2")]);
    }
    star.grow(&layout(), NewRows::default()).unwrap();
    assert_eq!(values(&star), before);
}

#[test]
fn drawn_rows_have_the_deviation_of_the_start() {
    let config = StarConfig::builder(&layout()).embedding_dim(8).embedding_std(0.5).build().unwrap();
    let mut star = Star::new(config);
    let mut grown = layout();
    grown.tables[0].rows += 4000;
    star.grow(&grown, NewRows::Drawn).unwrap();
    let new = star.embeddings().tables()[0].slice(ndarray::s![5.., ..]).mapv(f64::from);
    // For 32,000 draws, the mean is accurate to 0.0028 and the deviation to 0.002.
    assert!(new.mean().unwrap().abs() < 0.015 && (new.std(1.0) - 0.5).abs() < 0.01, "{}", new.std(1.0));
    star.grow(&grown, NewRows::OutOfVocabulary).unwrap();
    grown.tables[1].rows += 2;
    star.grow(&grown, NewRows::OutOfVocabulary).unwrap();
    let tags = &star.embeddings().tables()[1];
    assert!(tags.row(4) == tags.row(0) && tags.row(5) == tags.row(0) && tags.row(3) != tags.row(0));
}

/// A layout without its last domain, the layout with it, rows of the old domains, and rows of the new one.
fn days() -> (Layout, Layout, DataSet, DataSet) {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let (grown, rows) = (log.layout(), log.data_set());
    let mut layout = grown.clone();
    let new = layout.domains.len() - 1;
    layout.domains.pop();
    let of = |is_new: bool, count: usize| {
        let numbers = 0..rows.rows() as u32;
        let mine = numbers.filter(|&row| (rows.domains[row as usize].index() == Some(new)) == is_new);
        rows.select(&mine.take(count).collect::<Vec<_>>())
    };
    let yesterday = DataSet::new(&layout, of(false, 3000).into_batch()).unwrap();
    (layout, grown, yesterday, of(true, 120))
}

fn settings() -> TrainConfigBuilder {
    TrainConfig::builder().epochs(2).batch_rows(64).optimizer(OptimizerConfig::adamw(0.01).unwrap())
}

/// A model of the first day, grown for the second day.
fn next_day(config: impl Into<AnyConfig>, grown: &Layout, yesterday: &DataSet) -> Model {
    let mut model = Model::new(config);
    Trainer::new(settings().build().unwrap()).fit(&mut model, yesterday.clone(), None).unwrap();
    let before = model.score(yesterday);
    model.grow(grown, NewRows::default()).unwrap();
    assert_eq!(model.score(yesterday), before);
    model
}

/// Trains only on rows of the last domain. Parameters of other domains, except those that `read_by_others` accepts, and table rows that were not
/// read must not change. Returns the model and the names of the tensors that changed.
fn train_on_new(
    mut model: Model,
    today: &DataSet,
    freeze: &[&str],
    read_by_others: impl Fn(&str) -> bool,
) -> (Model, Vec<String>) {
    let layout = model.layout().clone();
    let before = values(&model);
    let tables = model.embeddings().tables().to_vec();
    let settings = settings().freeze(freeze.iter().copied()).build().unwrap();
    Trainer::new(settings).fit(&mut model, today.clone(), None).unwrap();
    let after = values(&model);
    let old = &layout.domains[..layout.domains.len() - 1];
    let owned_by = |name: &str, domain: &String| name.split('.').any(|part| part == domain);
    for (name, value) in &before {
        let others = old.iter().any(|domain| owned_by(name, domain));
        assert!(!others || read_by_others(name) || value == &after[name], "{name} moved");
    }
    for (field, (ids, (old, new))) in today.ids.iter().zip(tables.iter().zip(model.embeddings().tables())).enumerate() {
        let read: HashSet<u32> = (0..today.rows()).flat_map(|row| ids.row(row).to_vec()).collect();
        assert!(read.len() < old.nrows() || old.nrows() < 30, "field {field}: the log should leave rows unread");
        for row in (0..old.nrows()).filter(|row| !read.contains(&(*row as u32))) {
            assert_eq!(old.row(row), new.row(row), "field {field}, row {row}");
        }
    }
    let moved = before.into_iter().filter(|(name, value)| value != &after[name]).map(|(name, _)| name).collect();
    (model, moved)
}

#[test]
fn training_a_new_domain_keeps_parameters_of_others_and_with_freezing_their_scores() {
    let (layout, grown, yesterday, today) = days();
    let new = grown.domains.last().unwrap();
    let own = |name: &String| name.split('.').any(|part| part == new);

    let config = StarConfig::builder(&layout).embedding_dim(4).hidden([8]).auxiliary_hidden([4]).build().unwrap();
    let star = next_day(config, &grown, &yesterday);
    let (_, moved) = train_on_new(star.clone(), &today, &[], |_| false);
    for shared in ["embeddings.user", "net.layers.0.shared.weight", "net.auxiliary.mlp.layers.0.weight"] {
        assert!(moved.iter().any(|name| name == shared), "{shared} did not move");
    }
    let freeze = ["embeddings", "net.norm.gamma", "net.norm.beta", "net.layers.*.shared", "net.auxiliary.mlp"];
    let scores = star.score(&yesterday);
    let (star, moved) = train_on_new(star, &today, &freeze, |_| false);
    assert!(!moved.is_empty() && moved.iter().all(own), "{moved:?}");
    assert_eq!(star.score(&yesterday), scores);

    // One level: no branch reads the parts of another. Two levels: the shared gate of the first level reads the experts of all branches.
    for levels in [1, 2] {
        let config = PleConfig::builder(&layout).embedding_dim(4).levels(levels).branches(Branches::Domains);
        let config = config.expert_hidden([8]).tower_hidden([4]).build().unwrap();
        let ple = next_day(config, &grown, &yesterday);
        let read = |name: &str| levels == 2 && name.starts_with("net.levels.0.own");
        let (_, moved) = train_on_new(ple.clone(), &today, &[], read);
        assert!(moved.iter().any(|name| name.starts_with("net.levels.0.shared")), "{moved:?}");
        assert_eq!(levels == 2, moved.iter().any(|name| name.starts_with("net.levels.0.own") && !own(name)));
        let mut freeze = vec!["embeddings".to_owned(), "net.levels.*.shared".into()];
        if levels == 2 {
            freeze.push("net.levels.0.shared_gate".into());
            freeze.extend(layout.domains.iter().map(|old| format!("net.levels.0.own.{old}")));
        }
        let freeze: Vec<&str> = freeze.iter().map(String::as_str).collect();
        let scores = ple.score(&yesterday);
        let (ple, moved) = train_on_new(ple, &today, &freeze, |_| false);
        assert!(!moved.is_empty() && moved.iter().all(own), "{moved:?}");
        assert_eq!(ple.score(&yesterday), scores);
    }
}

#[test]
fn a_name_without_a_tensor_is_refused_before_a_step() {
    let (layout, _, yesterday, _) = days();
    let config = StarConfig::builder(&layout).embedding_dim(4).hidden([8]).auxiliary_hidden([4]).build().unwrap();
    let mut star = Star::new(config);
    let before = values(&star);
    let mut refused = |settings: TrainConfigBuilder, parts: &[&str]| {
        let error = Trainer::new(settings.build().unwrap()).fit(&mut star, yesterday.clone(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is not in {error}");
        }
        assert_eq!(values(&star), before);
    };
    refused(
        settings().freeze(["embeddings", "net.layrs.0", "net.layers.7", "embedding"]),
        &[
            r#"starts with "net.layrs.0"; after "net" comes "norm", "layers", "auxiliary" (did you mean "net.layers"?)"#,
            r#"starts with "net.layers.7"; after "net.layers" comes "0", "1""#,
            r#"starts with "embedding"; names start with "embeddings", "net" (did you mean "embeddings"?)"#,
        ],
    );
    refused(settings().freeze([""]), &[r#"starts with """#]);
    refused(settings().freeze(["embeddings", "net"]), &["expected at least one tensor to train"]);
    let gradnorm = Objective::builder()
        .weighting(Weighting::GradNorm(GradNormConfig::builder().lr(0.1).build().unwrap()))
        .build()
        .unwrap();
    let shared = ["net.norm.gamma", "net.norm.beta", "net.layers.*.shared", "net.auxiliary.mlp"];
    refused(settings().objective(gradnorm).freeze(shared), &["gradnorm needs a dense tensor"]);
}

#[test]
fn a_file_freezes_as_code_does_and_clipping_ignores_frozen_tensors() {
    let text = r#"freeze = ["embeddings.user", "net.layers.*.shared"]"#;
    let config: TrainConfig = toml::from_str(text).unwrap();
    assert_eq!(config, TrainConfig::builder().freeze(["embeddings.user", "net.layers.*.shared"]).build().unwrap());
    assert_eq!(toml::from_str::<TrainConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);

    // One step of SGD, clipped to a norm far below that of the gradient, has the length lr · norm, with any frozen tensors.
    let (layout, _, yesterday, _) = days();
    for freeze in [&[][..], &["embeddings"], &["net"], &["net.layers.*.shared", "embeddings"]] {
        let mut ple = Ple::new(PleConfig::builder(&layout).embedding_dim(4).seed(3).build().unwrap());
        if freeze.len() == 2 {
            let mut star = Star::new(StarConfig::builder(&layout).embedding_dim(4).build().unwrap());
            assert!((moved(&mut star, &yesterday, freeze) - 1e-3).abs() < 2e-5);
            continue;
        }
        assert!((moved(&mut ple, &yesterday, freeze) - 1e-3).abs() < 2e-5, "{freeze:?}");
    }
}

/// The length of one clipped step.
fn moved(model: &mut Model, rows: &DataSet, freeze: &[&str]) -> f64 {
    let learned = |model: &Model| {
        let mut learned = Vec::new();
        model.visit(|_, leaf| {
            if let Leaf::Tensor(values, ..) = leaf {
                learned.extend(values.iter().map(|&v| f64::from(v)));
            }
        });
        learned
    };
    let settings = settings().epochs(1).batch_rows(rows.rows()).clip(Clip::norm(1e-5).unwrap());
    let settings = settings.optimizer(OptimizerConfig::sgd(100.0).unwrap()).freeze(freeze.iter().copied());
    let before = learned(model);
    Trainer::new(settings.build().unwrap()).fit(model, rows.clone(), None).unwrap();
    learned(model).iter().zip(before).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

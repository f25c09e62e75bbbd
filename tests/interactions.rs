//! Checks what stands in front of a net: identities, settings, and logs whose truth is a product.

use std::fmt::Write as _;

use ndarray::Array2;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use starple::data::{Batch, DomainId, Encoder, Format, Layout, Schema, StatisticsFeatures, Table, TargetStatistics};
use starple::metrics::auc;
use starple::model::{AnyConfig, InteractionsConfig, Model};
use starple::nn::{CrossLayer, StarLinear};
use starple::optim::OptimizerConfig;
use starple::train::{TrainConfig, Trainer};
use starple::{ErrorKind, Pooled, PooledConfig};

/// Two fields of the common width, one of another width, and a number.
fn layout() -> Layout {
    Layout::new(["home", "search"], ["click", "buy"])
        .field("user", 6)
        .field("item", 7)
        .field("slot", 5)
        .width("slot", 2)
        .numeric(["price"])
}

fn rows(layout: &Layout) -> Batch {
    let count = 12;
    let ids = |most: usize| (0..count).map(|i| (i * 7 % most) as u32).collect::<Vec<_>>();
    let batch = Batch::builder(layout, count).domains((0..count).map(|i| DomainId::new(i % 2)).collect());
    let batch = batch.ids("user", ids(6)).ids("item", ids(5)).ids("slot", ids(4));
    batch.numeric("price", (0..count).map(|i| i as f32 / 3.0 - 2.0).collect()).build().unwrap()
}

fn model(kind: &str, interactions: &Value) -> Model {
    let settings = json!({ "kind": kind, "embedding_dim": 4, "embedding_std": 0.5, "interactions": interactions });
    Model::new(AnyConfig::from_settings(settings, &layout(), 3).unwrap())
}

/// The products of all pairs of fields of the common width, from the tables.
fn pairs(model: &Model, batch: &Batch) -> Vec<f32> {
    let tables = model.embeddings().tables();
    let product = |row| {
        let [user, item] = [0, 1].map(|f: usize| tables[f].row(batch.ids[f].row(row)[0] as usize));
        user.dot(&item)
    };
    (0..batch.rows()).map(product).collect()
}

#[test]
fn untrained_cross_layers_change_nothing() {
    let batch = rows(&layout());
    // In MRAN all fields need one width.
    for kind in AnyConfig::KINDS.iter().filter(|&&kind| kind != "mran") {
        let plain = model(kind, &json!({}));
        for crossed in [
            json!({ "cross_layers": 2 }),
            json!({ "cross_layers": 3, "cross_rank": 2 }),
            json!({ "cross_layers": 1, "cross_structure": "parallel" }),
        ] {
            let crossed = model(kind, &crossed);
            assert_eq!(crossed.score(&batch), plain.score(&batch), "{kind}");
            assert!(crossed.parameters() > plain.parameters(), "{kind}");
        }
    }
}

#[test]
fn an_untrained_factorization_machine_adds_the_sum_of_all_pairs() {
    let batch = rows(&layout());
    for kind in ["star", "pooled", "ple", "pepnet"] {
        let (plain, fm) = (model(kind, &json!({})), model(kind, &json!({ "fm": true })));
        let pairs = pairs(&fm, &batch);
        for domain in [DomainId::new(0), DomainId::new(1), DomainId::SHARED] {
            let added = fm.forward(&batch, domain) - plain.forward(&batch, domain);
            for (added, &pairs) in added.rows().into_iter().zip(&pairs) {
                assert!(added.iter().all(|added| (added - pairs).abs() < 1e-5), "{kind}: {added}, {pairs}");
            }
        }
    }
}

#[test]
fn a_domain_and_a_task_have_a_weight_and_a_bias() {
    let batch = rows(&layout());
    let (before, mut fm) = (model("star", &json!({ "fm": true })), model("star", &json!({ "fm": true })));
    let head = fm.net_mut().get_mut::<StarLinear>(("interactions", "fm")).unwrap();
    let starple::nn::DomainLinear::Add(own) = head.domain.member_mut(1) else { panic!("it adds") };
    own.weight[[0, 1]] = 0.75;
    own.bias[1] = -2.0;
    let (before, after, pairs) = (before.score(&batch), fm.score(&batch), pairs(&fm, &batch));
    let wanted = |row: usize, task: usize| {
        before[[row, task]] + if row % 2 == 1 && task == 1 { 0.75 * pairs[row] - 2.0 } else { 0.0 }
    };
    assert!(after.indexed_iter().all(|((row, task), z)| (z - wanted(row, task)).abs() < 1e-5));
}

#[test]
fn a_stacked_layer_feeds_the_net_and_a_parallel_one_the_logits() {
    let batch = rows(&layout());
    for (structure, moved) in [("stacked", true), ("parallel", false)] {
        let mut crossed = model("pooled", &json!({ "cross_layers": 1, "cross_structure": structure }));
        let before = crossed.score(&batch);
        let CrossLayer::Full(layer) = crossed.net_mut().get_mut(("interactions", "cross", 0)).unwrap() else {
            panic!("a full matrix")
        };
        layer.weight.fill(0.3);
        // In parallel, the map to the logits is still 0.
        assert_eq!(crossed.score(&batch) != before, moved);
    }
}

#[test]
fn settings_without_effect_are_refused() {
    let of = |interactions: Value, layout: &Layout| {
        let settings = json!({ "kind": "pooled", "embedding_dim": 4, "interactions": interactions });
        AnyConfig::from_settings(settings, layout, 1).map_err(|error| (error.kind(), error.to_string()))
    };
    for (interactions, text) in [
        (json!({ "cross_rank": 3 }), "cross_rank: has no effect without cross_layers"),
        (json!({ "cross_structure": "parallel" }), "cross_structure: has no effect without cross_layers"),
        (json!({ "cross_layers": 1, "cross_rank": 0 }), "cross_rank: at least 1, found 0"),
        (json!({ "cross_layers": 257 }), "cross_layers: at most 256, found 257"),
        (json!({ "cross_layers": 1, "cross_rank": 65537 }), "cross_rank: at most 65536"),
        (json!({ "cross": 2 }), "unknown field `cross`"),
        (json!({ "cross_layers": 1, "cross_structure": "both" }), "unknown variant `both`"),
    ] {
        let (kind, found) = of(interactions, &layout()).unwrap_err();
        assert!(kind == ErrorKind::Config && found.contains(text), "{found}");
    }
    let one = Layout::new(["home"], ["click"]).field("user", 6).field("slot", 5).width("slot", 2);
    let (_, found) = of(json!({ "fm": true }), &one).unwrap_err();
    assert!(found.contains("interactions.fm: at least two fields with one vector of width embedding_dim = 4, found 1"));
    let config = of(json!({ "fm": true, "cross_layers": 2, "cross_rank": 3 }), &layout()).unwrap();
    let read: AnyConfig = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(read, config);
    assert_eq!(read.get::<PooledConfig>().unwrap().interactions().cross_rank(), Some(3));
    // A layer does not have a rank above its width, 4 + 4 + 2 + 1.
    let wide = model("pooled", &json!({ "cross_layers": 1, "cross_rank": 60000 }));
    let CrossLayer::LowRank(layer) = wide.net().get(("interactions", "cross", 0)).unwrap() else { panic!("low rank") };
    assert_eq!(layer.u.dim(), (11, 11));
}

const USERS: usize = 16;
const ITEMS: usize = 16;

/// Clicks on which neither the user nor the item has any influence alone: a random half of all pairs is clicked often, in each row and
/// column of the table of pairs.
fn log(rows: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    // Tastes and themes of ±1: a pair is good where the products agree more often than not.
    let mut signs = |count: usize| (0..count).map(|i| [i % 2 == 0, rng.random()]).collect::<Vec<[bool; 2]>>();
    let (tastes, themes) = (signs(USERS), signs(ITEMS));
    let mut text = "user,item,page,click,split\n".to_owned();
    for _ in 0..rows {
        let (user, item) = (rng.random_range(0..USERS), rng.random_range(0..ITEMS));
        let good = tastes[user][0] == themes[item][0];
        let shift = if tastes[user][1] == themes[item][1] { 0.05 } else { -0.05 };
        let click = rng.random::<f64>() < if good { 0.85 } else { 0.15 } + shift;
        let page = if rng.random() { "home" } else { "feed" };
        let split = if rng.random::<f64>() < 0.75 { "train" } else { "test" };
        writeln!(text, "u{user},i{item},{page},{},{split}", u8::from(click)).unwrap();
    }
    text
}

/// The AUC on test rows of a net without hidden layers.
fn auc_with(cross: bool, interactions: &InteractionsConfig) -> f64 {
    let schema = Schema::builder().categorical("user").categorical("item").domain("page").label("click").split("split");
    // The rates of pairs would help the net without any of these.
    let none = TargetStatistics::builder().features(StatisticsFeatures::None).build().unwrap();
    let schema = if cross { schema.cross("pair", ["user", "item"]) } else { schema };
    let schema = schema.target_statistics(none).build().unwrap();
    let table = Table::from_reader(log(6000).as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.split("train").unwrap()).unwrap();
    let [train, test] = ["train", "test"].map(|name| encoder.encode(&table, &table.split(name).unwrap()).unwrap());
    let config = PooledConfig::builder(encoder.layout()).hidden([]).embedding_dim(4).embedding_std(0.3).seed(5);
    let mut model = Pooled::new(config.interactions(interactions.clone()).build().unwrap());
    let config = TrainConfig::builder().epochs(12).batch_rows(128).optimizer(OptimizerConfig::adam(0.02).unwrap());
    Trainer::new(config.build().unwrap()).fit(&mut model, train, None).unwrap();
    let scores: Array2<f32> = model.score(&test);
    auc(&scores.column(0).to_vec(), &test.labels.column(0).to_vec()).unwrap()
}

#[test]
fn where_clicks_depend_on_pairs_all_beat_the_plain_net() {
    let of = |builder: starple::model::InteractionsConfigBuilder| builder.build().unwrap();
    let none = || InteractionsConfig::builder();
    let plain = auc_with(false, &of(none()));
    assert!(plain < 0.6, "{plain}");
    for (what, cross, interactions) in [
        ("a cross", true, of(none())),
        ("a factorization machine", false, of(none().fm(true))),
        ("cross layers", false, of(none().cross_layers(2))),
        ("cross layers of low rank", false, of(none().cross_layers(2).cross_rank(4))),
        (
            "cross layers in parallel",
            false,
            of(none().cross_layers(2).cross_structure(starple::model::CrossStructure::Parallel)),
        ),
    ] {
        let with = auc_with(cross, &interactions);
        assert!(with > plain + 0.15, "{what}: {with}, {plain} without");
    }
}

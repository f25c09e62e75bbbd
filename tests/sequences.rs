//! Sequences of events from a log to scores: what is kept of a list, errors, attention in training and serving, and leaks.

use std::fmt::Write as _;

use ndarray::{Array2, s};
use starple::data::{
    Bag, Batch, Categorical, DomainId, Encoder, Format, Ids, Layout, Pooling, Recent, Schema, SchemaBuilder, Sequence,
    SplitOptions, Splits, Table,
};
use starple::loss::Objective;
use starple::model::{Branches, NewRows, SingleConfig};
use starple::nn::{ActivationKind, EventWeights, LeafMut, TargetAttention, TargetAttentionSettings};
use starple::optim::{Clock, OptimizerConfig};
use starple::serve::{Predictor, PredictorCache, Scorer, ScorerCache};
use starple::train::Step;
use starple::{ErrorKind, Model, PooledConfig, StarConfig};

fn attention() -> TargetAttentionSettings {
    TargetAttentionSettings::builder().hidden([6, 4]).build().unwrap()
}

fn schema(history: Sequence) -> Schema {
    Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("kind")
        .feature(Bag::new("seen", "|").table("item"))
        .feature(Bag::new("seen_kinds", "|").table("kind"))
        .sequence(history)
        .domain("page")
        .label("click")
        .build()
        .unwrap()
}

fn history(max_len: usize, recent: Recent) -> Sequence {
    Sequence::new("history", max_len, recent).column("seen", "item").column("seen_kinds", "kind")
}

const LOG: &str = "\
user,item,kind,seen,seen_kinds,page,click
u,a,x,,,home,0
u,b,y,a,x,search,1
v,a,x,a|b|c,x|y|x,home,1
v,c,x,a|b|c|b,x|y|x|y,search,0
w,b,y,c|c,x|x,home,1
";

fn table(schema: &Schema, log: &str) -> Table {
    Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

fn bags(ids: &Ids) -> Vec<Vec<u32>> {
    let Ids::Bag { offsets, .. } = ids else { panic!("a bag") };
    (0..offsets.len() - 1).map(|row| ids.row(row).to_vec()).collect()
}

#[test]
fn the_most_recent_events_are_kept() {
    for (recent, long) in [(Recent::Last, [[2, 3, 2], [2, 1, 2]]), (Recent::First, [[1, 2, 3], [1, 2, 1]])] {
        let schema = schema(history(3, recent));
        let table = table(&schema, LOG);
        let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
        let rows = encoder.encode(&table, &table.all()).unwrap();
        // Lengths 0, 1, the largest and one more.
        assert_eq!(bags(&rows.ids[3]), [vec![], vec![1], vec![1, 2, 3], long[0].to_vec(), vec![3, 3]]);
        assert_eq!(bags(&rows.ids[4]), [vec![], vec![1], vec![1, 2, 1], long[1].to_vec(), vec![1, 1]]);
        // Rows in another order, and those that are written one by one, have the same events.
        let turned = encoder.encode(&table, &[3, 1]).unwrap();
        assert_eq!(bags(&turned.ids[3]), [long[0].to_vec(), vec![1]]);
        let cells = LOG.lines().skip(1).map(|line| {
            let names = ["user", "item", "kind", "seen", "seen_kinds", "page"];
            names.into_iter().zip(line.split(',').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        let written = encoder.encode_rows(cells).unwrap();
        assert_eq!(written.ids, rows.ids);
        // The encoder keeps the sequence in its file.
        let again: Encoder = serde_json::from_str(&serde_json::to_string(&encoder).unwrap()).unwrap();
        assert_eq!(again, encoder);
    }
}

#[test]
fn lists_of_other_lengths_are_an_error_with_their_place() {
    let schema = schema(history(3, Recent::Last));
    let bad = LOG.replace("v,a,x,a|b|c,x|y|x", "v,a,x,a|b|c,x||x");
    let (good, rows) = (table(&schema, LOG), table(&schema, &bad));
    let encoder = Encoder::fit(&schema, &good, &good.all()).unwrap();
    let error = encoder.encode(&rows, &rows.all()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    for part in ["log.csv:4", "\"seen_kinds\"", "expected 3 values, as in \"seen\", found 2", "empty values between"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let row =
        ["user", "item", "kind", "seen", "seen_kinds", "page"].into_iter().zip(["u", "a", "x", "a|b", "x", "home"]);
    let error = encoder.encode_rows([row.collect::<Vec<_>>()]).unwrap_err().to_string();
    assert!(error.contains("rows:1") && error.contains("expected 2 values"), "{error}");
}

#[test]
fn a_schema_names_all_that_is_wrong_with_its_sequences() {
    let features = || -> SchemaBuilder {
        Schema::builder()
            .categorical("item")
            .feature(Categorical::new("kind").dim(3))
            .feature(Bag::new("seen", "|").table("item"))
            .feature(Bag::new("sum", "|").table("item").pooling(Pooling::Sum))
            .feature(Bag::new("kept", "|").table("item").pooling(Pooling::Keep(3)))
            .bag("tags", "|")
            .numeric("age")
            .label("click")
    };
    let of = |sequence: Sequence| features().sequence(sequence).build().unwrap_err().to_string();
    let attended = |sequence: Sequence| of(sequence.attention(attention()));
    let start = |len| Sequence::new("history", len, Recent::Last);
    for (error, expected) in [
        (of(start(0).column("seen", "item")), "1 <= max_len <= 4096, found 0"),
        (of(start(3)), "columns: at least one bag"),
        (of(start(3).column("sen", "item")), "\"sen\" is no feature; did you mean \"seen\"?"),
        (of(start(3).column("item", "item")), "\"item\" is no bag"),
        (of(start(3).column("kept", "item")), "found keep, which cuts a list itself"),
        (of(start(3).column("seen", "itm")), "\"itm\" is no feature; did you mean \"item\"?"),
        (of(start(3).column("seen", "tags")), "the target of \"seen\" has one value a row, \"tags\" has not"),
        (of(start(3).column("seen", "age")), "the target of \"seen\" has one value a row, \"age\" has not"),
        (of(start(3).column("seen", "kind")), "need the same table; give \"seen\" the table \"kind\""),
        (attended(start(3).column("sum", "item")), "attention weighs the values of \"sum\"; leave its pooling out"),
        (attended(start(3).column_without_target("seen")), "attention needs the target of \"seen\""),
        (of(start(3).column("seen", "item").column("seen", "item")), "\"seen\" is in sequence \"history\" too"),
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let twice = features().sequence(start(3).column("seen", "item")).sequence(start(3).column("sum", "item"));
    assert!(twice.build().unwrap_err().to_string().contains("sequence \"history\": named twice"));
    let text = r#"{"features": [{"kind": "categorical", "name": "item"}, {"kind": "bag", "name": "seen", "separator": "|", "table": "item"}],
        "sequences": [{"name": "history", "columns": [{"bag": "seen", "target": "item"}], "max_len": 50, "recent": "last",
            "attention": {"hidden": [16], "weights": "softmax", "activation": "dice"}}], "labels": ["click"]}"#;
    let read: Schema = serde_json::from_str(text).unwrap();
    let own = read.sequences()[0].attention_settings().unwrap();
    assert_eq!(
        (own.weights(), own.activation(), own.hidden()),
        (EventWeights::Softmax, ActivationKind::Dice, &[16][..])
    );
    assert_eq!(serde_json::from_str::<Schema>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    for (wrong, expected) in
        [("\"recent\": \"last\",", "missing field `recent`"), ("[16]", "hidden: at least one layer")]
    {
        let replacement = if wrong == "[16]" { "[]" } else { "" };
        let error = serde_json::from_str::<Schema>(&text.replace(wrong, replacement)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn layout(attention: TargetAttentionSettings) -> Layout {
    Layout::new(["home", "search"], ["click"])
        .field("user", 5)
        .field("item", 8)
        .field_of("seen", "item", Some(Pooling::Mean))
        .field("kind", 4)
        .field_of("seen_kinds", "kind", Some(Pooling::Mean))
        .numeric(["price"])
        .attended("history", [("seen", "item"), ("seen_kinds", "kind")], 6, attention)
}

/// Rows with these histories of item and kind.
fn rows(layout: &Layout, histories: &[&[[u32; 2]]]) -> Batch {
    let count = histories.len();
    let mut offsets = vec![0];
    offsets.extend(histories.iter().scan(0, |end, events| {
        *end += events.len() as u32;
        Some(*end)
    }));
    let list = |i: usize| Ids::Bag {
        offsets: offsets.clone(),
        ids: histories.iter().flat_map(|events| events.iter().map(move |event| event[i])).collect(),
    };
    let one = |step: u32, rows: u32| Ids::One((0..count as u32).map(|row| (row * step + 1) % rows).collect());
    let batch = Batch {
        ids: vec![one(2, 5), one(3, 8), list(0), one(1, 4), list(1)],
        numeric: Array2::from_shape_fn((count, 1), |(row, _)| row as f32 / 5.0 - 0.5),
        labels: Array2::from_shape_fn((count, 1), |(row, _)| (row % 2) as f32),
        domains: (0..count).map(|row| DomainId::new(row % 2)).collect(),
        ..Batch::default()
    };
    batch.check(layout).unwrap();
    batch
}

const HISTORIES: [&[[u32; 2]]; 6] = [
    &[[3, 1], [4, 2], [3, 1]],
    &[],
    &[[7, 3]],
    &[[1, 0], [2, 1], [3, 2], [4, 3], [5, 0], [6, 1]],
    &[],
    &[[5, 2], [1, 1]],
];

/// Away from its start.
fn stirred(mut model: Model) -> Model {
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

fn models() -> Vec<Model> {
    let mut models = Vec::new();
    for (weights, activation) in
        [(EventWeights::Raw, ActivationKind::Relu), (EventWeights::Softmax, ActivationKind::Prelu)]
    {
        let attention = TargetAttentionSettings::builder().hidden([17, 4]).weights(weights).activation(activation);
        let layout = layout(attention.build().unwrap());
        models.push(Model::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([8]).build().unwrap()));
        models.push(Model::new(StarConfig::builder(&layout).embedding_dim(4).hidden([8]).build().unwrap()));
        let single = SingleConfig::builder(&layout).branches(Branches::Domains);
        models.push(Model::new(single.embedding_dim(4).hidden([8]).build().unwrap()));
    }
    models.into_iter().map(stirred).collect()
}

#[test]
fn the_order_of_events_has_no_effect_and_one_that_occurs_twice_counts_twice() {
    for mut model in models() {
        let rows_of = |model: &Model, histories: &[&[[u32; 2]]]| rows(model.layout(), histories);
        let logits = model.score(&rows_of(&model, &[&[[3, 1], [4, 2], [3, 1]]]));
        let turned = model.score(&rows_of(&model, &[&[[4, 2], [3, 1], [3, 1]]]));
        assert!((&logits - &turned).iter().all(|d| d.abs() < 1e-5));
        let once = model.score(&rows_of(&model, &[&[[4, 2], [3, 1]]]));
        assert!((&logits - &once).iter().all(|d| d.abs() > 1e-5));
        let other = model.score(&rows_of(&model, &[&[[4, 2], [3, 2], [3, 1]]]));
        assert!((&logits - &other).iter().all(|d| d.abs() > 1e-5));
        // Without scores, raw weights are 0: the history is not there.
        for layer in model.net_mut().all_mut::<TargetAttention>() {
            let last = layer.mlp.layers.last_mut().unwrap();
            last.weight.fill(0.0);
            last.bias.fill(0.0);
        }
        let raw = model.net().all::<TargetAttention>().all(|layer| layer.weights() == EventWeights::Raw);
        let (with, without) = (model.score(&rows_of(&model, &[&[[3, 1]]])), model.score(&rows_of(&model, &[&[]])));
        assert_eq!((&with - &without).iter().all(|d| d.abs() < 1e-6), raw);
    }
}

#[test]
fn a_row_without_events_sends_no_gradient_to_the_attention() {
    for model in models() {
        let batch = rows(model.layout(), &[&[], &[], &[]]);
        let mut step = Step::new(&model, &Objective::default(), 1).unwrap();
        let grad = step.gradient(&model, &batch, Clock::default()).unwrap();
        for layer in grad.net.all::<TargetAttention>() {
            assert!(layer.mlp.layers.iter().all(|layer| layer.weight.iter().chain(&layer.bias).all(|&d| d == 0.0)));
        }
        for table in &grad.tables {
            assert!(table.rows().len() <= 3, "only targets are read");
        }
        // Beside rows with events, the loss does not depend on what the attention does with this row.
        let batch = rows(model.layout(), &HISTORIES);
        let grad = step.gradient(&model, &batch, Clock::default()).unwrap();
        assert!(grad.net.all::<TargetAttention>().any(|layer| layer.mlp.layers[2].weight.iter().any(|&d| d != 0.0)));
    }
}

/// The gradient of a table that targets, events and, in a batch, several rows read is one sum: along it the loss falls as it says.
#[test]
fn a_shared_table_gets_one_sum() {
    for model in models() {
        let batch = rows(model.layout(), &HISTORIES);
        let mut step = Step::new(&model, &Objective::default(), 1).unwrap();
        let grad = step.gradient(&model, &batch, Clock::default()).unwrap().clone();
        let loss = |model: &Model| {
            let mut step = Step::new(model, &Objective::default(), 1).unwrap();
            step.gradient(model, &batch, Clock::default()).unwrap();
            step.loss().total
        };
        for (t, table) in grad.tables.iter().enumerate() {
            let mut rows = table.rows().to_vec();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), table.rows().len(), "a row stands once");
            let square: f64 = table.values().iter().map(|&g| f64::from(g).powi(2)).sum();
            let moved = |by: f32| {
                let mut moved = model.clone();
                let own = &mut moved.embeddings_mut().tables_mut()[t];
                for (&row, grad) in table.rows().iter().zip(table.values().chunks_exact(table.dim())) {
                    own.row_mut(row as usize).iter_mut().zip(grad).for_each(|(v, g)| *v += by * g);
                }
                loss(&moved)
            };
            let by = 4e-3 / (square.sqrt() as f32).max(1e-3);
            let slope = (moved(by) - moved(-by)) / (2.0 * f64::from(by));
            assert!((slope - square).abs() <= 0.03 * square + 1e-6, "table {t}: {slope} and {square}");
        }
    }
}

#[test]
fn a_request_that_gives_the_history_scores_as_the_model() {
    for model in models() {
        let layout = model.layout().clone();
        for history in HISTORIES {
            let histories = [history; 6];
            let mut candidates = rows(&layout, &histories);
            candidates.ids[0] = Ids::One(vec![2; 6]);
            let one_target = {
                let mut rows = candidates.clone();
                (rows.ids[1], rows.ids[3]) = (Ids::One(vec![5; 6]), Ids::One(vec![3; 6]));
                rows
            };
            let cases: [(&[&str], &Batch); 5] = [
                (&[], &candidates),
                (&["user"], &candidates),
                (&["user", "seen", "seen_kinds"], &candidates),
                // A part of the target, then the whole of it.
                (&["kind", "seen_kinds", "seen"], &one_target),
                (&["item", "seen", "kind", "user", "seen_kinds"], &one_target),
            ];
            for (given, candidates) in cases {
                let scorer = Scorer::new(model.clone(), given).unwrap();
                let request = candidates.slice(0..1);
                let mut own = candidates.clone();
                for (ids, field) in own.ids.iter_mut().zip(&layout.fields) {
                    // What is given is not read again.
                    if given.contains(&&*field.name) {
                        let empty = Ids::Bag { offsets: vec![0; 7], ids: Vec::new() };
                        *ids = if field.bag.is_some() { empty } else { Ids::One(vec![0; 6]) };
                    }
                }
                for domain in [DomainId::new(0), DomainId::new(1), DomainId::SHARED] {
                    let expected = model.forward(candidates, domain);
                    let context = scorer.context(domain, &request);
                    let mut cache = ScorerCache::default();
                    let found = scorer.score(&context, &own, &mut cache);
                    for (a, b) in found.iter().zip(&expected) {
                        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{given:?}, {domain:?}: {a} and {b}");
                    }
                }
            }
        }
        let error = Scorer::new(model, &["seen"]).unwrap_err().to_string();
        assert!(error.contains("give all of its lists (\"seen\", \"seen_kinds\") or none"), "{error}");
    }
}

#[test]
fn from_a_log_to_a_trained_predictor() {
    let schema = schema(history(3, Recent::Last).attention(attention()));
    let table = table(&schema, LOG);
    let mut encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let rows = encoder.encode(&table, &table.all()).unwrap();
    let mut model = Model::new(StarConfig::builder(encoder.layout()).hidden([8]).embedding_std(0.5).build().unwrap());
    let mut optimizer = OptimizerConfig::adam(0.05).unwrap().build();
    let mut step = Step::new(&model, &Objective::default(), 1).unwrap();
    let mut losses = Vec::new();
    for number in 0..60 {
        let clock = Clock { step: number, ..Clock::default() };
        let grad = step.gradient(&model, &rows, clock).unwrap();
        model.apply(grad, &mut *optimizer);
        losses.push(step.loss().total);
    }
    assert!(losses[59] < 0.5 * losses[0], "{losses:?}");

    let logits = model.score(&rows);
    let predictor =
        Predictor::builder(encoder.clone(), model.clone()).given(["user", "seen", "seen_kinds"]).build().unwrap();
    let p = predictor.predict_table(&table, &table.all()).unwrap();
    for (p, z) in p.iter().zip(&logits) {
        assert!((p - 1.0 / (1.0 + (-z).exp())).abs() < 1e-5, "{p} and the logit {z}");
    }
    // Four events, of which three count.
    let given = [("user", "v"), ("seen", "a|b|c|b"), ("seen_kinds", "x|y|x|y")];
    let mut cache = PredictorCache::default();
    let candidates = [[("item", "c"), ("kind", "x")], [("item", "b"), ("kind", "y")]];
    let scored = predictor.score("search", given, candidates, &mut cache).unwrap();
    assert!((scored[[0, 0]] - p[[3, 0]]).abs() < 1e-6);
    let error = predictor.score("home", [("user", "v"), ("seen", "a"), ("seen_kinds", "")], candidates, &mut cache);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("given") && error.contains("expected 1 values, as in \"seen\", found 0"), "{error}");
    let error = Predictor::builder(encoder.clone(), model.clone()).given(["seen"]).build().unwrap_err().to_string();
    assert!(error.contains("give all of its lists"), "{error}");

    // A new item in a history gets a new id of the table that it shares.
    let more = "user,item,kind,seen,seen_kinds,page,click\nu,a,x,new,x,home,1\n";
    let next = Table::from_reader(more.as_bytes(), Format::Csv, "next.csv", &schema).unwrap();
    encoder.extend(&next, &next.all()).unwrap();
    model.grow(encoder.layout(), NewRows::OutOfVocabulary).unwrap();
    let grown = encoder.encode(&next, &next.all()).unwrap();
    assert_eq!(bags(&grown.ids[3]), [[4]]);
    assert_eq!(model.score(&rows), logits);
    assert!(model.score(&grown).iter().all(|z| z.is_finite()));
}

#[test]
fn batches_that_do_not_fit_a_sequence_are_refused() {
    let layout = layout(attention());
    let good = rows(&layout, &HISTORIES);
    let mut torn = good.clone();
    torn.ids[4] = Ids::Bag { offsets: vec![0, 2, 3, 4, 10, 10, 12], ids: vec![0; 12] };
    let error = torn.check(&layout).unwrap_err().to_string();
    assert!(error.contains("\"seen_kinds\"") && error.contains("as long as those of \"seen\""), "{error}");
    let long = rows(&Layout { sequences: Vec::new(), ..layout.clone() }, &[&[[0, 0]; 7]]);
    let error = long.check(&layout).unwrap_err().to_string();
    assert!(error.contains("row 0: expected at most 6 events, found 7"), "{error}");
    for (change, expected) in [
        ((|layout| layout.sequences[0].targets[0] = "kind".into()) as fn(&mut Layout), "need the same table"),
        (|layout| layout.sequences[0].fields[0] = "item".into(), "expected a bag that is pooled, found \"item\""),
        (|layout| layout.sequences[0].targets[0] = "seen".into(), "expected a target with one id a row"),
        (|layout| layout.sequences[0].max_len = 0, "1 <= max_len <= 4096, found 0"),
        (|layout| layout.sequences[0].targets.truncate(1), "2 targets, one for each field, found 1"),
        (|layout| layout.sequences.push(layout.sequences[0].clone()), "is in two places"),
    ] {
        let mut wrong = layout.clone();
        change(&mut wrong);
        let error = PooledConfig::builder(&wrong).build().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let text = serde_json::to_string(&wrong).unwrap();
        assert!(serde_json::from_str::<Layout>(&text).is_err(), "{expected}");
    }
    assert_eq!(serde_json::from_str::<Layout>(&serde_json::to_string(&layout).unwrap()).unwrap(), layout);
}

/// A log whose histories hold the row's own item where it was clicked, or nowhere.
fn leaking(leaks: bool) -> String {
    let mut log = "user,item,kind,seen,seen_kinds,page,click,split\n".to_owned();
    for row in 0..60 {
        let (item, click) = (row * 7 % 5, row % 2);
        let own = if leaks && click == 1 { item } else { (item + 1 + row % 4) % 5 };
        let split = ["train", "train", "val", "test"][row % 4];
        let _ = writeln!(log, "u,i{item},k,i{own},k,home,{click},{split}");
    }
    log
}

#[test]
fn a_history_that_holds_its_own_row_is_reported() {
    for attended in [false, true] {
        let mut own = history(5, Recent::Last);
        if attended {
            own = own.attention(attention());
        }
        for leaks in [false, true] {
            let builder = Schema::builder()
                .categorical("item")
                .categorical("kind")
                .feature(Bag::new("seen", "|").table("item"))
                .feature(Bag::new("seen_kinds", "|").table("kind"));
            let schema = builder.sequence(own.clone()).label("click").split("split").build().unwrap();
            let table = table(&schema, &leaking(leaks));
            let splits = Splits::of_table(&schema, &table, SplitOptions::default()).unwrap();
            let [found] = &splits.report.own_history[..] else { panic!("one sequence") };
            assert_eq!((&*found.sequence, found.rows.of), ("history", 30));
            let warned = splits.report.warnings.iter().find(|warning| warning.contains("own history"));
            if leaks {
                assert_eq!((found.rows.count, found.aucs[0].1), (15, Some(1.0)));
                let warned = warned.expect("a warning");
                assert!(
                    warned.contains("in 15 of 30 training rows") && warned.contains("click (AUC 1.00)"),
                    "{warned}"
                );
            } else {
                assert_eq!((found.rows.count, found.aucs[0].1, warned), (0, Some(0.5), None));
            }
        }
    }
}

#[test]
fn pooled_events_stand_in_the_columns_of_their_lists() {
    // A net that reads one field alone reads the events that attention pooled: the sum, as its scores are 1 here.
    let layout = layout(attention());
    let mut model = Model::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([]).build().unwrap());
    model = stirred(model);
    for layer in model.net_mut().all_mut::<TargetAttention>() {
        let last = layer.mlp.layers.last_mut().unwrap();
        last.weight.fill(0.0);
        last.bias.fill(1.0);
    }
    let sums = Layout {
        sequences: Vec::new(),
        fields: layout
            .fields
            .iter()
            .cloned()
            .map(|mut field| {
                field.bag = field.bag.map(|_| Pooling::Sum);
                field
            })
            .collect(),
        ..layout.clone()
    };
    let mut plain = Model::new(PooledConfig::builder(&sums).embedding_dim(4).hidden([]).build().unwrap());
    let mut tensors = std::collections::BTreeMap::new();
    model.visit(|path, leaf| {
        if let starple::nn::Leaf::Tensor(values, ..) = leaf {
            tensors.insert(path.name(&layout), values.to_vec());
        }
    });
    plain.visit_mut(|path, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            values.copy_from_slice(&tensors[&path.name(&sums)]);
        }
    });
    let batch = rows(&layout, &HISTORIES);
    let difference = model.score(&batch) - plain.score(&batch);
    assert!(difference.slice(s![.., ..]).iter().all(|d| d.abs() < 1e-5), "{difference}");
}

//! Models of every kind with every option that a graph can show, away from their starts.

use std::fmt::Write as _;

use ndarray::{Array1, Array2, ArrayD, Axis};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use starple::data::{
    Batch, Categorical, DomainId, Encoder, Format, Ids, Layout, Pooling, Schema, Table, UnknownDomain,
};
use starple::model::{AnyConfig, Model};
use starple::nn::{ActivationKind, EventWeights, LeafMut, TargetAttentionSettings};

use crate::reading::{self, Reading};

/// One model.
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    /// Its settings, as a file would have them.
    pub(crate) settings: Value,
    pub(crate) model: Model,
}

impl Case {
    /// All domains, the one that was added and no known one too.
    pub(crate) fn domains(&self) -> impl Iterator<Item = DomainId> {
        (0..self.model.layout().domains.len()).map(DomainId::new).chain([DomainId::SHARED])
    }
}

const NORMS: [&str; 3] = ["none", "batch", "layer"];
const BRANCHES: [&str; 3] = ["tasks", "domains", "domains_and_tasks"];

/// The least standard deviation of a task's logits over rows. `check.py` asks for a quarter of it, over other rows.
const LEAST_SPREAD: f32 = 0.04;

/// A domain that has no statistics; its name has all that file names must not.
const QUIET: &str = "quiet/1.5%";

/// Fields of every sort, and numbers.
pub(crate) fn layout() -> Layout {
    Layout::new(["home", "search", QUIET], ["click", "buy"])
        .field("user", 40)
        .field("item id", 60)
        .bag("tags", 30, Pooling::Mean)
        .bag("words", 20, Pooling::Sum)
        .bag("height", 9, Pooling::Interpolate)
        .numeric(["age", "price"])
}

/// Random rows; a bag has 0 to 4 ids.
pub(crate) fn rows(layout: &Layout, rows: usize, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ids = |f: usize| {
        let mut ids =
            |count: usize| (0..count).map(|_| rng.random_range(0..layout.rows_of(f) as u32)).collect::<Vec<_>>();
        match layout.fields[f].bag {
            None => return Ids::One(ids(rows)),
            Some(Pooling::Interpolate) => {
                let (last, ids) = (layout.rows_of(f) as u32 - 1, ids(rows));
                let fraction = |(row, &id): (usize, &u32)| if id == last { 0.0 } else { (row % 5) as f32 / 4.0 };
                let fractions = ids.iter().enumerate().map(fraction).collect();
                return Ids::Interpolated { ids, fractions };
            }
            _ => {}
        }
        let mut offsets = vec![0];
        offsets.extend((0..rows).scan(0, |end, row| {
            *end += (row * 7 + row / 11) as u32 % 5;
            Some(*end)
        }));
        let ids = ids(offsets[rows] as usize);
        Ids::Bag { offsets, ids }
    };
    let ids = (0..layout.fields.len()).map(&mut ids).collect();
    let numeric = Array2::from_shape_simple_fn((rows, layout.numeric.len()), || rng.random_range(-2.0..2.0));
    let labels = Array2::from_elem((rows, layout.tasks.len()), f32::NAN);
    Batch { ids, numeric, labels, domains: vec![DomainId::new(0); rows], ..Batch::default() }
}

/// The ids of a field as a graph takes them: `[rows]`, or for a bag `[rows, length]` with -1 where there is no id.
pub(crate) fn ids(layout: &Layout, batch: &Batch, field: usize) -> ArrayD<i64> {
    let (ids, kept) = (&batch.ids[field], matches!(layout.fields[field].bag, Some(Pooling::Keep(_))));
    let Ids::Bag { offsets, .. } = ids else {
        return (0..batch.rows()).map(|row| i64::from(ids.row(row)[0])).collect::<Array1<_>>().into_dyn();
    };
    let length = offsets.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or_default() as usize;
    let mut padded = Array2::from_elem((batch.rows(), length), -1);
    for (row, mut padded) in padded.rows_mut().into_iter().enumerate() {
        // Where the ids stand among the padding does not matter, unless they are kept.
        for (i, &id) in ids.row(row).iter().enumerate() {
            padded[if kept { i } else { (row + i) % length }] = id.into();
        }
    }
    padded.into_dyn()
}

/// The fractions of positions, with the name of their input.
pub(crate) fn fractions<'b>(layout: &Layout, batch: &'b Batch, field: usize) -> Option<(String, &'b [f32])> {
    let Ids::Interpolated { fractions, .. } = &batch.ids[field] else { return None };
    Some((format!("{} fraction", layout.fields[field].name), fractions))
}

/// The settings of a small model of this kind.
fn base(kind: &str) -> Value {
    let mut settings = match kind {
        "single" => json!({ "hidden": [10, 6] }),
        "pooled" => json!({ "hidden": [10, 6], "domain_dim": 3 }),
        "star" => json!({ "hidden": [10, 6], "auxiliary_hidden": [5], "domain_dim": 3 }),
        "shared_bottom" | "asymmetric" | "customized" => json!({ "bottom_hidden": [10, 8], "tower_hidden": [6] }),
        "cross_stitch" => json!({ "hidden": [10, 8], "tower_hidden": [6] }),
        "sluice" => json!({ "hidden": [8, 8, 8], "tower_hidden": [6] }),
        "mran" => json!({ "head_width": 3, "tower_hidden": [6] }),
        "pepnet" => json!({ "hidden": [10, 6], "domain_dim": 3, "gate_hidden": 5 }),
        // MoE and all that came of it.
        _ => json!({ "expert_hidden": [10, 8], "tower_hidden": [6] }),
    };
    settings["kind"] = kind.into();
    settings["embedding_dim"] = 4.into();
    settings
}

/// What only some kinds have.
fn own_options(kind: &str) -> Vec<Value> {
    match kind {
        "single" => vec![json!({ "hidden": [] }), json!({ "interactions": { "fm": true, "cross_layers": 1 } })],
        "pooled" => vec![json!({ "hidden": [] }), json!({ "interactions": { "cross_layers": 2 } })],
        "star" => vec![
            json!({ "interactions": { "fm": true, "cross_layers": 2, "cross_rank": 3 } }),
            json!({ "interactions": { "fm": true, "cross_layers": 1, "cross_structure": "parallel" } }),
            json!({ "combination": "add" }),
            json!({ "combination": "adaptive_add" }),
            json!({ "combination": "sigmoid_gate" }),
            json!({ "combination": "sigmoid_gate", "partitioned_norm": false, "auxiliary": false }),
            json!({ "combination": "concatenation" }),
            json!({ "combination": { "low_rank": { "rank": 2 } } }),
            json!({ "auxiliary": false, "norm_epsilon": 0.3 }),
            json!({ "partitioned_norm": false, "auxiliary_hidden": [] }),
            json!({ "hidden": [] }),
            json!({ "members": 2, "field_dropout": 0.1 }),
        ],
        "asymmetric" => vec![
            json!({ "fusion": "sum" }),
            json!({ "fusion": "mean", "reads": { "click": ["buy"] } }),
            json!({ "branches": "domains", "reads": { "home": ["search"] } }),
        ],
        "customized" => vec![json!({ "fusion": "sum" }), json!({ "fusion": "mean", "branches": "domains" })],
        "sluice" => vec![json!({ "subspaces": 4, "branches": "domains" }), json!({ "subspaces": 1 })],
        "moe" | "mmoe" => vec![json!({ "experts": 1 })],
        "ml_mmoe" => vec![json!({ "levels": 1 }), json!({ "levels": 3, "branches": "domains" })],
        "cgc" => vec![json!({ "own_experts": 3, "shared_experts": 0 })],
        "ple" => vec![
            json!({ "levels": 1 }),
            json!({ "members": 3, "branches": "domains" }),
            json!({ "levels": 3, "own_experts": 2, "branches": "domains" }),
            json!({ "levels": 3, "shared_experts": 2, "branches": "domains_and_tasks" }),
        ],
        "mran" => vec![
            json!({ "interactions": { "fm": true, "cross_layers": 1, "cross_structure": "parallel" } }),
            json!({ "interactions": { "cross_layers": 1, "cross_rank": 2 } }),
            json!({ "attention_layers": 0 }),
            json!({ "attention_layers": 2, "scaled": false, "branches": "domains" }),
            json!({ "branch_attention": false, "heads": 1 }),
            json!({ "norm": "layer", "branches": "domains_and_tasks" }),
        ],
        // A single field, a bag, and both with all that can be gated.
        "pepnet" => vec![
            json!({ "gate_hidden": null }),
            json!({ "epnet": false, "priors": ["tags"] }),
            json!({ "epnet": false, "priors": ["user"], "gate_input": true, "hidden": [7] }),
            json!({ "priors": ["words", "item id"], "gate_input": true, "gate_hidden": null }),
        ],
        _ => Vec::new(),
    }
}

/// Layouts of one sort of input, for the kinds that treat sorts apart.
fn narrow() -> Vec<(&'static str, Layout)> {
    let (fields, numbers) =
        (Layout { numeric: Vec::new(), ..layout() }, Layout { tables: Vec::new(), fields: Vec::new(), ..layout() });
    let one = Layout { domains: vec!["all".into()], tasks: vec!["click".into()], ..layout() };
    let of = |layout: &Layout| ["single", "star", "ple", "mran", "pepnet"].map(|kind| (kind, layout.clone()));
    [of(&fields), of(&numbers), of(&one)].concat()
}

/// All models, one after the other.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let of_kinds = AnyConfig::KINDS.iter().flat_map(|&kind| {
        let mut options: Vec<Value> =
            ActivationKind::ALL.iter().map(|activation| json!({ "activation": activation })).collect();
        options.extend(NORMS.map(|norm| json!({ "norm": norm, "activation": "silu", "dropout": 0.3 })));
        if kind == "pepnet" {
            for options in &mut options {
                options["priors"] = json!(["user"]);
            }
        } else if !matches!(kind, "pooled" | "star") {
            for (i, options) in options.iter_mut().enumerate() {
                options["branches"] = BRANCHES[i % 3].into();
            }
            options.push(json!({ "branches": "domains", "built_with": 2 }));
        }
        options.extend(own_options(kind));
        options.into_iter().map(move |options| case(kind, &layout(), &options))
    });
    let narrow = narrow().into_iter().map(|(kind, layout)| case(kind, &layout, &json!({})));
    // Tables that are shared and have widths of their own, and values that are kept, in nets that read rows and one that reads fields.
    let shared = ["star", "ple", "single"].map(|kind| case(kind, &reading::layout(), &json!({})));
    let own = away("reading", &json!({}), Model::new(Reading { layout: reading::layout() }));
    of_kinds.chain(narrow).chain(shared).chain([own]).chain(attended())
}

/// Sequences that attention pools, in all its ways, in nets that read rows and one whose branches have tables of their own.
fn attended() -> impl Iterator<Item = Case> {
    let ways = [
        ("star", EventWeights::Raw, ActivationKind::Prelu),
        ("single", EventWeights::Softmax, ActivationKind::Relu),
        ("pepnet", EventWeights::Raw, ActivationKind::Dice),
        ("mran", EventWeights::Softmax, ActivationKind::Tanh),
    ];
    ways.into_iter().map(|(kind, weights, activation)| {
        let attention = TargetAttentionSettings::builder().hidden([6, 5]).weights(weights).activation(activation);
        let layout = layout()
            .field_of("seen", "item id", Some(Pooling::Mean))
            .field_of("by", "user", Some(Pooling::Mean))
            .attended("history", [("seen", "item id"), ("by", "user")], 4, attention.build().expect("valid settings"));
        case(kind, &layout, &json!({}))
    })
}

fn case(kind: &'static str, layout: &Layout, options: &Value) -> Case {
    let mut settings = base(kind);
    for (key, value) in options.as_object().expect("options are an object") {
        settings[key] = value.clone();
    }
    let config = AnyConfig::from_settings(settings, layout, 3).unwrap_or_else(|error| panic!("{kind}: {error}"));
    away(kind, options, Model::new(config))
}

/// A model away from its start, with one domain more.
fn away(kind: &'static str, settings: &Value, mut start: Model) -> Case {
    start.add_domain("new").expect("no domain has that name");
    let rows = rows(start.layout(), 100, 1);
    // As large as the logits of a model that could have been trained, and no task's of any domain nearly the same for all rows: a graph that
    // leaves out half of such a net would differ too little to be noticed.
    for seed in 8..200 {
        let mut scale = 1.0;
        loop {
            let mut case = Case { kind, settings: settings.clone(), model: start.clone() };
            leave_the_start(&mut case.model, scale, seed);
            let logits: Vec<_> = case.domains().map(|domain| case.model.forward(&rows, domain)).collect();
            if logits.iter().flatten().all(|logit| logit.abs() < 4.0) {
                if logits.iter().all(|logits| logits.std_axis(Axis(0), 0.0).iter().all(|&std| std > LEAST_SPREAD)) {
                    return case;
                }
                break;
            }
            scale *= 0.8;
        }
    }
    panic!("{kind} {settings}: no draw of its parameters gives logits that depend on the row");
}

/// Moves every parameter and every average, and scales those of the net.
fn leave_the_start(model: &mut Model, scale: f32, seed: u64) {
    let (layout, mut rng) = (model.layout().clone(), ChaCha8Rng::seed_from_u64(seed));
    model.visit_mut(|path, leaf| {
        let name = path.name(&layout);
        match leaf {
            LeafMut::Tensor(values, ..) => {
                let (by, scale) = if name.starts_with("embeddings") { (1.0, 1.0) } else { (0.8, scale) };
                for value in values {
                    *value = (*value + rng.random_range(-by..by)) * scale;
                }
            }
            LeafMut::Average(values, _) => {
                let range = if name.rsplit('.').next() == Some("var") { 0.4..2.0 } else { -0.5..0.5 };
                for value in values {
                    *value = rng.random_range(range.clone());
                }
            }
            LeafMut::Count(steps) => {
                *steps = if name.contains("quiet%2F1%2E5%25") { 0 } else { rng.random_range(1..30) }
            }
        }
    });
}

/// A model with the encoder that counts its target statistics, of two of its fields.
pub(crate) fn counted() -> (Case, Encoder) {
    let schema = Schema::builder()
        .feature(Categorical::new("user").statistics(true))
        .categorical("hour")
        .feature(Categorical::new("item").hashed(20).statistics(true))
        .numeric("age")
        .domain("page")
        .labels(["click", "buy"]);
    let schema = schema.build().expect("a valid schema");
    let mut log = String::from("user,hour,item,age,page,click,buy\n");
    for i in 0..600_usize {
        let page = ["home", "search", QUIET][i % 7 % 3];
        let (click, buy) = (usize::from(i * i % 11 < 4), usize::from(i % 13 < 6));
        writeln!(log, "u{},{},i{},{},{page},{click},{buy}", i * 31 % 29, i % 24, i * i % 37, i % 50)
            .expect("text has room");
    }
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema).expect("a valid log");
    let mut encoder = Encoder::fit(&schema, &table, &table.all()).expect("a log to fit on");
    let mut settings = base("star");
    settings["dropout"] = 0.1.into();
    let config = AnyConfig::from_settings(settings, encoder.layout(), 3).expect("valid settings");
    let case = away("star", &json!({ "target_statistics": true }), Model::new(config));
    encoder.add_domain("new").expect("the model's last domain");
    (case, encoder.on_unknown_domain(UnknownDomain::Shared))
}

/// Rows of one domain that the encoder encodes; some of their values are new.
pub(crate) fn counted_rows(encoder: &Encoder, domain: DomainId, rows: usize) -> Batch {
    let domains = &encoder.layout().domains;
    let page = domain.index().map_or("elsewhere", |index| &domains[index]);
    let row = |i: usize| {
        let (user, item) = (format!("u{}", i * 17 % 33), format!("i{}", i * i % 41));
        [
            ("user", user),
            ("hour", (i % 24).to_string()),
            ("item", item),
            ("age", (i % 60).to_string()),
            ("page", page.into()),
        ]
    };
    encoder.encode_rows((0..rows).map(row)).expect("rows with all columns")
}

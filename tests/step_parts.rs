//! Checks a step that is split into parts: the parts of a batch, each with its own forward and backward pass, sum to the step of the whole batch.

use std::collections::BTreeMap;

use ndarray::Array2;
use starple::data::{Batch, DomainId, Layout, Pooling};
use starple::loss::{DwaConfig, Loss, Objective, UncertaintyConfig, Units, Weighting};
use starple::model::{Gradient, Presence};
use starple::nn::{Leaf, LeafMut, Params as _, Path};
use starple::optim::{AdamConfig, Clock, Optimizer, OptimizerConfig};
use starple::train::Step;
use starple::{AnyConfig, Model};

const ROWS: usize = 40;
/// The first part has no row of the last domain and no label of the last task. The second part has no row of the first domain.
const CUT: usize = 17;

fn layout() -> Layout {
    Layout::new(["home", "search", "cart", "never"], ["click", "buy"])
        .field("user", 12)
        .field("item", 9)
        .bag("tags", 7, Pooling::Mean)
        .numeric(["price"])
}

/// Rows with domains in no order, with weights and some missing labels.
fn batch() -> Batch {
    let value = |row: usize, column: usize| (row * 31 + column * 17 + row * row * column) % 97;
    let all = 0..ROWS;
    let domain = |row: usize| DomainId::new(if row < CUT { row % 2 } else { 1 + row % 2 });
    let label = |row: usize, task: usize| match value(row, 5 + task) {
        v if v % 7 == 0 || (task == 1 && row < CUT) => f32::NAN,
        v => f32::from(u8::from(v % 3 == 0)),
    };
    Batch::builder(&layout(), ROWS)
        .ids("user", all.clone().map(|row| value(row, 1) as u32 % 12).collect())
        .ids("item", all.clone().map(|row| value(row, 2) as u32 % 9).collect())
        .bag(
            "tags",
            all.clone().map(|row| (0..value(row, 3) % 3).map(move |i| (row + i) as u32 % 7).collect::<Vec<_>>()),
        )
        .numeric("price", all.clone().map(|row| value(row, 4) as f32 / 50.0 - 1.0).collect())
        .domains(all.clone().map(domain).collect())
        .labels("click", all.clone().map(|row| label(row, 0)).collect())
        .labels("buy", all.clone().map(|row| label(row, 1)).collect())
        .weights(all.map(|row| [1.0, 0.5, 3.0][row % 3]).collect())
        .build()
        .unwrap()
}

/// A model with dropout and without batch statistics.
fn model(kind: &str, by_both: bool) -> Model {
    let config = AnyConfig::from_settings(serde_json::json!({ "kind": kind }), &layout(), 3).unwrap();
    let mut settings = serde_json::to_value(config).unwrap();
    for (key, value) in settings.as_object_mut().unwrap() {
        if key.ends_with("hidden") && value.is_array() {
            *value = serde_json::json!([6, 6]);
        }
    }
    settings["dropout"] = 0.3.into();
    settings["embedding_dim"] = 4.into();
    settings["embedding_std"] = 0.5.into();
    if kind == "star" {
        // Moving averages instead of batch statistics.
        settings["norm_min_rows"] = 1000.into();
    }
    if by_both {
        settings["branches"] = "domains_and_tasks".into();
    }
    Model::new(serde_json::from_value::<AnyConfig>(settings).unwrap())
}

fn objectives() -> Vec<Objective> {
    let of = |units, weighting| Objective::builder().units(units).weighting(weighting).build().unwrap();
    vec![
        of(Units::Tasks, Weighting::default()),
        of(Units::Domains, Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.1).build().unwrap())),
        of(Units::DomainsAndTasks, Weighting::Dwa(DwaConfig::default())),
    ]
}

/// Tensors by name, with their presence, and rows of tables.
type Values = BTreeMap<String, (bool, Vec<f32>)>;

fn values(model: &Model, gradient: &Gradient) -> Values {
    let mut values = Values::new();
    for (field, table) in gradient.tables.iter().enumerate() {
        for &row in table.rows() {
            values.insert(format!("table {field} row {row}"), (true, table.row(row as usize).unwrap().to_vec()));
        }
    }
    gradient.net.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        if let Leaf::Tensor(tensor, ..) = leaf {
            values.insert(path.name(model.layout()), (path.present(), tensor.to_vec()));
        }
    });
    values
}

fn weights(model: &Model) -> Values {
    let mut values = Values::new();
    model.visit(|path, leaf| {
        if let Leaf::Tensor(tensor, ..) = leaf {
            values.insert(path.name(model.layout()), (true, tensor.to_vec()));
        }
    });
    values
}

fn assert_close(what: &str, ours: &Values, expected: &Values) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for ((name, (present, ours)), (wanted, expected)) in ours.iter().zip(expected.values()) {
        assert_eq!(present, wanted, "{what}: presence of {name}");
        for (a, b) in ours.iter().zip(expected) {
            assert!((a - b).abs() <= 2e-6 + 2e-5 * b.abs(), "{what}: {name}: {a} and {b}");
        }
    }
}

/// Batch statistics are not sums over rows; each part has its own. So both runs continue with the same averages.
fn share_averages(from: &Model, to: &mut Model) {
    let (mut averages, mut counts) = (Vec::new(), Vec::new());
    from.net().visit(&mut Path::starting_at(0), &mut |_, leaf| match leaf {
        Leaf::Average(values, _) => averages.extend(values),
        Leaf::Count(&count) => counts.push(count),
        Leaf::Tensor(..) => {}
    });
    let (mut averages, mut counts) = (averages.into_iter(), counts.into_iter());
    to.net_mut().visit_mut(&mut Path::starting_at(0), &mut |_, leaf| match leaf {
        LeafMut::Average(values, _) => values.iter_mut().for_each(|value| *value = averages.next().unwrap()),
        LeafMut::Count(count) => *count = counts.next().unwrap(),
        LeafMut::Tensor(..) => {}
    });
}

/// Adam with an ε that hides rounding of gradients near 0, and with weight decay, which changes every present parameter.
fn optimizer() -> Box<dyn Optimizer> {
    let config = AdamConfig::builder().lr(0.02).eps(0.01).weight_decay(0.1).build().unwrap();
    OptimizerConfig::AdamW(config).build()
}

/// A gradient as another process would send it: presence bits, all values of the net in order, and rows of tables.
struct Sent {
    presence: Presence,
    dense: Vec<f32>,
    rows: Vec<Vec<(u32, Vec<f32>)>>,
}

fn send(gradient: &mut Gradient) -> Sent {
    let (presence, mut dense) = (gradient.presence(), Vec::new());
    gradient.net.visit(&mut Path::starting_at(0), &mut |_, leaf| {
        if let Leaf::Tensor(values, ..) = leaf {
            dense.extend(values);
        }
    });
    let rows = |table: &starple::nn::RowGrad| {
        table.rows().iter().map(|&row| (row, table.row(row as usize).unwrap().to_vec())).collect()
    };
    Sent { presence, dense, rows: gradient.tables.iter().map(rows).collect() }
}

fn receive(gradient: &mut Gradient, sent: &Sent) {
    let mut presence = gradient.presence();
    presence |= &sent.presence;
    gradient.set_presence(&presence);
    let mut dense = sent.dense.iter();
    gradient.net.visit_mut(&mut Path::starting_at(0), &mut |path, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            for value in values {
                let more = dense.next().unwrap();
                assert!(path.present() || *more == 0.0, "what is absent is zero");
                *value += more;
            }
        }
    });
    for (table, rows) in gradient.tables.iter_mut().zip(&sent.rows) {
        for (row, values) in rows {
            table.touch(*row).iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

fn assert_same_loss(ours: &Loss, expected: &Loss) {
    assert!((ours.total - expected.total).abs() < 1e-6, "{} and {}", ours.total, expected.total);
    for (ours, expected) in ours.units.iter().zip(&expected.units) {
        assert_eq!(ours.is_some(), expected.is_some());
        assert!((ours.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-6);
    }
}

/// Two steps, on the whole batch and in two parts. The gradients of the parts are added in one process or sent between two.
fn assert_parts_add_up(kind: &str, by_both: bool, objective: &Objective, between: bool) {
    let what = format!("{kind}, {:?}, between processes: {between}", objective.units());
    let batch = batch();
    let parts = [batch.slice(0..CUT), batch.slice(CUT..ROWS)];
    let (mut whole, mut cut) = (model(kind, by_both), model(kind, by_both));
    let mut step = Step::new(&whole, objective, 5).unwrap();
    let [mut one, mut other] = [(); 2].map(|()| Step::new(&cut, objective, 5).unwrap());
    let (mut of_whole, mut of_cut) = (optimizer(), optimizer());
    for number in 0..2 {
        let clock = Clock { epoch: 0, step: number };
        let expected = step.gradient(&whole, &batch, clock).unwrap();

        let mut normalisers = one.forward(&cut, &parts[0], 0, clock).clone();
        normalisers.add(other.forward(&cut, &parts[1], CUT as u64, clock));
        let rest = other.backward(&cut, &parts[1], &normalisers).unwrap();
        let gradient = one.backward(&cut, &parts[0], &normalisers).unwrap();
        if number == 0 {
            let [a, b] = [&mut *gradient, &mut *rest].map(Gradient::presence);
            if kind == "star" || by_both {
                assert!(a != b, "{what}: each part has what the other has not");
            }
        }
        if between {
            receive(gradient, &send(rest));
        } else {
            gradient.add(rest);
        }
        rest.zero();
        one.loss_mut().add(other.loss());
        // The other process would do this itself; here its weighting is updated.
        other.loss_mut().clone_from(one.loss());
        other.finish(&cut).zero();
        let gradient = one.finish(&cut);
        assert_eq!(gradient.presence(), expected.presence(), "{what}");
        let (ours, theirs) = (values(&cut, gradient), values(&whole, expected));
        assert!(theirs.values().flat_map(|(_, values)| values).any(|v| v.abs() > 1e-3), "{what}: there is a gradient");
        assert_close(&what, &ours, &theirs);
        cut.apply(gradient, &mut *of_cut);
        whole.apply(expected, &mut *of_whole);
        assert_same_loss(one.loss(), step.loss());
        share_averages(&whole, &mut cut);
        assert_close(&format!("{what}, weights"), &weights(&cut), &weights(&whole));
    }
}

#[test]
fn parts_of_a_step_add_up_to_the_step() {
    // `single` is left out: one label in a part makes all rows of its segment present in the tables of a branch.
    let kinds = AnyConfig::KINDS.iter().filter(|&&kind| kind != "single").map(|&kind| (kind, false));
    for (i, (kind, by_both)) in kinds.chain([("ple", true)]).enumerate() {
        for objective in objectives() {
            assert_parts_add_up(kind, by_both, &objective, i % 2 == 0);
        }
    }
    for between in [false, true] {
        assert_parts_add_up("star", false, &objectives()[0], between);
    }
}

#[test]
fn rows_of_a_part_have_the_dropout_of_the_step() {
    let (model, batch) = (model("mran", false), batch());
    let logits = |part: &Batch, first_row| {
        let mut step = Step::new(&model, &Objective::default(), 5).unwrap();
        step.forward(&model, part, first_row, Clock { epoch: 0, step: 3 });
        step.logits().clone()
    };
    let whole = logits(&batch, 0);
    let close = |a: &Array2<f32>, b: &Array2<f32>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let rest = batch.slice(CUT..ROWS);
    let expected = whole.slice(ndarray::s![CUT.., ..]).to_owned();
    assert!(close(&logits(&rest, CUT as u64), &expected));
    assert!(!close(&logits(&rest, 0), &expected), "without its number a row has another mask");
}

//! What is seen inside a model, against what its parameters say.

use ndarray::{Array2, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{Batch, DomainId, Layout};
use starple::model::{Branches, MlMmoe, MlMmoeConfig, Moe, MoeConfig, PleConfigBuilder};
use starple::nn::{Branch, Gate, LeafMut, Mlp};
use starple::{ErrorKind, Model, Ple, PleConfig, Pooled, PooledConfig};
use starple_lab::inside::{GateUse, gates};

/// More than a model takes at a time.
const ROWS: usize = 5000;

fn layout() -> Layout {
    Layout {
        numeric: ["age", "price", "hour"].map(String::from).to_vec(),
        domains: ["search", "feed", "cart"].map(String::from).to_vec(),
        tasks: ["click", "buy"].map(String::from).to_vec(),
        ..Layout::default()
    }
}

/// Rows of `search`, `feed` and no known domain, in turns; none of `cart`. What a net reads are the numbers themselves.
fn batch() -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let domains = [DomainId::new(1), DomainId::SHARED, DomainId::new(0), DomainId::new(1)];
    Batch {
        numeric: Array2::from_shape_simple_fn((ROWS, 3), || rng.random_range(-2.0..2.0)),
        labels: Array2::zeros((ROWS, 2)),
        domains: domains.into_iter().cycle().take(ROWS).collect(),
        ..Batch::default()
    }
}

fn config(branches: Branches) -> PleConfigBuilder {
    PleConfig::builder(&layout()).branches(branches).expert_hidden([2]).tower_hidden([2]).own_experts(1)
}

fn ple(branches: Branches) -> Ple {
    stirred(config(branches))
}

fn stirred(config: PleConfigBuilder) -> Ple {
    let mut ple = Ple::new(config.build().unwrap());
    stir(&mut ple);
    ple
}

/// Moves every parameter off its start.
fn stir(model: &mut Model) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    model.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            values.fill_with(|| rng.random_range(-0.7..0.7));
        }
    });
}

/// Mean and standard deviation of each column of `softmax(x·W)`, by definition.
fn naive(x: &Array2<f32>, weight: &Array2<f32>) -> (Vec<f64>, Vec<f64>) {
    let mut w = x.mapv(f64::from).dot(&weight.mapv(f64::from)).mapv(f64::exp);
    w.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
    let mean = w.columns().into_iter().map(|w| w.sum() / w.len() as f64).collect();
    (mean, w.columns().into_iter().map(|w| w.std(0.0)).collect())
}

/// The rows of one domain, or of all.
fn rows_of(batch: &Batch, domain: Option<DomainId>) -> Array2<f32> {
    let wanted = |row: &usize| domain.is_none_or(|domain| batch.domains[*row] == domain);
    batch.numeric.select(ndarray::Axis(0), &(0..ROWS).filter(wanted).collect::<Vec<_>>())
}

fn find<'a>(uses: &'a [GateUse], level: usize, domain: Option<&str>) -> &'a GateUse {
    let found: Vec<_> = uses.iter().filter(|u| u.level == level && u.domain.as_deref() == domain).collect();
    assert_eq!(found.len(), 1, "level {level}, {domain:?}");
    found[0]
}

/// That a gate's row holds these values in the columns of these experts, and nothing else.
fn same(of: &GateUse, gate: &str, experts: &[&str], (mean, std): &(Vec<f64>, Vec<f64>)) {
    for (heat, expected) in [(&of.mean, mean), (&of.std, std)] {
        for column in &heat.columns {
            let value = heat.value(gate, column);
            match experts.iter().position(|expert| expert == column) {
                None => assert_eq!(value, None, "{gate}, {column}"),
                Some(i) => {
                    let value = value.unwrap_or_else(|| panic!("{gate} has no {column}"));
                    assert!((value - expected[i]).abs() < 1e-6, "{gate}, {column}: {value}, not {}", expected[i]);
                }
            }
        }
    }
}

fn groups() -> [(Option<&'static str>, Option<DomainId>); 4] {
    [
        (None, None),
        (Some("search"), Some(DomainId::new(0))),
        (Some("feed"), Some(DomainId::new(1))),
        (Some("(shared)"), Some(DomainId::SHARED)),
    ]
}

#[test]
fn gates_over_all_rows_and_by_domain() {
    let (model, batch) = (ple(Branches::Tasks), batch());
    let uses = gates(&model, &batch).unwrap();
    assert_eq!(uses.len(), 2 * groups().len());
    let gate = |k| &model.net().get::<Gate>(("levels", 0, "gates", Branch::Task(k))).unwrap().weight;
    let shared = &model.net().get::<Gate>(("levels", 0, "shared_gate")).unwrap().weight;
    for (name, domain) in groups() {
        let of = find(&uses, 0, name);
        let x = rows_of(&batch, domain);
        assert_eq!(of.rows, x.nrows());
        assert_eq!(of.mean.rows, ["gates.click", "gates.buy", "shared_gate"]);
        assert_eq!(of.mean.columns, ["own.click.0", "own.buy.0", "shared.0", "shared.1"]);
        assert_eq!((&of.std.rows, &of.std.columns), (&of.mean.rows, &of.mean.columns));
        let of_branch = |k: usize| naive(&x, gate(k));
        same(of, "gates.click", &["own.click.0", "shared.0", "shared.1"], &of_branch(0));
        same(of, "gates.buy", &["own.buy.0", "shared.0", "shared.1"], &of_branch(1));
        let every = ["own.click.0", "own.buy.0", "shared.0", "shared.1"];
        same(of, "shared_gate", &every, &naive(&x, shared));
    }
    let last = find(&uses, 1, None);
    assert_eq!(last.mean.rows, ["gates.click", "gates.buy"], "the last level has no shared gate");
    assert!(last.std.values.iter().flatten().flatten().all(|&std| std > 0.0));
}

#[test]
fn upper_gates_read_what_lower_levels_fuse() {
    let mut model = ple(Branches::Tasks);
    // Experts that give (1, 2) whatever they read: so does every mixture of them.
    let constant = |expert: &mut Mlp| {
        expert.layers[0].weight.fill(0.0);
        expert.layers[0].bias = ndarray::array![1.0, 2.0];
    };
    let net = model.net_mut();
    (0..2).for_each(|i| constant(net.get_mut(("levels", 0, "shared", i)).unwrap()));
    (0..2).for_each(|k| constant(net.get_mut(("levels", 0, "own", Branch::Task(k), 0)).unwrap()));
    let uses = gates(&model, &batch()).unwrap();
    let fused = ndarray::array![[1.0, 2.0]];
    for (name, _) in groups() {
        let expected = naive(&fused, &model.net().get::<Gate>(("levels", 1, "gates", Branch::Task(1))).unwrap().weight);
        same(find(&uses, 1, name), "gates.buy", &["own.buy.0", "shared.0", "shared.1"], &expected);
    }
}

/// The lowest gate of the domain `feed`.
fn gate_of_feed(model: &Ple) -> &Gate {
    model.net().get(("levels", 0, "gates", Branch::Domain(DomainId::new(1)))).unwrap()
}

#[test]
fn gates_of_domains_are_passed_by_their_rows() {
    let (model, batch) = (stirred(config(Branches::Domains).levels(3)), batch());
    let uses = gates(&model, &batch).unwrap();
    // What the lowest gates fuse is read by experts that every row passes.
    for (name, domain) in groups() {
        let lowest = find(&uses, 0, name);
        assert_eq!(lowest.mean.rows, ["gates.search", "gates.feed", "gates.cart", "shared_gate"]);
        let expected = naive(&rows_of(&batch, domain), &gate_of_feed(&model).weight);
        same(lowest, "gates.feed", &["own.feed.0", "shared.0", "shared.1"], &expected);
    }
    // Above, rows pass the gates of their domain, and those of no known domain all.
    for level in [1, 2] {
        let shared = if level == 1 { &["shared_gate"][..] } else { &[] };
        for (name, passed) in [
            (None, &["gates.search", "gates.feed", "gates.cart"][..]),
            (Some("search"), &["gates.search"]),
            (Some("feed"), &["gates.feed"]),
            (Some("(shared)"), &["gates.search", "gates.feed", "gates.cart"]),
        ] {
            assert_eq!(find(&uses, level, name).mean.rows, [passed, shared].concat());
        }
    }
}

#[test]
fn a_gate_is_measured_over_the_rows_that_pass_it() {
    let (model, batch) = (stirred(config(Branches::Domains).levels(1)), batch());
    let uses = gates(&model, &batch).unwrap();
    let (feed, nowhere) = (rows_of(&batch, Some(DomainId::new(1))), rows_of(&batch, Some(DomainId::SHARED)));
    let passing = ndarray::concatenate![ndarray::Axis(0), feed, nowhere];
    let expected = naive(&passing, &gate_of_feed(&model).weight);
    same(find(&uses, 0, None), "gates.feed", &["own.feed.0", "shared.0", "shared.1"], &expected);
}

#[test]
fn ml_mmoe_has_gates_of_experts_below_those_of_branches() {
    let config = MlMmoeConfig::builder(&layout()).levels(3).experts(2).expert_hidden([2]).tower_hidden([2]);
    let (mut model, batch) = (MlMmoe::new(config.build().unwrap()), batch());
    stir(&mut model);
    let (uses, experts) = (gates(&model, &batch).unwrap(), ["shared.0", "shared.1"]);
    for (name, domain) in groups() {
        let x = rows_of(&batch, domain);
        for level in [0, 1] {
            let of = find(&uses, level, name);
            assert_eq!(of.mean.rows, ["gates.0", "gates.1"]);
            for i in 0..2 {
                let gate = model.net().get::<Gate>(("levels", level + 1, "gates", i)).unwrap();
                same(of, &format!("gates.{i}"), &experts, &naive(&x, &gate.weight));
            }
        }
        let last = find(&uses, 2, name);
        assert_eq!(last.mean.rows, ["gates.click", "gates.buy"]);
        same(
            last,
            "gates.buy",
            &experts,
            &naive(&x, &model.net().get::<Gate>(("gates", Branch::Task(1))).unwrap().weight),
        );
    }
}

#[test]
fn moe_has_one_gate() {
    let config = MoeConfig::builder(&layout()).experts(2).expert_hidden([2]).tower_hidden([2]);
    let (mut model, batch) = (Moe::new(config.build().unwrap()), batch());
    stir(&mut model);
    let uses = gates(&model, &batch).unwrap();
    assert_eq!(find(&uses, 0, None).mean.rows, ["shared_gate"]);
    let weight = &model.net().get::<Gate>(("levels", 0, "shared_gate")).unwrap().weight;
    same(find(&uses, 0, None), "shared_gate", &["shared.0", "shared.1"], &naive(&batch.numeric, weight));
}

#[test]
fn any_model_shows_the_gates_of_what_it_is() {
    let config = config(Branches::Tasks).build().unwrap();
    let (model, any) = (Ple::new(config.clone()), Model::new(config));
    let rows = batch().slice(0..200);
    assert_eq!(gates(&any, &rows).unwrap(), gates(&model, &rows).unwrap());
}

#[test]
fn models_without_gates_and_rows_of_another_layout() {
    let pooled = Pooled::new(PooledConfig::builder(&layout()).build().unwrap());
    assert_eq!(gates(&pooled, &batch()).unwrap(), []);
    assert_eq!(gates(&ple(Branches::Tasks), &batch().slice(0..0)).unwrap(), []);
    let torn = Batch { numeric: batch().numeric.slice(s![.., ..2]).to_owned(), ..batch() };
    assert_eq!(gates(&ple(Branches::Tasks), &torn).unwrap_err().kind(), ErrorKind::Layout);
}

#[test]
fn a_table_of_gates() {
    let mut model = ple(Branches::Tasks);
    model.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            values.fill(0.0);
        }
    });
    let uses = gates(&model, &batch().slice(0..6)).unwrap();
    let expected = "\
Gates of level 0, rows of feed (3)
mean ± standard deviation    own.click.0      own.buy.0       shared.0       shared.1
─────────────────────────────────────────────────────────────────────────────────────
gates.click                0.333 ± 0.000                 0.333 ± 0.000  0.333 ± 0.000
gates.buy                                 0.333 ± 0.000  0.333 ± 0.000  0.333 ± 0.000
shared_gate                0.250 ± 0.000  0.250 ± 0.000  0.250 ± 0.000  0.250 ± 0.000
";
    assert_eq!(find(&uses, 0, Some("feed")).to_string(), expected);
    let json = serde_json::to_value(find(&uses, 0, Some("feed"))).unwrap();
    assert_eq!((&json["level"], &json["domain"], &json["rows"]), (&0.into(), &"feed".into(), &3.into()));
    assert_eq!(json["mean"]["values"][2][0], 0.25);
    assert!(json["mean"]["values"][0][1].is_null());
}

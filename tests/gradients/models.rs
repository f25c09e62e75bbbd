//! STAR, PLE, MRAN and the pooled model as a whole: several tasks, a mixed batch, one domain absent, a one-row segment, repeated
//! ids, bags.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis, array, concatenate, s};
use rand::Rng as _;
use starple::data::{Batch, DomainId, Ids, Layout, Pooling};
use starple::model::{Branches, Cache, MranConfig};
use starple::nn::{ActivationKind, Combination, Infer, Leaf, LeafMut, NormKind, Params as _, Part, Path, Train};
use starple::{AnyConfig, Model, PleConfig, PooledConfig, StarConfig};

use crate::check::{derivatives, random, rng, same, wide};
use crate::reference::{self, Attention, MranShape, PleShape, Style, Values};

const DIM: usize = 3;

fn layout() -> Layout {
    Layout::new(["search", "feed", "cart", "partner"], ["click", "buy"])
        .field("user", 5)
        .bag("tags", 6, Pooling::Mean)
        .bag("words", 4, Pooling::Sum)
        .bag("height", 6, Pooling::Interpolate)
        .numeric(["age", "price"])
}

/// Nine rows, not grouped; `feed` is absent, `cart` has one row; ids repeat between and inside rows.
fn batch() -> Batch {
    let domains = [0, 3, 0, 2, 3, 3, 0, 3, 3].map(DomainId::new).to_vec();
    Batch {
        ids: vec![
            Ids::One(vec![1, 1, 4, 0, 2, 2, 1, 4, 3]),
            Ids::Bag { offsets: vec![0, 2, 2, 3, 6, 7, 8, 10, 11, 12], ids: vec![1, 5, 2, 3, 3, 0, 4, 1, 1, 2, 5, 0] },
            Ids::Bag { offsets: vec![0, 1, 2, 3, 3, 5, 6, 7, 9, 10], ids: vec![0, 1, 2, 3, 3, 1, 0, 2, 1, 0] },
            // Positions on rows and between them; the last row has no next one.
            Ids::Interpolated {
                ids: vec![0, 1, 5, 4, 1, 3, 2, 2, 1],
                fractions: vec![0.0, 0.3, 0.0, 1.0, 0.7, 0.45, 0.15, 0.0, 0.6],
            },
        ],
        numeric: random(9, 2, &mut rng(31)),
        labels: Array2::zeros((9, 2)),
        domains,
        ..Batch::default()
    }
}

fn names(batch: &Batch) -> Vec<Option<String>> {
    batch.domains.iter().map(|d| Some(layout().domains[d.index().unwrap()].clone())).collect()
}

/// The embedded rows, by definition.
fn embed(p: &Values, batch: &Batch) -> Array2<f64> {
    let mut x = Array2::zeros((batch.rows(), 4 * DIM + 2));
    for (f, (field, ids)) in layout().fields.iter().zip(&batch.ids).enumerate() {
        let table = p.matrix(&format!("embeddings.{}", field.name));
        for i in 0..batch.rows() {
            let ids: Vec<usize> = match ids {
                Ids::One(ids) => vec![ids[i] as usize],
                Ids::Interpolated { ids, fractions } => {
                    let (id, fraction) = (ids[i] as usize, f64::from(fractions[i]));
                    let mut value = &table.row(id) * (1.0 - fraction);
                    if fraction > 0.0 {
                        value = value + &table.row(id + 1) * fraction;
                    }
                    x.slice_mut(s![i, f * DIM..(f + 1) * DIM]).assign(&value);
                    continue;
                }
                Ids::Bag { offsets, ids } => {
                    ids[offsets[i] as usize..offsets[i + 1] as usize].iter().map(|&id| id as usize).collect()
                }
            };
            if ids.is_empty() {
                continue;
            }
            let sum = table.select(Axis(0), &ids).sum_axis(Axis(0));
            let value = if field.bag == Some(Pooling::Mean) { sum / ids.len() as f64 } else { sum };
            x.slice_mut(s![i, f * DIM..(f + 1) * DIM]).assign(&value);
        }
    }
    x.slice_mut(s![.., 4 * DIM..]).assign(&wide(&batch.numeric));
    x
}

/// Moves every parameter off its start.
fn stir(model: &mut Model) {
    let mut rng = rng(5);
    model.visit_mut(|path, leaf| match leaf {
        LeafMut::Tensor(values, ..) => values.iter_mut().for_each(|v| *v += rng.random_range(-0.4..0.4)),
        LeafMut::Average(values, _) if path.name(&layout()).ends_with("var") => {
            values.fill_with(|| rng.random_range(0.2..1.5));
        }
        LeafMut::Average(values, _) => values.fill_with(|| rng.random_range(-0.4..0.4)),
        LeafMut::Count(count) => *count = 2,
    });
}

fn check(
    what: &str,
    config: impl Into<AnyConfig>,
    silent_task: Option<usize>,
    reference: impl Fn(&Values, &Array2<f64>, &[Option<String>], bool) -> Array2<f64>,
) {
    let config = config.into();
    assert_eq!(config.width(), 4 * DIM + 2);
    let mut model = Model::new(config);
    stir(&mut model);
    let batch = batch();
    let names = names(&batch);
    let mut values = Values::default();
    model.visit(|path, leaf| values.take(&path.name(&layout()), leaf));

    let mut infer = Cache::<Infer>::default();
    let logits = model.forward_with(&batch, batch.domains(), &mut infer);
    same(&format!("{what}, inference"), logits, &reference(&values, &embed(&values, &batch), &names, false));

    let mut train = Cache::<Train>::default();
    // Twice through the same cache: what the first step leaves must not show in the second.
    let mut grad = model.zero_grad();
    for _ in 0..2 {
        grad = model.zero_grad();
        let logits = model.forward_with(&batch, batch.domains(), &mut train).clone();
        same(&format!("{what}, training"), &logits, &reference(&values, &embed(&values, &batch), &names, true));
        model.backward(&batch, &dlogits(silent_task), &mut train, &mut grad);
    }

    let mut gradients = BTreeMap::new();
    for (field, (table, grad)) in layout().fields.iter().zip(model.embeddings().tables().iter().zip(&grad.tables)) {
        let mut dense = Array2::<f64>::zeros(table.dim());
        for row in 0..table.nrows() {
            if let Some(row_grad) = grad.row(row) {
                dense.row_mut(row).iter_mut().zip(row_grad).for_each(|(dense, &g)| *dense = f64::from(g));
            }
        }
        gradients.insert(format!("embeddings.{}", field.name), dense.into_dyn());
    }
    let mut of_net = Values::default();
    let path = &mut Path::starting_at(0);
    path.within(Part::Field("net"), |path| {
        grad.net.visit(path, &mut |path, leaf| {
            if let Leaf::Tensor(..) = leaf {
                of_net.take(&path.name(&layout()), leaf);
            }
        });
    });
    gradients.extend(of_net.0);
    assert!(gradients.values().filter(|g| g.iter().any(|&g| g != 0.0)).count() > gradients.len() / 4);
    let dlogits = wide(&dlogits(silent_task));
    derivatives(what, &values, &gradients, |values| {
        (reference(values, &embed(values, &batch), &names, true) * &dlogits).sum()
    });
}

fn dlogits(silent_task: Option<usize>) -> Array2<f32> {
    let mut dlogits = random(9, 2, &mut rng(77));
    // A missing label leaves a zero.
    dlogits[[4, 1]] = 0.0;
    if let Some(task) = silent_task {
        dlogits.column_mut(task).fill(0.0);
    }
    dlogits
}

#[test]
fn star() {
    for (what, activation, norm, partitioned, auxiliary) in [
        ("star", ActivationKind::Relu, NormKind::None, true, true),
        ("star with dice", ActivationKind::Dice, NormKind::None, true, true),
        ("star with layer norm and prelu", ActivationKind::Prelu, NormKind::Layer, true, true),
        ("star with batch norm", ActivationKind::Gelu, NormKind::Batch, true, true),
        ("star without partitioned norm", ActivationKind::Relu, NormKind::None, false, true),
        ("star without auxiliary network", ActivationKind::Relu, NormKind::None, true, false),
    ] {
        let config = StarConfig::builder(&layout())
            .embedding_dim(DIM)
            .hidden([6, 4])
            .auxiliary_hidden([5])
            .domain_dim(2)
            .activation(activation)
            .norm(norm)
            .partitioned_norm(partitioned)
            .auxiliary(auxiliary)
            .norm_min_rows(2)
            .norm_floor(0.1)
            .build()
            .unwrap();
        check(what, config, None, |p, x, domains, training| {
            reference::star(p, Style { activation, norm, training }, Combination::Product, 1, x, domains)
        });
    }
}

#[test]
fn star_of_every_combination() {
    for combination in [
        Combination::Add,
        Combination::AdaptiveAdd,
        Combination::SigmoidGate,
        Combination::Concatenation,
        Combination::low_rank(),
    ] {
        let config =
            StarConfig::builder(&layout()).embedding_dim(DIM).hidden([6, 4]).auxiliary_hidden([5]).domain_dim(2);
        let config = config.combination(combination).norm_min_rows(2).norm_floor(0.1).build().unwrap();
        check(&format!("{combination:?}"), config, None, |p, x, domains, training| {
            let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training };
            reference::star(p, style, combination, 1, x, domains)
        });
    }
}

/// Names, domains and tasks of all branches.
fn branches_of(branches: Branches) -> Vec<reference::Branch> {
    let layout = layout();
    let domains = || layout.domains.iter().cloned();
    match branches.resolve(&layout) {
        Branches::Auto | Branches::Tasks => {
            layout.tasks.iter().enumerate().map(|(t, name)| (name.clone(), None, Some(t))).collect()
        }
        Branches::Domains => domains().map(|d| (d.clone(), Some(d), None)).collect(),
        Branches::DomainsAndTasks => domains()
            .flat_map(|d| {
                let tasks = layout.tasks.iter().enumerate();
                tasks.map(move |(t, name)| (format!("{d}/{name}"), Some(d.clone()), Some(t))).collect::<Vec<_>>()
            })
            .collect(),
    }
}

#[test]
fn ple() {
    let layout = layout();
    for branches in [Branches::Tasks, Branches::Domains, Branches::DomainsAndTasks] {
        for (levels, shared, own, experts) in [
            (1, 2, 1, &[5][..]),
            (2, 2, 1, &[5]),
            (3, 1, 2, &[6, 5]),
            (1, 3, 0, &[5]),
            (2, 2, 0, &[5]),
            (1, 0, 2, &[5]),
        ] {
            for silent_task in [None, Some(1)] {
                let config = PleConfig::builder(&layout)
                    .embedding_dim(DIM)
                    .branches(branches)
                    .levels(levels)
                    .shared_experts(shared)
                    .own_experts(own)
                    .expert_hidden(experts)
                    .tower_hidden([4])
                    .build()
                    .unwrap();
                let shape = PleShape {
                    branches: branches_of(branches),
                    shared,
                    own,
                    expert_layers: experts.len(),
                    tower_layers: 1,
                    tasks: 2,
                };
                let what =
                    format!("ple {branches:?}, {levels} levels, {shared} + {own} experts, silent {silent_task:?}");
                check(&what, config, silent_task, |p, x, domains, training| {
                    let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training };
                    reference::ple(p, style, &shape, x, domains)
                });
            }
        }
    }
}

#[test]
fn mran() {
    for branches in [Branches::Tasks, Branches::Domains, Branches::DomainsAndTasks] {
        for (layers, relations, scaled, norm, activation) in [
            (1, true, true, NormKind::None, ActivationKind::Relu),
            (2, true, false, NormKind::Layer, ActivationKind::Gelu),
            (0, false, true, NormKind::None, ActivationKind::Tanh),
        ] {
            for silent_task in [None, Some(1)] {
                let config = MranConfig::builder(&layout())
                    .embedding_dim(DIM)
                    .branches(branches)
                    .heads(2)
                    .head_width(2)
                    .scaled(scaled)
                    .attention_layers(layers)
                    .branch_attention(relations)
                    .norm(norm)
                    .activation(activation)
                    .tower_hidden([4])
                    .build()
                    .unwrap();
                let shape = MranShape {
                    branches: branches_of(branches),
                    attention: Attention { heads: 2, head_width: 2, scaled },
                    fields: 4,
                    dim: DIM,
                    tower_layers: 1,
                    tasks: 2,
                };
                let what = format!("mran {branches:?}, {layers} layers, relations {relations}, silent {silent_task:?}");
                check(&what, config, silent_task, |p, x, domains, training| {
                    reference::mran(p, Style { activation, norm, training }, &shape, x, domains)
                });
            }
        }
    }
}

#[test]
fn pooled() {
    let config = PooledConfig::builder(&layout()).embedding_dim(DIM).hidden([6, 4]).domain_dim(2).build().unwrap();
    check("pooled", config, None, |p, x, domains, training| {
        let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training };
        reference::pooled(p, "net", style, 2, x, domains)
    });
}

#[test]
fn the_reference_embeds_as_the_paper_says() {
    // By hand: row 3 has the tags 3, 3, 0 and no words.
    let mut values = Values::default();
    for (name, rows) in [("user", 5), ("tags", 6), ("words", 4), ("height", 6)] {
        let table = Array2::from_shape_fn((rows, DIM), |(row, _)| row as f64);
        values.0.insert(format!("embeddings.{name}"), table.into_dyn());
    }
    let x = embed(&values, &batch());
    let expected = concatenate![Axis(0), array![0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0]];
    assert_eq!(x.slice(s![3, ..9]), expected);
    // And a position on row 4 that goes all the way to row 5.
    assert_eq!(x.slice(s![3, 9..12]), array![5.0, 5.0, 5.0]);
}

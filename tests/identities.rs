//! Checks identities between models: special cases that the papers state must hold.

use ndarray::{Array2, Axis, concatenate, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{Batch, DomainId, Ids, Layout};
use starple::model::{Branches, Cache, Pepnet, PepnetConfig, PepnetConfigBuilder, PleConfigBuilder};
use starple::nn::{
    ActivationKind, Branch, Combination, DomainLinear, DomainMlp, Gate, GateCache, HiddenSettings, InitRng, Leaf,
    LeafMut, Linear, Mlp, MlpCache, Mode, NormKind, Params as _, PartitionedNorm, PartitionedNormCache,
    PartitionedNormSettings, PostAffineCache, Segment, StarLinear, Train, mix,
};
use starple::{Model, Ple, PleConfig, Star, StarConfig};

fn layout() -> Layout {
    Layout::new(["search", "feed", "cart"], ["click", "buy"]).field("user", 20).field("item", 15).numeric(["price"])
}

/// Rows grouped by domain.
fn batch() -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let domains = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2].map(DomainId::new).to_vec();
    let mut ids = |range: u32| Ids::One((0..10).map(|_| rng.random_range(0..range)).collect());
    Batch {
        ids: vec![ids(20), ids(15)],
        numeric: Array2::from_shape_fn((10, 1), |(i, _)| i as f32 / 5.0 - 1.0),
        labels: Array2::zeros((10, 2)),
        domains,
        ..Batch::default()
    }
}

/// The embedded rows, looked up without the crate's code.
fn embed(tables: &[Array2<f32>], batch: &Batch) -> Array2<f32> {
    let columns: Vec<Array2<f32>> = (tables.iter().zip(&batch.ids))
        .map(|(table, ids)| {
            let Ids::One(ids) = ids else { panic!("single ids") };
            table.select(Axis(0), &ids.iter().map(|&id| id as usize).collect::<Vec<_>>())
        })
        .collect();
    concatenate![Axis(1), columns[0], columns[1], batch.numeric]
}

fn run(mlp: &Mlp, x: &Array2<f32>) -> Array2<f32> {
    let mut y = Array2::zeros((x.nrows(), mlp.output()));
    mlp.forward(x, Mode::Infer, &mut MlpCache::default(), &mut y);
    y
}

const COMBINATIONS: [Combination; 6] = [
    Combination::Product,
    Combination::Add,
    Combination::AdaptiveAdd,
    Combination::SigmoidGate,
    Combination::Concatenation,
    Combination::LowRank { rank: 2 },
];

fn star(combination: Combination) -> Star {
    let config = StarConfig::builder(&layout()).embedding_dim(4).embedding_std(0.5).hidden([12, 6]);
    Star::new(config.combination(combination).partitioned_norm(false).auxiliary(false).build().unwrap())
}

/// STAR's main network as an ordinary MLP.
fn as_stack(star: &Star, layer: impl Fn(&StarLinear) -> Linear) -> Mlp {
    let net = star.net();
    Mlp { layers: net.all().map(layer).collect(), hidden: net.all().cloned().collect() }
}

/// Changes every parameter from its initial value.
fn stir(model: &mut Model) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    model.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(values, ..) = leaf {
            for value in values {
                *value += rng.random_range(-0.3..0.3);
            }
        }
    });
}

#[test]
fn star_at_its_start_is_the_shared_bottom_bit_for_bit() {
    let batch = batch();
    for combination in COMBINATIONS {
        let star = star(combination);
        let x = embed(star.embeddings().tables(), &batch);
        let stack = as_stack(&star, |layer| layer.shared.clone());
        let shared = run(&stack, &x);
        for (segment, d) in [(0..4, 0), (4..7, 1), (7..10, 2)] {
            // Same number of rows as in the mixed batch: the bits of a product can depend on it.
            let rows = s![segment.clone(), ..];
            let own = run(&stack, &x.slice(rows).to_owned());
            assert_eq!(star.forward(&batch, &batch.domains).slice(rows), own, "{combination:?}, domain {d}");
            assert_eq!(star.forward(&batch, DomainId::new(d)), shared, "{combination:?}, domain {d} over all rows");
        }
    }
}

#[test]
fn star_with_multiplied_weights_is_star() {
    let (mut star, batch) = (star(Combination::Product), batch());
    stir(&mut star);
    let x = embed(star.embeddings().tables(), &batch);
    for d in 0..3 {
        let stack = as_stack(&star, |layer| {
            let DomainLinear::Product(factor) = &layer.domain[d] else { panic!("a product") };
            let Linear { weight, bias } = &layer.shared;
            Linear { weight: weight * &factor.weight, bias: bias + &factor.bias }
        });
        assert_eq!(star.forward(&batch, DomainId::new(d)), run(&stack, &x));
    }
}

#[test]
fn star_with_combined_weights_is_star() {
    let batch = batch();
    for combination in COMBINATIONS {
        let mut star = star(combination);
        stir(&mut star);
        if combination == Combination::SigmoidGate {
            // Open the gate: a bias of 30 gives a sigmoid of 1.
            star.visit_mut(|path, leaf| match leaf {
                LeafMut::Tensor(values, ..) if path.name(&layout()).ends_with("gate.bias") => values.fill(30.0),
                _ => {}
            });
        }
        let x = embed(star.embeddings().tables(), &batch);
        for d in 0..3 {
            let ours = star.forward(&batch, DomainId::new(d));
            let stack = run(&as_stack(&star, |layer| layer.combined(d)), &x);
            for (a, b) in ours.iter().zip(&stack) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{combination:?}, domain {d}: {a} and {b}");
            }
        }
    }
}

#[test]
fn partitioned_norm_of_a_mixed_batch_is_that_of_its_domains() {
    let domains = || (0..3).map(DomainId::new);
    let norm = PartitionedNorm::new(5, domains(), PartitionedNormSettings { min_rows: 2, ..Default::default() });
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let z = Array2::from_shape_simple_fn((10, 5), || rng.random_range(-2.0..2.0_f32));
    let dy = Array2::from_shape_simple_fn((10, 5), || rng.random_range(-2.0..2.0_f32));
    let segments =
        [(0, 0, 4), (1, 4, 7), (2, 7, 10)].map(|(d, start, end)| Segment { domain: DomainId::new(d), start, end });
    let pass = |z: &Array2<f32>, dy: &Array2<f32>, segments: &[Segment]| {
        let (mut y, mut dz) = (Array2::zeros(z.dim()), Array2::zeros(z.dim()));
        let (mut cache, mut grad) = (PartitionedNormCache::default(), starple::nn::Params::zeros_like(&norm));
        norm.forward(z, segments, Mode::Train(Train::default()), &mut cache, &mut y);
        norm.backward(z, segments, dy, &mut cache, &mut grad, &mut dz);
        (y, dz, grad)
    };
    let (mixed_y, mixed_dz, mixed_grad) = pass(&z, &dy, &segments);
    for segment in segments {
        let rows = s![segment.rows(), ..];
        let alone = [Segment { start: 0, end: segment.len(), ..segment }];
        let (y, dz, grad) = pass(&z.slice(rows).to_owned(), &dy.slice(rows).to_owned(), &alone);
        assert_eq!(mixed_y.slice(rows), y);
        assert_eq!(mixed_dz.slice(rows), dz);
        let d = segment.trained_domain();
        assert_eq!(mixed_grad.domain[d], grad.domain[d], "own gradients and statistics");
    }
}

fn ple(settings: impl FnOnce(PleConfigBuilder) -> PleConfigBuilder) -> Ple {
    let config = PleConfig::builder(&layout()).embedding_dim(4).embedding_std(0.5).expert_hidden([8]).tower_hidden([5]);
    Ple::new(settings(config).build().unwrap())
}

/// One level, computed from experts, gates and towers: `y^k = t^k(Σ_i softmax(x·W^k)_i E_i(x))`.
fn one_level(model: &Ple, batch: &Batch, own: bool, one_gate: bool) -> Array2<f32> {
    let x = embed(model.embeddings().tables(), batch);
    let (net, branch) = (model.net(), Branch::Task);
    let logits: Vec<Array2<f32>> = (0..2)
        .map(|k| {
            let owned = (0..).map_while(|i| net.get::<Mlp>(("levels", 0, "own", branch(k), i))).filter(|_| own);
            let shared = (0..).map_while(|i| net.get::<Mlp>(("levels", 0, "shared", i)));
            let experts: Vec<_> = owned.chain(shared).map(|expert| run(expert, &x)).collect();
            let mut gate = GateCache::default();
            let of = branch(if one_gate { 0 } else { k });
            net.get::<Gate>(("levels", 0, "gates", of)).unwrap().forward(&x, &mut gate);
            let mut fused = Array2::zeros((10, 8));
            mix(&gate, experts.iter().map(|expert| expert.view()), &mut fused);
            run(net.get(("towers", branch(k))).unwrap(), &fused)
        })
        .collect();
    concatenate![Axis(1), logits[0], logits[1]]
}

#[test]
fn one_level_is_cgc() {
    let (model, batch) = (ple(|config| config.levels(1).own_experts(2).shared_experts(2)), batch());
    assert!(model.net().get::<Gate>(("levels", 0, "shared_gate")).is_none(), "nobody would read it");
    assert_eq!(model.forward(&batch, DomainId::new(0)), one_level(&model, &batch, true, false));
}

#[test]
fn cgc_without_own_experts_is_mmoe() {
    let (model, batch) = (ple(|config| config.levels(1).own_experts(0).shared_experts(3)), batch());
    assert!(model.net().get::<Mlp>(("levels", 0, "own", Branch::Task(0), 0)).is_none());
    assert_eq!(model.forward(&batch, DomainId::new(0)), one_level(&model, &batch, false, false));
}

#[test]
fn mmoe_with_one_gate_is_moe() {
    let (mut model, batch) = (ple(|config| config.levels(1).own_experts(0).shared_experts(3)), batch());
    let gate = |k| ("levels", 0, "gates", Branch::Task(k));
    let first = model.net().get::<Gate>(gate(0)).unwrap().clone();
    *model.net_mut().get_mut(gate(1)).unwrap() = first;
    assert_eq!(model.forward(&batch, DomainId::new(0)), one_level(&model, &batch, false, true));
}

#[test]
fn branches_for_domains_of_one_task_are_branches_for_domains_and_tasks() {
    let one_task = Layout { tasks: vec!["click".into()], ..layout() };
    let model = |branches| {
        let config = PleConfig::builder(&one_task).embedding_dim(4).expert_hidden([8]).branches(branches);
        Ple::new(config.build().unwrap())
    };
    let (domains, mut both) = (model(Branches::Domains), model(Branches::DomainsAndTasks));
    // Tensors with other names have other initial values.
    let mut values = Vec::new();
    domains
        .visit(|_, leaf| values.extend(if let Leaf::Tensor(values, ..) = leaf { values.to_vec() } else { Vec::new() }));
    let mut values = values.into_iter();
    both.visit_mut(|_, leaf| {
        if let LeafMut::Tensor(tensor, ..) = leaf {
            for value in tensor {
                *value = values.next().unwrap();
            }
        }
    });
    assert!(values.next().is_none());
    let batch = Batch { labels: Array2::zeros((10, 1)), ..batch() };
    assert_eq!(domains.forward(&batch, &batch.domains), both.forward(&batch, &batch.domains));
}

fn pepnet(hidden: &[usize]) -> PepnetConfigBuilder {
    let config = PepnetConfig::builder(&layout()).embedding_dim(4).embedding_std(0.5).domain_dim(3).gate_hidden(6);
    config.priors(["user"]).hidden(hidden)
}

/// The layers of one task's tower as one stack.
fn tower(model: &Pepnet, task: usize) -> Mlp {
    let (net, branch) = (model.net(), Branch::Task(task));
    let own: Vec<&Mlp> = (0..).map_while(|l| net.get(("layers", l, "own", branch))).collect();
    let last = net.get::<Mlp>(("towers", branch)).unwrap();
    let layers = own.iter().copied().chain([last]).flat_map(|mlp| mlp.layers.clone()).collect();
    Mlp { layers, hidden: own.iter().flat_map(|mlp| mlp.hidden.clone()).collect() }
}

#[test]
fn pepnet_at_its_start_is_a_stack_for_each_task_bit_for_bit() {
    let batch = batch();
    for config in [
        pepnet(&[12, 6]),
        pepnet(&[12, 6]).gate_input(true).gate_hidden(None),
        pepnet(&[7]).activation(ActivationKind::Silu).norm(NormKind::Layer),
    ] {
        let stacks = |model: &Pepnet| {
            let x = embed(model.embeddings().tables(), &batch);
            let logits = [0, 1].map(|task| run(&tower(model, task), &x));
            concatenate![Axis(1), logits[0], logits[1]]
        };
        let model = Pepnet::new(config.clone().build().unwrap());
        assert_eq!(model.forward(&batch, &batch.domains), stacks(&model));
        assert_eq!(model.forward(&batch, DomainId::SHARED), stacks(&model));
        // The gates do have an effect.
        let drawn = Pepnet::new(config.gates_from_zero(false).build().unwrap());
        let (ours, plain) = (drawn.forward(&batch, &batch.domains), stacks(&drawn));
        assert!(ours.iter().zip(&plain).all(|(a, b)| (a - b).abs() > 1e-5), "{ours} and {plain}");
    }
}

/// The backward pass by the chain rule, from the stacks of the net, without the stopped gradients.
#[test]
fn pepnet_stops_the_gradients_of_gate_inputs_except_priors() {
    const WIDTH: usize = 12;
    let mut model = Pepnet::new(pepnet(&[WIDTH]).build().unwrap());
    stir(&mut model);
    let (batch, net, x) = (batch(), model.net(), embed(model.embeddings().tables(), &batch()));
    let dlogits = Array2::from_shape_fn((10, 2), |(i, j)| (i as f32 - 4.0) / 10.0 + j as f32 / 3.0);
    let forward = |mlp: &Mlp, x: &Array2<f32>| {
        let (mut cache, mut y) = (MlpCache::default(), Array2::zeros((10, mlp.output())));
        mlp.forward(x, MODE.into(), &mut cache, &mut y);
        (y, cache)
    };
    let back = |mlp: &Mlp, x: &Array2<f32>, dy: &Array2<f32>, mut cache: MlpCache| {
        let (mut grad, mut dx) = (mlp.zeros_like(), Array2::zeros(x.dim()));
        mlp.backward(x, dy, &mut cache, &mut grad, Some(&mut dx));
        dx
    };
    let delta = |z: &Array2<f32>| z.mapv(|z| 2.0 / (1.0 + (-z).exp()));
    let ddelta = |delta: &Array2<f32>, d: &Array2<f32>| d * delta * delta.mapv(|delta| 1.0 - delta / 2.0);

    let epnet = net.get::<DomainMlp>("epnet").unwrap();
    let of_domain =
        Array2::from_shape_fn((10, 3), |(row, i)| epnet.domain[batch.domains[row].index().unwrap()].embedding[i]);
    let read = concatenate![Axis(1), x, of_domain];
    let (z, epnet_cache) = forward(&epnet.mlp, &read);
    let delta_d = delta(&z);
    let o = &delta_d * &x;
    let ppnet = net.get::<Mlp>(("ppnet", 1)).unwrap();
    let personal = concatenate![Axis(1), x.slice(s![.., ..4]), o];
    let (z, ppnet_cache) = forward(ppnet, &personal);
    let delta_1 = delta(&z);
    let (mut d_o, mut dz) = (Array2::zeros(o.dim()), Array2::zeros(z.dim()));
    for task in 0..2 {
        let own = net.get::<Mlp>(("layers", 0, "own", Branch::Task(task))).unwrap();
        let last = net.get::<Mlp>(("towers", Branch::Task(task))).unwrap();
        let gates = s![.., task * WIDTH..(task + 1) * WIDTH];
        let (h, cache) = forward(own, &o);
        let gate = delta_1.slice(gates).to_owned();
        let gated = &gate * &h;
        let (_, last_cache) = forward(last, &gated);
        let d_gated = back(last, &gated, &dlogits.slice(s![.., task..=task]).to_owned(), last_cache);
        d_o += &back(own, &o, &(&d_gated * &gate), cache);
        dz.slice_mut(gates).assign(&ddelta(&gate, &(&d_gated * &h)));
    }
    let d_personal = back(ppnet, &personal, &dz, ppnet_cache);
    let d_epnet = back(&epnet.mlp, &read, &ddelta(&delta_d, &(&d_o * &x)), epnet_cache);
    let mut dx = &d_o * &delta_d;
    dx.slice_mut(s![.., ..4]).scaled_add(1.0, &d_personal.slice(s![.., ..4]));

    let (mut cache, mut grad) = (Cache::<Train>::new(MODE), model.zero_grad());
    model.forward_with(&batch, batch.domains(), &mut cache);
    model.backward(&batch, &dlogits, &mut cache, &mut grad);
    for (f, columns) in [(0, 0..4), (1, 4..8)] {
        let Ids::One(ids) = &batch.ids[f] else { panic!("single ids") };
        let sums = |dx: &Array2<f32>| {
            let mut sums = Array2::<f32>::zeros(model.embeddings().tables()[f].dim());
            for (row, &id) in ids.iter().enumerate() {
                sums.row_mut(id as usize).scaled_add(1.0, &dx.slice(s![row, columns.clone()]));
            }
            sums
        };
        let found = Array2::from_shape_fn(sums(&dx).dim(), |(row, i)| grad.tables[f].row(row).map_or(0.0, |d| d[i]));
        assert_near(&found, &sums(&dx), &layout().fields[f].name);
        // The stopped gradients are much larger than rounding.
        for stopped in [&d_epnet, &(&d_personal.slice(s![.., 4..]) * &delta_d)] {
            assert!(sums(stopped).iter().any(|d| d.abs() > 1e-3), "{stopped}");
        }
    }
}

/// The output of a stack in training, its gradient and that of `x`, layer by layer and with separate parts of each layer.
fn layer_by_layer(mlp: &Mlp, x: &Array2<f32>, mode: Train, dy: &Array2<f32>) -> (Array2<f32>, Mlp, Array2<f32>) {
    let (mut grad, mut caches) = (mlp.zeros_like(), Vec::new());
    let mut values = vec![x.clone()];
    for (i, layer) in mlp.layers.iter().enumerate() {
        let mut z = Array2::zeros((x.nrows(), layer.bias.len()));
        layer.forward(&values[i], &mut z);
        let mut cache = PostAffineCache::default();
        let mut h = z.clone();
        if let Some(hidden) = mlp.hidden.get(i) {
            hidden.forward(&z, mode.into(), &mut cache, &mut h);
        }
        caches.push((z, cache));
        values.push(h);
    }
    let mut d = dy.clone();
    for (i, (z, mut cache)) in caches.into_iter().enumerate().rev() {
        let mut dz = d.clone();
        if let Some(hidden) = mlp.hidden.get(i) {
            hidden.backward(&z, &mut d, &mut cache, &mut grad.hidden[i], &mut dz);
        }
        d = Array2::zeros(values[i].dim());
        mlp.layers[i].backward(&values[i], &dz, &mut grad.layers[i], Some(&mut d));
    }
    (values.pop().unwrap(), grad, d)
}

fn assert_near(found: &Array2<f32>, expected: &Array2<f32>, what: &str) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
    }
}

const MODE: Train = Train { seed: 3, step: 5, first_row: 0 };

#[test]
fn a_stack_is_its_layers_one_after_the_other_dropout_included() {
    for output in [None, Some(2)] {
        let style = HiddenSettings { dropout: 0.3, ..HiddenSettings::default() };
        let mlp = Mlp::new(6, &[8, 5], output, style, &mut InitRng::new(7));
        let x = Array2::from_shape_fn((40, 6), |(i, j)| ((i * 7 + j * 13) % 17) as f32 / 8.0 - 1.0);
        let dy = Array2::from_shape_fn((40, mlp.output()), |(i, j)| ((i * 5 + j * 3) % 11) as f32 / 5.0 - 1.0);
        let (expected, expected_grad, expected_dx) = layer_by_layer(&mlp, &x, MODE, &dy);
        let dropped = expected.iter().filter(|&&y| y == 0.0).count();
        assert!(output.is_some() || dropped > 60, "the case has values that are silenced");
        let (mut y, mut dx) = (Array2::zeros(dy.dim()), Array2::zeros(x.dim()));
        let (mut cache, mut grad) = (MlpCache::default(), mlp.zeros_like());
        mlp.forward(&x, MODE.into(), &mut cache, &mut y);
        mlp.backward(&x, &dy, &mut cache, &mut grad, Some(&mut dx));
        assert_near(&y, &expected, "y");
        assert_near(&dx, &expected_dx, "dx");
        for (grad, expected) in grad.layers.iter().zip(&expected_grad.layers) {
            assert_near(&grad.weight, &expected.weight, "dW");
        }
    }
}

#[test]
fn a_star_of_neutral_factors_is_a_stack_dropout_included() {
    let config = StarConfig::builder(&layout()).embedding_std(1.0).hidden([9, 7]).dropout(0.3);
    let star = Star::new(config.partitioned_norm(false).auxiliary(false).build().unwrap());
    let (batch, mut cache) = (batch(), Cache::<Train>::new(MODE));
    let layers = star.net().all::<StarLinear>().map(|layer| layer.shared.clone()).collect();
    let mlp = Mlp { layers, hidden: star.net().all().cloned().collect() };
    let dlogits = Array2::from_shape_fn((10, 2), |(i, j)| (i as f32 - 4.0) / 10.0 + j as f32 / 3.0);
    let x = embed(star.embeddings().tables(), &batch);
    let (expected, expected_grad, _) = layer_by_layer(&mlp, &x, MODE, &dlogits);
    assert_near(star.forward_with(&batch, batch.domains(), &mut cache), &expected, "logits");
    let mut grad = star.zero_grad();
    star.backward(&batch, &dlogits, &mut cache, &mut grad);
    for (grad, expected) in grad.net.all::<StarLinear>().zip(&expected_grad.layers) {
        assert_near(&grad.shared.weight, &expected.weight, "dW");
    }
}

//! What every model promises its users: shapes, independence of rows, absent domains left alone, new domains.

use ndarray::{Array2, Axis, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{Batch, DomainId, Field, Ids, Layout};
use starple::model::{Branches, Cache, Net, PleNet, PooledNet, StarNet};
use starple::nn::{Infer, Leaf, Train};
use starple::optim::{AdamConfig, Optimizer, OptimizerConfig, RowUpdates, SgdConfig, WeightDecay};
use starple::{ErrorKind, Model, PleConfig, PooledConfig, StarConfig};

fn layout() -> Layout {
    let field = |name: &str, rows| Field { name: name.into(), rows, bag: None };
    Layout {
        fields: vec![field("user", 30), field("item", 20)],
        numeric: vec!["price".into()],
        domains: ["search", "feed", "cart"].map(String::from).to_vec(),
        tasks: ["click", "buy"].map(String::from).to_vec(),
    }
}

/// Rows of these domains with random ids.
fn batch(domains: &[usize], seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows = domains.len();
    let mut ids = |range| Ids::One((0..rows).map(|_| rng.random_range(0..range)).collect());
    let ids = vec![ids(30), ids(20)];
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    Batch {
        ids,
        numeric: Array2::from_shape_simple_fn((rows, 1), || rng.random_range(-1.0..1.0)),
        labels: Array2::zeros((rows, 2)),
        domains: domains.iter().map(|&d| DomainId::new(d)).collect(),
        ..Batch::default()
    }
}

fn star() -> Model<StarNet> {
    Model::new(StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).dropout(0.2).build().unwrap())
}

fn pooled() -> Model<PooledNet> {
    Model::new(PooledConfig::builder(&layout()).embedding_dim(4).hidden([16, 8]).build().unwrap())
}

fn ple(branches: Branches, levels: usize) -> Model<PleNet> {
    let config = PleConfig::builder(&layout()).embedding_dim(4).branches(branches).levels(levels);
    Model::new(config.expert_hidden([6]).tower_hidden([4]).build().unwrap())
}

fn adam(weight_decay: f64) -> Box<dyn Optimizer> {
    let config = AdamConfig::builder(0.05).weight_decay(WeightDecay::Decoupled(weight_decay));
    OptimizerConfig::Adam(config.build().unwrap()).build()
}

/// One step on random gradients of the logits of `tasks`.
fn step<N: Net>(model: &mut Model<N>, batch: &Batch, tasks: &[usize], number: u64, optimizer: &mut dyn Optimizer) {
    let mut cache = Cache::<N, Train>::new(Train { seed: 1, step: number });
    let mut grad = model.zero_grad();
    model.forward_with(batch, batch.domains(), &mut cache);
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut dlogits = Array2::zeros((batch.rows(), 2));
    for &task in tasks {
        dlogits.column_mut(task).mapv_inplace(|_: f32| rng.random_range(-1.0..1.0));
    }
    model.backward(batch, &dlogits, &mut cache, &mut grad);
    model.apply(&mut grad, optimizer);
}

/// Some steps on all domains, so that nothing is at its start.
fn train<N: Net>(model: &mut Model<N>) {
    let mut optimizer = adam(0.0);
    for number in 0..5 {
        step(model, &batch(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 1], number), &[0, 1], number, &mut *optimizer);
    }
}

/// All values by name, averages and counts too.
fn values<N: Net>(model: &Model<N>) -> Vec<(String, Vec<u32>)> {
    let mut values = Vec::new();
    model.visit(|path, leaf| {
        let bits = match leaf {
            Leaf::Tensor(v, ..) | Leaf::Average(v, _) => v.iter().map(|v| v.to_bits()).collect(),
            Leaf::Count(&count) => vec![count as u32],
        };
        values.push((path.name(model.layout()), bits));
    });
    values
}

fn assert_close(ours: &Array2<f32>, theirs: &Array2<f32>) {
    assert_eq!(ours.dim(), theirs.dim());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

fn rows_are_independent<N: Net>(mut model: Model<N>) {
    train(&mut model);
    let all = batch(&[2, 0, 1, 1, 0, 2, 2], 50);
    let logits = model.forward(&all, all.domains());
    assert_eq!(logits.dim(), (7, 2));
    for row in 0..7 {
        let one = all.select(&[row as u32]);
        assert_close(&model.forward(&one, one.domains[0]), &logits.slice(s![row..=row, ..]).to_owned());
    }
    let order = [3, 6, 0, 2, 5, 1, 4];
    let shuffled = all.select(&order);
    let order = order.map(|row| row as usize);
    assert_close(&model.forward(&shuffled, shuffled.domains()), &logits.select(Axis(0), &order));
    let mut cache = Cache::<N, Infer>::default();
    assert_eq!(model.forward_with(&all, all.domains(), &mut cache), &logits, "forward is forward_with");
    assert_eq!(model.score(&all), logits, "score is forward");
    let p = model.predict(&all, all.domains());
    assert_close(&p, &logits.mapv(|z| 1.0 / (1.0 + (-z).exp())));
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    rows_are_independent(star());
    rows_are_independent(pooled());
    for branches in [Branches::Tasks, Branches::Domains, Branches::DomainsAndTasks] {
        rows_are_independent(ple(branches, 2));
    }
}

#[test]
fn score_in_pieces_is_forward_whatever_the_threads() {
    let mut model = star();
    train(&mut model);
    let domains: Vec<usize> = (0..9000).map(|i| i * i % 3).collect();
    let rows = batch(&domains, 3);
    let whole = model.forward(&rows, rows.domains());
    let pieces = model.score(&rows);
    assert_close(&pieces, &whole);
    let parallel = starple::train::in_pool(3, || model.score(&rows)).unwrap();
    assert_eq!(parallel, pieces);
}

/// The names of what domain `d` alone owns.
fn of_domain(name: &str, domain: &str) -> bool {
    name.split('.').any(|part| part == domain || part.starts_with(&format!("{domain}/")))
}

#[test]
fn a_step_leaves_absent_domains_alone_weight_decay_and_optimizer_state_too() {
    let mut model = star();
    let mut optimizer = adam(0.1);
    for number in 0..3 {
        step(&mut model, &batch(&[0, 1, 2, 0, 1, 2], number), &[0, 1], number, &mut *optimizer);
    }
    let (before, mut alone) = (values(&model), model.clone());
    for number in 3..6 {
        step(&mut model, &batch(&[0, 2, 2, 0, 2], number), &[0, 1], number, &mut *optimizer);
    }
    let after = values(&model);
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        // An id may not have occurred, and ReLU may have died: single tensors may stay; those of `feed` must.
        if of_domain(name, "feed") {
            assert_eq!(before, after, "{name}");
        }
    }
    let moved = |part: &str| before.iter().zip(&after).any(|(b, a)| b.0.contains(part) && b.1 != a.1);
    for part in ["search.weight", "cart.moving.mean", "cart.moving.steps", "search.gamma", "shared", "auxiliary"] {
        assert!(moved(part), "{part}");
    }

    // The state of `feed` is as it was: its next step is the one it would have made right away.
    let mut again = adam(0.1);
    let mut replay = star();
    for number in 0..3 {
        step(&mut replay, &batch(&[0, 1, 2, 0, 1, 2], number), &[0, 1], number, &mut *again);
    }
    step(&mut alone, &batch(&[1, 1, 1], 9), &[0, 1], 9, &mut *again);
    let slots = |optimizer: &dyn Optimizer| {
        (0..100).filter_map(|slot| optimizer.state(slot).map(|state| (slot, state.steps))).collect::<Vec<_>>()
    };
    let (with, without) = (slots(&*optimizer), slots(&*again));
    assert!(with.iter().any(|&(_, steps)| steps == 6) && with.iter().any(|&(_, steps)| steps == 3));
    assert!(without.iter().any(|&(_, steps)| steps == 4) && without.iter().any(|&(_, steps)| steps == 3));
}

#[test]
fn weight_decay_pulls_domain_factors_to_one() {
    let mut model = star();
    train(&mut model);
    let distance = |model: &Model<StarNet>| {
        let factor = &model.net().layers[0].domain[1].weight;
        factor.mapv(|w| (w - 1.0).powi(2)).sum()
    };
    let before = distance(&model);
    assert!(before > 0.0);
    // No gradient at all, only decay.
    let config = SgdConfig::builder(0.1).weight_decay(1.0).build().unwrap();
    let mut optimizer = OptimizerConfig::Sgd(config).build();
    for _ in 0..100 {
        let rows = batch(&[0, 1, 2], 1);
        let mut cache = Cache::<StarNet, Train>::default();
        let mut grad = model.zero_grad();
        model.forward_with(&rows, rows.domains(), &mut cache);
        model.backward(&rows, &Array2::zeros((3, 2)), &mut cache, &mut grad);
        model.apply(&mut grad, &mut *optimizer);
    }
    assert!(distance(&model) < 1e-6 * before, "{} of {before}", distance(&model));
    assert!(model.net().layers[0].shared.weight.iter().all(|w| w.abs() < 1e-3));
}

#[test]
fn a_task_without_labels_leaves_what_another_owns_alone() {
    for (branches, levels) in [(Branches::Tasks, 1), (Branches::Tasks, 2), (Branches::DomainsAndTasks, 2)] {
        let mut model = ple(branches, levels);
        train(&mut model);
        let before = values(&model);
        step(&mut model, &batch(&[0, 1, 2, 1], 8), &[0], 8, &mut *adam(0.1));
        let after = values(&model);
        let last = format!("net.levels.{}", levels - 1);
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            let buys = of_domain(name, "buy") || name.contains("/buy");
            // Below the last level the shared gate reads everybody's experts.
            if buys && (name.starts_with(&last) || name.contains("towers") || name.contains("gates")) {
                assert_eq!(before, after, "{name}");
            }
        }
        assert!(before.iter().zip(&after).any(|(b, a)| b.0.contains("shared") && b.1 != a.1));
        assert!(before.iter().zip(&after).any(|(b, a)| b.0.contains("towers") && b.1 != a.1));
    }
}

fn a_new_domain_changes_nobody<N: Net>(mut model: Model<N>) {
    train(&mut model);
    let rows = batch(&[2, 0, 1, 1, 0], 60);
    let before = model.forward(&rows, rows.domains());
    let domain = model.add_domain("partner").unwrap();
    assert_eq!(model.forward(&rows, rows.domains()), before, "scores of the old domains");
    assert_eq!(model.layout().domains.last().unwrap(), "partner");
    let error = model.add_domain("partner").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);

    assert!(model.forward(&rows, domain).iter().all(|z| z.is_finite()));
    let old = values(&model);
    step(&mut model, &batch(&[3, 3, 3, 3], 5), &[0, 1], 5, &mut *adam(0.0));
    let new = values(&model);
    assert!(old.iter().zip(&new).any(|(old, new)| of_domain(&old.0, "partner") && old.1 != new.1));

    // A model built with the grown configuration has the same tensors: it could take the weights.
    let again = Model::<N>::new(model.config().clone());
    let shapes = |values: Vec<(String, Vec<u32>)>| values.into_iter().map(|(n, v)| (n, v.len())).collect::<Vec<_>>();
    assert_eq!(shapes(values(&again)), shapes(values(&model)));
}

#[test]
fn a_domain_can_be_added_to_a_trained_model() {
    a_new_domain_changes_nobody(star());
    a_new_domain_changes_nobody(pooled());
    a_new_domain_changes_nobody(ple(Branches::Domains, 1));
    a_new_domain_changes_nobody(ple(Branches::Domains, 3));
    a_new_domain_changes_nobody(ple(Branches::DomainsAndTasks, 2));
}

#[test]
fn a_new_star_domain_scores_as_the_shared_path_does() {
    let mut model = star();
    train(&mut model);
    let rows = batch(&[0, 1, 2], 4);
    let shared = model.forward(&rows, DomainId::SHARED);
    let domain = model.add_domain("partner").unwrap();
    assert_close(&model.forward(&rows, domain), &shared);
}

#[test]
fn rows_of_no_known_domain_take_the_shared_path() {
    // STAR at its start: all factors are 1, all statistics are the same, so every path is the shared one.
    let mut fresh = StarConfig::builder(&layout()).embedding_dim(4).hidden([8]).auxiliary(false).build().unwrap();
    let model = Model::<StarNet>::new(fresh.clone());
    let rows = batch(&[0, 1, 2], 4);
    assert_close(&model.forward(&rows, DomainId::SHARED), &model.forward(&rows, DomainId::new(1)));
    fresh = StarConfig::builder(&layout()).hidden([8]).build().unwrap();
    assert!(Model::<StarNet>::new(fresh).forward(&rows, DomainId::SHARED).iter().all(|z| z.is_finite()));

    // PLE with branches for domains: the mean of all domains' logits.
    for branches in [Branches::Domains, Branches::DomainsAndTasks] {
        let mut model = ple(branches, 2);
        train(&mut model);
        let mean = (0..3).map(|d| model.forward(&rows, DomainId::new(d)) / 3.0).reduce(|a, b| a + b).unwrap();
        assert_close(&model.forward(&rows, DomainId::SHARED), &mean);
        // Also in a batch with others.
        let mut mixed = rows.domains.clone();
        mixed[1] = DomainId::SHARED;
        assert_close(
            &model.forward(&rows, &mixed).slice(s![1..2, ..]).to_owned(),
            &mean.slice(s![1..2, ..]).to_owned(),
        );
    }
}

#[test]
fn star_starts_as_the_shared_bottom() {
    let model = Model::<StarNet>::new(
        StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).auxiliary(false).build().unwrap(),
    );
    let rows = batch(&[0, 1, 2, 2], 4);
    let scores: Vec<_> = (0..3).map(|d| model.forward(&rows, DomainId::new(d))).collect();
    assert_eq!(scores[0], scores[1]);
    assert_eq!(scores[0], scores[2]);
}

#[test]
fn no_two_experts_start_alike() {
    let model = ple(Branches::DomainsAndTasks, 2);
    let mut seen = Vec::new();
    for (name, bits) in values(&model) {
        if name.ends_with("weight") && name.contains("levels") {
            assert!(!seen.contains(&bits), "{name} starts as another did");
            seen.push(bits);
        }
    }
    assert!(seen.len() > 20);
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_another() {
    assert_eq!(values(&star()), values(&star()));
    let other = StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).seed(1).build().unwrap();
    assert_ne!(values(&star()), values(&Model::<StarNet>::new(other)));
}

#[test]
fn moving_averages_of_a_rare_domain_are_those_of_its_batches() {
    // `cart` is seen five times, in batches that hold the same rows: its averages must be those rows' statistics.
    let mut model =
        Model::<StarNet>::new(StarConfig::builder(&layout()).embedding_dim(4).embedding_std(1.0).build().unwrap());
    let mut frozen = OptimizerConfig::sgd(1e-30).unwrap().build();
    let rows = batch(&[2, 2, 2, 0], 4);
    for number in 0..5 {
        step(&mut model, &rows, &[0, 1], number, &mut *frozen);
    }
    let tables = model.front().tables();
    let (Ids::One(users), Ids::One(items)) = (&rows.ids[0], &rows.ids[1]) else { panic!("single ids") };
    let x = Array2::from_shape_fn((3, 9), |(i, j)| match j {
        0..4 => tables[0][[users[i] as usize, j]],
        4..8 => tables[1][[items[i] as usize, j - 4]],
        _ => rows.numeric[[i, 0]],
    });
    let own = &model.net().norm.as_ref().unwrap().domain[2].moving;
    assert_eq!(own.steps, 5);
    for j in 0..9 {
        let column = x.column(j);
        assert!((own.mean[j] - column.mean().unwrap()).abs() < 1e-5);
        assert!((own.var[j] - column.var(1.0)).abs() < 1e-4, "{} and {}", own.var[j], column.var(1.0));
    }
    // `search` came with one row a batch, which has no variance: its averages never moved.
    let alone = &model.net().norm.as_ref().unwrap().domain[0].moving;
    assert_eq!((alone.steps, alone.mean[0], alone.var[0]), (0, 0.0, 1.0));
}

#[test]
fn a_configuration_names_everything_that_is_wrong() {
    let error = StarConfig::builder(&Layout::default())
        .hidden([8, 0])
        .dropout(1.0)
        .norm_rate(0.0)
        .norm_min_rows(1)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "StarConfig: layout: at least one field or number; layout.domains: at least one; layout.tasks: at least one; \
         dropout: 0 <= dropout < 1, found 1; hidden: every width at least 1, found [8, 0]; \
         norm_rate: 0 < norm_rate <= 1, found 0; norm_min_rows: at least 2, found 1"
    );
    let error = PleConfig::builder(&layout()).levels(0).shared_experts(0).own_experts(0).build().unwrap_err();
    assert!(error.to_string().contains("levels: at least 1") && error.to_string().contains("at least one expert"));
}

#[test]
fn a_configuration_goes_through_files_and_their_check() {
    let config = StarConfig::builder(&layout()).hidden([7]).dropout(0.5).build().unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<StarConfig>(&text).unwrap(), config);
    let error = serde_json::from_str::<StarConfig>(&text.replace("0.5", "1.5")).unwrap_err();
    assert!(error.to_string().contains("dropout: 0 <= dropout < 1, found 1.5"), "{error}");
    let error = serde_json::from_str::<StarConfig>(&text.replace("norm_rate", "norm_rat")).unwrap_err();
    assert!(error.to_string().contains("unknown field `norm_rat`"), "{error}");
}

#[test]
fn rows_not_read_stay_when_updates_are_lazy() {
    let mut model = star();
    let config = AdamConfig::builder(0.1).weight_decay(WeightDecay::L2(0.1)).row_updates(RowUpdates::Lazy);
    let mut optimizer = OptimizerConfig::Adam(config.build().unwrap()).build();
    let before = model.front().tables()[0].clone();
    let rows = batch(&[0, 1, 2, 1], 2);
    step(&mut model, &rows, &[0, 1], 0, &mut *optimizer);
    let Ids::One(users) = &rows.ids[0] else { panic!("single ids") };
    for (row, (before, after)) in before.rows().into_iter().zip(model.front().tables()[0].rows()).enumerate() {
        assert_eq!(before != after, users.contains(&(row as u32)), "row {row}");
    }
}

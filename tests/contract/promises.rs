//! The promises, one function each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use ndarray::{Array2, Axis, concatenate, s};
use starple::data::{Batch, DataSet, DomainId, Ids};
use starple::metrics::auc;
use starple::model::{Cache, Gradient};
use starple::net::Net;
use starple::nn::{Infer, Leaf, Params as _, Path, Train};
use starple::persist::{ModelFile, Saved};
use starple::serve::{Context, Scorer, ScorerCache};
use starple::train::evaluate;
use starple::{AnyConfig, ErrorKind, Model};

use crate::allocations;
use crate::world::{
    adam, assert_close, batch, dlogits, layout, owned_by, select, states, step, trained, values, warm_up,
};

const MIXED: [usize; 9] = [2, 0, 1, 1, 0, 2, 2, 0, 1];

pub(crate) fn shapes(model: &Model) {
    for rows in [0, 1, 5] {
        let batch = batch(&MIXED[..rows], 3);
        assert_eq!(model.forward(&batch, batch.domains()).dim(), (rows, 2));
        assert_eq!(model.forward(&batch, DomainId::new(1)).dim(), (rows, 2));
    }
    let mut counted = 0;
    model.visit(|_, leaf| {
        if let Leaf::Tensor(values, shape, _) = leaf {
            assert_eq!(values.len(), shape.iter().product::<usize>());
            counted += values.len();
        }
    });
    assert_eq!(counted, model.parameters());
}

pub(crate) fn same_seed_same_bits(model: impl Fn() -> Model) {
    assert_eq!(values(&model()), values(&model()));
    assert_eq!(values(&trained(model())), values(&trained(model())));
}

pub(crate) fn forward_is_forward_with(model: Model) {
    let model = trained(model);
    let mut cache = Cache::<Infer>::default();
    // One cache for batches of several sizes and orders: nothing of an earlier one may show.
    for (rows, seed) in [(9, 1), (2, 2), (7, 3), (9, 1)] {
        let batch = batch(&MIXED[..rows], seed);
        let logits = model.forward(&batch, batch.domains());
        assert_eq!(model.forward_with(&batch, batch.domains(), &mut cache), &logits);
        assert_eq!(cache.logits(), &logits);
    }
}

pub(crate) fn rows_are_independent(model: Model) {
    let model = trained(model);
    let all = batch(&MIXED, 50);
    let logits = model.forward(&all, all.domains());
    for row in 0..MIXED.len() {
        let one = select(&all, &[row as u32]);
        let expected = logits.slice(s![row..=row, ..]).to_owned();
        assert_close("alone", &model.forward(&one, one.domains[0]), &expected);
        assert_close("alone, by slice", &model.forward(&one, &one.domains), &expected);
    }
}

pub(crate) fn order_does_not_matter(model: Model) {
    let model = trained(model);
    let all = batch(&MIXED, 50);
    let logits = model.forward(&all, all.domains());
    let order = [3, 6, 0, 8, 2, 5, 7, 1, 4];
    let shuffled = select(&all, &order);
    let expected = logits.select(Axis(0), &order.map(|row| row as usize));
    assert_close("permuted", &model.forward(&shuffled, shuffled.domains()), &expected);
    let (first, second) = (all.slice(0..4), all.slice(4..9));
    let parts = [model.forward(&first, first.domains()), model.forward(&second, second.domains())];
    assert_close("split", &concatenate![Axis(0), parts[0], parts[1]], &logits);
}

pub(crate) fn mixed_is_domain_by_domain(model: Model) {
    let model = trained(model);
    let all = batch(&MIXED, 50);
    let logits = model.forward(&all, all.domains());
    for d in 0..3 {
        let rows: Vec<u32> = (0..9).filter(|&row| MIXED[row as usize] == d).collect();
        let expected = logits.select(Axis(0), &rows.iter().map(|&row| row as usize).collect::<Vec<_>>());
        assert_close("one domain", &model.forward(&select(&all, &rows), DomainId::new(d)), &expected);
    }
}

pub(crate) fn predict_is_evaluate(model: Model) {
    let model = trained(model);
    let domains: Vec<usize> = (0..500).map(|i| i % 3).collect();
    let rows = batch(&domains, 8);
    let p = model.predict(&rows, rows.domains());
    let logits = model.score(&rows);
    assert_close("predict", &p, &logits.mapv(|z| (1.0 / (1.0 + (-f64::from(z)).exp())) as f32));
    let report = evaluate(&model, &DataSet::new(&layout(), rows.clone()).unwrap()).unwrap();
    for (t, task) in report.tasks.iter().enumerate() {
        let (scores, labels) = (logits.column(t).to_vec(), rows.labels.column(t).to_vec());
        assert_eq!(task.all.auc, auc(&scores, &labels));
        let p = p.column(t).mapv(f64::from);
        let logloss = p.iter().zip(&labels).map(|(p, &y)| -if y == 1.0 { p.ln() } else { (1.0 - p).ln() });
        assert!((task.all.logloss.unwrap() - logloss.sum::<f64>() / 500.0).abs() < 1e-5);
    }
}

pub(crate) fn absent_domains_stay(mut model: Model, read_by_others: impl Fn(&str) -> bool) {
    let mut optimizer = adam();
    warm_up(&mut model, &mut *optimizer);
    let (before, state_before) = (values(&model), states(&model, &*optimizer));
    for number in 0..3 {
        step(&mut model, &batch(&[1, 1, 1, 1, 1], 200 + number), &[0, 1], 10 + number, &mut *optimizer);
    }
    let (after, state_after) = (values(&model), states(&model, &*optimizer));
    let alone = |name: &str| (owned_by(name, "search") || owned_by(name, "cart")) && !read_by_others(name);
    for (name, value) in before.iter().filter(|(name, _)| alone(name)) {
        assert_eq!(value, &after[name], "{name}");
        assert_eq!(state_before.get(name), state_after.get(name), "the optimizer's state of {name}");
    }
    // The step did something: what is shared moved, and so did what `feed` owns, if it owns anything.
    let moved = |names: &dyn Fn(&str) -> bool| before.iter().filter(|(n, _)| names(n)).any(|(n, v)| v != &after[n]);
    let shared = |name: &str| !["search", "feed", "cart"].iter().any(|d| owned_by(name, d));
    let feed = |name: &str| owned_by(name, "feed");
    assert!(moved(&shared) || !before.keys().any(|name| shared(name)));
    assert!(moved(&feed) || !before.keys().any(|name| feed(name)));
}

pub(crate) fn silent_tasks_stay(mut model: Model, read_by_others: impl Fn(&str) -> bool) {
    let mut optimizer = adam();
    warm_up(&mut model, &mut *optimizer);
    let (before, state_before) = (values(&model), states(&model, &*optimizer));
    step(&mut model, &batch(&MIXED, 300), &[0], 20, &mut *optimizer);
    let (after, state_after) = (values(&model), states(&model, &*optimizer));
    for (name, value) in before.iter().filter(|(name, _)| owned_by(name, "buy") && !read_by_others(name)) {
        assert_eq!(value, &after[name], "{name}");
        assert_eq!(state_before.get(name), state_after.get(name), "the optimizer's state of {name}");
    }
    assert!(before.iter().any(|(name, value)| !owned_by(name, "buy") && value != &after[name]));
}

pub(crate) fn everything_learns(model: Model) {
    let model = trained(model);
    let mut largest = BTreeMap::<String, f32>::new();
    for seed in 0..12 {
        let batch = batch(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], 400 + seed);
        let mut cache = Cache::<Train>::new(Train { seed: 1, step: seed, first_row: 0 });
        let mut grad = model.zero_grad();
        model.forward_with(&batch, batch.domains(), &mut cache);
        model.backward(&batch, &dlogits(12, &[0, 1], seed), &mut cache, &mut grad);
        let mut note = |name: String, values: &[f32]| {
            let top = values.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
            let known = largest.entry(name).or_default();
            *known = known.max(top);
        };
        let mut tables = grad.tables.iter();
        model.visit(|path, _| {
            let name = path.name(&layout());
            if name.starts_with("embeddings.") {
                note(name, tables.next().expect("a gradient for each table").values());
            }
        });
        grad.net.visit(&mut Path::starting_at(0), &mut |path, leaf| match leaf {
            Leaf::Tensor(values, ..) | Leaf::Average(values, _) => note(path.name(&layout()), values),
            Leaf::Count(&count) => note(path.name(&layout()), &[count as f32]),
        });
    }
    for (name, top) in largest {
        assert!(top > 0.0, "{name} never got a gradient");
    }
}

pub(crate) fn no_two_start_alike(model: &Model) {
    let mut seen = BTreeMap::<Vec<u32>, String>::new();
    for (name, bits) in values(model) {
        // Constants (biases 0, factors 1) are alike by intention, and so are units that start near the identity, of two values.
        let values: BTreeSet<u32> = bits.iter().copied().collect();
        if values.len() <= 2 {
            continue;
        }
        if let Some(other) = seen.insert(bits, name.clone()) {
            panic!("{name} starts as {other} does");
        }
    }
    assert!(seen.len() >= 4);
}

pub(crate) fn names_are_unique(model: &Model) {
    let named = values(model);
    let mut last = None;
    model.visit(|path, _| {
        let name = path.name(model.layout());
        assert!(named.contains_key(&name));
        assert!(name.split('.').all(|part| !part.is_empty()));
        assert!(last.is_none_or(|last| path.slot() == last || path.slot() == last + 1), "{name}");
        last = Some(path.slot());
    });
}

pub(crate) fn warm_steps_allocate_nothing(mut model: Model) {
    // Among them domains of one row.
    let of = [MIXED, MIXED, [1, 1, 1, 0, 1, 1, 1, 1, 2]];
    let batches: Vec<Batch> = of.iter().zip(500..).map(|(domains, seed)| batch(domains, seed)).collect();
    let dlogits = dlogits(9, &[0, 1], 5);
    let mut optimizer = adam();
    let mut grad: Gradient = model.zero_grad();
    let mut cache = Cache::<Train>::default();
    let mut run = |number: u64| {
        let batch = &batches[number as usize % 3];
        cache.mode = Train { seed: 1, step: number, first_row: 0 };
        model.forward_with(batch, batch.domains(), &mut cache);
        model.backward(batch, &dlogits, &mut cache, &mut grad);
        model.penalize(&mut cache, &mut grad);
        model.apply(&mut grad, &mut *optimizer);
    };
    (0..6).for_each(&mut run);
    let (ours, _) = allocations::during(|| (6..12).for_each(&mut run));
    assert_eq!(ours, 0, "allocations in six warm training steps");

    let mut cache = Cache::<Infer>::default();
    let mut run = |number: usize| {
        let batch = &batches[number % 3];
        model.forward_with(batch, batch.domains(), &mut cache);
        model.forward_with(batch, DomainId::SHARED, &mut cache);
    };
    (0..6).for_each(&mut run);
    let (ours, _) = allocations::during(|| (6..12).for_each(&mut run));
    assert_eq!(ours, 0, "allocations in six warm predictions");
}

pub(crate) fn backward_repeats(model: Model) {
    let model = trained(model);
    let rows = batch(&MIXED, 501);
    let mut cache = Cache::<Train>::new(Train { seed: 1, step: 7, first_row: 0 });
    model.forward_with(&rows, rows.domains(), &mut cache);
    let parts = [dlogits(9, &[0], 5), dlogits(9, &[1], 6)];
    let mut gradient = |dlogits: &[Array2<f32>]| {
        let mut grad = model.zero_grad();
        for dlogits in dlogits {
            model.backward(&rows, dlogits, &mut cache, &mut grad);
        }
        let mut tensors = BTreeMap::new();
        for (number, table) in grad.tables.iter().enumerate() {
            tensors.insert(format!("table {number}"), (true, true, table.values().to_vec()));
        }
        grad.net.visit(&mut Path::starting_at(0), &mut |path, leaf| {
            if let Leaf::Tensor(values, ..) | Leaf::Average(values, _) = leaf {
                let learned = matches!(leaf, Leaf::Tensor(..));
                tensors.insert(path.name(&layout()), (path.present(), learned, values.to_vec()));
            }
        });
        tensors
    };
    let together = gradient(&[&parts[0] + &parts[1]]);
    // A pass before leaves no trace, two passes add up, and the batch's statistics are what they are.
    for sum in [gradient(&parts), gradient(&[&parts[0] + &parts[1]])] {
        assert!(sum.keys().eq(together.keys()));
        for (name, (present, learned, values)) in &sum {
            let expected = &together[name];
            assert_eq!((present, learned), (&expected.0, &expected.1), "{name}");
            let top = expected.2.iter().fold(1e-3_f32, |top, v| top.max(v.abs()));
            for (ours, theirs) in values.iter().zip(&expected.2) {
                let bound = if *learned { 1e-5 * top } else { 0.0 };
                assert!((ours - theirs).abs() <= bound, "{name}: {ours} and {theirs}");
            }
        }
    }
}

pub(crate) fn finite_in_finite_out(model: Model) {
    let mut model = trained(model);
    for scale in [0.0, 1.0, 1e4] {
        let mut rows = batch(&MIXED, 600);
        rows.numeric *= scale;
        assert!(model.forward(&rows, rows.domains()).iter().all(|z| z.is_finite()), "scale {scale}");
        let p = model.predict(&rows, rows.domains());
        assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
        step(&mut model, &rows, &[0, 1], 30, &mut *adam());
        for (name, bits) in values(&model) {
            let steps = name.ends_with("steps");
            assert!(steps || bits.iter().all(|&bit| f32::from_bits(bit).is_finite()), "{name} at scale {scale}");
        }
    }
}

pub(crate) fn new_domains_change_nobody(model: Model) {
    let mut model = trained(model);
    let rows = batch(&MIXED, 60);
    let before = model.forward(&rows, rows.domains());
    let shared = model.forward(&rows, DomainId::SHARED);
    let domain = model.add_domain("partner").unwrap();
    assert_eq!(model.forward(&rows, rows.domains()), before, "scores of the old domains");
    assert_close("scores of no known domain", &model.forward(&rows, DomainId::SHARED), &shared);
    assert_eq!(model.add_domain("partner").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(model.add_domain("").unwrap_err().kind(), ErrorKind::Config);

    // While it is absent, it stays as it is.
    let fresh = values(&model);
    step(&mut model, &rows, &[0, 1], 4, &mut *adam());
    let after = values(&model);
    for (name, value) in fresh.iter().filter(|(name, _)| owned_by(name, "partner")) {
        assert_eq!(value, &after[name], "{name}");
    }
    assert!(model.forward(&rows, domain).iter().all(|z| z.is_finite()));

    let old = values(&model);
    step(&mut model, &batch(&[3, 3, 3, 3, 3, 3, 3, 3], 5), &[0, 1], 5, &mut *adam());
    let new = values(&model);
    let own = |name: &str| owned_by(name, "partner");
    assert!(old.iter().any(|(name, value)| own(name) && value != &new[name]) || !old.keys().any(|name| own(name)));

    // A model built with the grown configuration has the same tensors: it could take the weights.
    let again = Model::new(model.config().clone());
    let shapes = |model: &Model| values(model).into_iter().map(|(n, v)| (n, v.len())).collect::<Vec<_>>();
    assert_eq!(shapes(&again), shapes(&model));
}

pub(crate) fn unknown_domains_score(model: Model) {
    let model = trained(model);
    let rows = batch(&MIXED, 61);
    let shared = model.forward(&rows, DomainId::SHARED);
    assert!(shared.iter().all(|z| z.is_finite()));
    let mut mixed = rows.domains.clone();
    let own = model.forward(&rows, &mixed);
    mixed[4] = DomainId::SHARED;
    mixed[0] = DomainId::SHARED;
    let logits = model.forward(&rows, &mixed);
    for (row, &domain) in mixed.iter().enumerate() {
        let expected = if domain == DomainId::SHARED { &shared } else { &own };
        let expected: Array2<f32> = expected.slice(s![row..=row, ..]).to_owned();
        assert_close("beside others", &logits.slice(s![row..=row, ..]).to_owned(), &expected);
    }
}

pub(crate) fn scorer_scores_alike(model: Model) {
    let mut model = trained(model);
    model.add_domain("partner").unwrap();
    let mut candidates = batch(&MIXED, 64);
    let user = candidates.slice(0..1);
    candidates.ids[0] = Ids::One(vec![user.ids[0].row(0)[0]; 9]);
    candidates.numeric.column_mut(1).fill(user.numeric[[0, 1]]);
    let domains = || (0..4).map(DomainId::new).chain([DomainId::SHARED]);
    for given in [&[][..], &["user", "age"]] {
        let scorer = Scorer::new(model.clone(), given).unwrap();
        let (mut context, mut cache) = (Context::default(), ScorerCache::default());
        for domain in domains() {
            let expected = model.forward(&candidates, domain);
            scorer.context_into(domain, &user, &mut context);
            let found = scorer.score(&context, &candidates, &mut cache);
            assert_eq!(found.dim(), expected.dim());
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{given:?}, {domain:?}: {a} and {b}");
            }
        }
        let mut request = |domain| {
            scorer.context_into(domain, &user, &mut context);
            scorer.score(&context, &candidates, &mut cache);
        };
        domains().for_each(&mut request);
        let (ours, _) = allocations::during(|| domains().for_each(&mut request));
        assert_eq!(ours, 0, "allocations in warm requests");
    }
}

pub(crate) fn unknown_domains_do_not_train(model: &Model) {
    let rows = batch(&MIXED, 62);
    model.forward_with(&rows, DomainId::SHARED, &mut Cache::<Train>::default());
}

pub(crate) fn torn_batches_are_refused(model: &Model) {
    let mut rows = batch(&MIXED, 63);
    rows.domains.pop();
    model.forward(&rows, DomainId::new(0));
}

pub(crate) fn one_row_trains(model: Model) {
    let mut model = trained(model);
    let before = values(&model);
    step(&mut model, &batch(&[2], 70), &[0, 1], 6, &mut *adam());
    let after = values(&model);
    assert_ne!(before, after);
    for (name, bits) in &after {
        assert!(bits.iter().all(|&bit| f32::from_bits(bit).is_finite()), "{name}");
    }
}

pub(crate) fn config_round_trip(model: &Model) {
    let text = serde_json::to_string(model.config()).unwrap();
    let again: AnyConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    assert_eq!(values(&Model::new(again)), values(model));
    let key = text.replacen("\"layout\"", "\"lay_out\"", 1);
    assert!(serde_json::from_str::<AnyConfig>(&key).is_err(), "an unknown key is an error");
    assert!(!model.config().kind().is_empty());
}

pub(crate) fn says_its_size(mut model: Model) {
    for domain in ["", "one more", "and another"] {
        if !domain.is_empty() {
            model.add_domain(domain).unwrap();
        }
        let mut held = 0;
        model.net().visit(&mut Path::starting_at(0), &mut |_, leaf| {
            if let Leaf::Tensor(values, ..) | Leaf::Average(values, _) = leaf {
                held += values.len();
            }
        });
        assert_eq!(Net::size(&**model.config()).values, held as f64, "{:?}", model.config());
    }
}

fn bytes(model: &Model) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    ModelFile::new(model).write_to(&mut file).unwrap();
    file.into_inner()
}

/// The model as a program that did not make it has it.
pub(crate) fn through_a_file(model: &Model) -> Model {
    Saved::from_reader(Cursor::new(bytes(model))).unwrap().model
}

pub(crate) fn file_round_trip(model: Model) {
    let mut model = trained(model);
    for domain in ["", "one more", "and another/one"] {
        if !domain.is_empty() {
            model.add_domain(domain).unwrap();
        }
        let file = bytes(&model);
        let saved = Saved::from_reader(Cursor::new(&file)).unwrap();
        assert_eq!(values(&saved.model), values(&model));
        let mut batch = batch(&MIXED, 7);
        batch.domains[0] = DomainId::SHARED;
        batch.domains[1] = DomainId::new(model.layout().domains.len() - 1);
        assert_eq!(saved.model.score(&batch), model.score(&batch));
        assert!(saved.encoder.is_none());
        // Written as one of its kind, read as any, and written again.
        let any = Saved::from_reader(Cursor::new(&file)).unwrap().model;
        assert_eq!((any.config().kind(), values(&any)), (model.config().kind(), values(&model)));
        assert!(bytes(&any) == file, "the same bytes, whatever the type of the model");
    }
}

pub(crate) fn send_and_sync() {
    fn check<T: Send + Sync>() {}
    fn send<T: Send>() {}
    check::<Model>();
    check::<AnyConfig>();
    check::<Scorer>();
    send::<Cache<Train>>();
    send::<Gradient>();
}

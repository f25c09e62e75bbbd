//! The promises of a model that goes on: more rows and domains, and tensors that stay.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::s;
use starple::Model;
use starple::data::{Batch, DomainId, Ids, Layout};
use starple::model::{Cache, NewRows};
use starple::nn::{LeafMut, Train};
use starple::optim::Optimizer;

use crate::promises::through_a_file;
use crate::world::{adam, assert_close, batch, dlogits, layout, owned_by, states, step, trained, values};

const MIXED: [usize; 9] = [2, 0, 1, 1, 0, 2, 2, 0, 1];

/// The layout with so many more users and tags, and these domains behind its own.
fn grown(users: usize, tags: usize, domains: &[&str]) -> Layout {
    let mut grown = layout();
    grown.tables[0].rows += users;
    grown.tables[2].rows += tags;
    grown.domains.extend(domains.iter().map(ToString::to_string));
    grown
}

/// The rows with one of two ids from `to` on in place of every 0, among users and tags.
fn renamed(rows: &Batch, to: [u32; 2]) -> Batch {
    let mut rows = rows.clone();
    for (field, to) in [(0, to[0]), (2, to[1])] {
        let (Ids::One(ids) | Ids::Bag { ids, .. } | Ids::Interpolated { ids, .. }) = &mut rows.ids[field];
        for (i, id) in ids.iter_mut().enumerate().filter(|(_, id)| **id == 0) {
            *id = to + (i % 2) as u32;
        }
    }
    rows
}

pub(crate) fn changes_nobody(model: Model) {
    let mut model = trained(model);
    let small = model.clone();
    let rows = batch(&[2, 0, 1, 1, 0, 2, 2, 0, 1, 1, 2, 0, 0, 1, 2, 1, 0, 2], 80);
    let (scores, shared) = (model.forward(&rows, rows.domains()), model.forward(&rows, DomainId::SHARED));
    let larger = grown(3, 2, &["partner", "app"]);
    model.grow(&larger, NewRows::OutOfVocabulary).unwrap();
    assert_eq!(model.layout(), &larger);
    assert_eq!(model.forward(&rows, rows.domains()), scores);
    assert_close("scores of no known domain", &model.forward(&rows, DomainId::SHARED), &shared);

    // Who had no row is scored as before by the one it got.
    let moved = renamed(&rows, [13, 6]);
    assert_ne!(moved.ids, rows.ids);
    assert_eq!(model.forward(&moved, rows.domains()), scores);

    // Tables have rows behind, the new domains what they own, and everything else is what it was.
    let (before, after) = (values(&small), values(&model));
    for (name, value) in &before {
        let table = name.starts_with("embeddings.")
            && name.rsplit('.').next().is_some_and(|field| ["user", "tags"].contains(&field));
        assert!(after[name].starts_with(value) && (after[name].len() > value.len()) == table, "{name}");
    }
    let new = |name: &&String| owned_by(name, "partner") || owned_by(name, "app");
    assert!(after.keys().filter(|name| !before.contains_key(*name)).all(|name| new(&name)));
    let again = values(&Model::new(model.config().clone()));
    assert!(again.iter().map(|(n, v)| (n, v.len())).eq(after.iter().map(|(n, v)| (n, v.len()))));

    // It trains, the new rows and domains with it.
    let mut new_rows = batch(&[3, 4, 3, 4, 0, 3, 4, 3, 4], 81);
    new_rows.ids[0] = Ids::One((0..9).map(|row| 12 + row % 3).collect());
    let tables = model.embeddings().tables().to_vec();
    let mut from_file = through_a_file(&model);
    step(&mut model, &new_rows, &[0, 1], 4, &mut *adam());
    let users = tables.iter().zip(model.embeddings().tables()).step_by(3);
    assert!(users.into_iter().any(|(old, new)| old.slice(s![12.., ..]) != new.slice(s![12.., ..])));
    let learned = values(&model);
    // As it does from a file, dropout and all.
    step(&mut from_file, &new_rows, &[0, 1], 4, &mut *adam());
    assert_eq!(values(&from_file), learned);
    let mut own = learned.iter().filter(|(name, _)| new(name)).peekable();
    assert!(own.peek().is_none() || own.any(|(name, value)| value != &after[name]));
    assert!(model.forward(&new_rows, new_rows.domains()).iter().all(|z| z.is_finite()));

    // Rows that are drawn are the same whatever the way there.
    let (mut at_once, mut by_steps) = (small.clone(), small);
    at_once.grow(&grown(3, 2, &["partner"]), NewRows::Drawn).unwrap();
    by_steps.grow(&grown(1, 2, &[]), NewRows::Drawn).unwrap();
    by_steps.grow(&grown(3, 2, &["partner"]), NewRows::Drawn).unwrap();
    assert_eq!(values(&at_once), values(&by_steps));
    assert_eq!(at_once.forward(&rows, rows.domains()), scores);
    let drawn: Vec<&[f32]> =
        at_once.embeddings().tables().iter().flat_map(|t| t.as_slice().unwrap().chunks(t.ncols())).collect();
    let distinct: BTreeSet<Vec<u32>> = drawn.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
    assert_eq!(distinct.len(), drawn.len(), "two rows start alike");
}

fn frozen_step(model: &mut Model, rows: &Batch, number: u64, names: &[String], optimizer: &mut dyn Optimizer) {
    let mut cache = Cache::<Train>::new(Train { seed: 1, step: number, first_row: 0 });
    let mut grad = model.zero_grad();
    grad.freeze(model, names).unwrap();
    model.forward_with(rows, rows.domains(), &mut cache);
    model.backward(rows, &dlogits(rows.rows(), &[0, 1], number), &mut cache, &mut grad);
    model.penalize(&mut cache, &mut grad);
    model.apply(&mut grad, optimizer);
}

pub(crate) fn frozen_stays(model: &Model) {
    let mut slots = BTreeMap::new();
    model.visit(|path, _| {
        slots.insert(path.name(model.layout()), path.slot());
    });
    for parity in [0, 1] {
        let names: Vec<String> =
            slots.iter().filter(|(_, slot)| **slot % 2 == parity).map(|(n, _)| n.clone()).collect();
        let (mut ours, mut plain) = (model.clone(), model.clone());
        let (mut our_optimizer, mut plain_optimizer) = (adam(), adam());
        for number in 0..3 {
            let rows = batch(&MIXED, 90 + number);
            frozen_step(&mut ours, &rows, number, &names, &mut *our_optimizer);
            // The same by other means: everything steps, and what should not have is put back.
            let before = values(&plain);
            step(&mut plain, &rows, &[0, 1], number, &mut *plain_optimizer);
            let layout = plain.layout().clone();
            plain.visit_mut(|path, leaf| {
                if path.slot() % 2 == parity {
                    let old = &before[&path.name(&layout)];
                    match leaf {
                        LeafMut::Tensor(values, ..) | LeafMut::Average(values, _) => {
                            values.iter_mut().zip(old).for_each(|(value, &old)| *value = f32::from_bits(old));
                        }
                        LeafMut::Count(count) => *count = u64::from(old[0]),
                    }
                }
            });
            assert_eq!(values(&ours), values(&plain));
        }
        let (ours, plain) = (states(&ours, &*our_optimizer), states(&plain, &*plain_optimizer));
        for (name, state) in plain {
            assert_eq!(ours.get(&name), (slots[&name] % 2 != parity).then_some(&state), "the state of {name}");
        }
    }
}

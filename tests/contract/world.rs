//! The rows, steps and views of parameters that the promises are checked with.

use std::collections::BTreeMap;

use ndarray::Array2;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::Model;
use starple::data::{Batch, DataSet, DomainId, Ids, Layout, Pooling};
use starple::model::Cache;
use starple::nn::{Leaf, TargetAttentionSettings, Train};
use starple::optim::{AdamConfig, Optimizer, OptimizerConfig};

pub(crate) fn layout() -> Layout {
    let layout = Layout::new(["search", "feed", "cart"], ["click", "buy"])
        .field("user", 12)
        .field("item", 9)
        .bag("tags", 6, Pooling::Mean)
        .numeric(["price", "age"]);
    if !crate::SEQUENCES {
        return layout;
    }
    // Tables that the target, a list and an ordinary bag read.
    layout
        .field_of("seen", "item", Some(Pooling::Mean))
        .field_of("by", "user", Some(Pooling::Mean))
        .field_of("liked", "item", Some(Pooling::Sum))
        .attended("history", [("seen", "item"), ("by", "user")], 3, TargetAttentionSettings::default())
}

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Rows of these domains, everything else random; empty bags and repeated ids among them.
pub(crate) fn batch(domains: &[usize], seed: u64) -> Batch {
    let (rows, mut rng) = (domains.len(), rng(seed));
    let mut ids = |range: u32| Ids::One((0..rows).map(|_| rng.random_range(0..range)).collect());
    let (user, item) = (ids(12), ids(9));
    let (mut offsets, mut tags) = (vec![0], Vec::new());
    for _ in 0..rows {
        tags.extend((0..rng.random_range(0..3)).map(|_| rng.random_range(0..6_u32)));
        offsets.push(tags.len() as u32);
    }
    let mut ids = vec![user, item, Ids::Bag { offsets: offsets.clone(), ids: tags }];
    if crate::SEQUENCES {
        // An event for each tag, and one more in every other row.
        let more = offsets.iter().enumerate().map(|(row, &end)| end + row as u32 / 2).collect::<Vec<_>>();
        for range in [9, 12] {
            let own = (0..more[rows]).map(|_| rng.random_range(0..range)).collect();
            ids.push(Ids::Bag { offsets: more.clone(), ids: own });
        }
        let liked = (0..offsets[rows]).map(|_| rng.random_range(0..9)).collect();
        ids.push(Ids::Bag { offsets, ids: liked });
    }
    Batch {
        ids,
        numeric: Array2::from_shape_simple_fn((rows, 2), || rng.random_range(-1.0..1.0)),
        labels: Array2::from_shape_simple_fn((rows, 2), || f32::from(u8::from(rng.random_bool(0.4)))),
        domains: domains.iter().map(|&d| DomainId::new(d)).collect(),
        ..Batch::default()
    }
}

/// These rows of a batch.
pub(crate) fn select(rows: &Batch, numbers: &[u32]) -> Batch {
    DataSet::new(&layout(), rows.clone()).unwrap().select(numbers).into_batch()
}

/// Gradients of the logits of these tasks; the others have no labels.
pub(crate) fn dlogits(rows: usize, tasks: &[usize], seed: u64) -> Array2<f32> {
    let mut rng = rng(seed);
    let mut dlogits = Array2::zeros((rows, 2));
    for &task in tasks {
        dlogits.column_mut(task).mapv_inplace(|_: f32| rng.random_range(-1.0..1.0));
    }
    dlogits
}

/// Adam with decoupled weight decay, so that a tensor moves even where its gradient is 0.
pub(crate) fn adam() -> Box<dyn Optimizer> {
    let config = AdamConfig::builder().lr(0.02).weight_decay(0.1).build().unwrap();
    OptimizerConfig::AdamW(config).build()
}

/// One step.
pub(crate) fn step(model: &mut Model, batch: &Batch, tasks: &[usize], number: u64, optimizer: &mut dyn Optimizer) {
    let mut cache = Cache::<Train>::new(Train { seed: 1, step: number, first_row: 0 });
    let mut grad = model.zero_grad();
    model.forward_with(batch, batch.domains(), &mut cache);
    model.backward(batch, &dlogits(batch.rows(), tasks, number), &mut cache, &mut grad);
    model.penalize(&mut cache, &mut grad);
    model.apply(&mut grad, optimizer);
}

/// Some steps on all domains and tasks, so that nothing is at its start.
pub(crate) fn warm_up(model: &mut Model, optimizer: &mut dyn Optimizer) {
    for number in 0..4 {
        step(model, &batch(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2], 100 + number), &[0, 1], number, optimizer);
    }
}

pub(crate) fn trained(mut model: Model) -> Model {
    warm_up(&mut model, &mut *adam());
    model
}

/// Bits of every tensor by name, averages and counts too.
pub(crate) fn values(model: &Model) -> BTreeMap<String, Vec<u32>> {
    let mut values = BTreeMap::new();
    model.visit(|path, leaf| {
        let bits = match leaf {
            Leaf::Tensor(v, ..) | Leaf::Average(v, _) => v.iter().map(|v| v.to_bits()).collect(),
            Leaf::Count(&count) => vec![count as u32],
        };
        assert!(values.insert(path.name(model.layout()), bits).is_none(), "a name stands twice");
    });
    values
}

/// What the optimizer remembers of every tensor, by name.
pub(crate) fn states(model: &Model, optimizer: &dyn Optimizer) -> BTreeMap<String, (u64, Vec<u32>)> {
    let mut states = BTreeMap::new();
    model.visit(|path, leaf| {
        if let (Leaf::Tensor(..), Some(state)) = (leaf, optimizer.state(path.slot())) {
            let bits = state.tensors.iter().flat_map(|(_, values)| values.iter().map(|v| v.to_bits())).collect();
            states.insert(path.name(model.layout()), (state.steps, bits));
        }
    });
    states
}

/// Whether this domain, or this task, owns the tensor.
pub(crate) fn owned_by(name: &str, owner: &str) -> bool {
    name.split('.').any(|part| part.split('/').any(|part| part == owner))
}

pub(crate) fn assert_close(what: &str, ours: &Array2<f32>, theirs: &Array2<f32>) {
    assert_eq!(ours.dim(), theirs.dim(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= 2e-6 * (1.0 + a.abs()), "{what}: {a} and {b}");
    }
}

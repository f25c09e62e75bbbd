//! Histories of 50 events, pooled by their mean and by attention of the target: a training step, and a request of 500 candidates that gives the
//! history once.

mod common;

use criterion::Throughput;
use starple::Model;
use starple::PooledConfig;
use starple::data::{Batch, DomainId, Ids, Layout, Pooling};
use starple::nn::TargetAttentionSettings;
use starple::serve::{Scorer, ScorerCache};

use common::run::Training;

const ITEMS: usize = 10_000;
const KINDS: usize = 100;
const EVENTS: usize = 50;
const ROWS: usize = 2048;
const CANDIDATES: usize = 500;

/// Events of an item and its kind: 32 values.
fn layout(attention: Option<TargetAttentionSettings>) -> Layout {
    let layout = Layout::new(["home", "search"], ["click"])
        .field("user", ITEMS)
        .field("item", ITEMS)
        .field_of("seen", "item", Some(Pooling::Mean))
        .field("kind", KINDS)
        .field_of("seen_kinds", "kind", Some(Pooling::Mean))
        .numeric(["price"]);
    match attention {
        Some(attention) => layout.attended("history", [("seen", "item"), ("seen_kinds", "kind")], EVENTS, attention),
        None => layout,
    }
}

fn rows(rows: usize) -> Batch {
    let ids = |count: usize, rows: usize| (0..count).map(|i| (i * 7919 % 100_003 % rows) as u32).collect::<Vec<_>>();
    let list = |known| Ids::Bag {
        offsets: (0..=rows).map(|row| (row * EVENTS) as u32).collect(),
        ids: ids(rows * EVENTS, known),
    };
    Batch {
        ids: vec![
            Ids::One(ids(rows, ITEMS)),
            Ids::One(ids(rows, ITEMS)),
            list(ITEMS),
            Ids::One(ids(rows, KINDS)),
            list(KINDS),
        ],
        numeric: ndarray::Array2::from_shape_fn((rows, 1), |(row, _)| (row % 7) as f32 / 3.0 - 1.0),
        labels: ndarray::Array2::from_shape_fn((rows, 1), |(row, _)| (row % 3 / 2) as f32),
        domains: vec![DomainId::new(0); rows],
        ..Batch::default()
    }
}

fn model(layout: &Layout) -> Model {
    Model::new(PooledConfig::builder(layout).hidden([128, 64, 32]).build().expect("valid settings"))
}

fn main() {
    common::criterion(|criterion| {
        let (batch, candidates) = (rows(ROWS), rows(CANDIDATES));
        for (name, attention) in [("mean", None), ("attention", Some(TargetAttentionSettings::default()))] {
            let layout = layout(attention);
            let mut group = criterion.benchmark_group("history/train_step");
            group.throughput(Throughput::Elements(ROWS as u64));
            let mut training = Training::new(model(&layout));
            group.bench_function(name, |bencher| bencher.iter(|| training.step(&batch)));
            group.finish();

            let mut group = criterion.benchmark_group("history/request");
            group.throughput(Throughput::Elements(CANDIDATES as u64));
            let scorer = Scorer::new(model(&layout), &["user", "seen", "seen_kinds"]).expect("fields of the model");
            let (domain, request) = (DomainId::new(0), candidates.slice(0..1));
            let (mut context, mut cache) = (scorer.context(domain, &request), ScorerCache::default());
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    scorer.context_into(domain, &request, &mut context);
                    scorer.score(&context, &candidates, &mut cache)[[0, 0]]
                });
            });
            group.finish();
        }
    });
}

//! Against [`Model::forward`] on models that have been trained a little.

use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::Uniform;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::data::{Field, Ids, Pooling};
use crate::loss::Objective;
use crate::model::{PooledNet, StarNet};
use crate::nn::{ActivationKind, Combination, NormKind};
use crate::optim::{Clock, OptimizerConfig};
use crate::train::{Step, in_pool};
use crate::{Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};

fn layout() -> Layout {
    let field = |name: &str, rows, bag| Field { name: name.into(), rows, bag };
    Layout {
        fields: vec![field("user", 50, None), field("item", 90, None), field("tags", 30, Some(Pooling::Mean))],
        numeric: vec!["age".into(), "price".into()],
        domains: vec!["home".into(), "search".into(), "partner".into()],
        tasks: vec!["click".into(), "buy".into()],
    }
}

fn batch(rows: usize, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ids = |below: u32| (0..rows).map(|_| rng.random_range(0..below)).collect::<Vec<_>>();
    let (user, item, tags) = (ids(50), ids(90), ids(30));
    let offsets = (0..=rows as u32).collect();
    let numeric = Array2::random_using((rows, 2), Uniform::new(-2.0, 3.0).unwrap(), &mut rng);
    Batch {
        ids: vec![Ids::One(user), Ids::One(item), Ids::Bag { offsets, ids: tags }],
        numeric,
        labels: Array2::from_shape_simple_fn((rows, 2), || f32::from(u8::from(rng.random::<bool>()))),
        // The last domain is never seen in training.
        domains: (0..rows).map(|row| DomainId::new(row % 2)).collect(),
        ..Batch::default()
    }
}

/// A model after some steps, so that no part of it is neutral any more.
fn trained<N: Net>(config: N::Config) -> Model<N> {
    let mut model = Model::<N>::new(config);
    let mut step = Step::new(&model, &Objective::default(), 1).unwrap();
    let mut optimizer = OptimizerConfig::adam(0.02).unwrap().build();
    for i in 0..12 {
        let gradient = step.gradient(&model, &batch(64, i), Clock { epoch: 0, step: i }).unwrap();
        model.apply(gradient, &mut *optimizer);
    }
    model
}

fn star() -> crate::model::StarConfigBuilder {
    StarConfig::builder(&layout()).embedding_dim(6).embedding_std(0.5).hidden([20, 16]).auxiliary_hidden([8])
}

/// Compares every domain, the unseen one and no known one, with and without fields that are given.
fn scores_like_the_model<N: Net>(what: &str, make: impl Fn() -> Model<N>) {
    let (model, rows) = (make(), batch(150, 99));
    let mut user = rows.slice(0..1);
    // What is not given is not read.
    user.ids[1] = Ids::One(vec![u32::MAX]);
    for given in [&[][..], &["user", "age"][..], &["user", "item", "tags", "age", "price"][..]] {
        let frozen = Frozen::new(make(), given).unwrap();
        let mut cache = FrozenCache::default();
        for domain in [DomainId::new(0), DomainId::new(1), DomainId::new(2), DomainId::SHARED] {
            let mut candidates = rows.clone();
            if given.len() == 5 {
                // The given row itself, as the only candidate.
                candidates = rows.slice(0..1);
                user = candidates.clone();
            } else if !given.is_empty() {
                candidates.ids[0] = Ids::One(vec![rows.ids[0].row(0)[0]; 150]);
                candidates.numeric.column_mut(0).fill(rows.numeric[[0, 0]]);
            }
            let expected = model.forward(&candidates, domain);
            let context = frozen.context(domain, &user);
            let found = frozen.score(&context, &candidates, &mut cache);
            assert_eq!(found.dim(), expected.dim());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-5 * expected.abs().max(1.0),
                    "{what}, {given:?}, {domain:?}: {found} is not {expected}"
                );
            }
            let alone = found.clone();
            let mut cache = FrozenCache::default();
            let split = in_pool(3, || frozen.score(&context, &candidates, &mut cache).clone()).unwrap();
            assert_eq!(split, alone, "the same bits on any threads");
        }
    }
}

#[test]
fn a_star_scores_alike() {
    scores_like_the_model("product", || trained::<StarNet>(star().build().unwrap()));
    scores_like_the_model("no norm", || {
        trained::<StarNet>(star().partitioned_norm(false).auxiliary(false).build().unwrap())
    });
    scores_like_the_model("one layer", || trained::<StarNet>(star().hidden([]).build().unwrap()));
    for combination in [Combination::Add, Combination::AdaptiveAdd, Combination::Concatenation, Combination::low_rank()]
    {
        scores_like_the_model(&format!("{combination:?}"), || {
            trained::<StarNet>(star().combination(combination).build().unwrap())
        });
    }
    let hidden = || star().activation(ActivationKind::Silu).norm(NormKind::Layer).dropout(0.2);
    scores_like_the_model("other hidden layers", || trained::<StarNet>(hidden().build().unwrap()));
}

#[test]
fn a_pooled_model_scores_alike() {
    let config =
        || PooledConfig::builder(&layout()).embedding_dim(6).embedding_std(0.5).hidden([20, 16]).build().unwrap();
    scores_like_the_model("pooled", || trained::<PooledNet>(config()));
    scores_like_the_model("untrained", || Pooled::new(config()));
}

#[test]
fn what_cannot_be_frozen_is_refused() {
    let gate = Star::new(star().combination(Combination::Gate).build().unwrap());
    let ple = Ple::new(PleConfig::builder(&layout()).build().unwrap());
    for error in [Frozen::new(gate, &[]).unwrap_err(), Frozen::new(ple, &[]).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("Model::forward_with"), "{error}");
    }
    let error = Frozen::new(Star::new(star().build().unwrap()), &["user", "age", "user", "agent"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"user\": given twice") && text.contains("\"agent\": not a field"), "{text}");
}

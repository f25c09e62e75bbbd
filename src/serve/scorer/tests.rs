//! Against [`Model::forward`] on models that have been trained a little.

use ndarray::Axis;
use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::Uniform;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::data::{Ids, Pooling};
use crate::loss::Objective;
use crate::model::{AnyConfig, Mran, MranConfig, Plan};
use crate::nn::{ActivationKind, Combination, HiddenSettings, InitRng, Mlp, MlpCache, Mode, NormKind, Tokens};
use crate::optim::{Clock, OptimizerConfig};
use crate::train::{Step, in_pool};
use crate::{PooledConfig, Star, StarConfig};

fn layout() -> Layout {
    Layout::new(["home", "search", "partner"], ["click", "buy"])
        .field("user", 50)
        .field("item", 90)
        .bag("tags", 30, Pooling::Mean)
        .numeric(["age", "price"])
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
fn trained(config: impl Into<AnyConfig>) -> Model {
    let mut model = Model::new(config);
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

/// Compares every domain, the unseen one, one that was added, and no known one, with and without fields that are given.
fn scores_like_the_model(what: &str, mut model: Model) {
    model.add_domain("late").unwrap();
    let rows = batch(150, 99);
    for given in
        [&[][..], &["user", "age"][..], &["tags", "price", "user"][..], &["user", "item", "tags", "age", "price"][..]]
    {
        let scorer = Scorer::new(model.clone(), given).unwrap();
        let mut cache = ScorerCache::default();
        let layout = scorer.layout();
        let is_given = |name: &str| given.contains(&name);
        // All candidates have the first row's values of what is given, which is not read; nor is, of the row that gives it, all else.
        let (mut candidates, mut read, mut user) = (rows.clone(), rows.clone(), rows.slice(0..1));
        for (f, field) in layout.fields.iter().enumerate() {
            let bag = matches!(rows.ids[f], Ids::Bag { .. });
            let ids = |ids| if bag { Ids::Bag { offsets: (0..=150).collect(), ids } } else { Ids::One(ids) };
            if is_given(&field.name) {
                candidates.ids[f] = ids(vec![rows.ids[f].row(0)[0]; 150]);
                read.ids[f] = ids(vec![u32::MAX; 150]);
            } else {
                user.ids[f] = Ids::One(vec![u32::MAX]);
            }
        }
        for (j, name) in layout.numeric.iter().enumerate() {
            if is_given(name) {
                candidates.numeric.column_mut(j).fill(rows.numeric[[0, j]]);
                read.numeric.column_mut(j).fill(f32::NAN);
            } else {
                user.numeric[[0, j]] = f32::NAN;
            }
        }
        for domain in (0..4).map(DomainId::new).chain([DomainId::SHARED]) {
            let expected = model.forward(&candidates, domain);
            let context = scorer.context(domain, &user);
            let found = scorer.score(&context, &read, &mut cache);
            assert_eq!(found.dim(), expected.dim());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-5 * expected.abs().max(1.0),
                    "{what}, {given:?}, {domain:?}: {found} is not {expected}"
                );
            }
            if domain != DomainId::SHARED {
                continue;
            }
            let alone = found.clone();
            let mut cache = ScorerCache::default();
            let split = in_pool(3, || scorer.score(&context, &read, &mut cache).clone()).unwrap();
            assert_eq!(split, alone, "{what}: the same bits on any threads");
        }
    }
}

/// Any model by its settings, trained.
fn any(mut settings: serde_json::Value) -> Model {
    settings["embedding_dim"] = 6.into();
    settings["embedding_std"] = 0.5.into();
    trained(AnyConfig::from_settings(settings, &layout(), 3).unwrap())
}

#[test]
fn a_star_scores_alike() {
    let check = |what: &str, config: crate::model::StarConfigBuilder| {
        scores_like_the_model(what, trained(config.build().unwrap()));
    };
    check("product", star());
    check("no norm", star().partitioned_norm(false).auxiliary(false));
    check("one layer", star().hidden([]));
    for combination in [
        Combination::Add,
        Combination::AdaptiveAdd,
        Combination::SigmoidGate,
        Combination::Concatenation,
        Combination::low_rank(),
    ] {
        check(&format!("{combination:?}"), star().combination(combination));
    }
    let hidden = || star().activation(ActivationKind::Silu).norm(NormKind::Layer).dropout(0.2);
    check("other hidden layers", hidden());
    check("other gated layers", hidden().combination(Combination::SigmoidGate));
}

#[test]
fn a_pooled_model_scores_alike() {
    let config =
        || PooledConfig::builder(&layout()).embedding_dim(6).embedding_std(0.5).hidden([20, 16]).build().unwrap();
    scores_like_the_model("pooled", trained(config()));
    scores_like_the_model("untrained", Model::new(config()));
}

#[test]
fn nets_after_interactions_score_alike() {
    let stacked = json!({ "fm": true, "cross_layers": 2, "cross_rank": 4 });
    let parallel = json!({ "fm": true, "cross_layers": 2, "cross_structure": "parallel" });
    for kind in ["single", "pooled", "star", "ple", "sluice", "pepnet", "mran"] {
        for interactions in [&stacked, &parallel] {
            let mut settings = json!({ "kind": kind, "interactions": interactions });
            if ["single", "ple"].contains(&kind) {
                settings["branches"] = "domains".into();
            }
            scores_like_the_model(&settings.to_string(), any(settings.clone()));
        }
    }
}

const BRANCHES: [&str; 3] = ["tasks", "domains", "domains_and_tasks"];

#[test]
fn experts_score_alike() {
    for branches in BRANCHES {
        for levels in [1, 3] {
            let settings = json!({ "kind": "ple", "branches": branches, "levels": levels, "expert_hidden": [20, 17] });
            scores_like_the_model(&settings.to_string(), any(settings));
        }
        for kind in ["cgc", "mmoe", "moe", "ml_mmoe"] {
            scores_like_the_model(kind, any(json!({ "kind": kind, "branches": branches, "expert_hidden": [10] })));
        }
    }
    for settings in [
        json!({ "kind": "ple", "activation": "silu", "dropout": 0.2 }),
        json!({ "kind": "ple", "norm": "batch", "expert_hidden": [12, 12] }),
        json!({ "kind": "ple", "activation": "prelu", "norm": "layer", "tower_hidden": [] }),
        json!({ "kind": "ple", "activation": "dice", "branches": "domains" }),
        json!({ "kind": "ple", "own_experts": 0, "shared_experts": 3 }),
        json!({ "kind": "ple", "levels": 1, "own_experts": 2, "shared_experts": 0 }),
        json!({ "kind": "ple", "branches": "domains", "built_with": 2 }),
    ] {
        scores_like_the_model(&settings.to_string(), any(settings));
    }
}

#[test]
fn bottoms_and_stitched_stacks_score_alike() {
    for branches in BRANCHES {
        for kind in ["single", "shared_bottom", "asymmetric", "customized", "cross_stitch", "sluice"] {
            scores_like_the_model(kind, any(json!({ "kind": kind, "branches": branches })));
        }
        for fusion in ["sum", "mean"] {
            let settings = json!({ "kind": "customized", "branches": branches, "fusion": fusion, "norm": "batch" });
            scores_like_the_model(fusion, any(settings));
        }
    }
    scores_like_the_model("sluice", any(json!({ "kind": "sluice", "subspaces": 4, "activation": "gelu" })));
}

#[test]
fn attention_scores_alike() {
    for branches in BRANCHES {
        scores_like_the_model("mran", any(json!({ "kind": "mran", "branches": branches })));
    }
    for settings in [
        json!({ "kind": "mran", "attention_layers": 0, "norm": "layer", "activation": "dice" }),
        json!({ "kind": "mran", "attention_layers": 2, "norm": "batch", "scaled": false, "tower_hidden": [] }),
        json!({ "kind": "mran", "branch_attention": false, "heads": 1, "dropout": 0.2, "branches": "domains" }),
    ] {
        scores_like_the_model(&settings.to_string(), any(settings));
    }
}

#[test]
fn gates_on_rows_and_towers_score_alike() {
    for settings in [
        json!({ "kind": "pepnet" }),
        json!({ "kind": "pepnet", "epnet": false, "priors": ["user"], "hidden": [20, 17] }),
        json!({ "kind": "pepnet", "priors": ["item", "user"], "gate_input": true, "norm": "batch" }),
        json!({ "kind": "pepnet", "priors": ["tags"], "gate_hidden": null, "gates_from_zero": false, "dropout": 0.2 }),
        json!({ "kind": "pepnet", "priors": ["user"], "activation": "dice", "norm": "layer", "hidden": [12] }),
    ] {
        scores_like_the_model(&settings.to_string(), any(settings));
    }
}

#[test]
fn affine_maps_and_tokens_read_one_row() {
    let (rng, style) = (&mut InitRng::new(3), HiddenSettings::default());
    // Two fields of 3 values each, and a number: 7 values in a row, 3 tokens of 3 values.
    let tokens = Tokens::new(2, 1, 3, 0.5, rng);
    let (of_tokens, of_row) = (Mlp::new(9, &[5], Some(2), style, rng), Mlp::new(7, &[4], Some(2), style, rng));
    let mut plan = Plan::new(1);
    let row = plan.row();
    let values = [plan.tokens(row, &tokens), row];
    let values = [plan.stack(values[0], &of_tokens), plan.stack(values[1], &of_row)];
    let home = DomainId::new(0);
    for (domain, value) in [(home, values[0]), (home, values[1]), (DomainId::SHARED, values[0])] {
        plan.answer(domain, value, None, 1.0);
    }

    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut x = Array2::random_using((6, 7), Uniform::new(-1.0, 1.0).unwrap(), &mut rng);
    let given: [&[usize]; 4] = [&[], &[3, 4, 5], &[0, 1, 2, 6], &[0, 1, 2, 3, 4, 5, 6]];
    for given in given {
        let of_first = x.row(0).select(Axis(0), given);
        for mut x in x.rows_mut() {
            given.iter().zip(&of_first).for_each(|(&column, &value)| x[column] = value);
        }
        let run = |mlp: &Mlp, x: &Array2<f32>| {
            let mut y = Array2::zeros((6, 2));
            mlp.forward(x, Mode::Infer, &mut MlpCache::default(), &mut y);
            y
        };
        let mut t = Array2::zeros((18, 3));
        tokens.forward(&x, &mut t);
        let by_tokens = run(&of_tokens, &t.into_shape_with_order((6, 9)).unwrap());
        let expected = [&by_tokens + &run(&of_row, &x), by_tokens];

        let rest: Vec<usize> = (0..7).filter(|column| !given.contains(column)).collect();
        let programs = compile::programs(&plan, given, &rest);
        for (program, expected) in programs.iter().zip(expected) {
            let (mut starts, mut buffers, mut logits) = (Vec::new(), Buffers::default(), Array2::zeros((6, 2)));
            let of_first = of_first.clone().insert_axis(Axis(0));
            program.start(&of_first, &mut starts);
            buffers.rows(1, 6, rest.len())[0].assign(&x.select(Axis(1), &rest));
            program.run(&of_first, &starts, &mut buffers, &mut logits);
            let apart = (&logits - &expected).fold(0.0_f32, |most, apart| most.max(apart.abs()));
            assert!(apart < 1e-6, "{given:?}: {logits} is not {expected}");
        }
    }
}

#[test]
fn one_cache_serves_models_one_after_the_other() {
    fn check(model: Model, cache: &mut ScorerCache) {
        let (rows, domain) = (batch(70, 5), DomainId::new(1));
        let expected = model.forward(&rows, domain);
        let scorer = Scorer::new(model, &[]).unwrap();
        let found = scorer.score(&scorer.context(domain, &Batch::default()), &rows, cache);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5 * b.abs().max(1.0)));
    }
    let cache = &mut ScorerCache::default();
    check(any(json!({ "kind": "mran", "branches": "domains" })), cache);
    check(Mran::new(MranConfig::builder(&layout()).head_width(3).build().unwrap()), cache);
    check(any(json!({ "kind": "star" })), cache);
    check(any(json!({ "kind": "ple" })), cache);
    check(any(json!({ "kind": "mran", "attention_layers": 1 })), cache);
}

#[test]
#[should_panic(expected = "a context of this model")]
fn a_context_of_another_model_is_refused() {
    let scorer = || Scorer::new(Star::new(star().build().unwrap()), &[]).unwrap();
    let context = scorer().context(DomainId::new(0), &Batch::default());
    scorer().score(&context, &batch(3, 1), &mut ScorerCache::default());
}

#[test]
fn what_a_domain_does_not_need_is_not_computed() {
    // With one level and branches for domains, a domain passes its own experts, the shared ones, its gate and its tower.
    let settings = json!({ "kind": "cgc", "branches": "domains", "expert_hidden": [16], "shared_experts": 2 });
    let scorer = Scorer::new(any(settings), &[]).unwrap();
    let programs = &scorer.programs;
    let widths = |program: &Program| program.firsts.iter().map(|(_, maps)| maps.bias.len()).collect::<Vec<_>>();
    let (own, shared, gate) = (16, 2 * 16, 3);
    for program in &programs[..3] {
        assert_eq!(widths(program).iter().sum::<usize>(), own + shared + gate);
    }
    assert_eq!(widths(&programs[3]).iter().sum::<usize>(), 3 * own + shared + 3 * gate);
    // Where all domains take the same steps, experts and gates that read the row are one product, packed once.
    let scorer = Scorer::new(any(json!({ "kind": "mmoe", "expert_hidden": [16], "experts": 3 })), &[]).unwrap();
    let programs = &scorer.programs;
    assert_eq!(widths(&programs[0]), [3 * 16 + 2 * 3]);
    assert!(programs.iter().all(|program| Arc::ptr_eq(&program.firsts[0].1, &programs[0].firsts[0].1)));
}

#[test]
fn names_that_are_no_inputs_are_refused() {
    let error = Scorer::new(Star::new(star().build().unwrap()), &["user", "age", "user", "agent"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"user\": given twice") && text.contains("\"agent\": not a field"), "{text}");
}

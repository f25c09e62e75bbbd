//! What single models promise beyond the contract that all keep.

use ndarray::{Array2, s};
use starple::data::{DomainId, Ids, Layout};
use starple::loss::{DwaConfig, GradNormConfig, Objective, UncertaintyConfig, Units, Weighting};
use starple::metrics::SHARED_DOMAIN;
use starple::model::{AsymmetricConfig, Branches, Cache, Mran, MranConfig};
use starple::nn::{Combination, DomainLinear, MultiHeadAttention, PartitionedNorm, Representations, StarLinear, Train};
use starple::optim::{AdamConfig, Clock, OptimizerConfig, RowUpdates, SgdConfig};
use starple::train::Step;
use starple::{ErrorKind, Model, PleConfig, StarConfig};

use crate::allocations;
use crate::world::{adam, assert_close, batch, layout, step, trained, values};

fn star() -> Model {
    Model::new(StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).build().unwrap())
}

fn ple(branches: Branches) -> Model {
    let config = PleConfig::builder(&layout()).embedding_dim(4).branches(branches).expert_hidden([6]);
    Model::new(config.tower_hidden([4]).build().unwrap())
}

#[test]
fn score_in_pieces_is_forward_whatever_the_threads() {
    let model = trained(star());
    let domains: Vec<usize> = (0..9000).map(|i| i * i % 3).collect();
    let rows = batch(&domains, 3);
    let whole = model.forward(&rows, rows.domains());
    let pieces = model.score(&rows);
    assert_close("scores", &pieces, &whole);
    let parallel = starple::train::in_pool(3, || model.score(&rows)).unwrap();
    assert_eq!(parallel, pieces);
}

fn warm_steps_of_every_weighting_allocate_nothing(model: &Model) {
    let domains = [[2, 0, 1, 1, 0, 2], [1, 1, 0, 0, 2, 0], [0, 0, 2, 2, 0, 2]];
    let mut batches = domains.map(|domains| batch(&domains, 9));
    batches[1].labels.column_mut(1).fill(f32::NAN);
    let kinds = [
        Weighting::default(),
        Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.01).build().unwrap()),
        Weighting::Dwa(DwaConfig::default()),
        Weighting::GradNorm(GradNormConfig::builder().lr(0.01).build().unwrap()),
        Weighting::PcGrad {},
    ];
    for units in [Units::Tasks, Units::Domains, Units::DomainsAndTasks] {
        for kind in &kinds {
            let objective = Objective::builder().units(units).weighting(kind.clone()).build().unwrap();
            let (mut model, mut optimizer) = (model.clone(), adam());
            let mut steps = Step::new(&model, &objective, 1).unwrap();
            let mut run = |number: u64| {
                let gradient = steps.gradient(&model, &batches[number as usize % 3], Clock { epoch: 0, step: number });
                model.apply(gradient.unwrap(), &mut *optimizer);
            };
            (0..6).for_each(&mut run);
            let (ours, _) = allocations::during(|| (6..12).for_each(&mut run));
            assert_eq!(ours, 0, "{units:?} by {kind:?}: allocations in six warm steps");
        }
    }
}

#[test]
fn warm_steps_allocate_nothing_whatever_the_weighting() {
    warm_steps_of_every_weighting_allocate_nothing(&star());
    warm_steps_of_every_weighting_allocate_nothing(&ple(Branches::Tasks));
}

const COMBINATIONS: [Combination; 6] = [
    Combination::Product,
    Combination::Add,
    Combination::AdaptiveAdd,
    Combination::SigmoidGate,
    Combination::Concatenation,
    Combination::LowRank { rank: 2 },
];

fn star_of(combination: Combination) -> Model {
    let config = StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).combination(combination);
    Model::new(config.build().unwrap())
}

#[test]
fn weight_decay_pulls_domains_to_the_shared_network() {
    for combination in COMBINATIONS {
        let mut model = trained(star_of(combination));
        let shared = model.net().get::<StarLinear>(("layers", 0)).unwrap().shared.clone();
        // Of the domain's layer to the shared one as it was, since decay pulls that one to 0.
        let distance = |model: &Model| {
            let mut layer = model.net().get::<StarLinear>(("layers", 0)).unwrap().clone();
            layer.shared = shared.clone();
            (layer.combined(1).weight - &shared.weight).mapv(|d| d * d).sum()
        };
        let before = distance(&model);
        assert!(before > 0.0);
        // No gradient at all, only decay.
        let config = SgdConfig::builder().lr(0.1).weight_decay(1.0).build().unwrap();
        let mut optimizer = OptimizerConfig::Sgd(config).build();
        for _ in 0..100 {
            let rows = batch(&[0, 1, 2], 1);
            let mut cache = Cache::<Train>::default();
            let mut grad = model.zero_grad();
            model.forward_with(&rows, rows.domains(), &mut cache);
            model.backward(&rows, &Array2::zeros((3, 2)), &mut cache, &mut grad);
            model.apply(&mut grad, &mut *optimizer);
        }
        assert!(distance(&model) < 1e-6 * before, "{combination:?}: {} of {before}", distance(&model));
        assert!(model.net().get::<StarLinear>(("layers", 0)).unwrap().shared.weight.iter().all(|w| w.abs() < 1e-3));
        // What multiplies, or is multiplied by, what decays to 0 does not: the domain can still learn.
        match &model.net().get::<StarLinear>(("layers", 0)).unwrap().domain[1] {
            DomainLinear::AdaptiveAdd(own) => assert!(own.alpha.iter().all(|a| (a - 1.0).abs() < 1e-4)),
            DomainLinear::LowRank(own) => assert!(own.u.iter().any(|u| u.abs() > 0.1)),
            _ => {}
        }
    }
}

#[test]
fn a_new_star_domain_scores_as_the_shared_path_does() {
    for combination in COMBINATIONS {
        let mut model = trained(star_of(combination));
        let rows = batch(&[0, 1, 2], 4);
        let shared = model.forward(&rows, DomainId::SHARED);
        let domain = model.add_domain("partner").unwrap();
        assert_close(&format!("{combination:?}"), &model.forward(&rows, domain), &shared);
    }
}

#[test]
fn new_low_rank_domains_draw_what_nobody_else_has() {
    let mut model = star_of(Combination::low_rank());
    model.add_domain("partner").unwrap();
    model.add_domain("wallet").unwrap();
    for layer in model.net().all::<StarLinear>() {
        let drawn: Vec<_> = layer.domain.iter().collect();
        assert_eq!(drawn.len(), 5);
        for (i, own) in drawn.iter().enumerate() {
            assert!(!drawn[..i].contains(own), "domain {i}");
        }
    }
}

#[test]
fn a_combination_is_written_by_name() {
    let read = |text: &str| serde_json::from_str::<Combination>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#""adaptive_add""#), Ok(Combination::AdaptiveAdd));
    assert_eq!(read(r#"{"low_rank": {"rank": 7}}"#), Ok(Combination::LowRank { rank: 7 }));
    assert_eq!(read(r#"{"low_rank": {}}"#), Ok(Combination::LowRank { rank: 4 }));
    assert!(read(r#"{"low_rank": {"ranks": 7}}"#).unwrap_err().contains("unknown field `ranks`"));
    assert!(read(r#""sum""#).unwrap_err().contains("unknown variant `sum`"));
    assert_eq!(serde_json::to_string(&Combination::SigmoidGate).unwrap(), r#""sigmoid_gate""#);
    let error = StarConfig::builder(&layout()).combination(Combination::LowRank { rank: 0 }).build().unwrap_err();
    assert_eq!(error.to_string(), "StarConfig: combination.low_rank.rank: 1 to 65536, found 0");
}

#[test]
fn rows_of_no_known_domain_take_the_shared_path() {
    // STAR at its start: all factors are 1, all statistics are the same, so every path is the shared one.
    let mut fresh = StarConfig::builder(&layout()).embedding_dim(4).hidden([8]).auxiliary(false).build().unwrap();
    let model = Model::new(fresh.clone());
    let rows = batch(&[0, 1, 2], 4);
    assert_close("scores", &model.forward(&rows, DomainId::SHARED), &model.forward(&rows, DomainId::new(1)));
    fresh = StarConfig::builder(&layout()).hidden([8]).build().unwrap();
    assert!(Model::new(fresh).forward(&rows, DomainId::SHARED).iter().all(|z| z.is_finite()));

    // PLE with branches for domains: the mean of all domains' logits.
    for branches in [Branches::Domains, Branches::DomainsAndTasks] {
        let model = trained(ple(branches));
        let mean = (0..3).map(|d| model.forward(&rows, DomainId::new(d)) / 3.0).reduce(|a, b| a + b).unwrap();
        assert_close("scores", &model.forward(&rows, DomainId::SHARED), &mean);
        // Also in a batch with others.
        let mut mixed = rows.domains.clone();
        mixed[1] = DomainId::SHARED;
        assert_close(
            "beside others",
            &model.forward(&rows, &mixed).slice(s![1..2, ..]).to_owned(),
            &mean.slice(s![1..2, ..]).to_owned(),
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_another() {
    assert_eq!(values(&star()), values(&star()));
    let other = StarConfig::builder(&layout()).embedding_dim(4).hidden([8, 4]).seed(1).build().unwrap();
    assert_ne!(values(&star()), values(&Model::new(other)));
}

#[test]
fn moving_averages_of_a_rare_domain_are_those_of_its_batches() {
    // `cart` is seen five times, in batches that hold the same rows: its averages must be those rows' statistics.
    let config = StarConfig::builder(&layout()).embedding_dim(4).embedding_std(1.0);
    let mut model = Model::new(config.build().unwrap());
    let mut frozen = OptimizerConfig::sgd(1e-30).unwrap().build();
    let rows = batch(&[2, 2, 2, 0], 4);
    for number in 0..5 {
        step(&mut model, &rows, &[0, 1], number, &mut *frozen);
    }
    let tables = model.embeddings().tables();
    // The columns of the two fields with one id a row, and of the numbers.
    let x = |i: usize, j: usize| match j {
        0..8 => tables[j / 4][[rows.ids[j / 4].row(i)[0] as usize, j % 4]],
        _ => rows.numeric[[i, j - 12]],
    };
    let own = &model.net().get::<PartitionedNorm>("norm").unwrap().domain[2].moving;
    assert_eq!(own.steps, 5);
    for j in (0..8).chain(12..14) {
        let column = ndarray::Array1::from_shape_fn(3, |i| x(i, j));
        assert!((own.mean[j] - column.mean().unwrap()).abs() < 1e-5);
        assert!((own.var[j] - column.var(1.0)).abs() < 1e-4, "{} and {}", own.var[j], column.var(1.0));
    }
    // `search` came with one row a batch, which has no variance: its averages never moved.
    let alone = &model.net().get::<PartitionedNorm>("norm").unwrap().domain[0].moving;
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
fn a_model_is_built_with_whole_domains_and_all_tasks() {
    let ple = |branches, count| PleConfig::builder(&layout()).branches(branches).built_with(count).build();
    // Three domains, two tasks.
    for (branches, count, expected) in [
        (Branches::Domains, 0, "built_with: 1 to 3, the number of branches, found 0"),
        (Branches::Domains, 4, "built_with: 1 to 3, the number of branches, found 4"),
        (Branches::DomainsAndTasks, 3, "built_with: whole domains, a multiple of 2, found 3"),
        (Branches::Tasks, 1, "built_with: all tasks, a multiple of 2, found 1"),
    ] {
        assert_eq!(ple(branches, count).unwrap_err().to_string(), format!("PleConfig: {expected}"));
    }
    for (branches, count) in [(Branches::Domains, 2), (Branches::DomainsAndTasks, 4), (Branches::Tasks, 2)] {
        assert!(ple(branches, count).is_ok());
    }
}

#[test]
fn who_reads_whose_bottom_is_said_once_and_by_names_that_there_are() {
    let reads = |reader: &str, read: &[&str]| {
        let read = read.iter().map(|&name| name.to_owned()).collect();
        AsymmetricConfig::builder(&layout()).reads([(reader.to_owned(), read)]).build()
    };
    assert!(reads("click", &["buy"]).is_ok());
    for (reader, read, expected) in [
        ("click", &["cart"][..], "reads: \"cart\" is not a branch, expected one of click, buy"),
        ("view", &["click"], "reads: \"view\" is not a branch, expected one of click, buy"),
        ("click", &["click"], "reads.click: \"click\" is listed twice, or is the reader"),
        ("click", &["buy", "buy"], "reads.click: \"buy\" is listed twice, or is the reader"),
    ] {
        let error = reads(reader, read).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn names_that_would_be_taken_for_others_are_refused() {
    let refused = |change: &dyn Fn(&mut Layout), expected: &str| {
        let mut layout = layout();
        change(&mut layout);
        let error = StarConfig::builder(&layout).build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&|layout| layout.tasks[0].clear(), "layout.tasks: no name may be empty");
    refused(&|layout| layout.fields[1].name.clear(), "layout.fields: no name may be empty");
    refused(&|layout| layout.domains[2] = "feed".into(), "layout.domains: \"feed\" is listed twice");
    refused(&|layout| layout.domains[2] = SHARED_DOMAIN.into(), "names the rows of no known domain");
    assert_eq!(star().add_domain(SHARED_DOMAIN).unwrap_err().kind(), ErrorKind::Config);
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
    let config = AdamConfig::builder().lr(0.1).weight_decay(0.1).row_updates(RowUpdates::Lazy);
    let mut optimizer = OptimizerConfig::Adam(config.build().unwrap()).build();
    let before = model.embeddings().tables()[0].clone();
    let rows = batch(&[0, 1, 2, 1], 2);
    step(&mut model, &rows, &[0, 1], 0, &mut *optimizer);
    let Ids::One(users) = &rows.ids[0] else { panic!("single ids") };
    for (row, (before, after)) in before.rows().into_iter().zip(model.embeddings().tables()[0].rows()).enumerate() {
        assert_eq!(before != after, users.contains(&(row as u32)), "row {row}");
    }
}

#[test]
fn a_branch_alone_attends_to_nobody() {
    let one_task = Layout { tasks: vec!["click".into()], ..layout() };
    let config = |layout: &Layout, branches| MranConfig::builder(layout).embedding_dim(4).branches(branches);
    assert!(
        Mran::new(config(&one_task, Branches::Tasks).build().unwrap())
            .net()
            .get::<MultiHeadAttention>("relations")
            .is_none()
    );
    // Also after others came: they were not there when it learned.
    let one_domain = Layout { domains: vec!["search".into()], ..layout() };
    let mut model = Mran::new(config(&one_domain, Branches::Domains).build().unwrap());
    model.add_domain("feed").unwrap();
    assert!(Mran::new(model.config().clone()).net().get::<MultiHeadAttention>("relations").is_none());
    assert!(
        Mran::new(config(&layout(), Branches::Domains).build().unwrap())
            .net()
            .get::<MultiHeadAttention>("relations")
            .is_some()
    );

    let error = config(&layout(), Branches::Tasks).heads(0).head_width(0).tower_hidden([0]).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "MranConfig: tower_hidden: every width at least 1, found [0]; heads: at least 1, found 0; head_width: at least 1, found 0"
    );
}

#[test]
fn an_added_branch_attends_to_those_before_it() {
    let config = MranConfig::builder(&layout()).embedding_dim(4).embedding_std(1.0).branches(Branches::Domains);
    let mut model = trained(Mran::new(config.build().unwrap()));
    let partner = model.add_domain("partner").unwrap();
    let rows = batch(&[0, 1, 2], 4);
    let (partners, feeds) = (model.forward(&rows, partner), model.forward(&rows, DomainId::new(1)));
    model.net_mut().get_mut::<Representations>("representations").unwrap().own.member_mut(0).vector += 1.0;
    assert_ne!(model.forward(&rows, partner), partners, "it sees those that were there");
    let feeds_now = model.forward(&rows, DomainId::new(1));
    assert_ne!(feeds_now, feeds, "as they see each other");
    model.net_mut().get_mut::<Representations>("representations").unwrap().own.member_mut(3).vector += 1.0;
    assert_ne!(model.forward(&rows, partner), partners);
    assert_eq!(model.forward(&rows, DomainId::new(1)), feeds_now, "but is not seen");
}

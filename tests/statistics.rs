//! Checks that predictions in inference agree with those in training: statistics belong to the current weights.

use ndarray::{Array1, Array2, arr1, s};
use serde_json::{Value, json};
use starple::data::{Batch, DomainId, Format, Numeric, Schema, SplitOptions, Splits, Table};
use starple::loss::sigmoid;
use starple::model::{AnyConfig, Cache, Model};
use starple::nn::{
    Leaf, Mode, Pair, Params as _, PartitionedNorm, PartitionedNormCache, PartitionedNormSettings, Path, Segment, Train,
};
use starple::train::{StatisticsRows, TrainConfig, Trainer, recompute_statistics};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

/// A log on which embeddings change fast: rare clicks, few batches per epoch. Domains have between half and a hundredth of the rows.
fn world() -> Splits {
    let config = SyntheticConfig::builder()
        .rows(20_000)
        .seed(5)
        .domain_column("scene")
        .domains(["search", "feed", "checkout", "partner", "email"])
        .domain_tail(2.0)
        .task("click", 0.1)
        .categorical("user", 800)
        .categorical("item", 500)
        .numeric("price", 60.0, 12.0, 2)
        .signal(3.0)
        .build()
        .unwrap();
    let mut csv = Vec::new();
    SyntheticLog::generate(&config).write_csv(&mut csv).unwrap();
    let schema = Schema::builder().categorical("user").categorical("item").feature(Numeric::new("price").standard());
    let schema = schema.domain("scene").label("click").split("split").build().unwrap();
    let table = Table::from_reader(&csv[..], Format::Csv, "planted.csv", &schema).unwrap();
    Splits::of_table(&schema, &table, SplitOptions::default()).unwrap()
}

fn train(splits: &Splits, settings: Value, epochs: usize, seed: u64, statistics_rows: usize) -> Model {
    let mut model = Model::new(AnyConfig::from_settings(settings, &splits.layout, seed).unwrap());
    let config = TrainConfig::builder().epochs(epochs).batch_rows(512).seed(seed).statistics_rows(statistics_rows);
    Trainer::new(config.build().unwrap()).fit(&mut model, splits.train.clone(), Some(&splits.val)).unwrap();
    model
}

/// The mean prediction for each domain's training rows, in batches of 512 rows.
fn means(model: &Model, rows: &Batch, mode: Mode<'static>) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); model.layout().domains.len()];
    let mut cache = Cache::new(mode);
    for start in (0..rows.rows()).step_by(512) {
        let batch = rows.slice(start..rows.rows().min(start + 512));
        for (domain, logit) in
            batch.domains.iter().zip(model.forward_with(&batch, batch.domains(), &mut cache).column(0))
        {
            let (sum, count) = &mut sums[domain.index().unwrap()];
            *sum += sigmoid(f64::from(*logit));
            *count += 1.0;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count).collect()
}

/// The largest relative difference between inference and batch statistics: for domains with at least 1,000 rows, and for smaller ones.
fn worst(model: &Model, rows: &Batch) -> (f64, f64) {
    let (inference, batches) = (means(model, rows, Mode::Infer), means(model, rows, Mode::Measure));
    let (mut large, mut small) = (0.0_f64, 0.0_f64);
    for (d, (inference, batches)) in inference.iter().zip(&batches).enumerate() {
        let count = rows.domains.iter().filter(|&&domain| domain == DomainId::new(d)).count();
        let of_size = if count >= 1000 { &mut large } else { &mut small };
        *of_size = of_size.max((inference / batches - 1.0).abs());
    }
    (large, small)
}

#[test]
fn predictions_in_inference_agree_with_training() {
    let splits = world();
    let star = json!({"kind": "star", "hidden": [32, 16], "embedding_dim": 8});
    let batch_norm = json!({"kind": "pooled", "norm": "batch", "dropout": 0.2, "hidden": [32, 16], "embedding_dim": 8});
    let dice = json!({"kind": "shared_bottom", "activation": "dice", "bottom_hidden": [32], "branches": "domains", "embedding_dim": 8});
    let star_dice =
        json!({"kind": "star", "activation": "dice", "norm": "batch", "hidden": [32, 16], "embedding_dim": 8});
    for settings in [star, batch_norm, dice, star_dice] {
        for (seed, epochs) in [(1, 1), (2, 2), (3, 4)] {
            let model = train(&splits, settings.clone(), epochs, seed, 131_072);
            let (large, small) = worst(&model, &splits.train);
            assert!(large < 0.02 && small < 0.1, "{settings}, {epochs} epochs: {large:.3}, small domains {small:.3}");
        }
    }
}

#[test]
fn the_test_above_sees_averages_that_lag() {
    let splits = world();
    let star = json!({"kind": "star", "hidden": [32, 16], "embedding_dim": 8});
    let (large, _) = worst(&train(&splits, star, 1, 1, 0), &splits.train);
    assert!(large > 0.05, "{large}");
}

/// Every moving average, by name.
fn averages(model: &Model) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    model.visit(|path: &Path, leaf: Leaf<'_>| {
        if let Leaf::Average(values, _) = leaf {
            all.push((path.name(model.layout()), values.to_vec()));
        }
    });
    all
}

#[test]
fn the_statistics_are_the_moments_of_all_rows() {
    let splits = world();
    let star = json!({"kind": "star", "hidden": [8], "embedding_dim": 3, "embedding_std": 0.5});
    let model = train(&splits, star, 1, 4, 1_000_000);
    let layout = model.layout().clone();
    for (d, name) in layout.domains.iter().enumerate() {
        let rows: Vec<usize> =
            (0..splits.train.rows()).filter(|&row| splits.train.domains[row] == DomainId::new(d)).collect();
        // The first column of the first field's embedding, and the numeric input, which is the last column.
        let ids = |row: usize| splits.train.ids[0].row(row)[0] as usize;
        let column: Array1<f64> =
            rows.iter().map(|&row| f64::from(model.embeddings().tables()[0][[ids(row), 0]])).collect();
        let number: Array1<f64> = rows.iter().map(|&row| f64::from(splits.train.numeric[[row, 0]])).collect();
        for (values, at) in [(column, 0), (number, 6)] {
            for (what, expected) in [("mean", values.mean().unwrap()), ("var", values.var(1.0))] {
                let name = format!("net.norm.domain.{name}.moving.{what}");
                let all = averages(&model);
                let found = f64::from(all.iter().find(|(other, _)| *other == name).expect(&name).1[at]);
                assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{name}[{at}]: {found}, {expected}");
            }
        }
    }
}

#[test]
fn recomputing_takes_nothing_but_averages_and_gives_the_same_bits_on_any_number_of_threads() {
    let splits = world();
    for settings in
        [json!({"kind": "star", "hidden": [8]}), json!({"kind": "mmoe", "norm": "batch", "branches": "domains"})]
    {
        let model = train(&splits, settings, 1, 4, 0);
        let again = |threads: usize| {
            let mut model = model.clone();
            let sample = StatisticsRows { per_domain: 700, batch_rows: 512, seed: 3, number: 1 };
            starple::train::in_pool(threads, || recompute_statistics(&mut model, splits.train.clone(), sample))
                .unwrap()
                .unwrap();
            model
        };
        let (one, three) = (again(1), again(3));
        assert_eq!(averages(&one), averages(&three));
        assert_ne!(averages(&one), averages(&model));
        let learned = |model: &Model| {
            let mut all: Vec<f32> = Vec::new();
            model.visit(|_, leaf| {
                if let Leaf::Tensor(values, ..) = leaf {
                    all.extend(values);
                }
            });
            all
        };
        assert_eq!(learned(&one), learned(&model));
    }
}

#[test]
fn a_frozen_average_stays() {
    let splits = world();
    let star = json!({"kind": "star", "hidden": [8]});
    let mut model = train(&splits, star, 1, 4, 100);
    let before = averages(&model);
    let config = TrainConfig::builder().epochs(1).batch_rows(512).freeze(["net.norm.domain.feed"]).build().unwrap();
    Trainer::new(config).fit(&mut model, splits.train.clone(), Some(&splits.val)).unwrap();
    for ((name, before), (_, after)) in before.iter().zip(averages(&model)) {
        assert_eq!(*before == after, name.contains("domain.feed"), "{name}");
    }
}

/// One column, two domains of 4 rows: constant in the first, spread in the second.
fn constant_in_a_domain(settings: PartitionedNormSettings) -> (PartitionedNorm, [Segment; 2]) {
    let mut norm = PartitionedNorm::new(1, (0..2).map(DomainId::new), settings);
    let z = Array2::from_shape_vec((8, 1), vec![1.0, 1.0, 1.0, 1.0, -3.0, -1.0, 1.0, 3.0]).unwrap();
    let segments = [(0, 0, 4), (1, 4, 8)].map(|(d, start, end)| Segment { domain: DomainId::new(d), start, end });
    let (mut cache, mut grad) = (PartitionedNormCache::default(), norm.zeros_like());
    let (mut y, mut dz) = (Array2::zeros((8, 1)), Array2::zeros((8, 1)));
    norm.forward(&z, &segments, Mode::Train(Train::default()), &mut cache, &mut y);
    norm.backward(&z, &segments, &z, &mut cache, &mut grad, &mut dz);
    norm.visit_pair(&mut grad, &mut Path::starting_at(0), &mut |_, pair| {
        if let Pair::Average(average, batch) = pair {
            average.take(batch);
        }
    });
    (norm, segments)
}

#[test]
fn a_column_that_is_constant_in_a_domain_becomes_0() {
    for floor in [0.0, 0.1] {
        let settings = PartitionedNormSettings { floor, min_rows: 2, ..PartitionedNormSettings::default() };
        let (norm, segments) = constant_in_a_domain(settings);
        let moved = arr1(&[1.0_f32, 5.0, 1.0, 1.0, 0.0, 2.0, 0.0, 0.0]);
        let mut y = Array2::zeros((8, 1));
        norm.forward(
            &moved.to_shape((8, 1)).unwrap(),
            &segments,
            Mode::Infer,
            &mut PartitionedNormCache::default(),
            &mut y,
        );
        assert_eq!(y.slice(s![0..4, 0]), arr1(&[0.0; 4]));
        // Domain 0 has mean 1 and variance 0, domain 1 has mean 0 and variance 20/3. The pooled variance is 10/3 + 1/4.
        let expected = 2.0 / (20.0 / 3.0 + f64::from(floor) * (10.0 / 3.0 + 0.25) + 1e-5).sqrt();
        assert!((f64::from(y[[5, 0]]) - expected).abs() < 1e-5, "{} and {expected}", y[[5, 0]]);
    }
}

#[test]
fn a_small_segment_moves_its_averages_but_does_not_use_its_own_statistics() {
    let settings = PartitionedNormSettings { min_rows: 5, ..PartitionedNormSettings::default() };
    let (norm, segments) = constant_in_a_domain(settings);
    assert_eq!((norm.domain[1].moving.mean[0], norm.domain[1].moving.steps), (0.0, 1));
    assert!((norm.domain[1].moving.var[0] - 20.0 / 3.0).abs() < 1e-5);
    // Segments with fewer than `min_rows` rows use the moving averages in both modes.
    let z = Array2::from_shape_fn((8, 1), |(row, _)| row as f32);
    let (mut train, mut infer) = (Array2::zeros((8, 1)), Array2::zeros((8, 1)));
    norm.forward(&z, &segments, Mode::Measure, &mut PartitionedNormCache::default(), &mut train);
    norm.forward(&z, &segments, Mode::Infer, &mut PartitionedNormCache::default(), &mut infer);
    assert_eq!(train, infer);
}

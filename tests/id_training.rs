//! Checks how training treats ids and fields: embeddings of unknown values, the penalty of rare ids, dropped fields.

use ndarray::{Array2, s};
use starple::data::{Batch, DataSet, DomainId, Encoder, Format, Layout, Pooling, Schema, Table};
use starple::loss::Objective;
use starple::metrics::pcoc;
use starple::model::{Cache, Gradient};
use starple::nn::Train;
use starple::optim::{Clock, OptimizerConfig};
use starple::train::{EarlyStop, IdCounts, Step, TrainConfig, Trainer, Unknown};
use starple::{AnyConfig, Model};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

const ROWS: usize = 400;

/// `user` and `tags` have rows for unknown values, `hash` has none.
fn layout() -> Layout {
    Layout::new(["home", "search"], ["click"])
        .field("user", 30)
        .unknown("user")
        .field("hash", 20)
        .bag("tags", 12, Pooling::Mean)
        .unknown("tags")
        .field_of("last", "tags", Some(Pooling::Keep(2)))
        .numeric(["price"])
}

fn batch() -> Batch {
    let value = |row: usize, column: usize| (row * 31 + column * 17 + row * row * (column + 2)) % 97;
    let rows = 0..ROWS;
    let bag = |row: usize, column: usize| (0..value(row, column) % 4).map(move |i| 1 + (row * 3 + i) as u32 % 11);
    Batch::builder(&layout(), ROWS)
        .ids("user", rows.clone().map(|row| 1 + (value(row, 1) % 29) as u32).collect())
        .ids("hash", rows.clone().map(|row| value(row, 2) as u32 % 20).collect())
        .bag("tags", rows.clone().map(|row| bag(row, 3).collect::<Vec<_>>()))
        .bag("last", rows.clone().map(|row| bag(row, 4).collect::<Vec<_>>()))
        .numeric("price", rows.clone().map(|row| value(row, 5) as f32 / 50.0 - 1.0).collect())
        .domains(rows.clone().map(|row| DomainId::new(usize::from(row >= 150))).collect())
        .labels("click", rows.map(|row| f32::from(u8::from(value(row, 6) % 3 == 0))).collect())
        .build()
        .unwrap()
}

fn pooled(settings: &serde_json::Value) -> Model {
    let mut all = serde_json::json!({ "kind": "pooled", "hidden": [6], "embedding_dim": 3, "embedding_std": 0.5 });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Model::new(AnyConfig::from_settings(all, &layout(), 3).unwrap())
}

fn counts() -> IdCounts {
    IdCounts::of(DataSet::new(&layout(), batch()).unwrap()).unwrap()
}

fn step(model: &Model, unknown: Unknown, id_l2: f64) -> Step {
    Step::new(model, &Objective::default(), 5).unwrap().ids(model, unknown, id_l2, counts())
}

/// The gradient of a step whose rows are in these parts.
fn gradient(model: &Model, unknown: Unknown, number: u64, cuts: &[usize]) -> Gradient {
    let (batch, clock) = (batch(), Clock { epoch: 0, step: number });
    let bounds: Vec<usize> = [0].iter().chain(cuts).chain(&[ROWS]).copied().collect();
    let parts: Vec<Batch> = bounds.windows(2).map(|part| batch.slice(part[0]..part[1])).collect();
    let mut steps: Vec<Step> = parts.iter().map(|_| step(model, unknown, 0.0)).collect();
    let mut normalisers = None;
    for ((step, part), &start) in steps.iter_mut().zip(&parts).zip(&bounds) {
        let own = step.forward(model, part, start as u64, clock).clone();
        match &mut normalisers {
            None => normalisers = Some(own),
            Some(sum) => sum.add(&own),
        }
    }
    let normalisers = normalisers.unwrap();
    let mut sum = model.zero_grad();
    for (step, part) in steps.iter_mut().zip(&parts) {
        sum.add(step.backward(model, part, &normalisers).unwrap());
    }
    sum
}

/// The largest difference of two gradients of tables.
fn distance(a: &Gradient, b: &Gradient) -> f32 {
    let mut most = 0.0_f32;
    for (a, b) in a.tables.iter().zip(&b.tables) {
        let rows = a.rows().iter().chain(b.rows());
        for &row in rows {
            let zeros = vec![0.0; a.dim()];
            let values = |grad: &starple::nn::RowGrad| grad.row(row as usize).unwrap_or(&zeros).to_vec();
            most = values(a).iter().zip(values(b)).fold(most, |most, (a, b)| most.max((a - b).abs()));
        }
    }
    most
}

#[test]
fn which_ids_are_replaced_depends_on_the_row_and_not_on_the_parts_of_the_step() {
    let model = pooled(&serde_json::json!({}));
    for unknown in [Unknown::Rate(0.2), Unknown::ByCount(3.0)] {
        let whole = gradient(&model, unknown, 7, &[]);
        for cuts in [&[1][..], &[150], &[33, 34, 201]] {
            let parts = gradient(&model, unknown, 7, cuts);
            assert!(distance(&whole, &parts) < 1e-6, "{unknown:?} {cuts:?}: {}", distance(&whole, &parts));
        }
        assert!(distance(&whole, &gradient(&model, unknown, 8, &[])) > 1e-4, "every step replaces others");
        // Row 0 of the tables with an unknown row has a gradient; no id 0 is in the data.
        assert!(whole.tables[0].row(0).is_some() && whole.tables[2].row(0).is_some());
    }
    let off = gradient(&model, Unknown::Off, 7, &[]);
    assert!(off.tables[0].row(0).is_none() && off.tables[2].row(0).is_none());
    // A rate near 1 leaves hashed ids as they are, and replaces one id of each bag.
    let all = gradient(&model, Unknown::Rate(0.999_999), 7, &[]);
    assert_eq!(all.tables[0].rows(), [0]);
    let mut hashed = (all.tables[1].rows().to_vec(), off.tables[1].rows().to_vec());
    hashed.0.sort_unstable();
    hashed.1.sort_unstable();
    assert_eq!(hashed.0, hashed.1);
    assert!(all.tables[2].rows().len() > 5);
}

#[test]
fn ids_are_replaced_as_often_as_the_setting_says() {
    // One row for each id and draw: the gradient of user 0 over all users' shows how often 0 is read, by the numeric derivative of a sum.
    let layout = Layout::new(["all"], ["click"]).field("user", 3).unknown("user");
    // User 1 has 900 rows, user 2 has 100.
    let ids: Vec<u32> = (0..1000).map(|row| if row % 10 == 0 { 2 } else { 1 }).collect();
    let rows = Batch::builder(&layout, 1000).ids("user", ids).labels("click", vec![1.0; 1000]).build().unwrap();
    let counts = IdCounts::of(DataSet::new(&layout, rows.clone()).unwrap()).unwrap();
    assert_eq!(counts.table(0), [0, 900, 100]);
    let settings = serde_json::json!({ "kind": "pooled", "hidden": [], "embedding_dim": 1, "embedding_std": 0.0 });
    let model = Model::new(AnyConfig::from_settings(settings, &layout, 1).unwrap());
    // With embeddings of 0 every row's gradient of the embedding is equal, so shares of gradients are shares of rows.
    let share = |unknown, steps: u64| {
        let mut step = Step::new(&model, &Objective::default(), 2).unwrap().ids(&model, unknown, 0.0, counts.clone());
        let mut sums = [0.0_f64; 3];
        for number in 0..steps {
            let grad = step.gradient(&model, &rows, Clock { epoch: 0, step: number }).unwrap();
            for (id, sum) in sums.iter_mut().enumerate() {
                *sum += grad.tables[0].row(id).map_or(0.0, |row| f64::from(row[0]));
            }
            grad.zero();
        }
        sums.map(|sum| sum / sums.iter().sum::<f64>())
    };
    let [zero, one, two] = share(Unknown::Rate(0.05), 200);
    // 10⁴ of 2·10⁵ draws, give or take 97.5.
    assert!((zero - 0.05).abs() < 0.002 && (one - 0.855).abs() < 0.002 && (two - 0.095).abs() < 0.001);
    // Both users are replaced about ten times an epoch: 900·10/910 + 100·10/110 of 1000 rows.
    let [zero, one, two] = share(Unknown::ByCount(10.0), 200);
    let replaced = [9000.0 / 910.0, 1000.0 / 110.0];
    assert!((zero - (replaced[0] + replaced[1]) / 1000.0).abs() < 0.0012, "{zero}");
    assert!(
        (one - (900.0 - replaced[0]) / 1000.0).abs() < 0.0012 && (two - (100.0 - replaced[1]) / 1000.0).abs() < 0.0008
    );
}

#[test]
fn frozen_tables_keep_their_ids_and_means_are_weighted_by_counts() {
    let model = pooled(&serde_json::json!({}));
    let mut step = Step::new(&model, &Objective::default(), 5).unwrap();
    step = step.freeze(&model, &["embeddings.user"]).unwrap().ids(&model, Unknown::Rate(0.9), 0.0, counts());
    // What a frozen table gives is what it would give without replacement: compare the logits where nothing else is replaced.
    let alone = |unknown: Unknown| {
        let mut step = Step::new(&model, &Objective::default(), 5).unwrap();
        step = step.freeze(&model, &["embeddings"]).unwrap().ids(&model, unknown, 0.0, counts());
        step.forward(&model, &batch(), 0, Clock::default());
        step.logits().clone()
    };
    assert_eq!(alone(Unknown::Rate(0.9)), alone(Unknown::Off));
    step.forward(&model, &batch(), 0, Clock::default());
    assert_ne!(*step.logits(), alone(Unknown::Off), "tags are replaced");

    let (mut mean, counts) = (model.clone(), counts());
    let step = Step::new(&model, &Objective::default(), 5).unwrap().ids(&model, Unknown::Mean, 0.0, counts.clone());
    step.set_unknown_to_mean(&mut mean);
    for (table, (before, after)) in model.embeddings().tables().iter().zip(mean.embeddings().tables()).enumerate() {
        assert_eq!(before.slice(s![1.., ..]), after.slice(s![1.., ..]));
        let counts = counts.table(table);
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        for column in 0..3 {
            let weighted = |(row, &count): (usize, &u32)| f64::from(count) * f64::from(before[[row, column]]);
            let mean: f64 = counts.iter().enumerate().map(weighted).sum::<f64>() / total;
            let expected = if table == 1 { f64::from(before[[0, column]]) } else { mean };
            assert!((f64::from(after[[0, column]]) - expected).abs() < 1e-6, "table {table}");
        }
    }
}

#[test]
fn the_penalty_of_ids_is_lambda_over_their_counts() {
    let model = pooled(&serde_json::json!({}));
    let (batch, counts, lambda) = (batch().slice(0..60), counts(), 0.3);
    let of = |l2| {
        let mut step = step(&model, Unknown::Rate(0.3), l2);
        step.gradient(&model, &batch, Clock::default()).unwrap().clone()
    };
    let (plain, pulled) = (of(0.0), of(lambda));
    for (i, (plain, pulled)) in plain.tables.iter().zip(&pulled.tables).enumerate() {
        assert_eq!(plain.rows(), pulled.rows());
        let table = &model.embeddings().tables()[i];
        for &row in plain.rows() {
            let (row, count) = (row as usize, f64::from(counts.table(i)[row as usize]));
            for column in 0..3 {
                let pull = if count > 0.0 { lambda / count * f64::from(table[[row, column]]) } else { 0.0 };
                let found = f64::from(pulled.row(row).unwrap()[column] - plain.row(row).unwrap()[column]);
                assert!((found - pull).abs() < 1e-6 + 1e-5 * pull.abs(), "table {i}, row {row}: {found}, {pull}");
            }
        }
    }
    assert!(plain.tables[0].row(0).is_some(), "an unknown row is read and not pulled");
}

/// `x` of a training pass, whose first layer is the identity.
fn embedded(model: &Model, part: &Batch, mode: Train) -> (Array2<f32>, Gradient) {
    let mut cache = Cache::new(mode);
    let logits = model.forward_with(part, part.domains(), &mut cache).clone();
    let mut grad = model.zero_grad();
    model.backward(part, &Array2::ones(logits.dim()), &mut cache, &mut grad);
    (logits, grad)
}

#[test]
fn dropped_fields_are_zero_and_others_are_scaled() {
    let model = pooled(&serde_json::json!({ "field_dropout": 0.4, "hidden": [] }));
    let plain = pooled(&serde_json::json!({ "hidden": [] }));
    let mode = |first_row| Train { seed: 3, step: 11, first_row };
    let (logits, grad) = embedded(&model, &batch(), mode(0));
    // The parts of a step drop what the whole step drops.
    let (head, head_grad) = embedded(&model, &batch().slice(0..133), mode(0));
    let (tail, mut tail_grad) = embedded(&model, &batch().slice(133..ROWS), mode(133));
    for (whole, part) in logits.iter().zip(head.iter().chain(&tail)) {
        assert!((whole - part).abs() < 1e-6);
    }
    let mut sum = head_grad;
    sum.add(&mut tail_grad);
    assert!(distance(&grad, &sum) < 1e-5);
    // The net is linear, so the mean over many steps is the net without dropout, and the gradient of the sum of logits is linear in the
    // embeddings: Σ_rows ⟨e, d⟩ is the part of the logits that comes from embeddings.
    let linear = |grad: &Gradient| {
        let tables = grad.tables.iter().zip(model.embeddings().tables());
        let dot = |(grad, table): (&starple::nn::RowGrad, &Array2<f32>)| {
            let rows = grad.rows().iter().zip(grad.values().chunks_exact(3));
            rows.map(|(&row, d)| table.row(row as usize).iter().zip(d).map(|(e, d)| f64::from(e * d)).sum::<f64>())
                .sum::<f64>()
        };
        tables.map(dot).sum::<f64>()
    };
    let sum = |logits: &Array2<f32>| logits.iter().map(|&logit| f64::from(logit)).sum::<f64>();
    let (all, all_grad) = embedded(&plain, &batch(), mode(0));
    let rest = sum(&all) - linear(&all_grad);
    let mut mean = 0.0;
    for step in 0..400 {
        let (logits, grad) = embedded(&model, &batch(), Train { step, ..mode(0) });
        // The counts of the field that keeps values are inputs too, and are dropped with it.
        let filled = rest - (sum(&logits) - linear(&grad));
        assert!(filled.abs() < 0.5 * ROWS as f64);
        mean += linear(&grad) / 400.0;
    }
    assert!((mean - linear(&all_grad)).abs() < 0.05 * ROWS as f64, "{mean} and {}", linear(&all_grad));
    // Inference drops nothing.
    assert_eq!(model.score(&batch()), plain.score(&batch()));
}

/// A log whose test rows have new users and items. All values are equally frequent, so that new ones are like old ones.
fn world() -> (Encoder, [DataSet; 3]) {
    let config =
        SyntheticConfig::builder().rows(40_000).seed(9).domains(["search", "feed", "email"]).task("click", 0.15);
    let config = config.categorical("user", 2000).categorical("item", 2000).categorical("hour", 24).latent(4);
    let config = config.popularity(0.0).feature_shift(0.0).signal(1.5);
    let log = SyntheticLog::generate(&config.time_split(true).fresh(0.7).build().unwrap());
    let mut csv = Vec::new();
    log.write_csv(&mut csv).unwrap();
    let schema =
        Schema::builder().categorical("user").categorical("item").categorical("hour").domain("domain").label("click");
    let schema = schema.build().unwrap();
    let table = Table::from_reader(&*csv, Format::Csv, "log.csv", &schema).unwrap();
    let rows = |name: &str| {
        let splits = log.splits().iter().enumerate();
        splits.filter(|(_, split)| **split == name).map(|(row, _)| row as u32).collect::<Vec<u32>>()
    };
    let encoder = Encoder::fit(&schema, &table, &rows("train")).unwrap();
    let train = encoder.encode_training(&table, &rows("train")).unwrap();
    let [val, test] = ["val", "test"].map(|name| encoder.encode(&table, &rows(name)).unwrap());
    (encoder, [train, val, test])
}

#[test]
fn scores_of_unknown_ids_are_calibrated() {
    let (encoder, [train, val, test]) = world();
    let is_new = |row: usize| test.ids[0].row(row)[0] == 0 || test.ids[1].row(row)[0] == 0;
    let new: Vec<usize> = (0..test.rows()).filter(|&row| is_new(row)).collect();
    assert!(new.len() > 400, "{} rows", new.len());
    for kind in ["pooled", "star"] {
        let measure = |unknown| {
            let settings =
                serde_json::json!({ "kind": kind, "hidden": [32], "embedding_dim": 8, "embedding_std": 0.1 });
            let mut model = Model::new(AnyConfig::from_settings(settings, encoder.layout(), 1).unwrap());
            let early_stop = EarlyStop::builder().patience(2).build().unwrap();
            let config = TrainConfig::builder().epochs(8).batch_rows(512).early_stop(early_stop).unknown(unknown);
            let config = config.optimizer(OptimizerConfig::adam(0.002).unwrap()).build().unwrap();
            Trainer::new(config).fit(&mut model, train.clone(), Some(&val)).unwrap();
            let logits = model.score(&test);
            let of = |values: &Array2<f32>| new.iter().map(|&row| values[[row, 0]]).collect::<Vec<f32>>();
            pcoc(&of(&logits), &of(&test.labels)).unwrap()
        };
        let found = [Unknown::default(), Unknown::Rate(0.01), Unknown::Mean, Unknown::Off].map(measure);
        eprintln!(
            "{kind}: PCOC by count {:.3}, rate {:.3}, mean {:.3}, off {:.3}",
            found[0], found[1], found[2], found[3]
        );
        assert!((found[0] - 1.0).abs() < 0.1, "{kind}: {found:?}");
    }
}

//! Weights of positives and samples of negatives leave the answers calibrated.

use ndarray::Array2;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{Batch, DataSet, DomainId, Layout};
use starple::loss::{Objective, sigmoid};
use starple::optim::{LrSchedule, OptimizerConfig, StepLr};
use starple::train::{TrainConfig, Trainer, evaluate};
use starple::{ErrorKind, Model, Pooled, PooledConfig};

const ITEMS: u32 = 20;

fn layout() -> Layout {
    Layout::new(["home", "search"], ["click", "buy"]).field("item", ITEMS as usize).numeric(["x"])
}

/// Rows with rare positives of known probability. `buy` depends on `click`, and is missing where there is no click in one of two rows.
fn rows(count: usize, seed: u64) -> DataSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let layout = layout();
    let items: Vec<u32> = (0..count).map(|_| rng.random_range(0..ITEMS)).collect();
    let xs: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    let domains: Vec<DomainId> = (0..count).map(|_| DomainId::new(usize::from(rng.random_bool(0.3)))).collect();
    let (mut click, mut buy) = (Vec::new(), Vec::new());
    for row in 0..count {
        let (item, x) = (f64::from(items[row]) / f64::from(ITEMS), f64::from(xs[row]));
        let domain = domains[row].index().unwrap() as f64;
        let clicked = rng.random_bool(sigmoid(-4.0 + 2.0 * item + x + 0.5 * domain));
        // Which other rows are positive says much about a negative label of this task.
        let bought = rng.random_bool(sigmoid(-4.5 - x + 2.0 * f64::from(u8::from(clicked)) + domain));
        click.push(f32::from(clicked));
        buy.push(if clicked || rng.random_bool(0.5) { f32::from(bought) } else { f32::NAN });
    }
    let batch = Batch::builder(&layout, count).ids("item", items).numeric("x", xs).domains(domains);
    let batch = batch.labels("click", click).labels("buy", buy).build().unwrap();
    DataSet::new(&layout, batch).unwrap()
}

fn trained(objective: Objective, train: &DataSet) -> Model {
    let config = PooledConfig::builder(&layout()).embedding_dim(4).hidden([8]).seed(1).build().unwrap();
    // The last steps are small, so that no single batch moves the mean of the answers.
    let schedule = LrSchedule::Step(StepLr::builder().every_epochs(1).factor(0.6).build().unwrap());
    let settings = TrainConfig::builder().epochs(9).batch_rows(256).objective(objective).schedule(schedule);
    let settings = settings.optimizer(OptimizerConfig::adam(0.02).unwrap()).build().unwrap();
    let mut model = Pooled::new(config);
    Trainer::new(settings).fit(&mut model, train.clone(), None).unwrap();
    model
}

#[test]
fn answers_stay_calibrated_with_either_setting_and_with_both() {
    let (train, test) = (rows(60_000, 1), rows(60_000, 2));
    let builder = Objective::builder;
    for (name, objective) in [
        ("none", builder()),
        ("positives weigh", builder().pos_weights([10.0, 4.0])),
        ("negatives sampled", builder().negatives([0.2, 0.3])),
        ("one task alone", builder().negatives([0.1, 1.0])),
        ("both", builder().pos_weights([3.0, 5.0]).negatives([0.3, 0.2])),
    ] {
        let objective = objective.build().unwrap();
        let model = trained(objective.clone(), &train);
        let report = evaluate(&model, &test).unwrap();
        for (task, of) in report.tasks.iter().enumerate() {
            let pcoc = of.all.pcoc.unwrap();
            assert!((pcoc - 1.0).abs() < 0.12, "{name}: PCOC of {} is {pcoc}", of.task);
            for (domain, measures) in &of.domains {
                let pcoc = measures.pcoc.unwrap();
                assert!((pcoc - 1.0).abs() < 0.25, "{name}: PCOC of {} in {domain} is {pcoc}", of.task);
            }
            // The test can fail: what the loss sees is far from calibrated.
            let of = |list: &[f64]| list.get(task).copied().unwrap_or(1.0);
            let shift = (of(objective.pos_weights()) / of(objective.negatives())).ln();
            if shift > 0.0 {
                let seen: f64 = model.score(&test).column(task).iter().map(|&z| sigmoid(f64::from(z) + shift)).sum();
                let answered: f64 = model.score(&test).column(task).iter().map(|&z| sigmoid(f64::from(z))).sum();
                assert!(seen > 1.8 * answered, "{name}: {seen} is not far from {answered}");
            }
        }
    }
}

#[test]
fn a_weight_of_positives_is_that_many_copies_of_each_positive() {
    // The gradient of a step on rows where each positive comes three times, at the shifted logits, is that of the weight 3.
    let train = rows(2000, 3);
    let config = PooledConfig::builder(&layout()).embedding_dim(4).hidden([8]).seed(1).build().unwrap();
    let model = Pooled::new(config);
    let objective = Objective::builder().pos_weights([3.0, 3.0]).build().unwrap();
    let losses = objective.task_losses(&layout());
    let plain = Objective::default().task_losses(&layout());
    let logits: Array2<f32> = model.score(&train);
    for (&z, &y) in logits.iter().zip(&train.labels).filter(|(_, y)| !y.is_nan()) {
        let (z, y) = (f64::from(z), f64::from(y));
        let copies = if y == 1.0 { 3.0 } else { 1.0 };
        let (value, slope) = losses[0].value_and_derivative(z, y);
        let (expected, expected_slope) = plain[0].value_and_derivative(z + 3.0_f64.ln(), y);
        assert!((value - copies * expected).abs() < 1e-12 && (slope - copies * expected_slope).abs() < 1e-12);
    }
}

#[test]
fn sampled_epochs_are_shorter_and_the_report_says_how_many_rows_they_had() {
    let train = rows(5000, 4);
    let rows_of = |negatives: [f64; 2]| {
        let objective = Objective::builder().negatives(negatives).build().unwrap();
        let settings = TrainConfig::builder().epochs(2).batch_rows(256).objective(objective).build().unwrap();
        let config = PooledConfig::builder(&layout()).embedding_dim(4).hidden([8]).build().unwrap();
        Trainer::new(settings).fit(&mut Pooled::new(config), train.clone(), None).unwrap().rows
    };
    assert_eq!(rows_of([1.0, 1.0]), 10_000);
    let sampled = rows_of([0.1, 0.1]);
    assert!((1000..3000).contains(&sampled), "{sampled}");
}

#[test]
fn settings_that_do_not_fit_the_tasks_are_refused_before_training() {
    let objective = Objective::builder().pos_weights([2.0]).negatives([0.5; 3]).build().unwrap();
    let settings = TrainConfig::builder().objective(objective).build().unwrap();
    let mut model = Pooled::new(PooledConfig::builder(&layout()).build().unwrap());
    let error = Trainer::new(settings).fit(&mut model, rows(10, 5), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let expected = "pos_weights: one for each task of [\"click\", \"buy\"], found 1; negatives: one for each task";
    assert!(error.to_string().contains(expected), "{error}");
}

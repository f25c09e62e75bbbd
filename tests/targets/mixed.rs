//! A binary task, a regression and a count in one model, from a log to answers.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{
    Batch, DataSet, DomainId, Encoder, Format, Label, Layout, RawValue, Schema, Table, Target, TaskKind,
};
use starple::loss::{GradNormConfig, Objective, UncertaintyConfig, Weighting, sigmoid};
use starple::metrics::{Evaluator, Metric, Monitor, mae, mse, r2, xauc};
use starple::optim::OptimizerConfig;
use starple::persist::{ModelFile, Saved};
use starple::serve::{Calibration, Method, PredictorCache};
use starple::train::{Callback, Checkpoints, EarlyStop, StepDone, TrainConfig, TrainConfigBuilder, Trainer, evaluate};
use starple::{ErrorKind, Model, Ple, PleConfig, Pooled, PooledConfig};

const SCHEMA: &str = r#"{
    "features": [{"kind": "categorical", "name": "item"}, {"kind": "numeric", "name": "x"}],
    "domain": "page",
    "labels": ["click", {"name": "watch", "kind": "regression"}, {"name": "orders", "kind": "count"}],
    "split": "split"
}"#;

/// What is expected of a row: the probability of a click, the mean of the seconds watched, the rate of orders.
fn expected(item: u32, x: f64) -> [f64; 3] {
    let item = f64::from(item);
    [sigmoid(-1.0 + 0.3 * item + x), 300.0 + 20.0 * item - 45.0 * x, (0.4 + 0.15 * item + 0.5 * x).exp()]
}

/// A log of rows with known expectations. Some labels are missing.
fn log(rows: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut text = "item,x,page,click,watch,orders,split\n".to_owned();
    for row in 0..rows {
        let (item, x) = (rng.random_range(0..6_u32), rng.random_range(-1.0..1.0_f64));
        let [click, watch, orders] = expected(item, x);
        // A sum of uniform numbers is near a normal one; a count by exponential waiting times.
        let noise: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
        let (mut count, mut waited) = (0, -rng.random::<f64>().ln());
        while waited < orders {
            count += 1;
            waited -= rng.random::<f64>().ln();
        }
        let click = u8::from(rng.random_bool(click));
        let watch = if row % 5 == 0 { String::new() } else { format!("{:.3}", watch + 15.0 * noise) };
        let orders = if row % 7 == 0 { String::new() } else { count.to_string() };
        let page = ["home", "search"][row % 2];
        let split = ["train", "train", "train", "val", "test"][rng.random_range(0..5)];
        writeln!(text, "i{item},{x:.4},{page},{click},{watch},{orders},{split}").unwrap();
    }
    text
}

struct World {
    table: Table,
    encoder: Encoder,
    sets: [DataSet; 3],
}

fn world() -> World {
    let schema: Schema = serde_json::from_str(SCHEMA).unwrap();
    let table = Table::from_reader(log(16_000).as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.split("train").unwrap()).unwrap();
    let sets = ["train", "val", "test"].map(|split| encoder.encode(&table, &table.split(split).unwrap()).unwrap());
    World { table, encoder, sets }
}

fn settings(weighting: Weighting) -> TrainConfigBuilder {
    let monitor = Monitor::new(Metric::Mse).of_task("watch");
    TrainConfig::builder()
        .epochs(12)
        .batch_rows(256)
        .optimizer(OptimizerConfig::adam(0.01).unwrap())
        .objective(Objective::builder().weighting(weighting).build().unwrap())
        .early_stop(EarlyStop::builder().monitor(monitor).patience(12).build().unwrap())
}

fn ple(layout: &Layout) -> Model {
    Ple::new(PleConfig::builder(layout).embedding_dim(4).expert_hidden([16]).tower_hidden([8]).seed(2).build().unwrap())
}

#[test]
fn one_model_learns_all_kinds_and_a_saved_one_serves_them() {
    let World { table, encoder, sets: [train, val, test] } = world();
    let Target::Regression { mean, deviation, .. } = encoder.layout().target(1) else { panic!("a regression") };
    // Mean and deviation are those of the training rows that have the label.
    let watched: Vec<f64> = train.labels.column(1).iter().filter(|y| !y.is_nan()).map(|&y| f64::from(y)).collect();
    let average = watched.iter().sum::<f64>() / watched.len() as f64;
    let spread = (watched.iter().map(|y| (y - average).powi(2)).sum::<f64>() / watched.len() as f64).sqrt();
    assert!((mean - average).abs() < 1e-9 && (deviation - spread).abs() < 1e-9);

    let mut model = ple(encoder.layout());
    let fit = Trainer::new(settings(Weighting::default()).build().unwrap()).fit(&mut model, train.clone(), Some(&val));
    let fit = fit.unwrap();
    // The monitor's best epoch is the one of the least error.
    let errors: Vec<f64> = fit.epochs.iter().map(|epoch| epoch.monitored.unwrap()).collect();
    let best = fit.best_epoch.unwrap();
    assert!(errors.iter().all(|&error| errors[best] <= error), "{errors:?}");

    let report = evaluate(&model, &test).unwrap();
    let [click, watch, orders] = ["click", "watch", "orders"].map(|task| report.task(task).unwrap());
    assert_eq!([click.kind, watch.kind, orders.kind], [TaskKind::Binary, TaskKind::Regression, TaskKind::Count]);
    assert!(click.all.auc.unwrap() > 0.6 && click.all.mse.is_none());
    // The noise has a standard deviation of 15, so that no model has a lower squared error than 225.
    let error = watch.all.mse.unwrap();
    assert!((190.0..300.0).contains(&error) && watch.all.r2.unwrap() > 0.85, "{watch}");
    assert!((watch.all.pcoc.unwrap() - 1.0).abs() < 0.02 && watch.all.auc.is_none());
    assert!((orders.all.pcoc.unwrap() - 1.0).abs() < 0.08 && orders.all.deviance.unwrap() < 1.4, "{orders}");
    assert!(orders.all.xauc.unwrap() > 0.6 && report.to_string().contains("deviance"));
    // The report agrees with the functions on slices.
    let answers = model.predict(&test, test.domains());
    let (predicted, labels) = (answers.column(1).to_vec(), test.labels.column(1).to_vec());
    for (found, expected) in [
        (watch.all.mse, mse(&predicted, &labels)),
        (watch.all.mae, mae(&predicted, &labels)),
        (watch.all.r2, r2(&predicted, &labels)),
        (watch.all.xauc, xauc(&predicted, &labels)),
    ] {
        assert!((found.unwrap() - expected.unwrap()).abs() < 1e-3 * expected.unwrap(), "{found:?} {expected:?}");
    }

    // A calibration changes the binary task alone.
    let calibration = Calibration::fit(Method::Platt, &model.score(&val), &val, encoder.layout()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    ModelFile::new(&model).encoder(&encoder).calibration(&calibration).save(&path).unwrap();
    let saved = Saved::load(&path).unwrap();
    assert_eq!(saved.encoder.as_ref(), Some(&encoder));
    assert_eq!(saved.model.layout(), encoder.layout());
    let predictor = saved.predictor().unwrap().build().unwrap();
    let rows = table.split("test").unwrap();
    let served = predictor.predict_table(&table, &rows).unwrap();
    for task in [1, 2] {
        for (served, expected) in served.column(task).iter().zip(answers.column(task)) {
            assert!((served - expected).abs() < 1e-3 * expected.abs().max(1.0), "{served} {expected}");
        }
    }
    // Raw values: the answers are near the expectations that the log was drawn from.
    let mut cache = PredictorCache::default();
    let row: [(&str, RawValue); 2] = [("item", "i3".into()), ("x", 0.25.into())];
    let answers = predictor.score("home", [("page", "home"); 0], [row], &mut cache).unwrap();
    let [_, watch, orders] = expected(3, 0.25);
    assert!((f64::from(answers[[0, 1]]) - watch).abs() < 10.0, "{answers} {watch}");
    assert!((f64::from(answers[[0, 2]]) / orders - 1.0).abs() < 0.2, "{answers} {orders}");
}

#[test]
fn weightings_balance_losses_of_any_kind() {
    let World { encoder, sets: [train, val, test], .. } = world();
    for weighting in [
        Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.05).build().unwrap()),
        Weighting::GradNorm(GradNormConfig::builder().lr(0.05).build().unwrap()),
        Weighting::PcGrad {},
    ] {
        let mut model = ple(encoder.layout());
        let settings = settings(weighting.clone()).epochs(5).build().unwrap();
        Trainer::new(settings).fit(&mut model, train.clone(), Some(&val)).unwrap();
        let report = evaluate(&model, &test).unwrap();
        let r2 = report.task("watch").unwrap().all.r2.unwrap();
        let pcoc = report.task("orders").unwrap().all.pcoc.unwrap();
        assert!(r2 > 0.7 && (pcoc - 1.0).abs() < 0.15, "{weighting:?}: {report}");
    }
}

/// Stops a run after some steps.
struct Stop(u64);

impl Callback for Stop {
    fn step_done(&mut self, done: &StepDone) -> ControlFlow<()> {
        if done.step + 1 == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn a_run_of_all_kinds_resumes_bit_for_bit() {
    let World { encoder, sets: [train, val, test], .. } = world();
    let weighting = || Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.05).build().unwrap());
    let settings = || settings(weighting()).epochs(2).build().unwrap();
    let mut whole = ple(encoder.layout());
    Trainer::new(settings()).fit(&mut whole, train.clone(), Some(&val)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = || Checkpoints::builder().folder(folder.path().join("run")).build().unwrap();
    let mut model = ple(encoder.layout());
    Trainer::new(settings())
        .checkpoints(checkpoints())
        .callback(Stop(30))
        .fit(&mut model, train.clone(), Some(&val))
        .unwrap();
    let mut model = ple(encoder.layout());
    Trainer::new(settings()).checkpoints(checkpoints()).resume(&mut model, train.clone(), Some(&val)).unwrap();
    assert_eq!(model.score(&test), whole.score(&test));
}

/// Rows without features that matter.
fn constant(target: Target, labels: Vec<f32>) -> DataSet {
    let layout = Layout::new(["all"], ["y"]).predicts("y", target).field("item", 2);
    let batch = Batch::builder(&layout, labels.len()).ids("item", vec![1; labels.len()]);
    let batch = batch.domains(vec![DomainId::new(0); labels.len()]).labels("y", labels).build().unwrap();
    DataSet::new(&layout, batch).unwrap()
}

#[test]
fn without_features_the_answer_is_the_mean_or_near_the_median() {
    // The mean is 4, the median 1.
    let labels = [0.0, 1.0, 1.0, 1.0, 17.0];
    let of = |target| {
        let rows = constant(target, labels.repeat(20));
        let config = PooledConfig::builder(rows.layout()).embedding_dim(2).hidden([4]).seed(3).build().unwrap();
        let mut model = Pooled::new(config);
        let stop = EarlyStop::builder().monitor(Monitor::new(Metric::Mse)).build().unwrap();
        let settings = TrainConfig::builder().epochs(400).batch_rows(100).early_stop(stop);
        let settings = settings.optimizer(OptimizerConfig::adam(0.02).unwrap()).build().unwrap();
        Trainer::new(settings).fit(&mut model, rows.clone(), None).unwrap();
        f64::from(model.predict(&rows, rows.domains())[[0, 0]])
    };
    let regression = |delta| Target::Regression { delta, mean: 3.0, deviation: 2.0 };
    assert!((of(regression(None)) - 4.0).abs() < 0.02);
    assert!((of(Target::Count) - 4.0).abs() < 0.02);
    // Where the clipped distances add up to 0: with δ = 0.5 standard deviations, 1 in the label's unit, at 1.0: −1 + 0 + 0 + 0 + 1.
    assert!((of(regression(Some(0.5))) - 1.0).abs() < 0.05);
}

#[test]
fn labels_and_settings_of_another_kind_are_refused() {
    let schema: Schema = serde_json::from_str(SCHEMA).unwrap();
    let read = |row: &str| {
        let log = format!("item,x,page,click,watch,orders,split\ni1,0,home,{row},train\n");
        Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)
    };
    read("1,-3.5,2").unwrap();
    for (row, part) in [
        ("0.5,1,1", "column \"click\": found \"0.5\": expected 0, 1 or an empty cell"),
        ("1,inf,1", "column \"watch\": found \"inf\": expected a finite number or an empty cell"),
        ("1,1,-1", "column \"orders\": found \"-1\": expected a finite number of at least 0 or an empty cell"),
    ] {
        let error = read(row).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    let layout = Layout::new(["all"], ["click", "orders"]).predicts("orders", Target::Count).field("item", 3);
    let batch = Batch::builder(&layout, 1).ids("item", vec![1]).labels("orders", vec![-1.0]);
    let error = batch.build().unwrap_err().to_string();
    assert!(error.contains("expected a finite number of at least 0, or NaN for a missing label"), "{error}");
    let objective = Objective::builder().pos_weights([2.0, 3.0]).build().unwrap();
    let error = objective.check(&layout).unwrap_err().to_string();
    assert!(error.contains("pos_weights[1]: 1, as \"orders\" is a count task, found 3"), "{error}");
    let monitor = Monitor::new(Metric::Auc).of_task("orders");
    let settings = TrainConfig::builder().early_stop(EarlyStop::builder().monitor(monitor).build().unwrap());
    let error = settings.build().unwrap().check(&layout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"orders\" is a count task, which has no AUC"), "{error}");
    let mut evaluator = Evaluator::new(&layout);
    let labels = ndarray::array![[1.0, -2.0]];
    let error = evaluator.add(&ndarray::array![[0.0, 0.0]], &labels, DomainId::new(0), &[], &[]).unwrap_err();
    assert!(error.to_string().contains("expected a finite number of at least 0 or NaN as the label"), "{error}");

    let error = Schema::builder().categorical("item").label(Label::count("orders").huber(1.0)).build().unwrap_err();
    assert!(error.to_string().contains("the huber loss is for regression tasks, found a count task"), "{error}");
    // A layout goes through a file with its targets.
    let target = Target::Regression { delta: Some(0.5), mean: 3.0, deviation: 2.0 };
    let layout = layout.predicts("click", target);
    let text = serde_json::to_string(&layout).unwrap();
    assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
    let error = serde_json::from_str::<Layout>(&text.replace("\"deviation\":2.0", "\"deviation\":0.0")).unwrap_err();
    assert!(error.to_string().contains("a deviation and a delta that are finite and above 0"), "{error}");
}

//! Checks the training loop: what it learns, when it stops, what it keeps, and that threads and progress bars change no bit.

mod bits;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use bits::bits;
use ndarray::Array2;
use starple::data::{Batch, BatchOrder, DataSet, DomainId, Encoder, Layout, Schema, Table};
use starple::loss::weighting::Learned;
use starple::loss::{DwaConfig, GradNormConfig, Objective, UncertaintyConfig, Units, Weighting};
use starple::metrics::{Metric, Monitor};
use starple::model::SluiceConfig;
use starple::nn::{ActivationKind, Branch, Mlp, NormKind, StarLinear};
use starple::optim::{Clip, Clock, LrSchedule, OptimizerConfig, PlateauLr};
use starple::train::{
    Callback, Checkpoints, EarlyStop, EpochReport, FitReport, Step, StepDone, StopReason, TrainConfig,
    TrainConfigBuilder, Trainer, evaluate,
};
use starple::{ErrorKind, Model, Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

/// A small log with two tasks, and its layout.
fn log() -> (Layout, DataSet, DataSet) {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let rows = log.data_set();
    (log.layout(), rows.slice(0..4000), rows.slice(4000..6000))
}

fn star(layout: &Layout) -> Star {
    Star::new(StarConfig::builder(layout).embedding_dim(4).hidden([16]).dropout(0.1).build().unwrap())
}

fn settings() -> TrainConfigBuilder {
    TrainConfig::builder().epochs(3).batch_rows(256).optimizer(OptimizerConfig::adam(0.005).unwrap())
}

fn weightings() -> [Weighting; 5] {
    let (uncertainty, dwa) = (
        Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.05).build().unwrap()),
        Weighting::Dwa(DwaConfig::builder().temperature(0.5).build().unwrap()),
    );
    [
        Weighting::default(),
        uncertainty,
        dwa,
        Weighting::GradNorm(GradNormConfig::builder().lr(0.05).build().unwrap()),
        Weighting::PcGrad {},
    ]
}

fn objective(units: Units, weighting: Weighting) -> Objective {
    Objective::builder().units(units).weighting(weighting).build().unwrap()
}

fn fit(model: &mut Model, settings: TrainConfigBuilder, train: &DataSet, val: Option<&DataSet>) -> FitReport {
    Trainer::new(settings.build().unwrap()).fit(model, train.clone(), val).unwrap()
}

#[test]
fn every_model_learns() {
    let (layout, train, val) = log();
    let learns = |auc_before: f64, auc_after: f64| assert!(auc_after > auc_before + 0.08, "{auc_before} {auc_after}");
    let auc = |report: &starple::metrics::Report| report.tasks[0].all.auc.unwrap();

    let mut model = star(&layout);
    let before = auc(&evaluate(&model, &val).unwrap());
    let report = fit(&mut model, settings().epochs(8), &train, Some(&val));
    learns(before, auc(report.val().unwrap()));
    assert!(report.epochs.last().unwrap().loss < report.epochs[0].loss);

    let mut model = Ple::new(PleConfig::builder(&layout).embedding_dim(4).expert_hidden([16]).build().unwrap());
    let before = auc(&evaluate(&model, &val).unwrap());
    learns(before, auc(fit(&mut model, settings().epochs(8), &train, Some(&val)).val().unwrap()));

    let mut model = Pooled::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([16]).build().unwrap());
    let before = auc(&evaluate(&model, &val).unwrap());
    learns(before, auc(fit(&mut model, settings().epochs(8), &train, Some(&val)).val().unwrap()));
}

#[test]
fn the_loss_has_the_models_penalty_in_it_and_the_step_its_gradient() {
    let (layout, train, _) = log();
    // Σ (g·g')² over pairs of columns, one from each half of every stack's weights.
    let overlap = |model: &Model| -> f64 {
        let branches = [0, 1].map(Branch::Task);
        let of_branch = |l, branch| model.net().get::<Mlp>(("layers", l, "own", branch)).unwrap();
        let stacks = [0, 1].into_iter().flat_map(|l| branches.map(|branch| of_branch(l, branch)));
        let of = |weight: &Array2<f32>| -> f64 {
            let product = |a: usize, b: usize| f64::from(weight.column(a).dot(&weight.column(b)));
            (0..4).flat_map(|a| (4..8).map(move |b| (a, b))).map(|(a, b)| product(a, b).powi(2)).sum()
        };
        stacks.map(|stack| of(&stack.layers[0].weight)).sum()
    };
    // One step on all rows.
    let run = |lambda| {
        let config = SluiceConfig::builder(&layout).embedding_dim(4).hidden([8, 8]).orthogonality(lambda);
        let mut model = Model::new(config.build().unwrap());
        let before = overlap(&model);
        let settings = settings().epochs(1).batch_rows(train.rows()).optimizer(OptimizerConfig::sgd(0.05).unwrap());
        let report = fit(&mut model, settings, &train, None);
        (before, report.epochs[0].loss, overlap(&model))
    };
    let ((before, free, after_free), (_, penalised, after)) = (run(0.0), run(2.0));
    assert!((penalised - free - 2.0 * before).abs() < 1e-4 * before, "{penalised}, {free}, {before}");
    assert!(after < 0.9 * after_free, "{after} and {after_free} of {before}");
}

fn same_bits_whatever_the_threads(model: &Model, objective: &Objective, train: &DataSet, val: &DataSet) {
    let run = |threads| {
        let mut model = model.clone();
        // More rows per batch, and a wider input, than one block of a matrix product.
        let settings = settings().epochs(1).batch_rows(1500).threads(threads).objective(objective.clone());
        let report = fit(&mut model, settings, train, Some(val));
        let EpochReport { val, units, weighting, .. } = report.epochs[0].clone();
        (bits(&model), val, units, weighting)
    };
    let one = run(1);
    for threads in [1, 2, 3, 4] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads() {
    let (layout, train, val) = log();
    let config = StarConfig::builder(&layout).embedding_dim(24).hidden([16]).dropout(0.1).build().unwrap();
    let model = Star::new(config);
    same_bits_whatever_the_threads(&model, &Objective::default(), &train, &val);
    for weighting in [Weighting::GradNorm(GradNormConfig::builder().lr(0.05).build().unwrap()), Weighting::PcGrad {}] {
        let objective = objective(Units::Domains, weighting);
        same_bits_whatever_the_threads(&model, &objective, &train, &val);
    }
    let config = PleConfig::builder(&layout).embedding_dim(24).expert_hidden([16]).build().unwrap();
    same_bits_whatever_the_threads(&Ple::new(config), &Objective::default(), &train, &val);
    let (mut one, mut other) = (star(&layout), star(&layout));
    fit(&mut one, settings().epochs(1), &train, None);
    fit(&mut other, settings().epochs(1).seed(1), &train, None);
    assert_ne!(bits(&one), bits(&other), "another seed");
}

#[test]
fn the_best_weights_are_restored_and_patience_ends_the_run() {
    let (layout, train, val) = log();
    let mut model = star(&layout);
    let early_stop = EarlyStop::builder().patience(2).build().unwrap();
    let settings = settings().epochs(60).optimizer(OptimizerConfig::adam(0.02).unwrap()).early_stop(early_stop);
    let report = fit(&mut model, settings, &train, Some(&val));
    let StopReason::NoImprovement { waited: 2 } = report.stop else { panic!("{:?}", report.stop) };
    let best = report.best_epoch.unwrap();
    assert_eq!(best + 3, report.epochs.len());
    let value = |epoch: &EpochReport| epoch.monitored.unwrap();
    let top = report.epochs.iter().map(value).fold(0.0, f64::max);
    assert_eq!(value(&report.epochs[best]), top);
    assert_eq!(&evaluate(&model, &val).unwrap(), report.val().unwrap(), "the model has the best epoch's weights");
}

#[test]
fn any_metric_of_any_task_and_domain_can_be_monitored() {
    let (layout, train, val) = log();
    for monitor in [
        Monitor::new(Metric::LogLoss).of_task("click"),
        Monitor::new(Metric::Auc).of_task("cart").in_domain("search"),
        Monitor::new(Metric::MeanDomainAuc),
        Monitor::new(Metric::Pcoc),
    ] {
        let early_stop = EarlyStop::builder().monitor(monitor.clone()).build().unwrap();
        let report = fit(&mut star(&layout), settings().early_stop(early_stop), &train, Some(&val));
        let goodness = |epoch: &EpochReport| monitor.metric.goodness(epoch.monitored.unwrap());
        let best = report.epochs.iter().map(goodness).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(goodness(&report.epochs[report.best_epoch.unwrap()]), best, "{monitor}");
    }
    let early_stop = EarlyStop::builder().monitor(Monitor::new(Metric::Auc).in_domain("moon")).build().unwrap();
    let mut trainer = Trainer::new(settings().early_stop(early_stop).build().unwrap());
    let error = trainer.fit(&mut star(&layout), train, Some(&val)).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("moon"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_with_its_place_and_keeps_the_last_good_weights() {
    let (layout, train, val) = log();
    for weighting in weightings() {
        let mut model = star(&layout);
        let before = bits(&model);
        let settings = settings().objective(objective(Units::Tasks, weighting));
        let settings = settings.optimizer(OptimizerConfig::sgd(1e30).unwrap());
        let report = fit(&mut model, settings, &train, Some(&val));
        let StopReason::NonFinite { step, domain, task } = &report.stop else { panic!("{:?}", report.stop) };
        assert!(*step < 16 && layout.domains.contains(domain) && layout.tasks.contains(task));
        assert_eq!(bits(&model), before, "the weights it started with");
        assert_eq!(report.best_epoch, None);
        let text = report.stop.to_string();
        assert!(text.contains(&format!("at step {step}")) && text.contains(domain) && text.contains(task), "{text}");
    }
}

#[test]
fn divergence_is_found_without_validation_rows_and_with_normalisation() {
    let (layout, train, val) = log();
    // Batch normalisation keeps scores finite even for huge embeddings.
    let config = StarConfig::builder(&layout).hidden([16]).norm(NormKind::Batch).auxiliary(false);
    let config = config.partitioned_norm(false).build().unwrap();
    for (val, rate) in [(None, 1e3), (Some(&val), 1e3), (None, 3e38), (Some(&val), 3e38)] {
        let mut model = Star::new(config.clone());
        let before = bits(&model);
        let settings = settings().epochs(6).optimizer(OptimizerConfig::sgd(rate).unwrap());
        let report = fit(&mut model, settings, &train, val);
        let (bad, finite) =
            (matches!(report.stop, StopReason::Epochs | StopReason::NoImprovement { .. }), bits(&model));
        assert!(finite.iter().all(|&bit| f32::from_bits(bit).is_finite()), "{rate}: {}", report.stop);
        assert!(rate < 1e30 || !bad, "{rate}: {}", report.stop);
        if report.best_epoch.is_none() {
            assert_eq!(finite, before);
        } else {
            assert_ne!(finite, before, "the weights of the last whole epoch");
        }
    }
}

/// A huge finite loss: such an epoch is never the best one, with or without validation rows.
#[test]
fn a_loss_beyond_reason_is_no_best_epoch() {
    let (layout, train, val) = log();
    let config = StarConfig::builder(&layout).embedding_dim(4).hidden([16]).activation(ActivationKind::Identity);
    let start = Star::new(config.build().unwrap());
    let rates = [30.0, 1e3, 1e5, 1e7];
    let mut seen = 0;
    for (rate, val) in rates.into_iter().flat_map(|rate| [(rate, Some(&val)), (rate, None)]) {
        let mut model = start.clone();
        let settings = settings().optimizer(OptimizerConfig::adam(rate).unwrap());
        let report = fit(&mut model, settings, &train, val);
        match &report.stop {
            StopReason::HugeLoss { step, of, loss } => {
                // 4000 rows in batches of 256.
                assert!(*step == 16 && layout.tasks.contains(of) && *loss > 16.6, "{}", report.stop);
                let text = report.stop.to_string();
                assert!(text.contains("a log loss of ") && text.len() < 200, "{text}");
                seen += 1;
            }
            stop => assert!(stop.diverged(), "{rate}: {stop:?}, {:?}", report.epochs),
        }
        assert!(!report.ended_well() && report.best_epoch.is_none());
        assert_eq!(bits(&model), bits(&start));
    }
    assert!(seen >= 2, "{seen}");
    // The loss of a normal run is far smaller.
    assert!(fit(&mut start.clone(), settings(), &train, Some(&val)).ended_well());
}

#[test]
fn weights_that_went_bad_in_the_last_step_are_found() {
    let (layout, train, _) = log();
    let train = train.slice(0..200);
    let config = StarConfig::builder(&layout).hidden([16]).activation(ActivationKind::Identity).build().unwrap();
    for weighting in weightings() {
        let mut model = Star::new(config.clone());
        let before = bits(&model);
        let objective = Objective::builder().weights([1e6, 1e6]).weighting(weighting).build().unwrap();
        let settings = settings().epochs(1).objective(objective).optimizer(OptimizerConfig::sgd(3e38).unwrap());
        let report = fit(&mut model, settings, &train, None);
        let StopReason::Diverged { step: 1, tensor } = &report.stop else { panic!("{:?}", report.stop) };
        assert!(tensor.starts_with("embeddings.") || tensor.starts_with("net."), "{tensor}");
        assert_eq!((bits(&model), report.best_epoch), (before, None));
    }
}

#[test]
fn clipping_bounds_the_step() {
    let (layout, train, _) = log();
    let train = train.slice(0..256);
    let moved = |settings: TrainConfigBuilder| {
        let mut model = star(&layout);
        let before = model.net().get::<StarLinear>(("layers", 0)).unwrap().shared.weight.clone();
        fit(&mut model, settings.epochs(1).optimizer(OptimizerConfig::sgd(1.0).unwrap()), &train, None);
        (&model.net().get::<StarLinear>(("layers", 0)).unwrap().shared.weight - &before).mapv(|d| d * d).sum().sqrt()
    };
    let free = moved(settings());
    let bound = moved(settings().clip(Clip::norm(1e-3).unwrap()));
    assert!(bound <= 1e-3 * 1.001 && free > 2.0 * bound, "{bound} {free}");
}

#[test]
fn task_weights_are_used() {
    let (layout, train, _) = log();
    let weights = |weights: [f64; 2]| {
        let mut model = star(&layout);
        let objective = Objective::builder().weights(weights).build().unwrap();
        fit(&mut model, settings().epochs(1).objective(objective), &train, None);
        bits(&model)
    };
    assert_ne!(weights([1.0, 1.0]), weights([1.0, 0.0]));
}

#[test]
fn every_weighting_learns_over_tasks_and_domains() {
    let (layout, train, val) = log();
    for units in [Units::Tasks, Units::Domains, Units::DomainsAndTasks] {
        let names: Vec<String> = units.names(&layout).collect();
        for weighting in weightings() {
            let (mut model, goal) = (star(&layout), objective(units, weighting.clone()));
            let before = evaluate(&model, &val).unwrap().tasks[0].all.auc.unwrap();
            let report = fit(&mut model, settings().epochs(4).objective(goal), &train, Some(&val));
            let of = format!("{units:?} by {weighting:?}");
            let loss = |epoch: &EpochReport| epoch.units.iter().filter_map(|unit| unit.loss).sum::<f64>();
            let losses: Vec<f64> = report.epochs.iter().map(loss).collect();
            assert!(losses[3] < 0.97 * losses[0], "{of}: {losses:?}");
            let after = report.val().unwrap().tasks[0].all.auc.unwrap();
            assert!(after > before + 0.05, "{of}: {before} and {after}");

            for (epoch, report) in report.epochs.iter().enumerate() {
                assert!(report.units.iter().map(|unit| &unit.unit).eq(&names), "{of}");
                let weights: Vec<f64> = report.units.iter().filter_map(|unit| unit.weight).collect();
                let even = weights.iter().all(|weight| *weight == 1.0);
                match (&report.weighting, epoch) {
                    (Learned::Nothing, _) if weighting == Weighting::default() => assert!(even, "{of}"),
                    (Learned::Nothing, _) => assert!(weights.iter().all(|&weight| weight >= 1.0), "{of}: {weights:?}"),
                    (Learned::Dwa { .. }, 0 | 1) => assert!(even, "{of}"),
                    (Learned::GradNorm { weights, .. }, _) => {
                        assert!((weights.iter().sum::<f64>() - names.len() as f64).abs() < 1e-9, "{of}");
                    }
                    _ => assert!(!even && weights.iter().all(|weight| weight.is_finite()), "{of}: {weights:?}"),
                }
            }
        }
    }
}

#[test]
fn a_unit_without_labels_has_no_loss_and_no_weight_in_the_report() {
    let (layout, train, _) = log();
    let train = train.edit(|rows| rows.labels.column_mut(1).fill(f32::NAN)).unwrap();
    let report = fit(&mut star(&layout), settings().epochs(1), &train, None);
    let [click, cart] = &report.epochs[0].units[..] else { panic!("two tasks") };
    assert!(click.loss.is_some() && click.weight == Some(1.0));
    assert_eq!((cart.loss, cart.weight), (None, None));
}

#[test]
fn a_run_resumes_exactly_from_a_saved_weighting() {
    let (layout, train, _) = log();
    let batches: Vec<DataSet> = (0..6).map(|i| train.slice(200 * i..200 * (i + 1))).collect();
    for weighting in weightings() {
        let goal = objective(Units::DomainsAndTasks, weighting);
        let mut optimizer = OptimizerConfig::sgd(0.1).unwrap().build();
        let mut model = star(&layout);
        let mut run = |model: &mut Star, step: &mut Step, numbers: std::ops::Range<usize>| {
            for number in numbers {
                let clock = Clock { epoch: number as u64 / 2, step: number as u64 };
                model.apply(step.gradient(model, &batches[number], clock).unwrap(), &mut *optimizer);
                if number % 2 == 1 {
                    step.end_epoch();
                }
            }
        };
        let mut one = Step::new(&model, &goal, 1).unwrap();
        run(&mut model, &mut one, 0..5);
        let (mut resumed, text) = (model.clone(), serde_json::to_string(one.weighting()).unwrap());
        let mut other = Step::new(&resumed, &goal, 1).unwrap();
        other.restore(serde_json::from_str(&text).unwrap()).unwrap();
        run(&mut model, &mut one, 5..6);
        run(&mut resumed, &mut other, 5..6);
        assert_eq!((bits(&model), one.weighting()), (bits(&resumed), other.weighting()));
    }
}

#[test]
fn objectives_that_do_not_fit_the_model_are_refused() {
    let (layout, train, _) = log();
    let refused = |objective: Objective| {
        let mut trainer = Trainer::new(settings().objective(objective).build().unwrap());
        let error = trainer.fit(&mut star(&layout), train.clone(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let text = refused(Objective::builder().units(Units::Domains).weights([1.0, 2.0]).build().unwrap());
    assert!(text.contains("weights: one for each of [\"search\"") && text.contains("found 2"), "{text}");
    let gradnorm = GradNormConfig::builder().lr(0.1);
    for prefix in ["net.layers.0.share", "net.layers.0.domain", "embeddings", "layers"] {
        let text =
            refused(objective(Units::Tasks, Weighting::GradNorm(gradnorm.clone().shared(prefix).build().unwrap())));
        assert!(text.contains("net.layers.0.shared.weight") && text.contains(&format!("found {prefix:?}")), "{text}");
    }
    // Only own experts of each task: no parameter is shared.
    let config = PleConfig::builder(&layout).levels(1).shared_experts(0).own_experts(1).build().unwrap();
    let mut trainer = Trainer::new(
        settings().objective(objective(Units::Tasks, Weighting::GradNorm(gradnorm.build().unwrap()))).build().unwrap(),
    );
    let error = trainer.fit(&mut Ple::new(config), train, None).unwrap_err().to_string();
    assert!(error.contains("gradnorm needs a dense tensor that no domain or branch owns"), "{error}");
}

#[test]
fn sample_weights_are_used() {
    let (layout, train, _) = log();
    let run = |train: &DataSet| {
        let mut model = star(&layout);
        fit(&mut model, settings().epochs(1), train, None);
        bits(&model)
    };
    let plain = run(&train);
    let train = train.edit(|rows| rows.weights = vec![2.0; rows.rows()]).unwrap();
    let doubled = run(&train);
    let train = train.edit(|rows| rows.weights[..2000].fill(0.5)).unwrap();
    assert_ne!(run(&train), doubled);
    assert_eq!(plain, doubled, "a masked mean does not depend on a common factor");
}

#[test]
fn early_stop_watches_rows_by_their_weights() {
    let (layout, train, val) = log();
    let weight = |row: usize| if val.labels[[row, 0]] == 1.0 { 0.25 } else { [0.0, 1.0, 8.0][row % 3] };
    let weights = (0..val.rows()).map(weight).collect();
    let val = val.edit(|rows| rows.weights = weights).unwrap();
    let early_stop = EarlyStop::builder().monitor(Monitor::new(Metric::LogLoss).of_task("click")).build().unwrap();
    let mut model = star(&layout);
    let report = fit(&mut model, settings().early_stop(early_stop), &train, Some(&val));
    // Σ w·loss / Σ w, from probabilities.
    let p = model.predict(&val, val.domains());
    let labelled = || (0..val.rows()).filter(|&row| !val.labels[[row, 0]].is_nan());
    let loss = |row: usize| {
        let (p, y) = (f64::from(p[[row, 0]]), f64::from(val.labels[[row, 0]]));
        -f64::from(val.weights[row]) * (y * p.ln() + (1.0 - y) * (1.0 - p).ln())
    };
    let weight: f64 = labelled().map(|row| f64::from(val.weights[row])).sum();
    let expected = labelled().map(loss).sum::<f64>() / weight;
    let best = &report.epochs[report.best_epoch.unwrap()];
    assert!((best.monitored.unwrap() - expected).abs() < 1e-6, "{:?} and {expected}", best.monitored);
    let click = &best.val.as_ref().unwrap().tasks[0];
    assert!(click.weighted && (click.all.unweighted.unwrap().logloss.unwrap() - expected).abs() > 0.01);
    // If all weights are 0, there is no metric to monitor.
    let val = val.edit(|rows| rows.weights.fill(0.0)).unwrap();
    let mut trainer = Trainer::new(settings().build().unwrap());
    let error = trainer.fit(&mut star(&layout), train, Some(&val)).unwrap_err();
    assert_eq!(error.to_string(), "early_stop: AUC is undefined on the validation rows");
}

#[test]
fn batches_of_one_domain_train_too() {
    let (layout, train, val) = log();
    for batches in [BatchOrder::OneDomain, BatchOrder::Mixed { max_domains: Some(2) }] {
        let mut model = star(&layout);
        let report = fit(&mut model, settings().epochs(6).batches(batches), &train, Some(&val));
        assert!(report.val().unwrap().tasks[0].all.auc.unwrap() > 0.6);
        assert_eq!(report.rows, 4000 * report.epochs.len() as u64);
    }
}

/// Records its calls, and stops at a step.
struct Spy {
    seen: Arc<Mutex<Vec<String>>>,
    stop_at: u64,
}

impl Callback for Spy {
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        self.seen.lock().unwrap().push(format!("epoch {epoch}/{epochs}: {batches}"));
    }

    fn step_done(&mut self, step: &StepDone) -> ControlFlow<()> {
        assert!(step.loss.is_finite() && step.rows > 0 && (step.lr == 0.005 || self.stop_at == 0));
        if step.step == self.stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        self.seen.lock().unwrap().push(format!("done {}", report.epoch));
        ControlFlow::Continue(())
    }
}

#[test]
fn callbacks_see_the_run_and_can_end_it() {
    let (layout, train, val) = log();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let spy = Spy { seen: Arc::clone(&seen), stop_at: 20 };
    let mut trainer = Trainer::new(settings().build().unwrap()).callback(spy);
    let report = trainer.fit(&mut star(&layout), train, Some(&val)).unwrap();
    assert_eq!(report.stop, StopReason::Callback);
    assert_eq!((report.steps, report.best_epoch), (21, Some(0)));
    assert_eq!(*seen.lock().unwrap(), ["epoch 0/3: 16", "done 0", "epoch 1/3: 16"]);
}

#[test]
fn a_callback_that_ends_the_first_epoch_leaves_the_weights_of_its_last_step() {
    let (layout, train, val) = log();
    let run = |val: Option<&DataSet>, settings: TrainConfigBuilder, stop_at| {
        let mut model = star(&layout);
        let spy = Spy { seen: Arc::default(), stop_at };
        let report = Trainer::new(settings.build().unwrap()).callback(spy).fit(&mut model, train.clone(), val).unwrap();
        assert_eq!(report.best_epoch, None);
        (report, bits(&model))
    };
    let start = bits(&star(&layout));
    let (report, stopped) = run(Some(&val), settings(), 3);
    assert_eq!((report.stop, report.steps), (StopReason::Callback, 4));
    assert_ne!(stopped, start);
    assert_eq!(stopped, run(None, settings(), 3).1, "validation rows change nothing before they are looked at");
    // Weights that became invalid in that step are not kept.
    let wild = settings().optimizer(OptimizerConfig::sgd(3e38).unwrap());
    let heavy = Objective::builder().weights([1e6, 1e6]).build().unwrap();
    let (report, stopped) = run(Some(&val), wild.objective(heavy), 0);
    assert!(report.stop.diverged(), "{}", report.stop);
    assert_eq!(stopped, start);
}

#[test]
fn a_plateau_without_validation_rows_is_refused() {
    let (layout, train, val) = log();
    let plateau = LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(0).build().unwrap());
    let mut trainer = Trainer::new(settings().epochs(1).schedule(plateau).build().unwrap());
    let error = trainer.fit(&mut star(&layout), train.clone(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("a plateau needs validation rows, found none"), "{error}");
    trainer.fit(&mut star(&layout), train, Some(&val)).unwrap();
}

/// Fails the test if an epoch begins.
struct NeverStarts;

impl Callback for NeverStarts {
    fn epoch_started(&mut self, _: usize, _: usize, _: usize) {
        panic!("an epoch began");
    }
}

#[test]
fn a_monitored_value_that_is_undefined_is_found_before_the_first_step() {
    let (layout, train, val) = log();
    let val = val.edit(|rows| rows.labels.fill(0.0)).unwrap();
    let mut trainer = Trainer::new(settings().build().unwrap()).callback(NeverStarts);
    let error = trainer.fit(&mut star(&layout), train, Some(&val)).unwrap_err();
    assert_eq!(error.to_string(), "early_stop: AUC is undefined on the validation rows");
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let (layout, train, val) = log();
    let mut trainer = Trainer::new(settings().build().unwrap());
    let shared = train.clone().edit(|rows| rows.domains[7] = DomainId::SHARED).unwrap();
    let error = trainer.fit(&mut star(&layout), shared, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let one_task = Layout { tasks: layout.tasks[..1].to_vec(), ..layout.clone() };
    let rows = Batch { labels: Array2::zeros((train.rows(), 1)), ..train.clone().into_batch() };
    let two = DataSet::new(&one_task, rows).unwrap();
    assert_eq!(trainer.fit(&mut star(&layout), two, None).unwrap_err().kind(), ErrorKind::Layout);
    assert!(trainer.fit(&mut star(&layout), train.slice(0..0), None).is_err());
    let weightless = train.clone().edit(|rows| rows.weights = vec![0.0; rows.rows()]).unwrap();
    let error = trainer.fit(&mut star(&layout), weightless.clone(), None).unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("a weight above 0, found none"), "{error}");
    let one = weightless.edit(|rows| rows.weights[7] = 0.5).unwrap();
    trainer.fit(&mut star(&layout), one, None).unwrap();
    let mut other = layout.clone();
    other.numeric.push("one more".into());
    assert!(trainer.fit(&mut star(&other), train, Some(&val)).is_err());
}

#[test]
fn an_encoder_that_cannot_be_saved_is_refused_before_training() {
    let (layout, train, _) = log();
    let schema = Schema::builder().categorical("user").label("click").build().unwrap();
    let table = Table::read("examples/data/toy.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let trainer = || Trainer::new(settings().build().unwrap()).callback(NeverStarts).encoder(encoder.clone());
    let error = trainer().fit(&mut star(&layout), train.clone(), None).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("no effect"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::builder().folder(folder.path()).build().unwrap();
    let error = trainer().checkpoints(checkpoints).fit(&mut star(&layout), train, None).unwrap_err();
    assert!(error.kind() == ErrorKind::Layout && error.to_string().contains("than the encoder gives"), "{error}");
}

#[test]
fn a_pooled_model_ignores_nothing_the_log_has() {
    // The domain is a feature: another domain gives another score for otherwise equal rows.
    let (layout, train, _) = log();
    let mut model: Model = Pooled::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([16]).build().unwrap());
    fit(&mut model, settings(), &train, None);
    let row = train.slice(0..1);
    assert_ne!(model.forward(&row, DomainId::new(0)), model.forward(&row, DomainId::new(1)));
}

//! Checks what a run does around its steps, with a net whose gradients, losses and validation scores are scripted. Learning rates follow from
//! differences of weights, stops from the scripted scores, the order and numbers of rows from the rows that the net saw.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayRef2, s};
use serde::{Deserialize, Serialize};
use starple::data::{Batch, DataSet, DomainId, Ids, Layout};
use starple::loss::{DecayPer, Objective};
use starple::metrics::{Metric, Monitor};
use starple::model::NetConfig;
use starple::net::{Builder, Built, CustomLayer, Describe};
use starple::nn::{Decay, Leaf, Mode, Params, Path, Segment, Train};
use starple::optim::{Clip, Clock, ConstantLr, CosineLr, LrSchedule, OptimizerConfig, PlateauLr, SgdConfig, StepLr};
use starple::train::{
    Callback, Checkpoints, EarlyStop, EpochReport, FitReport, Step, StepDone, StopReason, TrainConfig,
    TrainConfigBuilder, Trainer,
};
use starple::{AnyConfig, Model};

/// The number of training rows, in two domains, and of rows in a batch: two full batches and one with two rows.
const ROWS: usize = 10;
const BATCH: usize = 4;
const STEPS: u64 = 3;

/// A record of what the net and callbacks saw.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Started { by: usize, epoch: usize, epochs: usize, batches: usize },
    Forward { seed: u64, step: u64, rows: Vec<usize>, weight: f32, other: f32, table: f32 },
    Done { by: usize, step: u64, rows: usize, loss: f64, lr: f64 },
    Scored { weight: f32 },
    EpochDone { by: usize, epoch: usize, best: bool },
    RunDone { by: usize, epochs: usize },
}

/// The script of the net. Runs use one thread, that of the test.
#[derive(Debug, Default)]
struct Script {
    /// The log loss on the validation rows after each epoch. The last value is repeated.
    val: Vec<f64>,
    /// How many of them were used.
    given: usize,
    /// The gradient of both weights.
    gradient: f32,
    events: Vec<Event>,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

fn script(val: &[f64], gradient: f32) {
    SCRIPT.replace(Script { val: val.to_vec(), gradient, ..Script::default() });
}

fn note(event: Event) {
    SCRIPT.with_borrow_mut(|script| script.events.push(event));
}

fn events() -> Vec<Event> {
    SCRIPT.with_borrow(|script| script.events.clone())
}

/// The loss of a training step, in nats.
fn loss_of(step: u64) -> f64 {
    1.0 + step as f64 / 8.0
}

/// The logit that gives a row without a click this loss.
fn logit(loss: f64) -> f32 {
    (loss.exp() - 1.0).ln() as f32
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ProbeConfig {
    layout: Layout,
}

impl NetConfig for ProbeConfig {
    fn kind(&self) -> &'static str {
        "probe"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn embedding_dim(&self) -> usize {
        1
    }

    fn embedding_std(&self) -> f32 {
        0.0
    }

    fn seed(&self) -> u64 {
        0
    }
}

/// Two weights that start at 0.
#[derive(Debug, Clone, PartialEq)]
struct Probe {
    weight: Array1<f32>,
    other: Array1<f32>,
}

starple::params!(Probe { weight: Decay::None, other: Decay::None });

impl Describe for ProbeConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let row = net.row()?;
        let logits = net.custom("probe", row, 1, |_| Probe { weight: Array1::zeros(1), other: Array1::zeros(1) })?;
        net.answer(logits, None);
        Ok(())
    }
}

impl CustomLayer for Probe {
    type Cache = ();

    fn forward(&self, x: &ArrayRef2<f32>, _: &[Segment], mode: Mode<'_>, (): &mut (), logits: &mut ArrayRef2<f32>) {
        let Some(Train { seed, step, .. }) = mode.training() else {
            note(Event::Scored { weight: self.weight[0] });
            return SCRIPT.with_borrow_mut(|script| {
                let val = script.val.get(script.given).or(script.val.last()).copied().unwrap_or(1.0);
                script.given += 1;
                logits.fill(logit(val));
            });
        };
        let rows = x.column(1).iter().map(|&number| number as usize).collect();
        let (weight, other, table) = (self.weight[0], self.other[0], x[[0, 0]]);
        note(Event::Forward { seed, step, rows, weight, other, table });
        logits.fill(logit(loss_of(step)));
    }

    fn backward(
        &self,
        x: &ArrayRef2<f32>,
        _: &[Segment],
        _: &ArrayRef2<f32>,
        (): &mut (),
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let gradient = SCRIPT.with_borrow(|script| script.gradient);
        grad.weight[0] += gradient;
        grad.other[0] += gradient;
        // All rows read the same row of the table, so its gradient is 1.
        dx.fill(0.0);
        dx.column_mut(0).fill(1.0 / x.nrows() as f32);
    }
}

fn layout() -> Layout {
    Layout::new(["a", "b"], ["click"]).field("id", 4).numeric(["number"])
}

fn probe_of(model: &Model) -> &Probe {
    model.net().get("probe").unwrap()
}

fn probe() -> Model {
    Model::new(ProbeConfig { layout: layout() })
}

/// Rows without clicks; each row contains its number.
fn rows(count: usize) -> DataSet {
    let rows = Batch {
        ids: vec![Ids::One(vec![2; count])],
        numeric: Array2::from_shape_fn((count, 1), |(row, _)| row as f32),
        labels: Array2::zeros((count, 1)),
        domains: (0..count).map(|row| DomainId::new(row % 2)).collect(),
        ..Batch::default()
    };
    DataSet::new(&layout(), rows).unwrap()
}

/// Plain gradient descent, which moves a weight of gradient 1 by the learning rate.
fn settings(lr: f64) -> TrainConfigBuilder {
    let early_stop = EarlyStop::builder().patience(100).monitor(Monitor::new(Metric::LogLoss)).build().unwrap();
    TrainConfig::builder().batch_rows(BATCH).optimizer(OptimizerConfig::sgd(lr).unwrap()).early_stop(early_stop)
}

/// A callback that records its name, and can end the run at a step or an epoch.
#[derive(Clone, Copy, Default)]
struct Noter {
    by: usize,
    stop_step: Option<u64>,
    stop_epoch: Option<usize>,
}

impl Callback for Noter {
    fn epoch_started(&mut self, epoch: usize, epochs: usize, batches: usize) {
        note(Event::Started { by: self.by, epoch, epochs, batches });
    }

    fn step_done(&mut self, done: &StepDone) -> ControlFlow<()> {
        let StepDone { step, rows, loss, lr } = *done;
        note(Event::Done { by: self.by, step, rows, loss, lr });
        if self.stop_step == Some(step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_done(&mut self, report: &EpochReport) -> ControlFlow<()> {
        note(Event::EpochDone { by: self.by, epoch: report.epoch, best: report.best });
        if self.stop_epoch == Some(report.epoch) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn run_done(&mut self, report: &FitReport) {
        note(Event::RunDone { by: self.by, epochs: report.epochs.len() });
    }
}

fn fit(settings: TrainConfigBuilder, val: bool) -> (Model, FitReport) {
    let (mut model, val) = (probe(), val.then(|| rows(3)));
    let mut trainer = Trainer::new(settings.build().unwrap()).callback(Noter::default());
    let report = trainer.fit(&mut model, rows(ROWS), val.as_ref()).unwrap();
    (model, report)
}

/// A value before each step, and after the last one.
fn before_steps(of: fn(f32, f32, f32) -> f32, last: f32) -> Vec<f64> {
    let forward = |event: &Event| match event {
        Event::Forward { weight, other, table, .. } => Some(f64::from(of(*weight, *other, *table))),
        _ => None,
    };
    events().iter().filter_map(forward).chain([f64::from(last)]).collect()
}

/// The decrease of the value in each step.
fn falls(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[0] - pair[1]).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "found {found}, expected {expected}");
    }
}

/// The learning rate of each step of four epochs, computed from the weight. Callbacks and reports must give the same rates.
fn rates(settings: TrainConfigBuilder, val: &[f64]) -> Vec<f64> {
    script(val, 1.0);
    let (model, report) = fit(settings.epochs(val.len()), true);
    assert_eq!(report.steps, STEPS * val.len() as u64);
    // Use the weight that was scored last: the model can have the weight of an earlier epoch.
    let scored = |event: &Event| if let Event::Scored { weight } = event { Some(*weight) } else { None };
    let last = events().iter().rev().find_map(scored).unwrap();
    let rates = falls(&before_steps(|weight, _, _| weight, last));
    let told = |event: &Event| if let Event::Done { lr, .. } = event { Some(*lr) } else { None };
    assert_near(&events().iter().filter_map(told).collect::<Vec<_>>(), &rates);
    let ends: Vec<f64> = rates.chunks(STEPS as usize).map(|epoch| *epoch.last().unwrap()).collect();
    assert_near(&report.epochs.iter().map(|epoch| epoch.lr).collect::<Vec<_>>(), &ends);
    drop(model);
    rates
}

#[test]
fn every_step_has_the_rate_that_the_schedule_gives_it() {
    let improving = [1.0, 0.9, 0.8, 0.7];
    assert_near(&rates(settings(0.5), &improving), &[0.5; 12]);

    let warm = LrSchedule::Constant(ConstantLr::builder().warm_up_steps(4).build().unwrap());
    let expected: Vec<f64> = (0..12).map(|step| 0.5 * (f64::from(step) + 1.0).min(4.0) / 4.0).collect();
    assert_near(&rates(settings(0.5).schedule(warm), &improving), &expected);

    // floor + (1 − floor)(1 + cos πp)/2, p from 0 at the end of a warm-up of 2 to 1 at step 10.
    let cosine = LrSchedule::Cosine(CosineLr::builder().total_steps(10).floor(0.1).warm_up_steps(2).build().unwrap());
    let expected: Vec<f64> = (0..12)
        .map(|step| {
            let p = ((f64::from(step) - 2.0).max(0.0) / 8.0).min(1.0);
            let rise = (0.5 * f64::from(step + 1)).min(1.0);
            0.5 * rise * (0.1 + 0.9 * (1.0 + (std::f64::consts::PI * p).cos()) / 2.0)
        })
        .collect();
    assert_near(&rates(settings(0.5).schedule(cosine), &improving), &expected);

    let step = LrSchedule::Step(StepLr::builder().every_epochs(2).factor(0.1).build().unwrap());
    let expected = [[0.5; 6], [0.05; 6]].concat();
    assert_near(&rates(settings(0.5).schedule(step), &improving), &expected);
}

/// Better, equal, better, worse, worse, worse: with patience 0, every epoch without improvement halves the rate of the next.
const PLATEAU: [f64; 6] = [1.0, 1.0, 0.9, 0.95, 0.95, 0.95];

fn plateau_rates() -> Vec<f64> {
    [0.5, 0.5, 0.25, 0.25, 0.125, 0.0625].into_iter().flat_map(|rate| [rate; STEPS as usize]).collect()
}

#[test]
fn a_plateau_slows_the_epochs_after_it() {
    let plateau = LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(0).build().unwrap());
    assert_near(&rates(settings(0.5).schedule(plateau), &PLATEAU), &plateau_rates());
    // Patience 1, and a smallest rate.
    let plateau = LrSchedule::Plateau(PlateauLr::builder().factor(0.1).patience(1).min_factor(0.5).build().unwrap());
    let expected = [0.5, 0.5, 0.5, 0.5, 0.5, 0.25].into_iter().flat_map(|rate| [rate; 3]).collect::<Vec<_>>();
    assert_near(&rates(settings(0.5).schedule(plateau), &PLATEAU), &expected);
}

/// Trains in pieces that end after these steps (or epochs). Returns the model and the report of the last piece.
fn in_pieces(settings: &TrainConfigBuilder, stops: &[Noter]) -> (Model, FitReport) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::builder().folder(folder.path().join("run")).build().unwrap();
    for stop in stops.iter().copied().chain([Noter::default()]) {
        let mut model = probe();
        let mut trainer = Trainer::new(settings.clone().build().unwrap()).checkpoints(checkpoints.clone());
        trainer = trainer.callback(stop);
        let report = trainer.resume(&mut model, rows(ROWS), Some(&rows(3))).unwrap();
        if stop.stop_step.is_none() && stop.stop_epoch.is_none() {
            return (model, report);
        }
        assert_eq!(report.stop, StopReason::Callback);
    }
    unreachable!("the last piece stops by itself")
}

fn after_step(step: u64) -> Noter {
    Noter { stop_step: Some(step), ..Noter::default() }
}

fn after_epoch(epoch: usize) -> Noter {
    Noter { stop_epoch: Some(epoch), ..Noter::default() }
}

#[test]
fn a_resumed_run_remembers_the_plateau() {
    let settings = settings(0.5)
        .epochs(6)
        .schedule(LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(0).build().unwrap()));
    // Stops in the third epoch, after one reduction of the rate; at the end of the fourth; and in the last.
    for stops in [&[after_step(7)][..], &[after_epoch(3)], &[after_step(7), after_epoch(3), after_step(16)]] {
        script(&PLATEAU, 1.0);
        let (_, report) = in_pieces(&settings, stops);
        let told = |event: &Event| if let Event::Done { lr, .. } = event { Some(*lr) } else { None };
        assert_near(&events().iter().filter_map(told).collect::<Vec<_>>(), &plateau_rates());
        assert_eq!(report.best_epoch, Some(2));
    }
    // The patience is restored too: one epoch without improvement before the stop, and one after it.
    let patient =
        settings.schedule(LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(1).build().unwrap())).epochs(4);
    script(&[1.0, 1.0, 1.0, 1.0], 1.0);
    in_pieces(&patient, &[after_step(7)]);
    let told = |event: &Event| if let Event::Done { lr, .. } = event { Some(*lr) } else { None };
    let expected: Vec<f64> = [0.5, 0.5, 0.5, 0.25].into_iter().flat_map(|rate| [rate; 3]).collect();
    assert_near(&events().iter().filter_map(told).collect::<Vec<_>>(), &expected);
}

fn stops(patience: usize, min_delta: f64) -> EarlyStop {
    EarlyStop::builder().patience(patience).min_delta(min_delta).monitor(Monitor::new(Metric::LogLoss)).build().unwrap()
}

/// The epochs that were the best so far, the best of all, and the reason why the run ended.
fn stopped(early_stop: EarlyStop, val: &[f64]) -> (Vec<usize>, Option<usize>, StopReason) {
    script(val, 1.0);
    let (model, report) = fit(settings(1.0).epochs(val.len()).early_stop(early_stop), true);
    for (epoch, val) in report.epochs.iter().zip(val) {
        assert!((epoch.monitored.unwrap() - val).abs() < 1e-6, "{epoch:?}");
    }
    // The weight decreases by 1 per step. The weight of the best epoch is kept.
    let kept = -(STEPS as f32) * (report.best_epoch.unwrap() as f32 + 1.0);
    assert_eq!(probe_of(&model).weight[0], kept);
    let best = report.epochs.iter().filter(|epoch| epoch.best).map(|epoch| epoch.epoch);
    (best.collect(), report.best_epoch, report.stop)
}

#[test]
fn a_change_below_min_delta_is_no_improvement() {
    // The loss decreases by .1, .03, .03, .03 and then .3. With a min_delta of .05, a small decrease does not count alone; three small ones count
    // when their sum since the best exceeds it.
    let val = [1.0, 0.9, 0.87, 0.84, 0.81, 0.51];
    let waited = StopReason::NoImprovement { waited: 2 };
    assert_eq!(stopped(stops(2, 0.0), &val), (vec![0, 1, 2, 3, 4, 5], Some(5), StopReason::Epochs));
    assert_eq!(stopped(stops(3, 0.05), &val), (vec![0, 1, 3, 5], Some(5), StopReason::Epochs));
    assert_eq!(stopped(stops(1, 0.05), &val), (vec![0, 1], Some(1), StopReason::NoImprovement { waited: 1 }));
    assert_eq!(stopped(stops(2, 0.2), &val), (vec![0], Some(0), waited.clone()));
    // An equal value is no improvement either. A worse value before the best one does not end the run early.
    assert_eq!(stopped(stops(2, 0.0), &[1.0, 1.0, 1.0, 0.5]), (vec![0], Some(0), waited.clone()));
    assert_eq!(stopped(stops(2, 0.0), &[1.0, 1.5, 0.9, 1.0, 1.0, 0.1]), (vec![0, 2], Some(2), waited));
}

#[test]
fn a_resumed_run_knows_the_best_score_and_its_patience() {
    let val = [0.8, 0.9, 0.85, 0.7, 0.9, 0.9, 0.6];
    let settings = settings(1.0).epochs(7).early_stop(stops(3, 0.02));
    script(&val, 1.0);
    let (whole, expected) = fit(settings.clone(), true);
    assert_eq!((expected.best_epoch, &expected.stop), (Some(6), &StopReason::Epochs));
    for stops in [&[after_step(4)][..], &[after_epoch(0)], &[after_epoch(1), after_step(14), after_epoch(5)]] {
        script(&val, 1.0);
        let (model, report) = in_pieces(&settings, stops);
        let judged = |report: &FitReport| report.epochs.iter().map(|epoch| epoch.best).collect::<Vec<_>>();
        assert_eq!((judged(&report), report.best_epoch), (judged(&expected), expected.best_epoch));
        assert_eq!(probe_of(&model).weight, probe_of(&whole).weight);
    }
    let impatient = settings.early_stop(stops(2, 0.0));
    script(&[0.8, 0.9, 0.9, 0.1], 1.0);
    let (model, report) = in_pieces(&impatient, &[after_step(4)]);
    assert_eq!((report.stop, report.best_epoch), (StopReason::NoImprovement { waited: 2 }, Some(0)));
    assert_eq!(probe_of(&model).weight[0], -3.0);
}

#[test]
fn without_validation_rows_the_last_weights_stay() {
    script(&[], 1.0);
    let (model, report) = fit(settings(1.0).epochs(3), false);
    assert_eq!((probe_of(&model).weight[0], report.best_epoch), (-9.0, Some(2)));
}

#[test]
fn every_epoch_has_every_row_once_in_a_new_order() {
    let order = |seed| {
        script(&[1.0], 1.0);
        fit(settings(1.0).epochs(3).seed(seed), true);
        let forward = |event: Event| if let Event::Forward { rows, .. } = event { Some(rows) } else { None };
        events().into_iter().filter_map(forward).collect::<Vec<_>>()
    };
    let batches = order(1);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2, 4, 4, 2, 4, 4, 2]);
    let mut epochs = BTreeSet::new();
    for epoch in batches.chunks(3) {
        let mut seen = epoch.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..ROWS).collect::<Vec<_>>());
        epochs.insert(epoch.to_vec());
    }
    assert_eq!(epochs.len(), 3, "every epoch has its own order");
    assert_eq!(order(1), batches);
    assert_ne!(order(2), batches);

    // A resumed run reads the remaining rows, and no others.
    script(&[1.0], 1.0);
    in_pieces(&settings(1.0).epochs(3).seed(1), &[after_step(0), after_step(4), after_epoch(1)]);
    let forward = |event: Event| if let Event::Forward { rows, .. } = event { Some(rows) } else { None };
    assert_eq!(events().into_iter().filter_map(forward).collect::<Vec<_>>(), batches);
}

#[test]
fn steps_are_counted_over_the_run_for_the_net_and_for_callbacks() {
    let keys = || {
        let forward =
            |event: &Event| if let Event::Forward { seed, step, .. } = event { Some((*seed, *step)) } else { None };
        events().iter().filter_map(forward).collect::<Vec<_>>()
    };
    let expected: Vec<(u64, u64)> = (0..9).map(|step| (7, step)).collect();
    script(&[1.0], 1.0);
    fit(settings(1.0).epochs(3).seed(7), true);
    assert_eq!(keys(), expected);
    let done = |event: &Event| {
        if let Event::Done { step, rows, loss, .. } = event { Some((*step, *rows, *loss)) } else { None }
    };
    for (number, (step, rows, loss)) in events().iter().filter_map(done).enumerate() {
        assert_eq!((step, rows), (number as u64, [4, 4, 2][number % 3]));
        assert!((loss - loss_of(step)).abs() < 1e-6, "the loss of step {step}: {loss}");
    }
    script(&[1.0], 1.0);
    in_pieces(&settings(1.0).epochs(3).seed(7), &[after_step(3), after_epoch(1)]);
    assert_eq!(keys(), expected);
}

#[test]
fn the_loss_of_an_epoch_weighs_its_batches_by_rows() {
    let mean = |first: u64| (4.0 * loss_of(first) + 4.0 * loss_of(first + 1) + 2.0 * loss_of(first + 2)) / 10.0;
    let check = |report: &FitReport| {
        for (epoch, report) in report.epochs.iter().enumerate() {
            assert!((report.loss - mean(3 * epoch as u64)).abs() < 1e-6, "{}", report.loss);
        }
        assert_eq!((report.epochs.len(), report.steps, report.rows), (3, 9, 30));
    };
    script(&[1.0], 1.0);
    check(&fit(settings(1.0).epochs(3), true).1);
    script(&[1.0], 1.0);
    check(&in_pieces(&settings(1.0).epochs(3), &[after_step(1), after_step(5)]).1);
}

#[test]
fn given_weights_decay_by_epochs_or_by_steps() {
    let weights = |per, pieces: &[Noter]| {
        let objective = Objective::builder().decays([0.5]).decay_per(per).build().unwrap();
        script(&[1.0], 1.0);
        let report = in_pieces(&settings(1.0).epochs(3).objective(objective), pieces).1;
        report.epochs.iter().map(|epoch| epoch.units[0].weight.unwrap()).collect::<Vec<_>>()
    };
    for pieces in [&[][..], &[after_step(4)]] {
        assert_near(&weights(DecayPer::Epoch, pieces), &[1.0, 0.5, 0.25]);
        let mean = |first: i32| (0..3).map(|step| 0.5_f64.powi(first + step)).sum::<f64>() / 3.0;
        assert_near(&weights(DecayPer::Step, pieces), &[mean(0), mean(3), mean(6)]);
    }
}

#[test]
fn gradients_are_clipped_before_the_optimizer_sees_them() {
    // The gradients are 3 and 3, and 1 in the table: the norm is √19.
    let moves = |settings: TrainConfigBuilder| {
        script(&[], 3.0);
        let (model, _) = fit(settings.epochs(1), false);
        let table = |model: &Model| f64::from(model.embeddings().tables()[0][[2, 0]]);
        (falls(&before_steps(|weight, _, _| weight, probe_of(&model).weight[0])), -table(&model))
    };
    let (falls, table) = moves(settings(0.5));
    assert_near(&falls, &[1.5; 3]);
    assert_near(&[table], &[1.5]);
    let (falls, table) = moves(settings(0.5).clip(Clip::value(2.0).unwrap()));
    assert_near(&falls, &[1.0; 3]);
    assert_near(&[table], &[1.5]);
    let (falls, table) = moves(settings(0.5).clip(Clip::norm(2.0).unwrap()));
    assert_near(&falls, &[0.5 * 3.0 * 2.0 / 19.0_f64.sqrt(); 3]);
    assert_near(&[table], &[3.0 * 0.5 * 2.0 / 19.0_f64.sqrt()]);
    let (falls, _) = moves(settings(0.5).clip(Clip::norm(5.0).unwrap()));
    assert_near(&falls, &[1.5; 3]);
    // Momentum accumulates the clipped gradient: b ← ½b + 2.
    let momentum = SgdConfig::builder().lr(0.5).momentum(0.5).build().unwrap();
    let (falls, _) = moves(settings(0.5).optimizer(OptimizerConfig::Sgd(momentum)).clip(Clip::value(2.0).unwrap()));
    assert_near(&falls, &[1.0, 1.5, 1.75]);
}

#[test]
fn frozen_tensors_stay_and_tables_have_their_own_rate_on_the_same_schedule() {
    script(&[], 1.0);
    let warm = LrSchedule::Constant(ConstantLr::builder().warm_up_steps(4).build().unwrap());
    let tables = OptimizerConfig::sgd(0.125).unwrap();
    let (model, _) =
        fit(settings(0.5).epochs(2).schedule(warm).embedding_optimizer(tables).freeze(["net.probe.other"]), false);
    let factors = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0];
    let weight = before_steps(|weight, _, _| weight, probe_of(&model).weight[0]);
    assert_near(&falls(&weight), &factors.map(|factor| 0.5 * factor));
    let table = before_steps(|_, _, table| table, model.embeddings().tables()[0][[2, 0]]);
    assert_near(&falls(&table), &factors.map(|factor| 0.125 * factor));
    assert_eq!(before_steps(|_, other, _| other, probe_of(&model).other[0]), [0.0; 7]);
    script(&[], 1.0);
    let (model, _) = fit(settings(0.5).epochs(1).freeze(["embeddings"]), false);
    assert_eq!((model.embeddings().tables()[0][[2, 0]], probe_of(&model).other[0]), (0.0, -1.5));
}

#[test]
fn callbacks_are_told_in_their_order_and_all_of_them() {
    let run = |stop: Noter| {
        script(&[1.0, 2.0], 1.0);
        let mut trainer = Trainer::new(settings(1.0).epochs(1).batch_rows(5).build().unwrap());
        trainer = trainer.callback(stop).callback(Noter { by: 1, ..Noter::default() });
        let report = trainer.fit(&mut probe(), rows(ROWS), Some(&rows(3))).unwrap();
        let name = |event: &Event| match event {
            Event::Started { by, epoch, epochs, batches } => format!("{by} starts {epoch} of {epochs}: {batches}"),
            Event::Forward { step, .. } => format!("forward {step}"),
            Event::Done { by, step, .. } => format!("{by} step {step}"),
            Event::Scored { .. } => "scored".into(),
            Event::EpochDone { by, epoch, best } => format!("{by} epoch {epoch} {best}"),
            Event::RunDone { by, epochs } => format!("{by} run {epochs}"),
        };
        (report.stop, events().iter().map(name).collect::<Vec<_>>().join(", "))
    };
    let whole = "0 starts 0 of 1: 2, 1 starts 0 of 1: 2, forward 0, 0 step 0, 1 step 0, forward 1, 0 step 1, 1 step 1, scored, \
                 0 epoch 0 true, 1 epoch 0 true, 0 run 1, 1 run 1";
    assert_eq!(run(Noter::default()), (StopReason::Epochs, whole.into()));
    let short = "0 starts 0 of 1: 2, 1 starts 0 of 1: 2, forward 0, 0 step 0, 1 step 0, 0 run 0, 1 run 0";
    assert_eq!(run(after_step(0)), (StopReason::Callback, short.into()));
    assert_eq!(run(after_epoch(0)).0, StopReason::Callback);
}

/// For every weight with 32 columns, by name: the units that dropout set to 0 in a step on one row.
fn masks(kind: &str, step: u64, seed: u64) -> Vec<(String, Vec<bool>)> {
    let layout =
        Layout { tasks: vec!["click".into(), "buy".into()], numeric: vec!["x".into(), "y".into()], ..layout() };
    let config = AnyConfig::from_settings(serde_json::json!({ "kind": kind }), &layout, 5).unwrap();
    let mut settings = serde_json::to_value(config).unwrap();
    for (_, widths) in
        settings.as_object_mut().unwrap().iter_mut().filter(|(key, v)| key.ends_with("hidden") && v.is_array())
    {
        *widths = serde_json::json!([32, 32]);
    }
    settings["dropout"] = 0.5.into();
    settings["activation"] = "identity".into();
    let config: AnyConfig = serde_json::from_value(settings).unwrap();
    let model = Model::new(config);
    let row = Batch {
        ids: vec![Ids::One(vec![2])],
        numeric: ndarray::arr2(&[[0.7, -1.3]]),
        labels: ndarray::arr2(&[[1.0, 0.0]]),
        domains: vec![DomainId::new(0)],
        ..Batch::default()
    };
    let mut one = Step::new(&model, &Objective::default(), seed).unwrap();
    let gradient = one.gradient(&model, &row, Clock { epoch: 0, step }).unwrap();
    let mut masks = Vec::new();
    gradient.net.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        let Leaf::Tensor(values, &[inputs, 32], _) = leaf else { return };
        let name = path.name(&layout);
        // Weights of a domain belong to the same units as the shared weights.
        if name.contains(".domain.") {
            return;
        }
        let values = ndarray::ArrayView2::from_shape((inputs, 32), values).unwrap();
        let silent: Vec<bool> = (0..32).map(|unit| values.slice(s![.., unit]).iter().all(|&g| g == 0.0)).collect();
        if silent.contains(&true) && silent.contains(&false) {
            masks.push((name, silent));
        }
    });
    masks
}

#[test]
fn dropout_draws_another_mask_in_every_step_and_layer() {
    for kind in AnyConfig::KINDS {
        let first = masks(kind, 0, 1);
        // An auxiliary network, bottom or expert, and a tower. MRAN has only towers.
        assert!(first.len() >= 2, "{kind}: {first:?}");
        for (i, (name, mask)) in first.iter().enumerate() {
            let silent = mask.iter().filter(|&&silent| silent).count();
            assert!((4..29).contains(&silent), "{kind}, {name}: {silent} of 32");
            for (other, theirs) in &first[..i] {
                assert_ne!(mask, theirs, "{kind}: {name} and {other}");
            }
        }
        assert_eq!(masks(kind, 0, 1), first, "{kind}: a mask is a function of seed, step and place");
        for (step, seed) in [(1, 1), (2, 1), (0, 2)] {
            for ((name, mask), (_, before)) in masks(kind, step, seed).iter().zip(&first) {
                assert_ne!(mask, before, "{kind}, {name}: step {step}, seed {seed}");
            }
        }
    }
}

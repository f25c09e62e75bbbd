//! Runs in pieces, and what they must have in common to be pieces of one.

use starple::data::DataSet;
use starple::loss::{DwaConfig, GradNormConfig, Objective, UncertaintyConfig, Units, Weighting};
use starple::optim::{LrSchedule, OptimizerConfig, PlateauLr};
use starple::persist::Saved;
use starple::train::{Average, EarlyStop, FitReport, StopReason, TrainConfigBuilder, Trainer, Unknown};
use starple::{AnyConfig, Error, ErrorKind, Model};

use crate::bits::bits;
use crate::world::{EPOCH, StopAt, adam, after, folder, log, ple, settings, star};

/// The report without what a clock says.
fn timeless(mut report: FitReport) -> FitReport {
    report.epochs.iter_mut().for_each(|epoch| (epoch.train_seconds, epoch.evaluate_seconds) = (0.0, 0.0));
    FitReport { train_seconds: 0.0, evaluate_seconds: 0.0, ..report }
}

/// Trains in one piece, and in pieces that end where `stops` say, each with another number of threads; the models' bits and the reports
/// are the same. Gives the report.
fn assert_resumes(
    start: &Model,
    settings: &TrainConfigBuilder,
    stops: Vec<StopAt>,
    rows: (&DataSet, Option<&DataSet>),
) -> FitReport {
    let (train, val) = rows;
    let mut whole = start.clone();
    let expected = Trainer::new(settings.clone().build().unwrap()).fit(&mut whole, train.clone(), val).unwrap();

    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer =
        |threads| Trainer::new(settings.clone().threads(threads).build().unwrap()).checkpoints(checkpoints.clone());
    for (piece, stop) in stops.into_iter().enumerate() {
        let mut model = start.clone();
        let report = trainer(1 + piece % 2).callback(stop).resume(&mut model, train.clone(), val).unwrap();
        assert_eq!(report.stop, StopReason::Callback);
        assert!(report.steps < expected.steps);
    }
    let mut model = start.clone();
    let report = trainer(2).resume(&mut model, train.clone(), val).unwrap();
    assert_eq!(timeless(report), timeless(expected.clone()));
    assert!(bits(&model) == bits(&whole), "the weights are those of the run in one piece");
    // And once more: a run that is over is over.
    let mut model = start.clone();
    trainer(1).resume(&mut model, train.clone(), val).unwrap();
    assert!(bits(&model) == bits(&whole));
    if expected.best_epoch.is_some() && val.is_some() {
        let best: Saved = Saved::load(checkpoints.best()).unwrap();
        assert!(bits(&best.model) == bits(&whole), "the file of the best epoch has what the run ends with");
    }
    expected
}

#[test]
fn a_run_in_pieces_has_the_bits_of_a_run_in_one() {
    let (layout, train, val) = log();
    // In the middle of epochs, at their ends, and twice in one.
    let stops = || {
        let end = StopAt { step: None, epoch: Some(1) };
        vec![after(2), after(EPOCH - 1), after(EPOCH), end, after(2 * EPOCH + 1)]
    };
    for seed in 1..=3 {
        for optimizer in [adam(), OptimizerConfig::rowwise_adagrad(0.05).unwrap()] {
            let settings = settings(seed, optimizer);
            assert_resumes(&star(&layout, seed), &settings, stops(), (&train, Some(&val)));
            assert_resumes(&ple(&layout, seed), &settings, stops(), (&train, Some(&val)));
        }
    }
}

#[test]
fn sampled_negatives_are_those_of_a_run_in_one_piece() {
    let (layout, train, val) = log();
    let objective = Objective::builder().pos_weights([2.0, 3.0]).negatives([0.6, 0.5]).build().unwrap();
    let settings = settings(1, adam()).objective(objective);
    // An epoch has 4 to 6 steps.
    let stops = || vec![after(2), StopAt { step: None, epoch: Some(0) }, after(7)];
    let report = assert_resumes(&star(&layout, 1), &settings, stops(), (&train, Some(&val)));
    assert!(report.rows < 3 * 1500, "{}", report.rows);
}

#[test]
fn schedules_weightings_and_two_optimizers_go_on_too() {
    let (layout, train, val) = log();
    let stops = || vec![after(3), after(EPOCH + 4)];
    let weightings = [
        Weighting::GradNorm(GradNormConfig::builder().lr(0.05).build().unwrap()),
        Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.05).build().unwrap()),
        Weighting::Dwa(DwaConfig::builder().temperature(0.5).build().unwrap()),
    ];
    for weighting in weightings {
        let objective = Objective::builder().units(Units::Domains).weighting(weighting).build().unwrap();
        let settings = settings(1, adam()).objective(objective).embedding_optimizer(OptimizerConfig::sgd(0.1).unwrap());
        assert_resumes(&star(&layout, 1), &settings, stops(), (&train, Some(&val)));
    }
    // A plateau that has reduced the rate before the run is interrupted.
    let patient = EarlyStop::builder().patience(9).build().unwrap();
    let plateau = settings(2, OptimizerConfig::adam(0.05).unwrap()).epochs(6).early_stop(patient);
    let plateau = plateau
        .schedule(LrSchedule::Plateau(PlateauLr::builder().factor(0.5).patience(0).min_factor(0.01).build().unwrap()));
    let stops_late = vec![after(3), after(5 * EPOCH + 2)];
    let report = assert_resumes(&star(&layout, 2), &plateau, stops_late, (&train, Some(&val)));
    let rates: Vec<f64> = report.epochs.iter().map(|epoch| epoch.lr).collect();
    assert!(rates[4] < rates[0], "{rates:?}");
    assert_resumes(&star(&layout, 3), &settings(3, adam()), stops(), (&train, None));
}

#[test]
fn every_kind_of_model_goes_on() {
    let (layout, train, val) = log();
    for &kind in AnyConfig::KINDS {
        let config = serde_json::json!({ "kind": kind, "embedding_dim": 4 });
        let model = Model::new(AnyConfig::from_settings(config, &layout, 1).unwrap());
        let settings = settings(1, adam()).epochs(1);
        assert_resumes(&model, &settings, vec![after(4)], (&train, Some(&val)));
    }
}

#[test]
fn a_run_is_not_resumed_with_another_model_other_settings_or_other_rows() {
    let (layout, train, val) = log();
    let temporary = tempfile::tempdir().unwrap();
    let checkpoints = folder(temporary.path()).build().unwrap();
    let trainer =
        |settings: TrainConfigBuilder| Trainer::new(settings.build().unwrap()).checkpoints(checkpoints.clone());
    let first = settings(1, adam());
    trainer(first.clone()).callback(after(3)).fit(&mut star(&layout, 1), train.clone(), Some(&val)).unwrap();

    let refused = |result: starple::Result<FitReport>, part: &str| {
        let error: Error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout, "{error}");
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
        assert_eq!(error.path(), Some(&*checkpoints.list().unwrap()[0]));
    };
    let mut other = star(&layout, 2);
    refused(trainer(first.clone()).resume(&mut other, train.clone(), Some(&val)), "the same model");
    let mut other = ple(&layout, 1);
    refused(trainer(first.clone()).resume(&mut other, train.clone(), Some(&val)), "kind \"star\"");
    let slower = settings(2, OptimizerConfig::adam(0.004).unwrap());
    let mut model = star(&layout, 1);
    refused(trainer(slower).resume(&mut model, train.clone(), Some(&val)), "seed 1, now 2");
    refused(trainer(first.clone()).resume(&mut model, train.slice(1..1500), Some(&val)), "the same rows");
    refused(trainer(first.clone()).resume(&mut model, train.clone(), None), "the same rows");
    let moved = train.clone().edit(|rows| rows.labels[[7, 0]] = 1.0 - rows.labels[[7, 0]]).unwrap();
    refused(trainer(first.clone()).resume(&mut model, moved, Some(&val)), "the same rows");

    // More epochs may be asked for.
    let report = trainer(first.epochs(4)).resume(&mut model, train, Some(&val)).unwrap();
    assert_eq!(report.epochs.len(), 4);
}

#[test]
fn averages_and_replaced_ids_go_on_too() {
    let (layout, train, val) = log();
    let layout = layout.unknown("user").unknown("tags");
    let stops = || vec![after(2), after(EPOCH - 1), after(EPOCH), after(EPOCH + 4), after(2 * EPOCH + 1)];
    let averages = [
        (Average::Ema { decay: 0.8, after_epochs: 0 }, adam()),
        (Average::Ema { decay: 0.9, after_epochs: 1 }, OptimizerConfig::rowwise_adagrad(0.05).unwrap()),
        (Average::Swa { after_epochs: 1 }, adam()),
    ];
    for (seed, (average, optimizer)) in (1..).zip(averages) {
        for unknown in [Unknown::ByCount(2.0), Unknown::Mean] {
            let settings = settings(seed, optimizer.clone()).average(average).unknown(unknown).id_l2(0.01);
            assert_resumes(&star(&layout, seed), &settings, stops(), (&train, Some(&val)));
            assert_resumes(&ple(&layout, seed), &settings, vec![after(EPOCH + 4)], (&train, None));
        }
    }
}

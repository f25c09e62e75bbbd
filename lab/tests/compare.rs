//! Comparisons from end to end, on a small generated log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use starple::data::{Batch, DataSet, Layout, Splits};
use starple::loss::{GradNormConfig, Objective, Units, Weighting};
use starple::metrics::{Metric, Monitor};
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, EpochReport, TrainConfig, TrainConfigBuilder, Trainer, evaluate};
use starple::{Error, ErrorKind, Pooled, PooledConfig, StarConfig};
use starple_lab::compare::{
    CompareConfig, CompareConfigBuilder, Comparison, Contender, Observer, RunName, RunResult, compare,
};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

fn splits() -> Splits {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let rows = log.data_set();
    let [train, val, test] = [0..3000, 3000..4000, 4000..6000].map(|part| rows.slice(part));
    Splits::of_sets(train, val, test)
}

fn pooled(name: &str) -> Contender {
    Contender::new(name, |layout, seed| {
        PooledConfig::builder(layout).embedding_dim(4).hidden([8]).dropout(0.2).seed(seed).build()
    })
}

fn star() -> Contender {
    Contender::new("star", |layout, seed| StarConfig::builder(layout).embedding_dim(4).hidden([8]).seed(seed).build())
}

fn settings() -> TrainConfigBuilder {
    TrainConfig::builder().epochs(2).batch_rows(256).optimizer(OptimizerConfig::adam(0.01).unwrap())
}

fn config() -> CompareConfigBuilder {
    let config = CompareConfig::builder().contender(pooled("pooled")).contender(star()).seeds([3, 4]);
    config.baseline("pooled").train(settings().build().unwrap())
}

/// The comparison without seconds, which no two runs share, and without the number of threads.
fn without_seconds(mut comparison: Comparison) -> Comparison {
    for standing in &mut comparison.contenders {
        standing.train.as_object_mut().unwrap().remove("threads");
    }
    for run in comparison.contenders.iter_mut().flat_map(|standing| &mut standing.runs) {
        (run.fit.train_seconds, run.fit.evaluate_seconds) = (0.0, 0.0);
        for epoch in &mut run.fit.epochs {
            (epoch.train_seconds, epoch.evaluate_seconds) = (0.0, 0.0);
        }
    }
    comparison
}

#[test]
fn each_contender_is_trained_with_each_seed_as_the_trainer_trains_it() {
    let splits = splits();
    let comparison = compare(&config().build().unwrap(), &splits, ()).unwrap();
    assert_eq!(comparison.contenders.len(), 2);
    for seed in [3, 4] {
        let model = PooledConfig::builder(&splits.layout).embedding_dim(4).hidden([8]).dropout(0.2).seed(seed);
        let mut model = Pooled::new(model.build().unwrap());
        let mut trainer = Trainer::new(settings().seed(seed).build().unwrap());
        let fit = trainer.fit(&mut model, Arc::clone(&splits.train), Some(&splits.val)).unwrap();
        let standing = comparison.contender("pooled").unwrap();
        let run = standing.runs.iter().find(|run| run.seed == seed).unwrap();
        assert_eq!(run.test.as_ref(), Some(&evaluate(&model, &splits.test).unwrap()));
        assert_eq!((run.fit.steps, run.fit.best_epoch), (fit.steps, fit.best_epoch));
        assert_eq!((standing.parameters, standing.kind), (Some(model.parameters()), "pooled"));
    }
    let [first, second] = &comparison.contenders[0].runs[..] else { panic!("two runs") };
    assert_ne!(first.test, second.test, "seeds differ");

    let gains = comparison.gains_over_baseline(&comparison.contenders[1]).unwrap();
    let auc = |contender: usize, seed: usize| {
        comparison.contenders[contender].runs[seed]
            .test
            .as_ref()
            .unwrap()
            .task("cart")
            .unwrap()
            .domain("feed")
            .unwrap()
            .auc
            .unwrap()
    };
    let by_hand = (auc(1, 0) - auc(0, 0) + auc(1, 1) - auc(0, 1)) / 2.0;
    let gain = gains.task("cart").unwrap().domain("feed").unwrap();
    assert!((gain.difference.mean - by_hand).abs() < 1e-12);
    // The partner scene reports no carts.
    assert_eq!(gains.task("cart").unwrap().domain("partner"), None);
    assert!(
        comparison.to_string().contains("partner")
            && comparison.svg("toy").contains("star, cart in partner: undefined")
    );
}

#[test]
fn parallel_runs_and_threads_change_no_figure() {
    let splits = splits();
    let one = compare(&config().build().unwrap(), &splits, ()).unwrap();
    let train = settings().threads(2).build().unwrap();
    let many = compare(&config().parallel_runs(3).train(train).build().unwrap(), &splits, ()).unwrap();
    assert_eq!(without_seconds(one), without_seconds(many));
}

/// Writes down what it is told.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Observer for Notes {
    fn comparison_started(&mut self, runs: usize, epochs: usize) {
        self.0.lock().unwrap().push(format!("{runs} runs, {epochs} epochs"));
    }

    fn run_started(&mut self, run: &RunName<'_>) {
        self.0.lock().unwrap().push(format!("{} {} starts", run.contender, run.seed));
    }

    fn epoch_done(&mut self, run: &RunName<'_>, epoch: &EpochReport) {
        self.0.lock().unwrap().push(format!("{} {} epoch {} of {}", run.contender, run.seed, epoch.epoch, run.epochs));
    }

    fn run_done(&mut self, run: &RunName<'_>, result: &RunResult) {
        self.0.lock().unwrap().push(format!("{} {} done: {:?}", run.contender, run.seed, result.failed.is_some()));
    }
}

#[test]
fn a_contender_has_its_own_training_settings_and_its_divergence_stops_nobody() {
    let wild = settings().epochs(1).optimizer(OptimizerConfig::sgd(1e30).unwrap()).build().unwrap();
    let config = CompareConfig::builder().contender(pooled("wild").train(wild)).contender(pooled("tame"));
    let config = config.seeds([1]).baseline("tame").train(settings().build().unwrap()).build().unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let comparison = compare(&config, &splits(), Notes(Arc::clone(&notes))).unwrap();
    assert_eq!(
        *notes.lock().unwrap(),
        [
            "2 runs, 3 epochs",
            "wild 1 starts",
            "wild 1 done: true",
            "tame 1 starts",
            "tame 1 epoch 0 of 2",
            "tame 1 epoch 1 of 2",
            "tame 1 done: false"
        ]
    );
    let wild = comparison.contender("wild").unwrap();
    assert_eq!((wild.failed(), wild.scores()), (1, Vec::new()));
    assert!(wild.runs[0].fit.stop.diverged());
    let gains = comparison.gains("wild", "tame", Metric::Auc).unwrap();
    assert!(gains.tasks.is_empty() && gains.test.is_none());
    let text = comparison.to_string();
    assert!(text.contains("wild, seed 1: left out; ") && text.contains("not finite"), "{text}");
    assert!(comparison.svg("toy").contains("wild (1 of 1 failed)"));
}

#[test]
fn settings_that_cannot_be_are_named_all_at_once() {
    let none = CompareConfig::builder().seeds([]).level(1.0).parallel_runs(0).baseline("single").build().unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Config);
    assert_eq!(
        none.to_string(),
        "CompareConfig: contenders: at least one; seeds: at least one; baseline: expected one of the contenders [], found \"single\"; \
         level: 0 < level < 1, found 1; parallel_runs: at least 1, found 0"
    );
    let twice = config().contender(star()).contender(pooled("")).seeds([1, 2, 1]).baseline("stra").build().unwrap_err();
    assert_eq!(
        twice.to_string(),
        "CompareConfig: contenders: every one needs a name; contenders: \"star\" is listed twice; rename one; \
         seeds: 1 is listed twice; baseline: expected one of the contenders [\"pooled\", \"star\", \"star\", \"\"], found \"stra\""
    );
}

#[test]
fn what_does_not_fit_the_rows_is_found_in_the_contenders_name() {
    let splits = splits();
    let bad = Contender::new("bad", |layout, seed| StarConfig::builder(layout).hidden([0]).seed(seed).build());
    let notes = Arc::new(Mutex::new(Vec::new()));
    let error = compare(&config().contender(bad).build().unwrap(), &splits, Notes(Arc::clone(&notes))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.to_string(), "contender \"bad\": StarConfig: hidden: every width at least 1, found [0]");
    assert!(notes.lock().unwrap().is_empty(), "nothing was trained");

    let refused = |settings: TrainConfigBuilder, what: &str| {
        let lost = pooled("lost").train(settings.build().unwrap());
        let config = config().contender(lost).parallel_runs(2).build().unwrap();
        let error = compare(&config, &splits, Notes(Arc::clone(&notes))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with("contender \"lost\": ") && error.to_string().contains(what), "{error}");
    };
    let watch = |monitor| EarlyStop::builder().monitor(monitor).build().unwrap();
    refused(settings().early_stop(watch(Monitor::new(Metric::Auc).in_domain("moon"))), "moon");
    // The partner scene reports no carts.
    let undefined = Monitor::new(Metric::Auc).of_task("cart").in_domain("partner");
    refused(settings().early_stop(watch(undefined)), "AUC of cart in partner is undefined on the validation rows");
    let units = Objective::builder().units(Units::Domains).weights([1.0, 2.0]).build().unwrap();
    refused(settings().objective(units), "weights: one for each of [");
    let part = Weighting::GradNorm(GradNormConfig::builder().lr(0.1).shared("net.nowhere").build().unwrap());
    refused(settings().objective(Objective::builder().weighting(part).build().unwrap()), "found \"net.nowhere\"");

    for spoil in [|splits| &mut splits.test, |splits| &mut splits.val, |splits| Arc::make_mut(&mut splits.train)]
        as [fn(&mut Splits) -> &mut DataSet; 3]
    {
        let mut other = splits.clone();
        let rows = spoil(&mut other);
        let layout = Layout { tasks: rows.layout().tasks[..1].to_vec(), ..rows.layout().clone() };
        let labels = rows.labels.slice(ndarray::s![.., ..1]).to_owned();
        *rows = DataSet::new(&layout, Batch { labels, ..rows.clone().into_batch() }).unwrap();
        let error = compare(&config().build().unwrap(), &other, Notes(Arc::clone(&notes))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout);
    }
    assert!(notes.lock().unwrap().is_empty(), "nothing was trained");
}

#[test]
fn an_error_in_one_run_loses_no_other() {
    // Settings that are there when they are checked, and not when the second seed's run asks for them.
    let asked = AtomicUsize::new(0);
    let fickle = Contender::new("fickle", move |layout, seed| {
        if seed == 4 && asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return Err(Error::new(ErrorKind::Io, "the settings are gone"));
        }
        PooledConfig::builder(layout).embedding_dim(4).hidden([8]).seed(seed).build()
    });
    let train = settings().epochs(1).build().unwrap();
    let config = CompareConfig::builder().contender(fickle).contender(star()).seeds([3, 4]).baseline("star");
    let comparison = compare(&config.train(train).build().unwrap(), &splits(), ()).unwrap();
    let [fickle, star] = &comparison.contenders[..] else { panic!("two contenders") };
    assert_eq!((fickle.failed(), star.failed()), (1, 0));
    assert_eq!(fickle.runs[1].failed.as_deref(), Some("the settings are gone"));
    let text = comparison.to_string();
    assert!(text.contains("fickle, seed 4: left out; the settings are gone"), "{text}");
    assert!(text.contains("Not tested, as fewer than two seeds are judged: fickle."), "{text}");
}

#[test]
fn the_report_has_the_settings_of_every_contender() {
    let own = settings().epochs(1).batch_rows(512).build().unwrap();
    let config = config().contender(pooled("own").train(own)).seeds([1]).train(settings().epochs(1).build().unwrap());
    let named = serde_json::json!({"kind": "star", "name": "named", "hidden": [8], "embedding_dim": 4});
    let config = config.contender(Contender::from_settings(named).unwrap()).build().unwrap();
    let json = serde_json::to_value(compare(&config, &splits(), ()).unwrap()).unwrap();
    let [pooled, star, own, named] = &json["contenders"].as_array().unwrap()[..] else { panic!("four contenders") };
    assert_eq!((&pooled["model"]["hidden"], &pooled["train"]["batch_rows"]), (&serde_json::json!([8]), &256.into()));
    assert_eq!((&own["model"]["embedding_dim"], &own["train"]["batch_rows"]), (&4.into(), &512.into()));
    assert_eq!((&named["kind"], &named["model"]), (&"star".into(), &star["model"]));
    for contender in [pooled, star, own, named] {
        for key in ["layout", "seed", "kind"] {
            assert!(contender["model"].get(key).is_none() && contender["train"].get(key).is_none(), "{key}");
        }
    }
}

#[test]
fn the_separate_models_are_the_baseline_unless_another_is_chosen() {
    let comparison = |config: CompareConfigBuilder| {
        let train = settings().epochs(1).build().unwrap();
        compare(&config.seeds([1]).train(train).build().unwrap(), &splits(), ()).unwrap().baseline
    };
    let named = || CompareConfig::builder().contender(star()).contender(pooled("single"));
    assert_eq!(comparison(named()).as_deref(), Some("single"));
    assert_eq!(comparison(named().baseline("star")).as_deref(), Some("star"));
    assert_eq!(comparison(CompareConfig::builder().contender(star())), None);
}

/// Asks for the end after this many steps of a run, once this many runs are done; writes down what it is told of runs and journal.
struct Ender {
    runs: usize,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Observer for Ender {
    fn journal_read(&mut self, taken: usize, others: usize, damaged: usize) {
        self.notes.lock().unwrap().push(format!("{taken} taken, {others} others, {damaged} damaged"));
    }

    fn stopped(&self) -> bool {
        self.notes.lock().unwrap().iter().filter(|note| note.ends_with("done")).count() >= self.runs
    }

    fn run_started(&mut self, run: &RunName<'_>) {
        self.notes.lock().unwrap().push(format!("{} {} starts", run.contender, run.seed));
    }

    fn run_done(&mut self, run: &RunName<'_>, _: &RunResult) {
        self.notes.lock().unwrap().push(format!("{} {} done", run.contender, run.seed));
    }
}

/// Compares until this many runs are done, and gives the result and the notes.
fn until(runs: usize, config: CompareConfigBuilder) -> (starple::Result<Comparison>, Vec<String>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let result = compare(&config.build().unwrap(), &splits(), Ender { runs, notes: Arc::clone(&notes) });
    let notes = notes.lock().unwrap().clone();
    (result, notes)
}

#[test]
fn a_comparison_that_was_stopped_goes_on_from_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    let wild = settings().epochs(1).optimizer(OptimizerConfig::sgd(1e30).unwrap()).build().unwrap();
    let config = || config().contender(pooled("wild").train(wild.clone()));
    let whole = compare(&config().build().unwrap(), &splits(), ()).unwrap();
    assert_eq!(whole.contender("wild").unwrap().failed(), 2);

    let (result, notes) = until(3, config().journal(&path));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
    let first =
        ["0 taken, 0 others, 0 damaged", "pooled 3 starts", "pooled 3 done", "pooled 4 starts", "pooled 4 done"];
    assert_eq!(notes, [&first[..], &["star 3 starts", "star 3 done"]].concat());
    // A crash in the middle of a line.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 100);
    std::fs::write(&path, bytes).unwrap();

    // Elsewhere: other settings, another seed, other rows. None of the runs that are there is taken.
    let slower = settings().optimizer(OptimizerConfig::adam(0.009).unwrap()).build().unwrap();
    for other in [config().train(slower.clone()), config().seeds([5, 6])] {
        let (_, notes) = until(0, other.journal(&path));
        assert_eq!(notes, ["0 taken, 2 others, 1 damaged"]);
    }
    let mut moved = splits();
    moved.val = moved.val.edit(|rows| rows.labels[[7, 0]] = 1.0 - rows.labels[[7, 0]]).unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let ender = Ender { runs: 0, notes: Arc::clone(&notes) };
    compare(&config().journal(&path).build().unwrap(), &moved, ender).unwrap_err();
    assert_eq!(*notes.lock().unwrap(), ["0 taken, 2 others, 1 damaged"]);

    // Threads and the number of runs at the same time change no figure, and no key.
    let threads = settings().threads(2).build().unwrap();
    let (result, notes) = until(usize::MAX, config().train(threads).parallel_runs(2).journal(&path));
    assert_eq!(notes[..3], ["2 taken, 0 others, 1 damaged", "pooled 3 done", "pooled 4 done"]);
    assert_eq!(notes.iter().filter(|note| note.ends_with("starts")).count(), 4);
    assert_eq!(without_seconds(result.unwrap()), without_seconds(whole.clone()));
    // And when all is done, nothing is trained; runs that diverged are done too.
    let (result, notes) = until(usize::MAX, config().journal(&path));
    assert_eq!(notes.iter().filter(|note| note.ends_with("starts")).count(), 0);
    assert_eq!(without_seconds(result.unwrap()), without_seconds(whole));
}

#[test]
fn a_run_that_ended_in_an_error_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let fickle = |fails: bool| {
        let asked = Arc::clone(&asked);
        asked.store(0, Ordering::Relaxed);
        Contender::new("fickle", move |layout, seed| {
            // The first two calls check and count.
            if fails && asked.fetch_add(1, Ordering::Relaxed) > 1 {
                return Err(Error::new(ErrorKind::Io, "the settings are gone"));
            }
            PooledConfig::builder(layout).embedding_dim(4).hidden([8]).seed(seed).build()
        })
    };
    let train = settings().epochs(1).build().unwrap();
    let config = |fails| {
        let config = CompareConfig::builder().contender(fickle(fails)).seeds([3]).train(train.clone());
        config.journal(folder.path().join("runs.jsonl"))
    };
    assert_eq!(until(usize::MAX, config(true)).0.unwrap().contenders[0].failed(), 1);
    let (result, notes) = until(usize::MAX, config(false));
    assert_eq!(notes, ["0 taken, 0 others, 0 damaged", "fickle 3 starts", "fickle 3 done"]);
    assert_eq!(result.unwrap().contenders[0].failed(), 0);
}

#[test]
fn a_comparison_of_weighted_rows_says_so() {
    let mut splits = splits();
    let weights = (0..splits.test.rows()).map(|row| [0.5, 1.0, 4.0][row % 3]).collect();
    splits.test = splits.test.edit(|rows| rows.weights = weights).unwrap();
    let config = CompareConfig::builder().contender(star()).seeds([3]).train(settings().epochs(1).build().unwrap());
    let comparison = compare(&config.build().unwrap(), &splits, ()).unwrap();
    let test = comparison.contenders[0].runs[0].test.as_ref().unwrap();
    let all = &test.task("click").unwrap().all;
    let scores = &comparison.contenders[0].scores()[0];
    assert!(scores.weighted && scores.all.weight == all.weight && all.weight.unwrap() > 1000.0);
    assert_eq!(scores.all.logloss.unwrap().mean, all.logloss.unwrap());
    assert_ne!(all.logloss, all.unweighted.unwrap().logloss);
    assert!(comparison.to_string().contains("The test rows have weights"), "{comparison}");
}

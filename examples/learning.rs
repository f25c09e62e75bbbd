//! Do the models learn what their papers claim? Compares them on generated logs with several seeds and paired tests.
//!
//! ```text
//! cargo run --release --example learning -- domains 8
//! cargo run --release --example learning -- importance 8
//! cargo run --release --example learning -- tasks 5
//! ```
//!
//! * `domains`: logs with several domains (`starple_lab::synthetic`), a new log per seed. Half of each domain's click model is its own. It compares
//!   the pooled model, one model per domain, shared bottom, MMoE, PLE and STAR, by the mean of the domains' AUCs. Branches are domains.
//! * `importance`: logs with twelve domains that have one click model but weight the columns differently. It also includes PEPNet, whose gates
//!   scale the embedded columns by domain.
//! * `tasks`: the synthetic protocol of the MMoE paper (Ma et al., KDD 2018, section 3.2), which PLE's paper uses too. With orthonormal `u₁, u₂`,
//!   `w₁ = u₁` and `w₂ = p·u₁ + √(1 − p²)·u₂`, where p is the correlation of the tasks; `s_k = w_kᵀx + Σ_i sin(α_i·w_kᵀx + β_i)`; here the label
//!   is drawn with probability `σ(4·(s_k − mean)/std)`. It compares single models, shared bottom, MMoE, CGC and PLE, by the mean of the tasks' AUCs.
//!
//! The second argument is the number of seeds, from 2 to 20. Tables go to stdout. Differences are tested with a sign-flip test
//! (`starple_lab::compare::sign_flip`): p is the share of all 2ⁿ sign patterns of the seeds' differences whose mean is at least as far from 0. Every
//! column of p has Holm's correction. A diverged run counts in no mean and no difference.

use clap::{Args, Parser, Subcommand, value_parser};
use ndarray::{Array1, Array2};
use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::{StandardNormal, Uniform};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use starple::Result;
use starple::data::{Batch, DataSet, DomainId, Format, Layout, Numeric, Schema, SplitOptions, Splits, Table};
use starple::loss::sigmoid;
use starple::metrics::{Evaluator, Metric, Monitor};
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, TrainConfig};
use starple_lab::compare::{CompareConfig, Comparison, Contender, Standing, Summary, compare, holm, sign_flip};
use starple_lab::synthetic::{SyntheticConfig, SyntheticConfigBuilder, SyntheticLog};
use starple_lab::table::{Cell, TextTable};

const UNTESTED: &str = "fewer than two seeds with successful runs of both models, or no difference.";

/// Trains these models on a new log per seed.
fn compare_in_worlds(models: &[Value], seeds: u64, world: impl Fn(u64) -> Result<Splits>) -> Result<Comparison> {
    let early_stop = EarlyStop::builder().patience(4).build()?;
    let settings = TrainConfig::builder().epochs(40).batch_rows(512).early_stop(early_stop);
    let settings = settings.optimizer(OptimizerConfig::adam(0.002)?).build()?;
    let contenders = models.iter().cloned().map(Contender::from_settings).collect::<Result<Vec<_>>>()?;
    let config = CompareConfig::builder().contenders(contenders).train(settings).parallel_runs(2);
    let mut all: Option<Comparison> = None;
    for seed in 1..=seeds {
        eprintln!("seed {seed} of {seeds}");
        let comparison = compare(&config.clone().seeds([seed]).build()?, &world(seed)?, ())?;
        match &mut all {
            Some(all) => all.merge(comparison)?,
            None => all = Some(comparison),
        }
    }
    Ok(all.expect("there is a seed"))
}

/// One metric of every run of a contender, in the order of the seeds; NaN for a failed run.
fn values(contender: &Standing, monitor: &Monitor) -> Result<Vec<f64>> {
    let values = contender.runs.iter().map(|run| {
        let value = run.judged().map(|report| report.value(monitor)).transpose()?;
        Ok(value.flatten().unwrap_or(f64::NAN))
    });
    values.collect()
}

/// A generated log with domains; `world` completes its settings. It is encoded like any other log.
fn planted(
    world: impl Fn(SyntheticConfigBuilder) -> SyntheticConfigBuilder,
    seed: u64,
) -> Result<(SyntheticLog, Splits)> {
    let config = SyntheticConfig::builder()
        .rows(40_000)
        .seed(seed)
        .domain_column("scene")
        .task("click", 0.25)
        .categorical("user", 150)
        .categorical("item", 100)
        .categorical("query", 40)
        .numeric("price", 60.0, 12.0, 2)
        .latent(3)
        .signal(2.5);
    let log = SyntheticLog::generate(&world(config).build()?);
    let mut csv = Vec::new();
    log.write_csv(&mut csv)?;
    let schema = Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .feature(Numeric::new("price").standard())
        .domain("scene")
        .label("click")
        .split("split")
        .build()?;
    let table = Table::from_reader(&csv[..], Format::Csv, "planted.csv", &schema)?;
    let splits = Splits::of_table(&schema, &table, SplitOptions::default())?;
    Ok((log, splits))
}

/// The mean of the domains' AUCs of the true click probabilities.
fn best_possible(log: &SyntheticLog) -> Result<f64> {
    let mut best = Evaluator::new(&log.layout());
    let rows: Vec<usize> = (0..log.rows()).filter(|&row| log.splits()[row] == "test").collect();
    let (logits, labels) = (log.oracle_logits(), log.labels().to_owned());
    let domains: Vec<DomainId> = rows.iter().map(|&row| log.domains()[row]).collect();
    let pick = |all: &Array2<f32>| all.select(ndarray::Axis(0), &rows);
    best.add(&pick(&logits), &pick(&labels), &domains, &[], &[])?;
    Ok(best.report().tasks[0].mean_domain_auc.unwrap_or(f64::NAN))
}

/// Compares the models on logs whose domains share half of their click model.
fn domains(seeds: u64) -> Result<TextTable> {
    let stack = [64, 32];
    let star = |name: &str, combination: Value| json!({"kind": "star", "name": name, "combination": combination, "hidden": stack});
    let models = vec![
        json!({"kind": "pooled", "hidden": stack}),
        json!({"kind": "single", "name": "one model each", "branches": "domains", "hidden": stack}),
        shared_bottom(),
        json!({"kind": "mmoe", "name": "MMoE", "branches": "domains", "expert_hidden": [64], "tower_hidden": [32]}),
        json!({"kind": "ple", "name": "PLE", "branches": "domains", "expert_hidden": [64], "tower_hidden": [32]}),
        star("STAR", json!("product")),
        star("STAR, add", json!("add")),
        star("STAR, adaptive add", json!("adaptive_add")),
        star("STAR, gate", json!("sigmoid_gate")),
        star("STAR, concatenation", json!("concatenation")),
        star("STAR, low rank", json!({"low_rank": {"rank": 4}})),
    ];
    let scenes = ["search", "feed", "checkout", "partner", "email"];
    let world = |config: SyntheticConfigBuilder| config.domains(scenes).domain_tail(1.5).own(0.5);
    by_mean_domain_auc(models, seeds, world, [(0, "− pooled"), (1, "− one each")])
}

/// Compares the models on logs whose domains share one click model but weight the columns differently.
fn importance(seeds: u64) -> Result<TextTable> {
    let stack = [64, 32];
    let models = vec![
        json!({"kind": "pooled", "hidden": stack}),
        shared_bottom(),
        json!({"kind": "mmoe", "name": "MMoE", "branches": "domains", "expert_hidden": [64], "tower_hidden": [32]}),
        json!({"kind": "ple", "name": "PLE", "branches": "domains", "expert_hidden": [64], "tower_hidden": [32]}),
        json!({"kind": "star", "name": "STAR", "hidden": stack}),
        json!({"kind": "pepnet", "name": "EPNet alone", "hidden": stack}),
        json!({"kind": "pepnet", "name": "PEPNet", "priors": ["user", "item"], "hidden": stack}),
    ];
    let world =
        |config: SyntheticConfigBuilder| config.domain_count(12).domain_tail(0.5).own(0.0).importance_shift(1.0);
    by_mean_domain_auc(models, seeds, world, [(0, "− pooled"), (1, "− shared bottom")])
}

/// A shared bottom with a tower per domain.
fn shared_bottom() -> Value {
    json!({
        "kind": "shared_bottom", "name": "shared bottom", "branches": "domains", "bottom_hidden": [64],
        "tower_hidden": [32],
    })
}

/// Compares the models by the mean of the domains' AUCs. `references` are two models (position and column header) whose scores are subtracted.
fn by_mean_domain_auc(
    mut models: Vec<Value>,
    seeds: u64,
    world: impl Fn(SyntheticConfigBuilder) -> SyntheticConfigBuilder,
    references: [(usize, &str); 2],
) -> Result<TextTable> {
    for model in &mut models {
        model["embedding_dim"] = json!(8);
        model["dropout"] = json!(0.1);
    }
    let comparison = compare_in_worlds(&models, seeds, |seed| Ok(planted(&world, seed)?.1))?;
    let best = (1..=seeds).map(|seed| best_possible(&planted(&world, seed)?.0)).collect::<Result<Vec<_>>>()?;
    let monitor = Monitor::new(Metric::MeanDomainAuc);
    let mut rows = Vec::new();
    for contender in &comparison.contenders {
        rows.push((contender.name.as_str(), values(contender, &monitor)?));
    }
    let [(_, first), (_, second)] = references;
    let mut table = TextTable::new(["mean domain AUC", "mean ± std", first, "p (Holm)", second, "p (Holm)"]);
    let mut columns = references.map(|(reference, _)| {
        let others = rows.iter().enumerate().filter(|&(number, _)| number != reference);
        paired(others.map(|(_, (_, values))| (values.as_slice(), rows[reference].1.as_slice()))).into_iter()
    });
    for (number, (name, values)) in rows.iter().enumerate() {
        let mut cells = vec![Cell::from(*name), show(values)];
        for ((reference, _), column) in references.iter().zip(&mut columns) {
            let gain = if number == *reference { None } else { column.next() };
            cells.extend(gain.unwrap_or([const { Cell::Blank }; 2]));
        }
        table.row(cells);
    }
    table.note(UNTESTED);
    let blank = [const { Cell::Blank }; 4];
    table.row([Cell::from("best possible"), show(&best)].into_iter().chain(blank));
    Ok(table)
}

/// Rows with two tasks of this correlation.
fn correlated(p: f64, seed: u64) -> Splits {
    const INPUTS: usize = 24;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut direction = || Array1::<f64>::random_using(INPUTS, StandardNormal, &mut rng);
    let u1 = direction();
    let u1 = &u1 / u1.dot(&u1).sqrt();
    let u2 = direction();
    let u2 = &u2 - &u1 * u2.dot(&u1);
    let u2 = &u2 / u2.dot(&u2).sqrt();
    let w = [u1.clone(), p * &u1 + (1.0 - p * p).sqrt() * &u2];
    let uniform = |low: f64, high: f64| Uniform::new(low, high).expect("a sound range");
    let alpha = Array1::random_using(4, uniform(1.0, 3.0), &mut rng);
    let beta = Array1::random_using(4, uniform(0.0, std::f64::consts::TAU), &mut rng);
    let layout = Layout {
        numeric: (0..INPUTS).map(|i| format!("x{i}")).collect(),
        domains: vec!["all".into()],
        tasks: vec!["first".into(), "second".into()],
        ..Layout::default()
    };
    let rows = 16_000;
    let x = Array2::<f64>::random_using((rows, INPUTS), StandardNormal, &mut rng);
    let mut labels = Array2::zeros((rows, 2));
    for (k, w) in w.iter().enumerate() {
        let t = x.dot(w);
        let s = t.mapv(|t| t + alpha.iter().zip(&beta).map(|(a, b)| (a * t + b).sin()).sum::<f64>());
        let (mean, std) = (s.mean().unwrap_or(0.0), s.std(0.0));
        for (label, s) in labels.column_mut(k).iter_mut().zip(&s) {
            *label = f32::from(u8::from(rng.random_bool(sigmoid(4.0 * (s - mean) / std))));
        }
    }
    let all =
        Batch { numeric: x.mapv(|x| x as f32), labels, domains: vec![DomainId::new(0); rows], ..Batch::default() };
    let [train, val, test] = [0..8000, 8000..10_000, 10_000..rows]
        .map(|part| DataSet::new(&layout, all.slice(part)).expect("the rows have the layout"));
    Splits::of_sets(train, val, test)
}

/// Compares the models on two tasks, by the mean of the tasks' AUCs.
fn tasks(seeds: u64) -> Result<TextTable> {
    let models = [
        json!({"kind": "single", "hidden": [16, 8]}),
        json!({"kind": "shared_bottom", "name": "shared bottom", "bottom_hidden": [16], "tower_hidden": [8]}),
        json!({"kind": "mmoe", "name": "MMoE", "experts": 3, "expert_hidden": [16], "tower_hidden": [8]}),
        json!({"kind": "cgc", "name": "CGC", "shared_experts": 1, "own_experts": 1, "expert_hidden": [16], "tower_hidden": [8]}),
        json!({
            "kind": "ple", "name": "PLE", "levels": 2, "shared_experts": 1, "own_experts": 1, "expert_hidden": [16],
            "tower_hidden": [8],
        }),
    ];
    let names = models.iter().map(|model| model["name"].as_str().unwrap_or("single"));
    let headers = std::iter::once("task correlation").chain(names).chain(["PLE − shared bottom", "p (Holm)"]);
    let mut table = TextTable::new(headers);
    let mut all = Vec::new();
    for p in [0.0, 0.25, 0.5, 0.75, 1.0] {
        eprintln!("correlation {p}");
        let comparison = compare_in_worlds(&models, seeds, |seed| Ok(correlated(p, seed)))?;
        let runs = comparison.contenders.iter().map(|contender| values(contender, &Monitor::new(Metric::Auc)));
        all.push((p, runs.collect::<Result<Vec<_>>>()?));
    }
    let pairs = paired(all.iter().map(|(_, runs)| (runs[4].as_slice(), runs[1].as_slice())));
    for ((p, runs), pair) in all.iter().zip(pairs) {
        let cells = runs.iter().map(|values| show(values));
        table.row(std::iter::once(Cell::from(format!("{p}"))).chain(cells).chain(pair));
    }
    table.note(UNTESTED);
    Ok(table)
}

/// Mean and standard deviation of the finite values.
fn show(values: &[f64]) -> Cell {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    Summary::of(&finite).map_or(Cell::Undefined, |summary| Cell::Number(summary.to_string()))
}

/// Two columns of a table for pairs of models: mean and standard deviation of the seeds' differences, and p with Holm's correction over the
/// column.
fn paired<'a>(pairs: impl Iterator<Item = (&'a [f64], &'a [f64])>) -> Vec<[Cell; 2]> {
    let differences = pairs.map(|(values, others)| {
        let differences = values.iter().zip(others).map(|(value, other)| value - other);
        differences.filter(|difference| difference.is_finite()).collect::<Vec<f64>>()
    });
    let differences: Vec<_> = differences.collect();
    let p: Vec<Option<f64>> = differences.iter().map(|differences| sign_flip(differences)).collect();
    let mut corrected = holm(&p.iter().copied().flatten().collect::<Vec<_>>()).into_iter();
    let cells = differences.iter().zip(p).map(|(differences, p)| {
        let p = p.and_then(|_| corrected.next());
        [show(differences), p.map_or(Cell::Undefined, |p| Cell::number(p, 4))]
    });
    cells.collect()
}

/// Compares models on generated logs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    worlds: Worlds,
}

#[derive(Subcommand)]
enum Worlds {
    /// Domains that share half of their click model.
    Domains(Seeds),
    /// Domains that share one click model but weight the columns differently.
    Importance(Seeds),
    /// Two tasks of known correlation.
    Tasks(Seeds),
}

#[derive(Args)]
struct Seeds {
    /// The number of seeds.
    #[arg(value_parser = value_parser!(u64).range(2..=20))]
    seeds: u64,
}

fn main() -> Result<()> {
    let table = match Arguments::parse().worlds {
        Worlds::Domains(Seeds { seeds }) => domains(seeds),
        Worlds::Importance(Seeds { seeds }) => importance(seeds),
        Worlds::Tasks(Seeds { seeds }) => tasks(seeds),
    };
    println!("{}", table?);
    Ok(())
}

//! Do the models learn what their papers say they do? Two planted worlds, several seeds, paired tests.
//!
//! ```text
//! cargo run --release --example learning -- domains 8
//! cargo run --release --example learning -- tasks 5
//! ```
//!
//! `domains`: logs with planted domain structure (`starple::data::synthetic`), a new world each seed. The pooled model, one model for each
//! domain, STAR, and PLE with branches for domains; the mean of the domains' AUCs.
//!
//! `tasks`: the synthetic protocol of the MMoE paper (Ma et al., KDD 2018, section 3.2), which PLE's paper takes up. With orthonormal
//! `u₁, u₂`, `w₁ = u₁` and `w₂ = p·u₁ + √(1 − p²)·u₂`; `s_k = w_kᵀx + Σ_i sin(α_i·w_kᵀx + β_i)`; here the label is a draw of
//! `σ(4·(s_k − mean)/std)`. `p` is the tasks' correlation. Single models, the shared bottom, MMoE, CGC and PLE; the mean of the tasks' AUCs.
//!
//! The second number is the number of seeds. Tables go to stdout. A difference is tested by flipping the signs of the seeds'
//! differences in all 2ⁿ ways: p is the share of ways that give a mean at least as far from 0.

use ndarray::{Array1, Array2, s};
use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::{StandardNormal, Uniform};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::synthetic::{SyntheticConfig, SyntheticLog};
use starple::data::{Batch, DomainId, Encoder, Format, Layout, Numeric, Schema, Table};
use starple::loss::sigmoid;
use starple::metrics::{Cell, Evaluator, TextTable};
use starple::model::{Branches, Net, PleNet, PooledNet, StarNet};
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, TrainConfig, Trainer, evaluate};
use starple::{Model, PleConfig, PooledConfig, Result, StarConfig};

/// A world: rows to learn from, to stop by, and to be judged on.
struct World {
    layout: Layout,
    train: Batch,
    val: Batch,
    test: Batch,
}

impl World {
    fn part(&self, keep: impl Fn(&Batch, usize) -> bool) -> [Batch; 3] {
        [&self.train, &self.val, &self.test].map(|rows| {
            let kept: Vec<u32> = (0..rows.rows()).filter(|&row| keep(rows, row)).map(|row| row as u32).collect();
            rows.select(&kept)
        })
    }
}

/// Trains a model of this configuration.
fn fit<N: Net>(config: N::Config, [train, val]: [&Batch; 2], seed: u64) -> Result<Model<N>> {
    let mut model = Model::<N>::new(config);
    let early_stop = EarlyStop { patience: 4, ..EarlyStop::default() };
    let settings = TrainConfig::builder().epochs(40).batch_rows(512).seed(seed).early_stop(early_stop);
    let settings = settings.optimizer(OptimizerConfig::adam(0.002)?).build()?;
    Trainer::new(settings).fit(&mut model, train.clone(), Some(val))?;
    Ok(model)
}

/// A log with planted domain structure, read as any log is.
fn planted(seed: u64) -> Result<(World, f64)> {
    let config = SyntheticConfig::builder()
        .rows(40_000)
        .seed(seed)
        .domain_column("scene")
        .domains(["search", "feed", "checkout", "partner", "email"])
        .domain_tail(1.5)
        .task("click", 0.25)
        .categorical("user", 150)
        .categorical("item", 100)
        .categorical("query", 40)
        .numeric("price", 60.0, 12.0, 2)
        .own(0.5)
        .latent(3)
        .signal(2.5)
        .build()?;
    let log = SyntheticLog::generate(&config);
    let mut csv = Vec::new();
    log.write_csv(&mut csv)?;
    let schema = Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .feature(Numeric::new("price"))
        .domain("scene")
        .label("click")
        .split("split")
        .build()?;
    let table = Table::from_reader(&csv[..], Format::Csv, "planted.csv", &schema)?;
    let encoder = Encoder::fit(&schema, &table, &table.split("train")?)?;
    let [train, val, test] = ["train", "val", "test"].map(|split| encoder.encode(&table, &table.split(split)?));
    let world = World { layout: encoder.layout().clone(), train: train?, val: val?, test: test? };

    let mut best = Evaluator::new(&log.layout());
    let rows: Vec<usize> = (0..log.rows()).filter(|&row| log.splits()[row] == "test").collect();
    let (logits, labels) = (log.oracle_logits(), log.labels().to_owned());
    let domains: Vec<DomainId> = rows.iter().map(|&row| log.domains()[row]).collect();
    let pick = |all: &Array2<f32>| all.select(ndarray::Axis(0), &rows);
    best.add(&pick(&logits), &pick(&labels), &domains, &[])?;
    let best = best.report().tasks[0].mean_domain_auc.unwrap_or(f64::NAN);
    Ok((world, best))
}

/// The mean of the domains' AUCs of each model, and of the best possible.
fn domains(seed: u64) -> Result<Vec<f64>> {
    let (world, best) = planted(seed)?;
    let World { layout, train, val, test } = &world;
    let (dim, hidden, dropout) = (8, [64, 32], 0.1);
    let pooled = PooledConfig::builder(layout).embedding_dim(dim).hidden(hidden).dropout(dropout).seed(seed);
    let star = StarConfig::builder(layout).embedding_dim(dim).hidden(hidden).dropout(dropout).seed(seed).build()?;
    let ple = PleConfig::builder(layout).embedding_dim(dim).branches(Branches::Domains).dropout(dropout).seed(seed);
    let ple = ple.expert_hidden([hidden[0]]).tower_hidden([hidden[1]]).build()?;

    // One model for each domain, on that domain's rows alone; judged together.
    let mut alone = Evaluator::new(layout);
    for d in 0..layout.domains.len() {
        let [train, val, test] = world.part(|rows, row| rows.domains[row].index() == Some(d));
        let model = fit::<PooledNet>(pooled.clone().build()?, [&train, &val], seed)?;
        alone.add(&model.score(&test), &test.labels, test.domains(), &[])?;
    }
    let both = [train, val];
    let reports = [
        fit::<PooledNet>(pooled.build()?, both, seed).and_then(|model| evaluate(&model, test))?,
        alone.report(),
        fit::<StarNet>(star, both, seed).and_then(|model| evaluate(&model, test))?,
        fit::<PleNet>(ple, both, seed).and_then(|model| evaluate(&model, test))?,
    ];
    let mean = |report: &starple::metrics::Report| report.tasks[0].mean_domain_auc.unwrap_or(f64::NAN);
    Ok(reports.iter().map(mean).chain([best]).collect())
}

/// Two tasks of this correlation.
fn correlated(p: f64, seed: u64) -> World {
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
    World { layout, train: all.slice(0..8000), val: all.slice(8000..10_000), test: all.slice(10_000..rows) }
}

/// The mean of the tasks' AUCs of each model.
fn tasks(p: f64, seed: u64) -> Result<Vec<f64>> {
    let world = correlated(p, seed);
    let mean_auc = |report: &starple::metrics::Report| {
        let aucs = report.tasks.iter().filter_map(|task| task.all.auc);
        aucs.sum::<f64>() / report.tasks.len() as f64
    };
    let ple = |layout: &Layout, levels: usize, shared: usize, own: usize, train: [&Batch; 2], test: &Batch| {
        let config = PleConfig::builder(layout).levels(levels).shared_experts(shared).own_experts(own).seed(seed);
        let config = config.expert_hidden([16]).tower_hidden([8]).build()?;
        fit::<PleNet>(config, train, seed).and_then(|model| evaluate(&model, test)).map(|report| mean_auc(&report))
    };
    let one_task =
        |rows: &Batch, k: usize| Batch { labels: rows.labels.slice(s![.., k..=k]).to_owned(), ..rows.clone() };
    let mut single = 0.0;
    for k in 0..2 {
        let layout = Layout { tasks: vec![world.layout.tasks[k].clone()], ..world.layout.clone() };
        let [train, val, test] = [&world.train, &world.val, &world.test].map(|rows| one_task(rows, k));
        single += 0.5 * ple(&layout, 1, 1, 0, [&train, &val], &test)?;
    }
    let run = |levels, shared, own| ple(&world.layout, levels, shared, own, [&world.train, &world.val], &world.test);
    // One expert behind a gate of one weight is the shared bottom; no own experts is MMoE; one level is CGC.
    Ok(vec![single, run(1, 1, 0)?, run(1, 3, 0)?, run(1, 1, 1)?, run(2, 1, 1)?])
}

fn mean_std(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// The exact paired test by sign flips.
fn sign_flip(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    let ways = 1_u64 << differences.len();
    let far = (0..ways).filter(|way| {
        let signed = differences.iter().enumerate().map(|(i, d)| if way >> i & 1 == 1 { -d } else { *d });
        signed.sum::<f64>().abs() >= observed - 1e-12
    });
    far.count() as f64 / ways as f64
}

fn show(mean: f64, std: f64) -> Cell {
    Cell::from(format!("{mean:.4} ± {std:.4}"))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let what = arguments.first().map_or("domains", String::as_str);
    let seeds: u64 = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(8).max(2);
    if what == "domains" {
        let mut runs = Vec::new();
        for seed in 1..=seeds {
            eprintln!("seed {seed} of {seeds}");
            runs.push(domains(seed)?);
        }
        let column = |m: usize| runs.iter().map(|run| run[m]).collect::<Vec<_>>();
        let mut table = TextTable::new(["mean domain AUC", "mean ± std", "− pooled", "p", "− one each", "p"]);
        for (m, name) in ["pooled", "one model each", "STAR", "PLE", "best possible"].into_iter().enumerate() {
            let (mean, std) = mean_std(&column(m));
            let mut cells = vec![Cell::from(name), show(mean, std)];
            for other in [0, 1] {
                let differences: Vec<f64> = runs.iter().map(|run| run[m] - run[other]).collect();
                let same = m == other || m == 4;
                let (difference, std) = mean_std(&differences);
                cells.push(if same { Cell::Blank } else { show(difference, std) });
                cells.push(if same { Cell::Blank } else { Cell::number(sign_flip(&differences), 4) });
            }
            table.row(cells);
        }
        println!("{table}");
    } else {
        let mut table = TextTable::new([
            "task correlation",
            "single",
            "shared bottom",
            "MMoE",
            "CGC",
            "PLE",
            "PLE − shared bottom",
            "p",
        ]);
        for p in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let mut runs = Vec::new();
            for seed in 1..=seeds {
                eprintln!("correlation {p}, seed {seed} of {seeds}");
                runs.push(tasks(p, seed)?);
            }
            let mut cells = vec![Cell::from(format!("{p}"))];
            for m in 0..5 {
                let (mean, std) = mean_std(&runs.iter().map(|run| run[m]).collect::<Vec<_>>());
                cells.push(show(mean, std));
            }
            let differences: Vec<f64> = runs.iter().map(|run| run[4] - run[1]).collect();
            let (mean, std) = mean_std(&differences);
            cells.extend([show(mean, std), Cell::number(sign_flip(&differences), 4)]);
            table.row(cells);
        }
        println!("{table}");
    }
    Ok(())
}

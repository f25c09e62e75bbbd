//! Does attention over a history pay where a user's interest depends on the item, and what does it cost where it does not? Generates logs,
//! trains one model on each with every pooling, and prints the test AUC.
//!
//! ```text
//! cargo run --release --example interest -- --seeds 5
//! ```
//!
//! Every user likes a few of many kinds of items, and the history has the last items that the user clicked. In the world `target`, a click is
//! likely if the candidate's kind occurs often in the history: which events matter depends on the candidate. In the world `taste`, a click
//! depends on a quality of the items in the history, of which every event has its share whatever the candidate is: there attention can win
//! nothing. `difference` is that to the mean, seed by seed, with its standard error.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use starple::data::{Bag, Format, Pooling, Recent, Schema, Sequence, SplitOptions, Splits, Table};
use starple::nn::{EventWeights, TargetAttentionSettings};
use starple::optim::OptimizerConfig;
use starple::train::{TrainConfig, Trainer, evaluate};
use starple::{Model, PooledConfig, Result};
use starple_lab::table::{Cell, TextTable};

/// Compares poolings of a history on generated logs.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, each with a log of its own.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// How many rows a log has.
    #[arg(long, default_value_t = 30_000)]
    rows: usize,
}

const ITEMS: usize = 400;
const KINDS: usize = 20;
const USERS: usize = 1500;
const EVENTS: usize = 20;

/// Whether the candidate decides which events matter.
#[derive(Clone, Copy, PartialEq)]
enum World {
    Target,
    Taste,
}

/// A log as a CSV text.
fn log(world: World, rows: usize, seed: u64) -> String {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let kinds: Vec<usize> = (0..ITEMS).map(|_| rng.random_range(0..KINDS)).collect();
    let qualities: Vec<f64> = (0..ITEMS).map(|_| rng.random_range(-1.0..1.0)).collect();
    let users: Vec<[usize; 3]> = (0..USERS).map(|_| [(); 3].map(|()| rng.random_range(0..KINDS))).collect();
    let mut text = "item,kind,seen,seen_kinds,click,split\n".to_owned();
    for _ in 0..rows {
        let likes = users[rng.random_range(0..USERS)];
        // Most events are of kinds that the user likes.
        let event = |rng: &mut ChaCha8Rng| loop {
            let item = rng.random_range(0..ITEMS);
            if likes.contains(&kinds[item]) || rng.random_bool(0.05) {
                return item;
            }
        };
        let len = rng.random_range(0..=EVENTS);
        let history: Vec<usize> = (0..len).map(|_| event(rng)).collect();
        // Half of the candidates are of a kind that the user likes.
        let item = if rng.random_bool(0.5) { event(rng) } else { rng.random_range(0..ITEMS) };
        let logit = match world {
            World::Target => {
                let fitting = history.iter().filter(|&&event| kinds[event] == kinds[item]).count();
                0.5 * (fitting as f64).min(6.0) - 1.2 + 0.5 * qualities[item]
            }
            World::Taste => {
                let mean = history.iter().map(|&event| qualities[event]).sum::<f64>() / len.max(1) as f64;
                4.0 * mean + 1.0 * qualities[item] - 0.5
            }
        };
        let click = u8::from(rng.random_bool(1.0 / (1.0 + (-logit).exp())));
        let split = ["train", "train", "train", "train", "train", "train", "train", "train", "val", "test"];
        let split = split[rng.random_range(0..split.len())];
        let list = |of: &dyn Fn(usize) -> String| history.iter().map(|&event| of(event)).collect::<Vec<_>>().join("|");
        let (items, of_items) = (list(&|item| format!("i{item}")), list(&|item| format!("k{}", kinds[item])));
        let _ = writeln!(text, "i{item},k{},{items},{of_items},{click},{split}", kinds[item]);
    }
    text
}

fn schema(pooling: Pooling, attention: Option<TargetAttentionSettings>) -> Result<Schema> {
    let mut history =
        Sequence::new("history", EVENTS, Recent::Last).column("seen", "item").column("seen_kinds", "kind");
    if let Some(attention) = attention {
        history = history.attention(attention);
    }
    Schema::builder()
        .categorical("item")
        .categorical("kind")
        .feature(Bag::new("seen", "|").table("item").pooling(pooling))
        .feature(Bag::new("seen_kinds", "|").table("kind").pooling(pooling))
        .sequence(history)
        .label("click")
        .split("split")
        .build()
}

/// The test AUC.
fn auc(schema: &Schema, log: &str, seed: u64) -> Result<f64> {
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "generated", schema)?;
    let splits = Splits::of_table(schema, &table, SplitOptions::default())?;
    let config = PooledConfig::builder(&splits.layout).hidden([64, 32]).seed(seed).build()?;
    let mut model = Model::new(config);
    let train = TrainConfig::builder().optimizer(OptimizerConfig::adam(2e-3)?).batch_rows(512).epochs(12).seed(seed);
    Trainer::new(train.threads(1).build()?).fit(&mut model, splits.train, Some(&splits.val))?;
    let report = evaluate(&model, &splits.test)?;
    Ok(report.tasks[0].all.auc.expect("clicks and others in the test split"))
}

fn run(arguments: &Arguments) -> Result<()> {
    let attention = |weights| -> Result<Option<TargetAttentionSettings>> {
        Ok(Some(TargetAttentionSettings::builder().weights(weights).build()?))
    };
    let poolings = [
        ("mean", schema(Pooling::Mean, None)?),
        ("sum", schema(Pooling::Sum, None)?),
        ("attention, raw", schema(Pooling::Mean, attention(EventWeights::Raw)?)?),
        ("attention, softmax", schema(Pooling::Mean, attention(EventWeights::Softmax)?)?),
    ];
    let mut table = TextTable::new(["world", "pooling", "test AUC", "difference", "standard error", "seeds won"]);
    for (world, name) in [(World::Target, "target"), (World::Taste, "taste")] {
        let mut means = Vec::new();
        for (pooling, schema) in &poolings {
            let mut aucs = Vec::new();
            for seed in 0..arguments.seeds {
                aucs.push(auc(schema, &log(world, arguments.rows, seed), seed)?);
            }
            if means.is_empty() {
                means.clone_from(&aucs);
            }
            let n = aucs.len() as f64;
            let differences: Vec<f64> = aucs.iter().zip(&means).map(|(auc, mean)| auc - mean).collect();
            let difference = differences.iter().sum::<f64>() / n;
            let variance = differences.iter().map(|d| (d - difference).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
            let won = differences.iter().filter(|&&d| d > 0.0).count();
            table.row(vec![
                Cell::from(name.to_owned()),
                Cell::from((*pooling).to_owned()),
                Cell::number(aucs.iter().sum::<f64>() / n, 4),
                Cell::number(difference, 4),
                Cell::number((variance / n).sqrt(), 4),
                Cell::from(won),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

//! Compares starple with PyTorch: the same model, weights and rows on both sides, measured in turns in one run.
//!
//! ```text
//! bash benches/peers/run.sh                      # both sides, in a virtual environment that it makes
//! cargo bench --bench peers -- --only star-mid   # this side alone
//! ```
//!
//! This side predicts with [`Scorer`](starple::serve::Scorer), which computes `W ⊙ W_d` once. The other side computes it in every call, in its
//! `forward`.
//!
//! Every workload first gets PyTorch's weights and rows, and both sides must compute the same logits, loss and gradients. Then there are rounds. In
//! each round every side has one turn, in changing order. The figure of a side is the median over rounds of the medians of its turns.
//! `torch_twin.py` is the other side, once eager and once compiled, each in its own process, which runs as long as the workload.

#[path = "../common/mod.rs"]
mod common;
mod duel;
mod exchange;
mod report;
mod twin;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ndarray::Array2;
use starple::nn::{Init, InitRng, Linear};
use starple::train::in_pool;

use self::common::run::{Length, time};
use self::common::{median, only_tested, threads};
use self::duel::{Duel, Ours, duels};
use self::exchange::{Differences, Exchange};
use self::report::{Measured, Peak, Report};
use self::twin::Twin;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The size of the matrices for the measurement of the peak.
const SIZE: usize = 1024;

/// The sides, in order.
const SIDES: [&str; 3] = ["starple", "eager", "compiled"];

/// The options.
struct Options {
    python: Option<PathBuf>,
    compile: bool,
    rounds: usize,
    seconds: f64,
    threads: usize,
    json: Option<PathBuf>,
    duels: Vec<Duel>,
}

fn main() -> ExitCode {
    let arguments = arguments().get_matches();
    let run = || -> Result<()> {
        let options = Options::read(&arguments)?;
        let report = in_pool(options.threads, || run(&options))??;
        print!("{report}");
        if let Some(path) = &options.json {
            serde_json::to_writer_pretty(File::create(path)?, &report)?;
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Command {
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let path = value_parser!(PathBuf);
    Command::new("peers").about("Measures starple against PyTorch").args([
        option("python", "PATH")
            .value_parser(path.clone())
            .help("A Python with numpy and torch; without it, starple alone"),
        flag("eager").help("Leave out torch.compile, which takes minutes"),
        option("rounds", "N").value_parser(value_parser!(usize)).help("How often every side has its turn [default: 7]"),
        option("seconds", "S").value_parser(value_parser!(f64)).help("How long a turn is [default: 0.5]"),
        option("threads", "N")
            .value_parser(value_parser!(usize))
            .help("Threads of both sides [default: STARPLE_THREADS, or all]"),
        option("only", "NAMES")
            .value_delimiter(',')
            .help("Workloads, by name, with commas between them [default: all]"),
        option("json", "FILE").value_parser(path).help("Write all figures to a file"),
        flag("test").help("One step of each, to see that it works"),
        flag("bench").hide(true),
    ])
}

impl Options {
    fn read(arguments: &ArgMatches) -> Result<Self> {
        let test = only_tested();
        let mut duels = duels();
        if let Some(only) = arguments.get_many::<String>("only") {
            let only: Vec<_> = only.collect();
            let names: Vec<_> = duels.iter().map(|duel| &duel.name).collect();
            if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
                return Err(format!("--only: unknown workload {unknown:?}, expected some of {names:?}").into());
            }
            duels.retain(|duel| only.contains(&&duel.name));
        }
        Ok(Self {
            python: arguments.get_one("python").cloned(),
            compile: !arguments.get_flag("eager"),
            rounds: arguments.get_one("rounds").copied().unwrap_or(if test { 1 } else { 7 }).max(1),
            seconds: arguments.get_one("seconds").copied().unwrap_or(if test { 0.0 } else { 0.5 }),
            threads: arguments.get_one("threads").copied().unwrap_or_else(threads),
            json: arguments.get_one("json").cloned(),
            duels,
        })
    }
}

fn run(options: &Options) -> Result<Report> {
    let mut report = Report { threads: options.threads, rounds: options.rounds, ..Report::default() };
    let mut peak = Peak::default();
    let product = &mut Product::new();
    for duel in &options.duels {
        eprint!("{}: ", duel.name);
        let measured = fight(options, duel, &mut report.torch, product, &mut peak)?;
        eprintln!("{}", measured.differences);
        report.workloads.push(measured);
    }
    report.peak = peak;
    Ok(report)
}

/// Measures one workload.
fn fight(
    options: &Options,
    duel: &Duel,
    torch: &mut Option<String>,
    product: &mut Product,
    peak: &mut Peak,
) -> Result<Measured> {
    let mut model = duel.workload.model();
    let mut batch = duel.batch();
    let mut differences = Differences::default();
    let mut twins = Vec::new();
    if let Some(python) = &options.python {
        for compile in [false, true].into_iter().take(if options.compile { 2 } else { 1 }) {
            let mut twin = Twin::start(python)?;
            let ready = twin.prepare(duel, options.threads, compile)?;
            if ready.parameters != model.parameters() {
                let (ours, theirs) = (model.parameters(), ready.parameters);
                return Err(format!("{}: {ours} parameters here, {theirs} there", duel.name).into());
            }
            let found = compare(&mut twin, &mut model, &mut batch);
            differences = differences.or(found.map_err(|error| format!("{}: {error}", duel.name))?);
            *torch = Some(ready.torch);
            twins.push(twin);
        }
    }
    let cost = duel.cost(model.clone(), &batch);
    let mut ours = Ours::new(duel, model, &batch);
    let mut sides = vec![Vec::new(); 1 + twins.len()];
    for round in 0..options.rounds {
        let turn = duel.turn(options.seconds);
        for i in 0..sides.len() {
            let side = (round + i) % sides.len();
            let times = match side {
                0 => ours.time(&batch, turn),
                side => twins[side - 1].time(turn)?,
            };
            sides[side].push(median(times));
            // Wait until the threads of the other side sleep.
            sleep(Duration::from_secs_f64(0.25_f64.min(options.seconds)));
        }
        let length = Length { warm: 1, seconds: 0.2_f64.min(options.seconds), least: 1, most: 100 };
        peak.starple.push(median(time(length, || product.compute())));
        if let Some(twin) = twins.first_mut() {
            peak.torch.push(median(twin.multiply(SIZE, length)?));
        }
    }
    let seconds = SIDES.into_iter().zip(sides).collect();
    Ok(Measured::new(duel, cost, seconds, differences))
}

/// Takes the weights and rows of the other side, and compares the results of both sides.
fn compare(twin: &mut Twin, model: &mut starple::Model, batch: &mut starple::data::Batch) -> Result<Differences> {
    let directory = tempfile::tempdir()?;
    twin.write(directory.path())?;
    let exchange = Exchange::read(directory.path())?;
    *batch = exchange.batch(model.layout())?;
    exchange.load(model)?;
    exchange.compare(model.clone(), batch)
}

/// `y = x·W + b` with [`SIZE`] rows, for the peak of this side.
struct Product {
    x: Array2<f32>,
    layer: Linear,
    y: Array2<f32>,
}

impl Product {
    fn new() -> Self {
        let layer = Linear::new(SIZE, SIZE, Init::FanIn, &mut InitRng::new(1));
        Self { x: Array2::ones((SIZE, SIZE)), layer, y: Array2::zeros((SIZE, SIZE)) }
    }

    fn compute(&mut self) {
        self.layer.forward(&self.x, &mut self.y);
    }
}

/// The operations of such a product.
fn product_flops() -> f64 {
    2.0 * (SIZE as f64).powi(3)
}

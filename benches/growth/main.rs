//! Measures how the time of a training step grows with domains, rows per batch, vocabulary, tasks and levels.
//!
//! ```text
//! cargo bench --bench growth -- --json growth.json --svg growth.svg
//! cargo bench --bench growth -- --only vocabulary --large     # 10^8 rows as well: 20 GB
//! ```
//!
//! Each point is measured in its own process: the median over Adam steps on eight alternating batches. The exponent is the slope of a
//! least-squares line through the logarithms: 0 is constant, 1 is proportional.

#[path = "../common/mod.rs"]
mod common;
mod curve;
mod figure;
mod point;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;
use starple::train::in_pool;

use self::common::{only_tested, threads};
use self::curve::{CURVES, Curve, LARGE_VOCABULARY};
use self::figure::figure;
use self::point::Point;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// All measurements.
#[derive(Debug, Serialize)]
struct Report {
    threads: usize,
    curves: Vec<Measured>,
}

/// The points of a curve.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    held: &'static str,
    /// The exponent of step time.
    exponent: f64,
    points: Vec<Point>,
}

fn main() -> ExitCode {
    match run(&arguments().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Command {
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let path = value_parser!(PathBuf);
    Command::new("growth").about("Measures how step time grows with size").args([
        option("only", "NAMES").value_delimiter(',').help("Curves, by name, with commas between them [default: all]"),
        flag("large").help("Vocabularies up to 10^8 rows, which take 20 GB"),
        option("seconds", "S").value_parser(value_parser!(f64)).help("How long each point is measured [default: 3]"),
        option("threads", "N").value_parser(value_parser!(usize)).help("Threads [default: STARPLE_THREADS, or all]"),
        option("json", "FILE").value_parser(path.clone()).help("Write all figures to a file"),
        option("svg", "FILE").value_parser(path).help("Draw all curves into a file"),
        flag("test").help("Small sizes and few steps, to see that it works"),
        flag("bench").hide(true),
        option("point", "CURVE").hide(true),
        option("value", "N").value_parser(value_parser!(usize)).hide(true),
    ])
}

fn run(arguments: &ArgMatches) -> Result<()> {
    let threads = arguments.get_one("threads").copied().unwrap_or_else(threads);
    let seconds = arguments.get_one("seconds").copied().unwrap_or(if only_tested() { 0.0 } else { 3.0 });
    if let (Some(curve), Some(&value)) = (arguments.get_one::<String>("point"), arguments.get_one("value")) {
        let curve = named(curve)?;
        let point = in_pool(threads, || Point::measure(curve, value, seconds))?;
        println!("{}", serde_json::to_string(&point)?);
        return Ok(());
    }

    let curves = match arguments.get_many::<String>("only") {
        None => CURVES.iter().collect(),
        Some(only) => only.map(|name| named(name)).collect::<Result<Vec<_>>>()?,
    };
    println!("{threads} threads.");
    let mut report = Report { threads, curves: Vec::new() };
    for curve in curves {
        let mut values = if only_tested() { curve.small } else { curve.values }.to_vec();
        if curve.name == "vocabulary" && arguments.get_flag("large") {
            values.push(LARGE_VOCABULARY);
        }
        let points = values.into_iter().map(|value| Point::of_child(curve, value, seconds, threads));
        let points = points.collect::<Result<Vec<_>>>()?;
        let measured = Measured { name: curve.name, held: curve.held, exponent: exponent(&points), points };
        measured.print();
        report.curves.push(measured);
    }
    let picture = figure(&report.curves)?;
    if let Some(path) = arguments.get_one::<PathBuf>("svg") {
        fs::write(path, picture)?;
    }
    if let Some(path) = arguments.get_one::<PathBuf>("json") {
        fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Curve> {
    let names = CURVES.map(|curve| curve.name);
    let found = CURVES.iter().find(|curve| curve.name == name);
    found.ok_or_else(|| format!("unknown curve {name:?}, expected some of {names:?}").into())
}

impl Measured {
    /// The points as a table in Markdown.
    fn print(&self) {
        let Self { name, held, exponent, points } = self;
        println!("\n{held}: step time grows with the exponent {exponent:.2}.\n");
        println!("| {name} | ms a step | rows/s | of the first | peak MB | parameters and moments, MB |");
        println!("|--:|--:|--:|--:|--:|--:|");
        let megabytes = |bytes: usize| format!("{:.0}", bytes as f64 / 1e6);
        for point in points {
            println!(
                "| {} | {:.2} | {:.0} | {:.0} % | {} | {} |",
                point.value,
                point.seconds * 1e3,
                point.rows_per_second(),
                100.0 * point.rows_per_second() / points[0].rows_per_second(),
                point.peak_bytes.map_or("–".into(), megabytes),
                megabytes(point.state_bytes()),
            );
        }
    }
}

/// The slope of `ln seconds` over `ln value`, by least squares.
fn exponent(points: &[Point]) -> f64 {
    let logarithms = points.iter().map(|point| ((point.value as f64).ln(), point.seconds.ln()));
    let mean = |which: fn((f64, f64)) -> f64| logarithms.clone().map(which).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let sums = logarithms.map(|p| ((p.0 - x) * (p.1 - y), (p.0 - x).powi(2)));
    let (products, squares) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    products / squares
}

//! Trains the model of a run file and looks inside: how far STAR's domains went from the shared network, which experts the gates use.
//!
//! ```text
//! cargo run --release --example inside -- examples/runs/toy-star.toml
//! cargo run --release --example inside -- examples/runs/toy-ple.toml --report gates.json --svg gates.svg
//! ```
//!
//! Run files are those of the example `train` (`examples/runs/README.md`). Experts are watched on the test rows. Tables go to
//! stdout, progress to stderr; `--report` and `--svg` write files.

#[path = "run_file/run.rs"]
mod run;
mod run_file;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use run::{Ready, ready};
use run_file::{Input, Outputs, exit, out, write, write_json, wrong};
use starple::Result;
use starple::StarConfig;
use starple::train::{Progress, Trainer, in_pool};
use starple_lab::inside::{GateUse, gates, star_distance};

/// Trains the model of a run file and looks inside.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
    /// Writes what the tables show as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draws it.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { input, report, svg } = arguments;
    let outputs = Outputs::default().text("--report", report.as_ref()).text("--svg", svg.as_ref());
    let (Ready { mut model, config, splits, .. }, _) = ready(input, &outputs, false)?;
    let kind = model.config().kind();
    let threads = config.threads();
    // Before it is trained: one row tells whether there are gates.
    let is_star = model.config().get::<StarConfig>().is_some();
    if !is_star && gates(&model, &splits.train.slice(0..1))?.is_empty() {
        let message = format!("[model]: {kind} has neither gates nor factors of domains to look at");
        return Err(wrong(message).at_path(&input.file));
    }
    let fit = Trainer::new(config).callback(Progress::stderr(kind)).fit(&mut model, splits.train, Some(&splits.val))?;
    if fit.stop.diverged() {
        return Err(wrong(format!("{kind}: {}", fit.stop)));
    }

    let (tables, json, picture) = if is_star {
        let heat = star_distance(model.net(), model.layout());
        (heat.to_string(), serde_json::to_value(&heat), heat.svg())
    } else {
        let uses = in_pool(threads, || gates(&model, &splits.test))??;
        let tables = uses.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        (tables, serde_json::to_value(&uses), GateUse::svg(&uses))
    };
    // The table last: it may be cut off, files may not.
    if let Some(path) = report {
        write_json(path, &json.map_err(wrong)?)?;
    }
    if let Some(path) = svg {
        write(path, &picture)?;
    }
    out(tables.trim_end_matches('\n'));
    Ok(0)
}

fn main() -> ExitCode {
    exit(run(&Arguments::parse()))
}

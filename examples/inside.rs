//! Trains the model of a run file and looks inside: how far STAR's domains moved from the shared network, or which experts the gates use.
//!
//! ```text
//! cargo run --release --example inside -- examples/runs/toy-star.toml
//! cargo run --release --example inside -- examples/runs/toy-ple.toml --report gates.json --svg gates.svg
//! ```
//!
//! Run files are those of the example `train` (`examples/runs/README.md`). Gate weights are measured on the test rows. Tables go to stdout,
//! progress goes to stderr. `--report` and `--svg` write files.

#[path = "run_file/run.rs"]
mod run;
mod run_file;

use std::process::ExitCode;

use clap::Parser;
use run::{Ready, ready};
use run_file::{Input, Results, start, wrong};
use starple::Result;
use starple::StarConfig;
use starple::train::{Progress, Trainer, in_pool};
use starple_lab::inside::{GateUse, gates, star_distance};

/// Trains the model of a run file and looks inside.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    results: Results,
}

fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { input, results } = arguments;
    let (Ready { mut model, config, splits, .. }, _) = ready(input, &results.outputs(), false)?;
    let kind = model.config().kind();
    let threads = config.threads();
    // Check before training: one row shows whether there are gates.
    let is_star = model.config().get::<StarConfig>().is_some();
    if !is_star && gates(&model, &splits.train.slice(0..1))?.is_empty() {
        let message = format!("[model]: expected a model with gates, or star; found {kind}, which has no gates");
        return Err(wrong(message).at_path(&input.file));
    }
    let fit = Trainer::new(config).callback(Progress::stderr(kind)).fit(&mut model, splits.train, Some(&splits.val))?;
    if fit.stop.diverged() {
        return Err(wrong(format!("{kind}: {}", fit.stop)));
    }

    if is_star {
        let heat = star_distance(model.net(), model.layout());
        results.write(&heat, || heat.svg(), &heat.to_string())?;
    } else {
        let uses = in_pool(threads, || gates(&model, &splits.test))??;
        let tables: Vec<String> = uses.iter().map(ToString::to_string).collect();
        results.write(&uses, || GateUse::svg(&uses), &tables.join("\n"))?;
    }
    Ok(0)
}

fn main() -> ExitCode {
    start(run)
}

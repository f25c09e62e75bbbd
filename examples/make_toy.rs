//! Writes the toy log that the other examples read, or another generated log.
//!
//! ```text
//! cargo run --release --example make_toy -- [path [world.toml]]
//! ```
//!
//! Without a path it writes `examples/data/toy.csv`. A world file describes a generated log: its keys are the setters of
//! `starple_lab::synthetic::SyntheticConfigBuilder`. `examples/worlds/` has examples. The same settings always give the same bytes.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use clap::Parser;
use starple::Result;
use starple::metrics::Evaluator;
use starple::{Error, ErrorKind};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

/// Writes a generated log.
#[derive(Parser)]
struct Arguments {
    /// The file to write.
    #[arg(default_value = "examples/data/toy.csv")]
    path: PathBuf,
    /// A file with the settings of the generated log; by default those of the toy log.
    #[arg(value_name = "WORLD.toml")]
    world: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { path, world } = Arguments::parse();
    let config = match world {
        None => SyntheticConfig::toy(),
        Some(world) => {
            let text = std::fs::read_to_string(&world).map_err(|error| Error::from(error).at_path(&world))?;
            toml::from_str(&text).map_err(|error| Error::new(ErrorKind::Config, error.to_string()).at_path(&world))?
        }
    };
    let log = SyntheticLog::generate(&config);
    let file = File::create(&path).map_err(|error| Error::from(error).at_path(&path))?;
    log.write_csv(BufWriter::new(file))?;

    println!("{} rows in {}. The best possible scores:\n", log.rows(), path.display());
    let mut evaluator = Evaluator::new(&log.layout());
    evaluator.add(&log.oracle_logits(), log.labels(), log.domains(), &[], &[])?;
    print!("{}", evaluator.report());
    Ok(())
}

//! Writes the toy log that the other examples read.
//!
//! ```text
//! cargo run --release --example make_toy -- [path]
//! ```
//!
//! Without a path it writes `examples/data/toy.csv`. The bytes are always the same.

use std::fs::File;
use std::io::BufWriter;

use starple::Result;
use starple::data::synthetic::{SyntheticConfig, SyntheticLog};
use starple::metrics::Evaluator;
use starple::{Error, ErrorKind};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "examples/data/toy.csv".into());
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let file = File::create(&path).map_err(|error| Error::new(ErrorKind::Io, error.to_string()).at_path(&path))?;
    log.write_csv(BufWriter::new(file))?;

    println!("{} rows in {path}. The best that a model can do on them:\n", log.rows());
    let mut evaluator = Evaluator::new(&log.layout());
    evaluator.add(&log.oracle_logits(), log.labels(), log.domains(), &[])?;
    print!("{}", evaluator.report());
    Ok(())
}

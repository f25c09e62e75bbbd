//! The command-line arguments that several examples have.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser};
use serde::Serialize;
use starple::Result;
use starple::persist::check_writable;

use super::output::{check_text, err, out, resolved, write, write_json};
use super::wrong;

/// The input of an example.
#[derive(Args)]
pub(crate) struct Input {
    /// The run file or comparison file.
    #[arg(value_name = "FILE.toml")]
    pub(crate) file: PathBuf,
    /// Sets a key of the file; a value that is not TOML becomes a string. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// The files that an example writes.
#[derive(Default)]
pub(crate) struct Outputs(Vec<Output>);

struct Output {
    flag: &'static str,
    path: PathBuf,
    check: fn(&Path) -> Result<()>,
}

impl Outputs {
    /// Adds the text file of a flag, if the flag is given.
    pub(crate) fn text(self, flag: &'static str, path: Option<&PathBuf>) -> Self {
        self.add(flag, path, check_text)
    }

    /// Adds the model file of a flag, if the flag is given.
    #[allow(dead_code, reason = "not every example saves a model")]
    pub(crate) fn model(self, flag: &'static str, path: Option<&PathBuf>) -> Self {
        self.add(flag, path, |path| check_writable(path))
    }

    fn add(mut self, flag: &'static str, path: Option<&PathBuf>, check: fn(&Path) -> Result<()>) -> Self {
        self.0.extend(path.map(|path| Output { flag, path: path.clone(), check }));
        self
    }

    /// Checks, before a long run, that all files can be written, that they are different files, and that none of them is the input file.
    pub(crate) fn check(&self, input: &Input) -> Result<()> {
        for (number, Output { flag, path, check }) in self.0.iter().enumerate() {
            check(path).map_err(|error| wrong(format!("{flag} {error}")))?;
            // Several flags can write to the same device.
            let special = path.exists() && !path.is_file();
            for Output { flag: other, path: known, .. } in &self.0[..number] {
                if !special && resolved(path) == resolved(known) {
                    return Err(wrong(format!("{flag} {}: {other} names the same file", path.display())));
                }
            }
        }
        self.check_inputs([&input.file])
    }

    /// Checks that no input file would be overwritten.
    pub(crate) fn check_inputs<'a>(&self, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        for input in inputs {
            if let Some(Output { flag, path, .. }) =
                self.0.iter().find(|output| resolved(&output.path) == resolved(input))
            {
                return Err(wrong(format!("{flag} {}: this file is read", path.display())));
            }
        }
        Ok(())
    }
}

/// The files for results.
#[derive(Args)]
#[allow(dead_code, reason = "the example train draws nothing")]
pub(crate) struct Results {
    /// Writes the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Writes a picture of the results as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[allow(dead_code, reason = "the example train draws nothing")]
impl Results {
    /// The files, for the check before the work.
    pub(crate) fn outputs(&self) -> Outputs {
        Outputs::default().text("--report", self.report.as_ref()).text("--svg", self.svg.as_ref())
    }

    /// Writes the requested files, then prints the tables: a closed pipe must not prevent the files.
    pub(crate) fn write(&self, json: &impl Serialize, svg: impl FnOnce() -> String, tables: &str) -> Result<()> {
        if let Some(path) = &self.report {
            write_json(path, json)?;
        }
        if let Some(path) = &self.svg {
            write(path, &svg())?;
        }
        out(tables.trim_end_matches('\n'));
        Ok(())
    }
}

/// Runs an example on its arguments. An error is written to stderr, with exit code 1.
pub(crate) fn start<A: Parser>(run: impl FnOnce(&A) -> Result<u8>) -> ExitCode {
    run(&A::parse()).map_or_else(
        |error| {
            err(format_args!("error: {error}"));
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

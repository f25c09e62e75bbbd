//! The arguments that examples have in common.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use starple::Result;
use starple::persist::check_place;

use super::output::{check_text, err, resolved};
use super::wrong;

/// What is read.
#[derive(Args)]
pub(crate) struct Input {
    /// The file that says what to do.
    #[arg(value_name = "FILE.toml")]
    pub(crate) file: PathBuf,
    /// Sets a key of the file; a value that is no TOML is text. Any number of times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// The files that are written.
#[derive(Default)]
pub(crate) struct Outputs(Vec<Output>);

struct Output {
    flag: &'static str,
    path: PathBuf,
    check: fn(&Path) -> Result<()>,
}

impl Outputs {
    /// Adds a text file, if this flag names one.
    pub(crate) fn text(self, flag: &'static str, path: Option<&PathBuf>) -> Self {
        self.add(flag, path, check_text)
    }

    /// Adds a model file, if this flag names one.
    #[allow(dead_code, reason = "not every example saves a model")]
    pub(crate) fn model(self, flag: &'static str, path: Option<&PathBuf>) -> Self {
        self.add(flag, path, |path| check_place(path))
    }

    fn add(mut self, flag: &'static str, path: Option<&PathBuf>, check: fn(&Path) -> Result<()>) -> Self {
        self.0.extend(path.map(|path| Output { flag, path: path.clone(), check }));
        self
    }

    /// Checks that all can be written, to different files, none of which is the one that is read: before a run that may take hours.
    pub(crate) fn check(&self, input: &Input) -> Result<()> {
        for (number, Output { flag, path, check }) in self.0.iter().enumerate() {
            check(path).map_err(|error| wrong(format!("{flag} {error}")))?;
            // A device takes anything.
            let special = path.exists() && !path.is_file();
            for Output { flag: other, path: known, .. } in &self.0[..number] {
                if !special && resolved(path) == resolved(known) {
                    return Err(wrong(format!("{flag} {}: {other} names the same file", path.display())));
                }
            }
        }
        self.check_inputs([&input.file])
    }

    /// Checks that nothing that is read would be written over.
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

/// The exit code of an example; an error is said on stderr, with code 1.
pub(crate) fn exit(done: Result<u8>) -> ExitCode {
    done.map_or_else(
        |error| {
            err(format_args!("error: {error}"));
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

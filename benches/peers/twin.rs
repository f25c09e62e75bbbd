//! The other side: a process of `torch_twin.py`, driven line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Result;
use crate::common::run::Length;
use crate::duel::Duel;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/torch_twin.py");

/// A Python process. It ends when this value is dropped.
pub(crate) struct Twin {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The answer of a twin that is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    /// PyTorch's version.
    pub(crate) torch: String,
    pub(crate) parameters: usize,
}

#[derive(Deserialize)]
struct Times {
    seconds: Vec<f64>,
}

impl Twin {
    pub(crate) fn start(python: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("cannot start {}: {error}", python.display()))?;
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("its stdout is piped"));
        Ok(Self { process, commands, answers })
    }

    /// Builds model, batch and optimizers.
    pub(crate) fn prepare(&mut self, duel: &Duel, threads: usize, compile: bool) -> Result<Ready> {
        let Duel { workload, train, .. } = duel;
        let command =
            json!({"do": "prepare", "workload": workload, "train": train, "threads": threads, "compile": compile});
        self.ask(&command)
    }

    /// Writes weights, inputs and results to a directory.
    pub(crate) fn write(&mut self, directory: &Path) -> Result<()> {
        self.ask::<Value>(&json!({"do": "write", "directory": directory})).map(drop)
    }

    /// The seconds of each step, or prediction.
    pub(crate) fn time(&mut self, length: Length) -> Result<Vec<f64>> {
        let Length { warm, seconds, least, most } = length;
        let command = json!({"do": "time", "warm": warm, "seconds": seconds, "least": least, "most": most});
        Ok(self.ask::<Times>(&command)?.seconds)
    }

    /// The seconds of each product of two matrices `[size, size]`.
    pub(crate) fn multiply(&mut self, size: usize, length: Length) -> Result<Vec<f64>> {
        let Length { warm, seconds, least, most } = length;
        let command =
            json!({"do": "multiply", "size": size, "warm": warm, "seconds": seconds, "least": least, "most": most});
        Ok(self.ask::<Times>(&command)?.seconds)
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &Value) -> Result<T> {
        let commands = self.commands.as_mut().expect("it is open until the end");
        // If the process has ended, reading its answer fails below.
        let _ = writeln!(commands, "{command}");
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(format!("PyTorch's side has ended at {}: see above", command["do"]).into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends at the end of its commands.
        self.commands = None;
        let _ = self.process.wait();
    }
}

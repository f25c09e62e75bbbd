//! One point of a curve, measured in its own process, so that the peak memory belongs to this point.

use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::common::run::{Length, Training, time};
use crate::common::{median, only_tested};
use crate::curve::Curve;

/// The number of alternating batches: enough that their rows are not all in cache.
const BATCHES: u64 = 8;

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Domains, rows, ….
    pub(crate) value: usize,
    /// The number of rows of a batch.
    pub(crate) rows: usize,
    /// The median seconds of a step.
    pub(crate) seconds: f64,
    pub(crate) parameters: usize,
    /// The peak memory of the process, on Linux.
    pub(crate) peak_bytes: Option<usize>,
}

impl Point {
    /// Measures a point in this process.
    pub(crate) fn measure(curve: &Curve, value: usize, seconds: f64) -> Self {
        let mut workload = (curve.workload)(value);
        if only_tested() {
            workload.rows = workload.rows.min(128);
        }
        let batches: Vec<_> = (0..if only_tested() { 2 } else { BATCHES }).map(|seed| workload.batch(seed)).collect();
        let mut training = Training::new(workload.model());
        let parameters = training.model.parameters();
        let mut turns = batches.iter().cycle();
        let length = Length { warm: batches.len(), seconds, least: 3, most: 512 };
        let times = time(length, || training.step(turns.next().expect("a cycle has no end")));
        Self { value, rows: workload.rows, seconds: median(times), parameters, peak_bytes: peak_bytes() }
    }

    /// Measures a point in a new process of this program.
    pub(crate) fn of_child(curve: &Curve, value: usize, seconds: f64, threads: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let options = [("--point", curve.name.to_owned()), ("--value", value.to_string())];
        let options =
            options.into_iter().chain([("--seconds", seconds.to_string()), ("--threads", threads.to_string())]);
        for (option, value) in options {
            command.args([option, &value]);
        }
        if only_tested() {
            command.arg("--test");
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(
                format!("{} = {value}: the process that measured it ended with {}", curve.name, output.status).into()
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// The bytes of parameters and Adam's two moments: 12 per value.
    pub(crate) fn state_bytes(&self) -> usize {
        12 * self.parameters
    }
}

/// `VmHWM` of this process.
fn peak_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?)
}

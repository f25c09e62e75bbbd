//! One point of a curve, in a process of its own, whose peak of memory is that point's alone.

use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::common::run::{Length, Training, time};
use crate::common::{median, only_tested};
use crate::curve::Curve;

/// So many batches take turns, so that the rows they read are not all in a cache.
const BATCHES: u64 = 8;

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Domains, rows, ….
    pub(crate) value: usize,
    /// The rows of a batch.
    pub(crate) rows: usize,
    /// The median of a step's seconds.
    pub(crate) seconds: f64,
    pub(crate) parameters: usize,
    /// The most memory that the process had, on Linux.
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

    /// Lets a process of this program measure a point.
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

    /// What parameters and Adam's two moments take: 12 bytes for each.
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

//! A log, models and settings to interrupt runs with.

use std::ops::ControlFlow;
use std::path::Path;

use starple::data::{DataSet, Layout};
use starple::optim::OptimizerConfig;
use starple::train::{
    Callback, Checkpoints, CheckpointsBuilder, EpochReport, StepDone, TrainConfig, TrainConfigBuilder,
};
use starple::{Ple, PleConfig, Star, StarConfig};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};

/// Steps of an epoch: 1500 rows in batches of 256.
pub(crate) const EPOCH: u64 = 6;

pub(crate) fn log() -> (Layout, DataSet, DataSet) {
    let log = SyntheticLog::generate(&SyntheticConfig::toy());
    let rows = log.data_set();
    (log.layout(), rows.slice(0..1500), rows.slice(4000..5000))
}

pub(crate) fn star(layout: &Layout, seed: u64) -> Star {
    Star::new(StarConfig::builder(layout).embedding_dim(4).hidden([8]).dropout(0.1).seed(seed).build().unwrap())
}

pub(crate) fn ple(layout: &Layout, seed: u64) -> Ple {
    let config = PleConfig::builder(layout).embedding_dim(4).expert_hidden([8]).tower_hidden([4]);
    Ple::new(config.dropout(0.1).seed(seed).build().unwrap())
}

pub(crate) fn settings(seed: u64, optimizer: OptimizerConfig) -> TrainConfigBuilder {
    TrainConfig::builder().epochs(3).batch_rows(256).optimizer(optimizer).seed(seed)
}

pub(crate) fn adam() -> OptimizerConfig {
    OptimizerConfig::adam(0.005).unwrap()
}

/// Stops after a step, or after an epoch.
pub(crate) struct StopAt {
    pub(crate) step: Option<u64>,
    pub(crate) epoch: Option<usize>,
}

impl Callback for StopAt {
    fn step_done(&mut self, done: &StepDone) -> ControlFlow<()> {
        if self.step == Some(done.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch_done(&mut self, done: &EpochReport) -> ControlFlow<()> {
        if self.epoch == Some(done.epoch) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

pub(crate) fn after(steps: u64) -> StopAt {
    StopAt { step: Some(steps - 1), epoch: None }
}

pub(crate) fn folder(path: &Path) -> CheckpointsBuilder {
    Checkpoints::builder().folder(path.join("run"))
}

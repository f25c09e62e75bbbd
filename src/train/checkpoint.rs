//! Saving a run to a checkpoint, and resuming it.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoints::{Checkpoints, set_aside};
use super::run::TrainingRun;
use super::run_state::RunState;
use super::{Callback, FitReport, StopReason, TrainConfig, TrainConfigBuilder};
use crate::data::{DataSet, Encoder, Pass, RowSource};
use crate::loss::weighting::WeightingState;
use crate::model::Model;
use crate::nn::Leaf;
use crate::optim::{SlotShape, SlotState};
use crate::persist::container::{Container, Contents, Data, Dtype, Expected};
use crate::persist::{CONFIG, KIND, ModelFile, RUN, RunRecord, expected, fill};
use crate::{Error, ErrorKind, Result};

const CHECKPOINT: &str = "checkpoint";

/// The parts of a tensor's name before its dotted one.
const NOW: &str = "model";
const BEST: &str = "best";
const OPTIMIZER: &str = "optimizer";
const AVERAGE: &str = "average";
const UP_TO: &str = "average_up_to";

/// The JSON of a checkpoint, under [`RUN`]; the rest of the file is tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    settings: TrainConfig,
    train: u32,
    val: Option<u32>,
    state: RunState,
    weighting: WeightingState,
    slots: Vec<SavedSlot>,
}

/// The optimizer's state of one tensor, without the values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSlot {
    position: usize,
    steps: u64,
    tensors: Vec<String>,
}

/// Saves checkpoints of a run.
pub(super) struct Saver<'a> {
    checkpoints: &'a Checkpoints,
    encoder: Option<&'a Encoder>,
    settings: &'a TrainConfig,
    /// Checksums of the rows: a run resumes on the same rows.
    train: u32,
    val: Option<u32>,
    steps: u64,
    time: Instant,
    /// The epoch whose weights are in the file of the best weights.
    best: Option<usize>,
}

impl<'a> Saver<'a> {
    pub(super) fn new(
        checkpoints: &'a Checkpoints,
        encoder: Option<&'a Encoder>,
        settings: &'a TrainConfig,
        train: &dyn RowSource,
        val: Option<&DataSet>,
    ) -> Self {
        let (train, val) = (train.fingerprint(), val.map(DataSet::checksum));
        Self { checkpoints, encoder, settings, train, val, steps: 0, time: Instant::now(), best: None }
    }

    /// Whether it is time to save the run.
    pub(super) fn due(&self, run: &TrainingRun<'_>) -> bool {
        self.checkpoints.due(run.state.report.steps - self.steps, self.time.elapsed())
    }

    /// Saves the run.
    pub(super) fn save(&mut self, run: &TrainingRun<'_>) -> Result<()> {
        let TrainingRun { model, best, averaged, state, step, optimizer, .. } = run;
        let mut contents = Contents::new(CHECKPOINT);
        let json = |json: serde_json::Result<String>| {
            json.map_err(|error| Error::new(ErrorKind::Config, format!("a checkpoint cannot be written: {error}")))
        };
        contents.metadata(KIND, model.config().kind().into());
        contents.metadata(CONFIG, json(serde_json::to_string(&**model.config()))?);
        let mut slots = Vec::new();
        model.visit(|path, leaf| {
            let name = path.name(model.layout());
            if let (Leaf::Tensor(..), Some(state)) = (leaf, optimizer.state(path.slot())) {
                for &(tensor, values) in &state.tensors {
                    contents.tensor(format!("{OPTIMIZER}.{name}.{tensor}"), &[values.len()], Data::F32(values));
                }
                let tensors = state.tensors.iter().map(|(tensor, _)| (*tensor).to_owned()).collect();
                slots.push(SavedSlot { position: path.slot(), steps: state.steps, tensors });
            }
            contents.leaf(format!("{NOW}.{name}"), leaf);
        });
        best.visit(|path, leaf| contents.leaf(format!("{BEST}.{}", path.name(model.layout())), leaf));
        if let Some(averaged) = averaged {
            averaged.model.visit(|path, leaf| contents.leaf(format!("{AVERAGE}.{}", path.name(model.layout())), leaf));
            for (i, up_to) in averaged.up_to.iter().enumerate() {
                contents.tensor(format!("{UP_TO}.{i}"), &[up_to.len()], Data::U64(up_to));
            }
        }
        let checkpoint = Checkpoint {
            settings: self.settings.clone(),
            train: self.train,
            val: self.val,
            state: state.clone(),
            weighting: step.weighting().clone(),
            slots,
        };
        contents.metadata(RUN, json(serde_json::to_string(&checkpoint))?);
        // Before the checkpoint, which refers to it. A process that dies in between saves it again when it resumes.
        if self.best != state.report.best_epoch {
            self.save_best(best, RunRecord::under_way(&state.report, self.settings.seed()))?;
            self.best = state.report.best_epoch;
        }
        contents.save(&self.checkpoints.path(state.report.steps))?;
        self.checkpoints.tidy()?;
        (self.steps, self.time) = (state.report.steps, Instant::now());
        Ok(())
    }

    /// Writes into the file of the best weights, `best`, how the run ended.
    pub(super) fn finish(&self, best: &Model, report: &FitReport) -> Result<()> {
        // A run that a callback ended may be resumed.
        if report.best_epoch.is_none() || report.stop == StopReason::Callback {
            return Ok(());
        }
        self.save_best(best, RunRecord::new(report, self.settings.seed()))
    }

    fn save_best(&self, best: &Model, record: RunRecord) -> Result<()> {
        let mut file = ModelFile::new(best).run(record);
        if let Some(encoder) = self.encoder {
            file = file.encoder(encoder);
        }
        file.save(self.checkpoints.best())
    }

    /// Prepares the folder for a new run.
    pub(super) fn start(&self) -> Result<()> {
        self.checkpoints.start()
    }

    /// Restores a run from the latest undamaged checkpoint; without a checkpoint, prepares the folder for a new run.
    ///
    /// # Errors
    /// As [`Trainer::resume`](super::Trainer::resume).
    pub(super) fn resume(
        &mut self,
        run: &mut TrainingRun<'_>,
        rows: &mut dyn RowSource,
        callbacks: &mut [Box<dyn Callback>],
    ) -> Result<()> {
        let mut paths = self.checkpoints.list()?;
        let mut damaged = Vec::new();
        while let Some(path) = paths.pop() {
            let (mut file, checkpoint) = match self.open(&path, run, rows) {
                Ok(opened) => opened,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign) => {
                    damaged.push((error.at_path(&path), path));
                    continue;
                }
                Err(error) => return Err(error.at_path(path)),
            };
            go_on(&mut file, checkpoint, run).map_err(|error| error.at_path(&path))?;
            (self.steps, self.best) = (run.state.report.steps, run.state.report.best_epoch);
            for (error, path) in damaged {
                set_aside(&path)?;
                for callback in &mut *callbacks {
                    callback.checkpoint_damaged(&error);
                }
            }
            for callback in callbacks {
                callback.resumed(&path, self.steps);
            }
            self.checkpoints.tidy_temporary();
            return Ok(());
        }
        match damaged.into_iter().next() {
            Some((error, _)) => Err(error),
            None => self.checkpoints.start(),
        }
    }

    /// Opens a checkpoint of this run, and reads everything but the tensors.
    fn open(
        &self,
        path: &Path,
        run: &TrainingRun<'_>,
        rows: &mut dyn RowSource,
    ) -> Result<(Container<File>, Checkpoint)> {
        let mut file = Container::open(path, CHECKPOINT)?;
        let (kind, config) = (file.metadata(KIND)?, file.metadata(CONFIG)?);
        let checkpoint: Checkpoint = serde_json::from_str(&file.metadata(RUN)?)
            .map_err(|error| Error::new(ErrorKind::Config, format!("the state of the run cannot be read: {error}")))?;
        let Checkpoint { settings, train, val, state, weighting, slots } = &checkpoint;
        file.finish_metadata()?;
        let ours = run.model.config();
        if (kind.as_str(), Some(&config)) != (ours.kind(), serde_json::to_string(&**ours).ok().as_ref()) {
            let message = format!("the checkpoint is of a model of kind {kind:?} with the settings {config}");
            return Err(other(message, "the same model"));
        }
        let different = different(settings, self.settings);
        if !different.is_empty() {
            let message = format!("the checkpoint is of a run with other settings: {}", different.join(", "));
            return Err(other(message, "the same settings; epochs and threads may change"));
        }
        if (*train, *val) != (self.train, self.val) {
            return Err(other("the checkpoint is of a run on other rows".into(), "the same rows, in the same order"));
        }
        rows.begin(Pass::Epoch(state.epoch as u64), &run.loader)?;
        state.check(run.config, (run.epoch_rows, rows.batches()), self.val.is_some(), weighting)?;
        if let Some(SavedSlot { position, steps, .. }) = slots.iter().find(|slot| slot.steps > state.report.steps) {
            let message =
                format!("optimizer state of slot {position}: at most {} steps, found {steps}", state.report.steps);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok((file, checkpoint))
    }
}

/// Restores a run from the file.
fn go_on(file: &mut Container<File>, checkpoint: Checkpoint, run: &mut TrainingRun<'_>) -> Result<()> {
    let Checkpoint { state, weighting, slots, .. } = checkpoint;
    let named = |part: &str, model: &Model| {
        let mut tensors = expected(model);
        for tensor in &mut tensors {
            tensor.name = format!("{part}.{}", tensor.name);
        }
        tensors
    };
    let (now, best) = (named(NOW, run.model), named(BEST, &run.best));
    let average = run.averaged.as_ref().map_or(Vec::new(), |averaged| named(AVERAGE, &averaged.model));
    let tables = run.averaged.iter().flat_map(|averaged| averaged.up_to.iter().enumerate());
    let up_to = tables.map(|(i, rows)| Expected {
        name: format!("{UP_TO}.{i}"),
        dtype: Dtype::U64,
        shape: Some(vec![rows.len()]),
    });
    let up_to: Vec<Expected> = up_to.collect();
    let saved = saved_slots(run.model, &slots)?;
    let moments = saved.iter().flat_map(|(_, _, names)| {
        names.iter().map(|name| Expected { name: name.clone(), dtype: Dtype::F32, shape: None })
    });
    let moments: Vec<Expected> = moments.collect();
    file.expect(now.iter().chain(&best).chain(&average).chain(&up_to).chain(&moments))?;
    file.read(|file| {
        fill(file, run.model, &now)?;
        fill(file, &mut run.best, &best)?;
        if let Some(averaged) = &mut run.averaged {
            fill(file, &mut averaged.model, &average)?;
            for (Expected { name, .. }, up_to) in up_to.iter().zip(&mut averaged.up_to) {
                file.read_u64(name, up_to)?;
                if let Some(&step) = up_to.iter().find(|step| **step > state.batch as u64) {
                    let message = format!("an average up to step {step} of an epoch with {} so far", state.batch);
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
            }
        }
        for ((slot, shape, names), SavedSlot { steps, tensors, .. }) in saved.into_iter().zip(&slots) {
            restore(file, run, (slot, shape, *steps), &names, tensors)?;
        }
        Ok(())
    })?;
    run.step.restore(weighting)?;
    run.state = state;
    Ok(())
}

/// The number, the shape and the names of the tensors of each saved slot.
fn saved_slots(model: &Model, slots: &[SavedSlot]) -> Result<Vec<(usize, SlotShape, Vec<String>)>> {
    let tables = model.embeddings().tables().len();
    let (mut saved, mut left) = (Vec::new(), slots.iter().peekable());
    model.visit(|path, leaf| {
        if let (Leaf::Tensor(values, shape, _), Some(slot)) = (leaf, left.next_if(|slot| slot.position == path.slot()))
        {
            let name = path.name(model.layout());
            let names = slot.tensors.iter().map(|tensor| format!("{OPTIMIZER}.{name}.{tensor}")).collect();
            let table = path.slot() < tables;
            let shape =
                if table { SlotShape::Table { rows: shape[0], dim: shape[1] } } else { SlotShape::Dense(values.len()) };
            saved.push((path.slot(), shape, names));
        }
    });
    match left.next() {
        None => Ok(saved),
        Some(slot) => {
            let message = format!("optimizer state of slot {}: the model has no such tensor", slot.position);
            Err(Error::new(ErrorKind::Unknown, message))
        }
    }
}

fn restore(
    file: &mut Container<File>,
    run: &mut TrainingRun<'_>,
    (slot, shape, steps): (usize, SlotShape, u64),
    names: &[String],
    tensors: &[String],
) -> Result<()> {
    let values = names.iter().map(|name| file.read_f32_list(name)).collect::<Result<Vec<_>>>()?;
    let tensors = tensors.iter().map(String::as_str).zip(values.iter().map(Vec::as_slice)).collect();
    run.optimizer.restore(slot, shape, &SlotState { steps, tensors })
}

/// The settings that differ, except `epochs`, which may grow, and `threads`, which changes no result.
fn different(theirs: &TrainConfig, ours: &TrainConfig) -> Vec<String> {
    let theirs = TrainConfigBuilder { epochs: ours.0.epochs, threads: ours.0.threads, ..theirs.0.clone() };
    let [theirs, ours] = [&theirs, &ours.0].map(|settings| serde_json::to_value(settings).unwrap_or_default());
    let keys = theirs.as_object().into_iter().flatten();
    let different = keys.filter(|(key, value)| ours.get(key) != Some(value));
    different.map(|(key, value)| format!("{key} {value}, now {}", ours.get(key).unwrap_or_default())).collect()
}

fn other(message: String, expected: &str) -> Error {
    Error::new(ErrorKind::Layout, message).with_help(format!("resume with {expected}"))
}

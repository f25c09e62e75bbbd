//! Gives both sides the same weights and rows, and compares their results.

use std::collections::HashMap;
use std::fs;
use std::path::Path as FilePath;

use ndarray::Array2;
use serde::Deserialize;
use starple::Model;
use starple::data::{Batch, DomainId, Ids, Layout};
use starple::nn::{Leaf, LeafMut, Params as _, Part, Path};
use starple::serve::Scorer;

use crate::Result;
use crate::common::median;
use crate::common::run::{Inference, Serving, Training};

/// The largest allowed difference of logits and losses.
const ABSOLUTE: f64 = 1e-4;

/// The largest allowed difference of gradients in the median over tensors, relative to the norm of the tensor.
const RELATIVE: f64 = 1e-3;

/// The largest allowed difference of the gradient of any tensor, relative to its norm. Among millions of activations, some are so close to 0
/// that rounding decides whether ReLU passes them. One such row changes the gradients of all layers before it, most for a small domain.
const RECTIFIED: f64 = 5e-2;

/// Arrays that the other side wrote, by name.
pub(crate) struct Exchange {
    data: Vec<u8>,
    index: HashMap<String, Entry>,
}

/// The file of an array: little-endian `f32`, or `u32` for integers, row by row.
#[derive(Debug, Deserialize)]
struct Entry {
    shape: Vec<usize>,
    whole: bool,
    offset: usize,
}

/// The largest differences.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Differences {
    /// The largest difference of logits in prediction.
    pub(crate) predicted: Option<f64>,
    /// The largest difference of logits in training, and of the loss.
    pub(crate) trained: Option<f64>,
    /// The difference of gradients relative to the norm of their tensor: the median over tensors.
    pub(crate) gradient: Option<f64>,
    /// The difference of gradients relative to the norm of their tensor: the largest.
    pub(crate) worst_gradient: Option<f64>,
}

impl Exchange {
    pub(crate) fn read(directory: &FilePath) -> Result<Self> {
        let index = serde_json::from_slice(&fs::read(directory.join("index.json"))?)?;
        Ok(Self { data: fs::read(directory.join("data.bin"))?, index })
    }

    fn entry(&self, name: &str, whole: bool) -> Result<(&[usize], impl Iterator<Item = [u8; 4]>)> {
        let entry = self.index.get(name).ok_or_else(|| format!("the other side has no {name}"))?;
        if entry.whole != whole {
            return Err(format!("{name}: expected {} numbers", if whole { "whole" } else { "real" }).into());
        }
        let bytes = &self.data[entry.offset..][..4 * entry.shape.iter().product::<usize>()];
        Ok((&entry.shape, bytes.as_chunks().0.iter().copied()))
    }

    fn reals(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (found, bytes) = self.entry(name, false)?;
        if found != shape {
            return Err(format!("{name}: {shape:?} here, {found:?} there").into());
        }
        Ok(bytes.map(f32::from_le_bytes).collect())
    }

    fn whole(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.entry(name, true)?.1.map(u32::from_le_bytes).collect())
    }

    /// The rows, as a batch of this layout.
    pub(crate) fn batch(&self, layout: &Layout) -> Result<Batch> {
        let domains: Vec<_> = self.whole("input/domains")?.into_iter().map(|d| DomainId::new(d as usize)).collect();
        let rows = domains.len();
        let ids = self.whole("input/ids")?;
        let matrix = |name, columns| -> Result<_> {
            Ok(Array2::from_shape_vec((rows, columns), self.reals(name, &[rows, columns])?)?)
        };
        let batch = Batch {
            ids: ids.chunks_exact(rows).map(|ids| Ids::One(ids.to_vec())).collect(),
            numeric: matrix("input/numeric", layout.numeric.len())?,
            labels: matrix("input/labels", layout.tasks.len())?,
            domains,
            ..Batch::default()
        };
        batch.check(layout)?;
        Ok(batch)
    }

    /// Copies the weights of the other side to a model. Both must have the same tensors.
    pub(crate) fn load(&self, model: &mut Model) -> Result<()> {
        let layout = model.layout().clone();
        let (mut failed, mut loaded) = (Ok(()), 0);
        model.visit_mut(|path, leaf| {
            let (values, shape) = match leaf {
                LeafMut::Tensor(values, shape, _) | LeafMut::Average(values, shape) => (values, shape),
                // The averages are the statistics of a batch.
                LeafMut::Count(count) => {
                    *count = 1;
                    return;
                }
            };
            match self.reals(&format!("parameter/{}", path.name(&layout)), shape) {
                Ok(theirs) => values.copy_from_slice(&theirs),
                Err(error) if failed.is_ok() => failed = Err(error),
                Err(_) => {}
            }
            loaded += 1;
        });
        failed?;
        let theirs = self.index.keys().filter(|name| name.starts_with("parameter/")).count();
        if loaded != theirs {
            return Err(format!("the other side has {theirs} tensors, this one {loaded}").into());
        }
        Ok(())
    }

    /// Compares the results of both sides for the batch: logits in prediction and, if the other side trains, logits, loss and the gradient of
    /// every tensor.
    pub(crate) fn compare(&self, model: Model, batch: &Batch) -> Result<Differences> {
        let mut differences = Differences::default();
        let shape = batch.labels.shape();
        let mut inference = Inference::new(model);
        if self.index.contains_key("output/predicted") {
            let ours = inference.pass(batch);
            let theirs = self.reals("output/predicted", shape)?;
            let plain = apart(ours.iter(), &theirs);
            // The scorer is measured if the workload has one; its candidates have one domain.
            let scorer = Scorer::new(inference.model.clone(), &[]).is_ok() && !self.index.contains_key("output/logits");
            differences.predicted = Some(if scorer {
                let mut serving = Serving::new(inference.model.clone(), 0, batch);
                worse(plain, apart(serving.pass(batch).iter(), &theirs))
            } else {
                plain
            });
        }
        if self.index.contains_key("output/logits") {
            let mut training = Training::new(inference.model);
            let gradients = self.compare_gradient(&mut training, batch)?;
            differences.worst_gradient = gradients.iter().copied().reduce(worse);
            differences.gradient = Some(median(gradients));
            let logits = apart(training.step.logits(), &self.reals("output/logits", shape)?);
            let loss = training.step.loss().total as f32;
            differences.trained = Some(worse(logits, apart([&loss], &self.reals("output/loss", &[1])?)));
        }
        differences.check()?;
        Ok(differences)
    }

    /// The relative difference of the gradient of each tensor.
    fn compare_gradient(&self, training: &mut Training, batch: &Batch) -> Result<Vec<f64>> {
        let layout = training.model.layout().clone();
        let gradient = training.gradient(batch);
        let (mut apart, mut failed) = (Vec::new(), Ok(()));
        let path = &mut Path::starting_at(gradient.tables.len());
        path.within(Part::Field("net"), |path| {
            gradient.net.visit(path, &mut |path, leaf| {
                let Leaf::Tensor(ours, shape, _) = leaf else { return };
                let name = format!("gradient/{}", path.name(&layout));
                match self.reals(&name, shape) {
                    Ok(theirs) => apart.push(relative(ours, &theirs)),
                    Err(error) => failed = Err(error),
                }
            });
        });
        failed?;
        for (field, table) in layout.fields.iter().zip(&gradient.tables) {
            let rows = self.whole(&format!("rows/embeddings.{}", field.name))?;
            if rows.len() != table.rows().len() {
                let (ours, theirs) = (table.rows().len(), rows.len());
                return Err(format!("embeddings.{}: {ours} rows were read here, {theirs} there", field.name).into());
            }
            let shape = [rows.len(), table.dim()];
            let theirs = self.reals(&format!("gradient/embeddings.{}", field.name), &shape)?;
            let row = |&row: &u32| table.row(row as usize).ok_or("a row that was read there and not here");
            let ours: Vec<f32> =
                rows.iter().map(row).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().copied().collect();
            apart.push(relative(&ours, &theirs));
        }
        Ok(apart)
    }
}

impl Differences {
    fn check(self) -> Result<()> {
        let named = [
            ("logits in prediction", self.predicted, ABSOLUTE),
            ("logits or loss in training", self.trained, ABSOLUTE),
            ("the gradients of most tensors", self.gradient, RELATIVE),
            ("the gradients of one tensor", self.worst_gradient, RECTIFIED),
        ];
        for (what, difference, limit) in named {
            if let Some(difference) = difference.filter(|difference| difference.is_nan() || *difference > limit) {
                return Err(
                    format!("the two sides are not the same function: {what} differ by {difference:.1e}").into()
                );
            }
        }
        Ok(())
    }

    /// The larger of each.
    pub(crate) fn or(self, other: Self) -> Self {
        let larger = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(worse);
        Self {
            predicted: larger(self.predicted, other.predicted),
            trained: larger(self.trained, other.trained),
            gradient: larger(self.gradient, other.gradient),
            worst_gradient: larger(self.worst_gradient, other.worst_gradient),
        }
    }
}

/// The larger one, or NaN if one of them is.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The largest difference.
fn apart<'a>(ours: impl IntoIterator<Item = &'a f32>, theirs: &[f32]) -> f64 {
    ours.into_iter().zip(theirs).map(|(&a, &b)| f64::from((a - b).abs())).fold(0.0, worse)
}

/// The norm of the difference as a share of the norm.
fn relative(ours: &[f32], theirs: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    match norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) {
        0.0 => 0.0,
        difference => difference / norm(&mut theirs.iter().copied()),
    }
}

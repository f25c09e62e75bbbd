//! Normalisation statistics over training rows, for the current weights.

use ndarray::Array2;

use crate::Result;
use crate::data::{Batch, IntoSource, LoaderConfig, Pass, RowSource};
use crate::model::{Cache, Model, Statistics, has_averages};
use crate::nn::Params as _;

/// The most rows of one batch.
const AT_ONCE: usize = 4096;

/// The rows that statistics are computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsRows {
    /// The most rows of each domain; where it has more, a sample of them.
    pub per_domain: usize,
    /// The rows of a batch, as in training: 1 to 4,096; other values are clamped.
    pub batch_rows: usize,
    /// The seed of the sample.
    pub seed: u64,
    /// The number of the sample, such as the epoch: each number gives another sample of the same seed.
    pub number: u64,
}

/// Computes the statistics of the model's normalisations anew, for its current weights: each moving average of means and variances, which
/// inference uses, is replaced by mean and variance over a sample of `rows`. `sample` says how many rows of each domain are in it. A model
/// without moving averages stays as it is.
///
/// Moving averages lag: they still contain statistics of earlier weights. If embeddings change fast, a model's scores in inference then
/// differ from its scores in training. [`Trainer`](super::Trainer) calls this before each evaluation and at the end of a run; in a loop of
/// your own, call it before you evaluate or save. Averages of a domain or branch that has fewer than 2 of the rows stay as they are. Equal
/// rows, weights and `sample` give equal bits, with any number of threads.
///
/// The cost: for Partitioned Normalization at the input, a lookup of the embeddings of the rows; for batch normalisation and Dice in hidden
/// layers, a forward and a backward pass without dropout.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if the rows do not have the model's layout; the errors of the source. Nothing changes
/// then.
pub fn recompute_statistics<'a>(model: &mut Model, rows: impl IntoSource<'a>, sample: StatisticsRows) -> Result<()> {
    let mut rows = rows.into_source();
    rows.layout().check_model(model.layout())?;
    if !has_averages(model.net()) {
        return Ok(());
    }
    let (mut cache, mut dlogits, mut grad) = (Cache::default(), Array2::default((0, 0)), model.net().zeros_like());
    recompute(model, &mut *rows, sample, Statistics::new(&mut cache, &mut dlogits, &mut grad), &[])
}

/// [`recompute_statistics`], except for the averages that are `frozen`, by their position in the model's walk.
pub(super) fn recompute(
    model: &mut Model,
    rows: &mut dyn RowSource,
    sample: StatisticsRows,
    mut statistics: Statistics<'_>,
    frozen: &[bool],
) -> Result<()> {
    let StatisticsRows { per_domain, batch_rows, seed, number } = sample;
    let config = LoaderConfig::builder().batch_rows(batch_rows.clamp(1, AT_ONCE)).seed(seed).build()?;
    rows.begin(Pass::Sample { per_domain, number }, &config)?;
    let mut batch = Batch::default();
    while rows.next_into(&mut batch)? {
        statistics.add(model, &batch);
    }
    statistics.replace(model, frozen);
    Ok(())
}

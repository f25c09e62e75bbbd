//! Normalisation statistics over training rows, for the current weights.

use ndarray::Array2;

use crate::Result;
use crate::data::{Batch, IntoSource, LoaderConfig, Pass, RowSource};
use crate::model::{Cache, Model, Statistics, has_averages};
use crate::nn::Params as _;

/// The most rows of one batch.
const AT_ONCE: usize = 4096;

/// The sample of rows from which [`recompute_statistics`] computes the means and variances of normalisation layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsRows {
    /// The largest number of rows of each domain in the sample. A domain with more rows gives a random sample of this size, a domain with
    /// fewer rows gives all of them. With 0 the sample is empty, and the moving averages stay as they are.
    pub per_domain: usize,
    /// The largest number of rows in a batch. It affects layers that normalise by the statistics of a batch, so use the number of rows of a
    /// training batch. 0 stands for 1, and a number above 4,096 for 4,096.
    pub batch_rows: usize,
    /// The seed of the random sample. Any number.
    pub seed: u64,
    /// The number of the sample, for example that of the epoch. Different numbers give different samples with the same seed.
    pub number: u64,
}

/// Computes the means and variances of the model's normalisation layers anew, for its current weights. Each moving average, which inference
/// uses, is replaced by the mean or variance over a sample of `rows`; `sample` says how large the sample is. A model without moving
/// averages does not change.
///
/// Moving averages lag: they still contain statistics of earlier weights. If embeddings change fast, a model's scores in inference then
/// differ from its scores in training. [`Trainer`](super::Trainer) calls this function before each evaluation and when a callback ends a
/// run. In a training loop of your own, call it before you evaluate or save. If a domain or branch has fewer than 2 rows in the sample, its
/// averages stay as they are. Equal rows, weights and `sample` give equal bits, with any number of threads.
///
/// If training [samples negatives](crate::loss::Objective), the trainer computes them over rows that are sampled in this way, because the
/// weights were trained with statistics of such rows; this function takes all labels.
///
/// The cost: Partitioned Normalization at the input needs a lookup of the embeddings of the rows. Batch normalisation and Dice in hidden
/// layers need a forward and a backward pass without dropout.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if `rows` do not have the model's layout. Also all errors that `rows` return when they
/// are read. The model does not change then.
pub fn recompute_statistics<'a>(model: &mut Model, rows: impl IntoSource<'a>, sample: StatisticsRows) -> Result<()> {
    let mut rows = rows.into_source();
    rows.layout().check_model(model.layout())?;
    if !has_averages(model.net()) {
        return Ok(());
    }
    let (mut cache, mut dlogits, mut grad) = (Cache::default(), Array2::default((0, 0)), model.net().zeros_like());
    recompute(model, &mut *rows, sample, &[], Statistics::new(&mut cache, &mut dlogits, &mut grad), &[])
}

/// [`recompute_statistics`] with these shares of negative labels, as training has them, except for the averages that are `frozen`, by their position in the model's walk.
pub(super) fn recompute(
    model: &mut Model,
    rows: &mut dyn RowSource,
    sample: StatisticsRows,
    negatives: &[f64],
    mut statistics: Statistics<'_>,
    frozen: &[bool],
) -> Result<()> {
    let StatisticsRows { per_domain, batch_rows, seed, number } = sample;
    let config = LoaderConfig::builder()
        .batch_rows(batch_rows.clamp(1, AT_ONCE))
        .seed(seed)
        .negatives(negatives.iter().copied())
        .build()?;
    rows.begin(Pass::Sample { per_domain, number }, &config)?;
    let mut batch = Batch::default();
    while rows.next_into(&mut batch)? {
        statistics.add(model, &batch);
    }
    statistics.replace(model, frozen);
    Ok(())
}

//! Normalisation statistics over training rows, for the current weights.

use ndarray::Array2;

use crate::Result;
use crate::data::{Batch, IntoSource, LoaderConfig, Pass, RowSource};
use crate::model::{Cache, Model, Statistics, has_averages};
use crate::nn::Params as _;

/// The most rows of one batch.
const AT_ONCE: usize = 4096;

/// Describes the random sample of training rows from which [`recompute_statistics`] computes the means and variances of normalisation
/// layers: how many rows, in batches of which size, and with which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsRows {
    /// The largest number of rows of each domain in the sample. A domain with more rows gives a random sample of this size; a domain with
    /// fewer rows gives all of them. With 0 the sample is empty, and the model does not change.
    pub per_domain: usize,
    /// The largest number of rows in a batch of the sample. It affects the result, because layers inside the net normalise each batch by the
    /// statistics of that batch, as in training. So use the number of rows of a training batch. 0 stands for 1, and a number above 4,096
    /// stands for 4,096.
    pub batch_rows: usize,
    /// The seed of the random sample. Any number.
    pub seed: u64,
    /// The number of the sample; any number, for example that of the epoch. With the same seed, the same number gives the same sample, and
    /// different numbers give different samples.
    pub number: u64,
}

/// Computes the means and variances of the model's normalisation layers anew, for its current weights. Call it in a training loop of your own
/// before you evaluate or save the model. A [`Trainer`](super::Trainer) does this itself, at the end of each epoch before the evaluation, and
/// when a callback ends a run.
///
/// A normalisation layer, such as batch normalisation, uses the mean and variance of the batch in training and a moving average of them
/// ([`MovingAverage`](crate::nn::MovingAverage)) in inference. The moving average lags: it still contains statistics of earlier weights. If
/// the weights change fast, the model's scores in inference then differ from its scores in training. This function replaces each moving
/// average of `model` by the mean or the unbiased variance over a sample of `rows`; `sample` says which sample.
///
/// A model without such layers does not change. If a domain (or [branch](crate::nn::Branch)) with normalisation of its own has fewer than 2
/// rows in the sample, its averages stay as they are. Equal rows, weights and `sample` give equal bits, with any number of threads.
///
/// If training [samples negatives](crate::loss::Objective), a trainer also samples the rows for these statistics in this way, because the
/// weights were trained with statistics of such rows. This function does not: it takes all rows of the sample.
///
/// The cost: if only the input is normalised (Partitioned Normalization), the embeddings of the sampled rows are looked up. Batch
/// normalisation and Dice in hidden layers need a forward and a backward pass over the sample, without dropout.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if `rows` do not have the model's layout. Also all errors that `rows` returns when it is
/// read. The model does not change then.
pub fn recompute_statistics<'a>(model: &mut Model, rows: impl IntoSource<'a>, sample: StatisticsRows) -> Result<()> {
    let mut rows = rows.into_source();
    rows.layout().check_model(model.layout())?;
    if !has_averages(model.net()) {
        return Ok(());
    }
    let (mut cache, mut dlogits, mut grad) = (Cache::default(), Array2::default((0, 0)), model.net().zeros_like());
    recompute(model, &mut *rows, sample, &[], Statistics::new(&mut cache, &mut dlogits, &mut grad), &[])
}

/// [`recompute_statistics`] with the training probabilities `negatives` of keeping a label 0. Averages that are `frozen` stay; `frozen` is in
/// the order of [`Model::visit`].
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

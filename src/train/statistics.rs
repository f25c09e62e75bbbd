//! Normalisation statistics over training rows, with the weights as they are.

use ndarray::Array2;

use crate::Result;
use crate::data::{Batch, IntoSource, LoaderConfig, Pass, RowSource};
use crate::model::{Cache, Model, Statistics, has_averages};
use crate::nn::Params as _;

/// The most rows that are taken at a time.
const AT_ONCE: usize = 4096;

/// Which rows statistics are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsRows {
    /// The most rows of each domain; where it has more, a sample of them.
    pub per_domain: usize,
    /// How many rows are taken at a time: those of a batch in training. It is at least 1; more than 4,096 are 4,096.
    pub batch_rows: usize,
    /// What the sample is drawn by.
    pub seed: u64,
    /// Which sample of that seed: the number of the epoch, say.
    pub number: u64,
}

/// Replaces every moving average by the statistics of these rows, with the model's weights as they are.
///
/// Moving averages lag: they remember what the inputs of a normalisation were when the weights were others. Where embeddings move fast, a
/// model in inference then gives scores that it never gave in training. [`Trainer`](super::Trainer) calls this before each evaluation and
/// at its end; a loop of your own calls it before it evaluates or saves. A model without moving averages is left alone, and so are
/// averages of a domain or branch that has fewer than 2 of the rows. The same rows, weights and `sample` give the same bits, whatever the number of
/// threads.
///
/// Partitioned Normalization at the input costs a lookup of the embeddings of the rows; batch normalisation and Dice in hidden layers take a forward and
/// backward pass, without dropout.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if the rows do not have the model's layout, and those of the source; nothing changes then.
pub fn recompute_statistics<'a>(model: &mut Model, rows: impl IntoSource<'a>, sample: StatisticsRows) -> Result<()> {
    let mut rows = rows.into_source();
    rows.layout().check_model(model.layout())?;
    if !has_averages(model.net()) {
        return Ok(());
    }
    let (mut cache, mut dlogits, mut grad) = (Cache::default(), Array2::default((0, 0)), model.net().zeros_like());
    recompute(model, &mut *rows, sample, Statistics::new(&mut cache, &mut dlogits, &mut grad), &[])
}

/// [`recompute_statistics`], but for what is frozen by its position in the model's walk.
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

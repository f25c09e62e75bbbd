//! Normalisation statistics over training rows, with the weights as they are.

use ndarray::Array2;
use rand::seq::{SliceRandom as _, index};

use crate::data::Batch;
use crate::model::{Cache, Model, Statistics, has_averages};
use crate::nn::Params as _;
use crate::random::{Purpose, keyed};

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
/// # Panics
/// If the rows do not have the model's layout, or a row has no known domain.
pub fn recompute_statistics(model: &mut Model, rows: &Batch, sample: StatisticsRows) {
    if has_averages(model.net()) {
        let (mut cache, mut dlogits, mut grad) = (Cache::default(), Array2::default((0, 0)), model.net().zeros_like());
        recompute(model, rows, sample, Statistics::new(&mut cache, &mut dlogits, &mut grad), &[]);
    }
}

/// [`recompute_statistics`], but for what is frozen by its position in the model's walk.
pub(super) fn recompute(
    model: &mut Model,
    rows: &Batch,
    sample: StatisticsRows,
    mut statistics: Statistics<'_>,
    frozen: &[bool],
) {
    let chosen = choose(rows, model.layout().domains.len(), sample);
    let mut piece = Batch::default();
    for chosen in chosen.chunks(sample.batch_rows.clamp(1, AT_ONCE)) {
        rows.gather_into(chosen, &mut piece);
        statistics.add(model, &piece);
    }
    statistics.replace(model, frozen);
}

/// At most `per_domain` rows of each domain, in random order: so every piece is a batch like those of training.
fn choose(rows: &Batch, domains: usize, sample: StatisticsRows) -> Vec<u32> {
    let StatisticsRows { per_domain, seed, number, .. } = sample;
    let mut of_domain = vec![Vec::new(); domains];
    for (row, domain) in rows.domains.iter().enumerate() {
        of_domain[domain.index().expect("training rows have a known domain")].push(row as u32);
    }
    let mut chosen = Vec::new();
    for (domain, rows) in of_domain.iter().enumerate() {
        if rows.len() <= per_domain {
            chosen.extend(rows);
        } else {
            let mut rng = keyed(seed, Purpose::Statistics, number, domain as u64);
            chosen.extend(index::sample(&mut rng, rows.len(), per_domain).iter().map(|i| rows[i]));
        }
    }
    chosen.shuffle(&mut keyed(seed, Purpose::Statistics, number, domains as u64));
    chosen
}

//! How training fills the rows of unknown values.

use rand::RngCore as _;
use serde::{Deserialize, Serialize};

use super::IdCounts;
use crate::data::{Batch, Ids, Layout};
use crate::error::Problems;
use crate::model::{Gradient, Model};
use crate::nn::Train;
use crate::random::{Purpose, keyed};

/// How training fills the embedding of unknown values: the setting [`TrainConfig::unknown`](super::TrainConfig::unknown).
///
/// An *unknown value* is a value of a feature that the encoder did not put into its vocabulary, such as a new user: it gets the id 0. So row 0
/// of the feature's embedding table stands for all unknown values ([`EmbeddingTable::unknown`](crate::data::EmbeddingTable::unknown)). By
/// default the vocabulary has every value of the training rows. Then no training row has the id 0, and row 0 would keep its random initial
/// numbers, which every new user or item gets. To avoid this, training can replace some ids by 0, or set row 0 to a mean.
///
/// Tables of hashed values, of plain ids and of buckets of numbers have no row for unknown values; their ids are never replaced. Ids of a
/// frozen table are not replaced either. Evaluation and prediction replace nothing. The random choice depends on the seed of training, the
/// number of the step, the number of the training row in the step and the field, but not on the number of threads.
///
/// If a field has a list of ids, a step replaces at most one id of each list. If the probabilities of the ids in a list add up to more than
/// 1, ids at the end of the list are replaced with a smaller probability, or never.
///
/// In a run file: `unknown = { by_count = 1.0 }`, `{ rate = 0.01 }`, `"mean"` or `"off"`. `build` of the settings returns an error for an
/// invalid number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Training replaces no ids. If no training row has an unknown value, row 0 keeps its random initial numbers. If some have, row 0 is
    /// trained on them like every other embedding.
    Off,
    /// In each step, each id is replaced by 0 with this probability, above 0 and below 1, for example 0.01. Frequent ids are replaced more
    /// often than rare ones, so row 0 is trained mostly in place of frequent values.
    Rate(f64),
    /// In each step, each id is replaced by 0 with the probability `α/(α + n)`. α is this number, above 0 and at most 1e6; n is how often the
    /// id occurs in one epoch of the training rows ([`IdCounts`]). This is the default, with α = 1.
    ///
    /// An id that occurs much more often than α times is replaced about α times in an epoch, however frequent it is. So frequent values do
    /// not dominate row 0, and row 0 becomes a good guess for a new user or item. It is the word dropout of Kiperwasser & Goldberg, TACL 2016,
    /// who take α = 0.25.
    ByCount(f64),
    /// Training replaces no ids. At the end of each epoch before the evaluation, and when a callback ends the run, row 0 of a table is set to
    /// the mean of the other rows of the table, each weighted by how often its id occurs in one epoch of the training rows. A table keeps its
    /// row 0 if some training rows have an unknown value, if no training row has an id of the table, or if it is frozen.
    Mean,
}

impl Default for Unknown {
    fn default() -> Self {
        Self::ByCount(1.0)
    }
}

impl Unknown {
    pub(super) fn check(self, problems: &mut Problems) {
        match self {
            Self::Off | Self::Mean => {}
            Self::Rate(rate) => problems.require(0.0 < rate && rate < 1.0, || {
                format!("unknown: expected a rate above 0 and below 1, found {rate}")
            }),
            Self::ByCount(alpha) => problems.require(0.0 < alpha && alpha <= 1e6, || {
                format!("unknown: expected by_count above 0 and at most 1e6, found {alpha}")
            }),
        }
    }

    /// Whether it depends on the counts of ids.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::ByCount(_) | Self::Mean)
    }

    /// The probability that an id with this count is replaced, as a share of 2³².
    fn threshold(self, count: impl Fn() -> u32) -> u64 {
        let probability = match self {
            Self::Off | Self::Mean => 0.0,
            Self::Rate(rate) => rate,
            Self::ByCount(alpha) => alpha / (alpha + f64::from(count())),
        };
        (probability * f64::from(u32::MAX)).round() as u64
    }

    /// Whether steps of this model replace ids.
    pub(super) fn replaces(self, layout: &Layout) -> bool {
        matches!(self, Self::Rate(_) | Self::ByCount(_)) && layout.tables.iter().any(|table| table.unknown)
    }
}

/// Replaces ids of training rows by 0.
#[derive(Debug, Default)]
pub(super) struct Replacer {
    batch: Batch,
    draws: Vec<u8>,
}

impl Replacer {
    /// These rows of a step, some of their ids replaced.
    pub(super) fn replace(
        &mut self,
        unknown: Unknown,
        counts: &IdCounts,
        (model, grad): (&Model, &Gradient),
        part: &Batch,
        step: Train,
    ) {
        let Self { batch, draws } = self;
        part.slice_into(0..part.rows(), batch);
        let layout = model.layout();
        let copies = model.embeddings().tables().len() / layout.tables.len().max(1);
        draws.resize(4 * part.rows(), 0);
        for (field, ids) in batch.ids.iter_mut().enumerate() {
            let table = layout.table_of(field).expect("a field reads a table of its layout");
            let trains = |copy| grad.frozen().get(copy * layout.tables.len() + table) != Some(&true);
            if !layout.tables[table].unknown || !(0..copies).any(trains) {
                continue;
            }
            let mut rng = keyed(step.seed, Purpose::Unknown, step.step, field as u64);
            rng.set_word_pos(u128::from(step.first_row));
            rng.fill_bytes(draws);
            let draws = draws.chunks_exact(4).map(|draw| u32::from_le_bytes([draw[0], draw[1], draw[2], draw[3]]));
            let threshold = |id: u32| unknown.threshold(|| counts.table(table)[id as usize]);
            match ids {
                Ids::One(ids) => {
                    for (id, draw) in ids.iter_mut().zip(draws) {
                        if u64::from(draw) < threshold(*id) {
                            *id = 0;
                        }
                    }
                }
                Ids::Bag { offsets, ids } => {
                    for (row, draw) in offsets.windows(2).zip(draws) {
                        replace_one(&mut ids[row[0] as usize..row[1] as usize], draw, threshold);
                    }
                }
                // A number has a position, whatever its value.
                Ids::Interpolated { .. } => {}
            }
        }
    }

    /// The rows of the last [`Replacer::replace`].
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }
}

/// Replaces the id into whose interval the draw falls: the intervals of a bag's ids are adjacent and have the lengths of their thresholds.
fn replace_one(bag: &mut [u32], draw: u32, threshold: impl Fn(u32) -> u64) {
    let mut left = u64::from(draw);
    for id in bag {
        let threshold = threshold(*id);
        if left < threshold {
            *id = 0;
            return;
        }
        left -= threshold;
    }
}

/// Sets row 0 of each table for unknown values that no training row reads to the mean of the other rows, weighted by their counts.
pub(super) fn set_to_mean(model: &mut Model, counts: &IdCounts, frozen: &[bool]) {
    let layout = model.layout().clone();
    let number = layout.tables.len();
    for (slot, table) in model.embeddings_mut().tables_mut().iter_mut().enumerate() {
        let (counts, of_layout) = (counts.table(slot % number), &layout.tables[slot % number]);
        let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        if !of_layout.unknown || counts[0] > 0 || total == 0 || frozen.get(slot) == Some(&true) {
            continue;
        }
        let mut sum = vec![0.0_f64; table.ncols()];
        for (row, &count) in table.rows().into_iter().zip(counts).filter(|(_, count)| **count > 0) {
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(count) * f64::from(value));
        }
        table.row_mut(0).iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / total as f64) as f32);
    }
}

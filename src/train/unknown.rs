//! How training fills the rows of unknown values.

use rand::RngCore as _;
use serde::{Deserialize, Serialize};

use super::IdCounts;
use crate::data::{Batch, Ids, Layout};
use crate::error::Problems;
use crate::model::{Gradient, Model};
use crate::nn::Train;
use crate::random::{Purpose, keyed};

/// How training fills the embedding that stands for unknown values: row 0 of every table that
/// [has such a row](crate::data::EmbeddingTable::unknown).
///
/// With `min_count = 1`, no training row has an unknown value. Without help, row 0 then keeps its random initial values, and every new
/// user or item reads them. Hashed values and plain ids have no unknown row and are never replaced. In a run file: `unknown = { by_count =
/// 1.0 }`, `{ rate = 0.01 }`, `"mean"` or `"off"`.
///
/// Which ids a step replaces depends on the seed, the step, the number of the row in the step and the field
/// ([`Train`](crate::nn::Train)), as in [`Dropout`](crate::nn::Dropout). In a bag, a step replaces at most one id. Evaluation and
/// prediction replace nothing, and neither does training where the table is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Row 0 stays as it is, unless training rows have unknown values.
    Off,
    /// Training replaces each id by 0 with this probability, 0 < rate < 1. Row 0 then learns from the ids in proportion to their counts:
    /// it is the embedding of a typical *row*.
    Rate(f64),
    /// Training replaces an id that `n` training rows have by 0 with the probability `α / (α + n)`, α > 0 (the word dropout of
    /// Kiperwasser & Goldberg, TACL 2016, who take α = 0.25). Every id is replaced about α times in an epoch, however frequent it is: row 0 is the embedding of
    /// a typical *value*, as a new user or a new item is one. The default, with α = 1.
    ByCount(f64),
    /// Before each evaluation and at the end of the run, row 0 becomes the mean of the other rows, each weighted by its number of
    /// training rows. Tables whose row 0 training rows read keep it.
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

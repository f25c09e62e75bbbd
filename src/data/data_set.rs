//! Encoded rows in memory.

use std::ops::{Deref, Range};

use crc32fast::Hasher;

use super::{Batch, DomainId, Ids, Layout, RowCounts};
use crate::error::Result;

/// Encoded rows in memory, with their layout, for training and evaluation.
///
/// An [`Encoder`](super::Encoder) makes a data set from a log; [`DataSet::new`] makes one from rows that are encoded already. All rows are
/// valid: they pass [`Batch::check`]. A data set dereferences to the [`Batch`] of all its rows. So the fields and methods of [`Batch`] work on
/// it, for example `ids` and `rows()`.
///
/// ```
/// use starple::data::{Batch, DataSet, Layout};
///
/// let layout = Layout::new(["all"], ["click"]).field("item", 10);
/// let rows = Batch::builder(&layout, 3).ids("item", vec![7, 8, 9]).labels("click", vec![0.0, 1.0, 0.0]).build()?;
/// let rows = DataSet::new(&layout, rows)?;
/// let mut batch = Batch::default();
/// rows.gather_into(&[2, 0], &mut batch);
/// assert_eq!((batch.ids[0].row(0), rows.slice(0..2).rows()), (&[9][..], 2));
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataSet {
    layout: Layout,
    rows: Batch,
}

impl DataSet {
    /// Checks that the rows of a batch have this layout and valid values, and makes a data set of them.
    ///
    /// # Errors
    /// The errors of [`Batch::check`], for example if a column is missing, an id is too large or a label is not 0, 1 or NaN.
    pub fn new(layout: &Layout, rows: Batch) -> Result<Self> {
        rows.check(layout)?;
        Ok(Self::of_valid(layout, rows))
    }

    /// A data set of rows that are known to be valid.
    pub(super) fn of_valid(layout: &Layout, rows: Batch) -> Self {
        Self { layout: layout.clone(), rows }
    }

    /// Returns the layout: the names and sizes of the fields, numeric inputs, domains and tasks of the rows.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns all rows as one batch, without a copy.
    pub fn into_batch(self) -> Batch {
        self.rows
    }

    /// Calls `change` with the batch of all rows, checks the changed rows, and returns the changed data set.
    ///
    /// # Errors
    /// The errors of [`Batch::check`] if the changed rows no longer have the layout or valid values. The data set is then lost; clone it first
    /// if you need it.
    pub fn edit(mut self, change: impl FnOnce(&mut Batch)) -> Result<Self> {
        change(&mut self.rows);
        self.rows.check(&self.layout)?;
        Ok(self)
    }

    /// Copies some rows to `out`. `rows` has the numbers of these rows, counted from 0, in the order that they get in `out`. A number can occur
    /// more than once. The contents of `out` are replaced, and its memory is reused.
    ///
    /// # Panics
    /// If a number is not less than the number of rows, or a field with bags would have 2³² ids or more in `out`.
    pub fn gather_into(&self, rows: &[u32], out: &mut Batch) {
        self.rows.take(rows.iter().map(|&row| row as usize), out);
    }

    /// Copies some rows to a new data set. `rows` has the numbers of these rows, counted from 0, in the order that they get in the new data set.
    /// A number can occur more than once.
    ///
    /// # Panics
    /// If a number is not less than the number of rows, or a field with bags would have 2³² ids or more in the result.
    pub fn select(&self, rows: &[u32]) -> Self {
        let mut out = Batch::default();
        self.gather_into(rows, &mut out);
        Self::of_valid(&self.layout, out)
    }

    /// Copies some rows to a new data set. `rows` is a range of row numbers, counted from 0. The end of the range is not included.
    ///
    /// # Panics
    /// If the start of `rows` is greater than its end, or its end is greater than the number of rows.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        Self::of_valid(&self.layout, self.rows.slice(rows))
    }

    /// Returns a checksum (CRC-32) of all values of the rows and of the order of the rows. For example, compare it to check that a resumed run
    /// has the same rows. The names in the layout have no effect on it.
    pub fn checksum(&self) -> u32 {
        let Batch { ids, numeric, labels, domains, weights, groups } = &self.rows;
        let mut hasher = Hasher::new();
        let mut words = |words: &mut dyn Iterator<Item = u32>| {
            let mut count = 0_u64;
            for word in words {
                hasher.update(&word.to_le_bytes());
                count += 1;
            }
            hasher.update(&count.to_le_bytes());
        };
        for ids in ids {
            match ids {
                Ids::One(ids) => words(&mut ids.iter().copied()),
                Ids::Bag { offsets, ids } => words(&mut offsets.iter().chain(ids).copied()),
                Ids::Interpolated { ids, fractions } => {
                    words(&mut ids.iter().copied().chain(fractions.iter().map(|fraction| fraction.to_bits())));
                }
            }
        }
        words(&mut domains.iter().map(|domain| domain.index().map_or(u32::MAX, |index| index as u32)));
        words(&mut numeric.iter().chain(labels).chain(weights).map(|value| value.to_bits()));
        words(&mut groups.iter().copied());
        hasher.finalize()
    }

    /// Counts all rows, the rows of an unknown domain, the rows with a weight above 0, and the labels of each task. Training checks these counts
    /// before it starts, with [`RowCounts::check`].
    pub fn counts(&self) -> RowCounts {
        let rows = self.rows.rows();
        let weighted = self.weights.iter().filter(|&&weight| weight > 0.0).count();
        let labelled = self.labels.columns().into_iter().map(|labels| labels.iter().filter(|y| !y.is_nan()).count());
        RowCounts {
            rows,
            shared: self.domains.iter().filter(|&&domain| domain == DomainId::SHARED).count(),
            weighted: if self.weights.is_empty() { rows } else { weighted },
            labelled: labelled.collect(),
        }
    }

    /// Checks that a model can read the rows. `model` is the layout of the model. It must be the same as the layout of the rows, with two
    /// exceptions: the model's embedding tables can have more rows, and the model can have more domains, after those of the rows.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if there is any other difference. The message names every such difference.
    pub fn check_for(&self, model: &Layout) -> Result<()> {
        self.layout.check_model(model)
    }
}

impl Deref for DataSet {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.rows
    }
}

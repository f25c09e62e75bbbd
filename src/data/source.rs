//! Where training gets its rows from.

use std::sync::Arc;

use super::{Batch, DataSet, DomainId, Layout, Loader, LoaderConfig};
use crate::error::{Error, ErrorKind, Result};

/// Rows to train on, batch by batch: the [`Loader`] of a [`DataSet`] in memory, or a source of your own, such as a file that does not fit into
/// memory.
///
/// A reader begins a [`Pass`] and takes its batches one after the other. The batches of a pass are a function of the rows, the pass and the
/// [`LoaderConfig`] alone. So a run that was interrupted begins the same epoch again and [skips](RowSource::skip) the batches that are done: it
/// then goes on bit for bit. Beginning another pass ends the one before.
///
/// Give it to [`Trainer::fit`](crate::train::Trainer::fit), which checks every batch of a source (not those of a data set, which was checked when
/// it was made). A batch may have its rows in any order; [`Loader`] groups them by domain, which is fastest.
///
/// ```
/// use starple::data::{Batch, DataSet, Layout, Loader, LoaderConfig, Pass, RowSource};
///
/// # let layout = Layout::new(["all"], ["click"]).field("item", 10);
/// # let rows = DataSet::new(&layout, Batch::builder(&layout, 10).ids("item", (0..10).collect()).build()?)?;
/// let mut source = Loader::new(rows);
/// let config = LoaderConfig::builder().batch_rows(4).seed(7).build()?;
/// let (mut batch, mut seen) = (Batch::default(), 0);
/// source.begin(Pass::Epoch(0), &config)?;
/// while source.next_into(&mut batch)? {
///     seen += batch.rows();
/// }
/// assert_eq!((seen, source.batches()), (10, 3));
/// # Ok::<(), starple::Error>(())
/// ```
pub trait RowSource: Send {
    /// Fields, domains and tasks of the rows.
    fn layout(&self) -> &Layout;

    /// What training asks of the rows before it reads them.
    fn counts(&self) -> RowCounts;

    /// A number that other rows, or the same rows in another order, likely do not have: a checkpoint keeps it, and a run goes on only with
    /// the rows that it began with. [`DataSet::checksum`] is that of a data set.
    fn fingerprint(&self) -> u32;

    /// Goes to the first batch of a pass.
    ///
    /// # Errors
    /// Those of the source.
    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()>;

    /// How many batches the pass has, those that are past included; 0 before the first pass.
    fn batches(&self) -> usize;

    /// How many batches of the pass are past.
    fn position(&self) -> usize;

    /// Passes over `count` batches without giving them; over all that are left if there are fewer.
    ///
    /// # Errors
    /// Those of the source.
    fn skip(&mut self, count: usize) -> Result<()>;

    /// Writes the next batch over `batch`, whose buffers it keeps; false, and `batch` is left alone, when the pass is over.
    ///
    /// # Errors
    /// Those of the source.
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool>;
}

/// What is read of a [`RowSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Every row once, in the order of this epoch, in batches of `batch_rows` rows at most.
    Epoch(u64),
    /// A sample, for [statistics](crate::train::recompute_statistics): of each domain all rows, or a random `per_domain` of them where it has more,
    /// in random order and in batches of `batch_rows` rows; no rows of no known domain. Only the size of batches and the seed of the [`LoaderConfig`]
    /// count.
    Sample {
        /// The most rows of each domain.
        per_domain: usize,
        /// Which sample of the seed: other numbers have other rows.
        number: u64,
    },
}

/// What training asks of rows before it reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// How many rows an epoch has.
    pub rows: usize,
    /// How many of them are of no known domain ([`DomainId::SHARED`]); training permits none.
    pub shared: usize,
    /// How many weigh more than 0.
    pub weighted: usize,
    /// By task, how many have a label.
    pub labelled: Vec<usize>,
}

impl RowCounts {
    /// Checks that a model can learn from such rows. [`Trainer::fit`](crate::train::Trainer::fit) does so before it starts.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if there are no rows, one of no known domain, no weight above 0, or no label.
    pub fn check(&self) -> Result<()> {
        if self.rows == 0 || self.shared > 0 {
            return Err(Error::new(ErrorKind::Data, "training needs rows, and every row a known domain"));
        }
        if self.weighted == 0 {
            let message = "the weights of all training rows are 0, so that nothing can be learned from them";
            return Err(Error::new(ErrorKind::Data, message).with_help("see whether `weight` names the right column"));
        }
        if self.labelled.iter().all(|&labelled| labelled == 0) {
            let message = "no training row has a label for any task, so that nothing can be learned from them";
            return Err(
                Error::new(ErrorKind::Data, message).with_help("read the table with a schema that has its labels")
            );
        }
        Ok(())
    }
}

impl<S: RowSource + ?Sized> RowSource for &mut S {
    fn layout(&self) -> &Layout {
        (**self).layout()
    }

    fn counts(&self) -> RowCounts {
        (**self).counts()
    }

    fn fingerprint(&self) -> u32 {
        (**self).fingerprint()
    }

    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()> {
        (**self).begin(pass, config)
    }

    fn batches(&self) -> usize {
        (**self).batches()
    }

    fn position(&self) -> usize {
        (**self).position()
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        (**self).skip(count)
    }

    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        (**self).next_into(batch)
    }
}

/// What rows can be trained on: a [`DataSet`], an `Arc` of one to share it, or any [`RowSource`], also as `&mut`.
pub trait IntoSource<'a> {
    /// The source to read.
    fn into_source(self) -> Box<dyn RowSource + 'a>;
}

impl<'a> IntoSource<'a> for DataSet {
    fn into_source(self) -> Box<dyn RowSource + 'a> {
        Box::new(Loader::new(self))
    }
}

impl<'a> IntoSource<'a> for Arc<DataSet> {
    fn into_source(self) -> Box<dyn RowSource + 'a> {
        Box::new(Loader::new(self))
    }
}

impl<'a, S: RowSource + 'a> IntoSource<'a> for S {
    fn into_source(self) -> Box<dyn RowSource + 'a> {
        Box::new(Checked(self))
    }
}

/// A source whose batches are checked as they come.
struct Checked<S>(S);

impl<S: RowSource> RowSource for Checked<S> {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn counts(&self) -> RowCounts {
        self.0.counts()
    }

    fn fingerprint(&self) -> u32 {
        self.0.fingerprint()
    }

    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()> {
        self.0.begin(pass, config)
    }

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn position(&self) -> usize {
        self.0.position()
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.0.skip(count)
    }

    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        let number = self.0.position();
        if !self.0.next_into(batch)? {
            return Ok(false);
        }
        let of_batch = |error: Error| Error::new(error.kind(), format!("batch {number} of the source: {error}"));
        batch.check(self.0.layout()).map_err(of_batch)?;
        if batch.rows() == 0 || batch.domains.contains(&DomainId::SHARED) {
            let message = "a batch to train on has rows, and every row a known domain";
            return Err(of_batch(Error::new(ErrorKind::Data, message)));
        }
        Ok(true)
    }
}

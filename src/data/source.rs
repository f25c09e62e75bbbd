//! The source of training rows.

use std::sync::Arc;

use super::{Batch, DataSet, DomainId, Layout, Loader, LoaderConfig};
use crate::error::{Error, ErrorKind, Result};

/// A source of training rows, which it returns batch by batch. [`Loader`] is the source for a [`DataSet`] in memory. Implement this trait for
/// your own source, for example a file that does not fit into memory.
///
/// The caller begins a [`Pass`] and then takes its batches one by one. A new pass ends the previous one. The batches must depend only on the
/// rows, the pass and the [`LoaderConfig`]. Then an interrupted run can begin the same epoch again, [skip](RowSource::skip) the batches that are
/// done, and continue with exactly the same results.
///
/// [`Trainer::fit`](crate::train::Trainer::fit) takes a source and checks every batch. (It does not check a data set again, which was checked
/// when it was made.) The rows of a batch can be in any order. Training is fastest if they are grouped by domain, as [`Loader`] does it.
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
    /// Returns the names and sizes of the fields, numeric inputs, domains and tasks of the rows. Every batch must have this layout.
    fn layout(&self) -> &Layout;

    /// Returns how many rows and labels an epoch has, before [`LoaderConfig::negatives`] leaves out any. Training checks these counts before it
    /// reads the rows.
    fn counts(&self) -> RowCounts;

    /// Returns true if the source follows [`LoaderConfig::negatives`]: it leaves out some labels 0, and rows without any label left. The default
    /// implementation returns false. If the objective of a training run samples negatives, training returns an error for a source that returns
    /// false.
    fn samples_negatives(&self) -> bool {
        false
    }

    /// Returns a checksum of the rows and of their order. A checkpoint stores it, so that a run can only be resumed with the same rows. For a
    /// data set it is [`DataSet::checksum`].
    fn fingerprint(&self) -> u32;

    /// Starts a pass over the rows, so that the next batch is its first one, and ends the previous pass. `pass` says which rows are read and in
    /// which order; `config` says how they are split into batches.
    ///
    /// # Errors
    /// An error of the source, for example if a file cannot be read.
    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()>;

    /// Returns the number of all batches of the current pass. Batches that were read already count too. The result is 0 before the first pass.
    fn batches(&self) -> usize;

    /// Returns how many batches of the current pass were read or skipped. It is at most [`RowSource::batches`].
    fn position(&self) -> usize;

    /// Skips the next `count` batches of the current pass. If there are fewer, all of them are skipped.
    ///
    /// # Errors
    /// An error of the source, for example if a file cannot be read.
    fn skip(&mut self, count: usize) -> Result<()>;

    /// Replaces the contents of `batch` by the next batch and returns true. At the end of the pass it returns false and does not change `batch`.
    /// An implementation should reuse the memory of `batch`.
    ///
    /// # Errors
    /// An error of the source, for example if a file cannot be read.
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool>;
}

/// Which rows a [`RowSource`] reads after [`RowSource::begin`], and in which order: those of an epoch of training, or a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Every row once, in batches of at most [`batch_rows`](LoaderConfig::batch_rows) rows. With [`LoaderConfig::negatives`], rows without any
    /// label left are skipped. The argument is the number of the epoch, counted from 0. Epochs with different numbers have different random
    /// orders.
    Epoch(u64),
    /// A random sample of the rows of each domain, in random order and in batches of at most [`batch_rows`](LoaderConfig::batch_rows) rows. Rows
    /// with the id [`DomainId::SHARED`] are left out. Of the [`LoaderConfig`], only `batch_rows`, `seed` and `negatives` have an effect.
    /// [`recompute_statistics`](crate::train::recompute_statistics) uses such a pass.
    Sample {
        /// The largest number of rows of each domain in the sample. If a domain has fewer rows, the sample has all of them.
        per_domain: usize,
        /// The number of the sample, which can be any number. With the same rows and seed, the same number gives the same sample, and different
        /// numbers give different random samples.
        number: u64,
    },
}

/// How many rows and labels an epoch of a [`RowSource`] has, before [`LoaderConfig::negatives`] leaves out any. Training checks these counts
/// with [`RowCounts::check`] before it reads the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// The number of rows of an epoch.
    pub rows: usize,
    /// The number of rows whose domain is unknown ([`DomainId::SHARED`]). It must be 0 for training.
    pub shared: usize,
    /// The number of rows with a weight above 0. It must be at least 1 for training.
    pub weighted: usize,
    /// For each task, in the order of [`Layout::tasks`], the number of rows that have a label. For training, at least one of these numbers must
    /// be above 0.
    pub labelled: Vec<usize>,
}

impl RowCounts {
    /// Checks that a model can learn from the counted rows. [`Trainer::fit`](crate::train::Trainer::fit) does this before it starts.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if there are no rows, if a row has an unknown domain, if no row has a weight above 0, or if no row has a label of any
    /// task.
    pub fn check(&self) -> Result<()> {
        if self.rows == 0 {
            return Err(Error::new(ErrorKind::Data, "expected training rows, found none"));
        }
        if self.shared > 0 {
            let message = format!("expected training rows with known domains, found {} without", self.shared);
            return Err(Error::new(ErrorKind::Data, message).with_help("leave these rows out, or give them a domain"));
        }
        if self.weighted == 0 {
            let message = "expected a training row with a weight above 0, found none";
            return Err(Error::new(ErrorKind::Data, message).with_help("check whether `weight` names the right column"));
        }
        if self.labelled.iter().all(|&labelled| labelled == 0) {
            let message = "expected a training row with a label, found none for any task";
            return Err(Error::new(ErrorKind::Data, message)
                .with_help("read the table with a schema that names the label columns"));
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

    fn samples_negatives(&self) -> bool {
        (**self).samples_negatives()
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

/// Types that training accepts as rows: a [`DataSet`], an `Arc<DataSet>`, any [`RowSource`], or a mutable reference to a [`RowSource`].
pub trait IntoSource<'a> {
    /// Converts the value into a source that returns only valid batches. A [`DataSet`] was checked when it was made. For any other source, the
    /// result checks each batch when it is read, and returns an error if the batch is invalid.
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

/// A source that checks each batch of another source.
struct Checked<S>(S);

impl<S: RowSource> RowSource for Checked<S> {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn counts(&self) -> RowCounts {
        self.0.counts()
    }

    fn samples_negatives(&self) -> bool {
        self.0.samples_negatives()
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
            let message = "expected rows with known domains, found no rows or a row without one";
            return Err(of_batch(Error::new(ErrorKind::Data, message)));
        }
        Ok(true)
    }
}

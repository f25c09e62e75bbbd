//! The source of training rows.

use std::sync::Arc;

use super::{Batch, DataSet, DomainId, Layout, Loader, LoaderConfig};
use crate::error::{Error, ErrorKind, Result};

/// A source of training rows, batch by batch. [`Loader`] is the source for a [`DataSet`] in memory. Implement this trait for your own source, for
/// example a file that does not fit into memory.
///
/// The caller begins a [`Pass`] and then takes its batches one by one. The batches must depend only on the rows, the pass and the
/// [`LoaderConfig`]. Then an interrupted run can begin the same epoch again, [skip](RowSource::skip) the batches that are done, and continue bit
/// for bit. A new pass ends the previous one.
///
/// [`Trainer::fit`](crate::train::Trainer::fit) takes a source and checks every batch. (A data set is checked when it is made.) The rows of a batch
/// can be in any order; it is fastest to group them by domain, as [`Loader`] does.
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

    /// Returns the numbers of rows and labels of an epoch. Training checks them before it reads the rows.
    fn counts(&self) -> RowCounts;

    /// Whether the source follows [`LoaderConfig::negatives`]: it leaves out labels 0, and rows without labels left. Default: no. Training
    /// refuses an objective that samples negatives if the rows come from a source that does not.
    fn samples_negatives(&self) -> bool {
        false
    }

    /// Returns a checksum of the rows and their order. A checkpoint stores it, so that a run resumes only with the same rows. For a data set it
    /// is [`DataSet::checksum`].
    fn fingerprint(&self) -> u32;

    /// Starts a pass over the rows, before its first batch, and ends the previous pass. `config` says how rows are split into batches.
    ///
    /// # Errors
    /// An error of the source, for example if a file cannot be read.
    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()>;

    /// Returns the number of all batches of the current pass, including those that were read. It is 0 before the first pass.
    fn batches(&self) -> usize;

    /// Returns how many batches of the current pass were read or skipped, from 0 to [`RowSource::batches`].
    fn position(&self) -> usize;

    /// Skips the next `count` batches of the current pass, or all remaining ones if there are fewer.
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

/// Which rows [`RowSource::begin`] starts to read, and in which order: an epoch of training, or a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Every row once, in batches of at most [`batch_rows`](LoaderConfig::batch_rows) rows. The number of the epoch, counted from 0, changes the
    /// random order. With [`LoaderConfig::negatives`], only rows that keep a label are in it.
    Epoch(u64),
    /// A random sample of the rows of each domain, in random order and in batches of at most [`batch_rows`](LoaderConfig::batch_rows) rows.
    /// [`recompute_statistics`](crate::train::recompute_statistics) uses it. Rows with the id [`DomainId::SHARED`] are left out. Of the
    /// [`LoaderConfig`], only `batch_rows`, `seed` and `negatives` have an effect.
    Sample {
        /// The largest number of rows of each domain in the sample. A domain with fewer rows gives all of them.
        per_domain: usize,
        /// Any number. The same number gives the same sample; different numbers give different random samples.
        number: u64,
    },
}

/// The numbers of rows and labels in an epoch of a [`RowSource`]. Training checks them with [`RowCounts::check`] before it reads the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// The number of rows of an epoch.
    pub rows: usize,
    /// The number of rows whose domain is unknown ([`DomainId::SHARED`]). It must be 0 for training.
    pub shared: usize,
    /// The number of rows with a weight above 0. It must be at least 1 for training.
    pub weighted: usize,
    /// For each task of the layout, the number of rows with a label. At least one must be above 0 for training.
    pub labelled: Vec<usize>,
}

impl RowCounts {
    /// Checks that a model can learn from these rows. [`Trainer::fit`](crate::train::Trainer::fit) does so before it starts.
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

/// Types that training accepts as rows: a [`DataSet`], an `Arc<DataSet>`, and any [`RowSource`], also as `&mut`.
pub trait IntoSource<'a> {
    /// Converts the value into a source whose batches are valid: a [`DataSet`] was checked when it was made, and each batch of another source is
    /// checked when it is read.
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

//! How often training rows have each id.

use crate::Result;
use crate::data::{Batch, Ids, IntoSource, Layout, LoaderConfig, Pass, RowSource};

/// For each id of each embedding table, how often it occurs in one epoch of the training rows. An id is the number of a row of the table.
/// [`Step::ids`](super::Step::ids) needs these counts.
///
/// Every training row counts, whatever its labels and weight are, and also if training [samples negatives](crate::loss::Objective). An id
/// that is twice in the list of one row counts twice. If several fields read one table, their ids count together. A
/// [position](crate::data::Ids::Interpolated) between two table rows counts once for each of them. The default value has no tables.
///
/// ```
/// use starple::data::{Batch, DataSet, Layout};
/// use starple::train::IdCounts;
///
/// let layout = Layout::new(["all"], ["click"]).field("item", 4);
/// let rows = DataSet::new(&layout, Batch::builder(&layout, 3).ids("item", vec![1, 3, 1]).build()?)?;
/// assert_eq!(IdCounts::of(rows)?.table(0), [0, 2, 0, 1]);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdCounts {
    tables: Vec<Vec<u32>>,
}

impl IdCounts {
    /// Counts the ids in `rows`: a [`DataSet`](crate::data::DataSet), an `Arc` of one, or any [`RowSource`], of which it reads the first
    /// epoch. It needs 4 bytes for each row of each table. A count stays at 2³² − 1 if it would become larger.
    ///
    /// # Errors
    /// All errors that the source returns when it is read. [`ErrorKind::Data`](crate::ErrorKind::Data) or
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if a source of your own gives an invalid batch
    /// ([`Batch::check`](crate::data::Batch::check)). A data set gives no error.
    pub fn of<'a>(rows: impl IntoSource<'a>) -> Result<Self> {
        let mut rows = rows.into_source();
        let layout = rows.layout().clone();
        Self::count(&mut *rows, &layout)
    }

    /// Counts the ids of the first epoch. The tables are those of `layout`, which may have grown from that of the rows.
    pub(super) fn count(rows: &mut dyn RowSource, layout: &Layout) -> Result<Self> {
        let mut tables: Vec<Vec<u32>> = layout.tables.iter().map(|table| vec![0; table.rows]).collect();
        let table_of: Vec<_> =
            (0..layout.fields.len()).map(|f| layout.table_of(f).expect("fields have tables")).collect();
        rows.begin(Pass::Epoch(0), &LoaderConfig::builder().shuffle(false).build()?)?;
        let mut batch = Batch::default();
        while rows.next_into(&mut batch)? {
            for (&table, ids) in table_of.iter().zip(&batch.ids) {
                let counts = &mut tables[table];
                let mut count = |id: u32| counts[id as usize] = counts[id as usize].saturating_add(1);
                match ids {
                    Ids::One(ids) | Ids::Bag { ids, .. } => ids.iter().for_each(|&id| count(id)),
                    // A position reads the table rows on both of its sides.
                    Ids::Interpolated { ids, fractions } => {
                        for (&id, &fraction) in ids.iter().zip(fractions) {
                            count(id);
                            if fraction > 0.0 {
                                count(id + 1);
                            }
                        }
                    }
                }
            }
        }
        Ok(Self { tables })
    }

    /// Whether there is a count for each row of each table of this layout.
    pub(super) fn fit(&self, layout: &Layout) -> bool {
        self.tables.iter().map(Vec::len).eq(layout.tables.iter().map(|table| table.rows))
    }

    /// Returns the counts of one table: the entry at position j is how often the id j occurs. `table` is the position of the table in
    /// [`Layout::tables`](crate::data::Layout::tables), from 0.
    ///
    /// # Panics
    /// If the layout has no table at this position.
    pub fn table(&self, table: usize) -> &[u32] {
        &self.tables[table]
    }
}

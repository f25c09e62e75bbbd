//! Target statistics of an encoder: counting rows, and encoding rows that are counted.

use std::sync::Arc;

use ndarray::Array2;

use super::Encoder;
use crate::data::batch::join;
use crate::data::statistics::{Order, Statistics};
use crate::data::{Batch, DataSet, DomainId, Feature, StatisticsFeatures, StatisticsOrder, StatisticsStrengths, Table};
use crate::error::{Error, ErrorKind, Result};

/// Which rows of which tables the statistics count, as far as this process has counted them.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted(Vec<(Arc<()>, Vec<bool>)>);

impl PartialEq for Counted {
    /// Encoders that encode alike are equal.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Counted {
    fn of(&self, table: &Table) -> Option<&[bool]> {
        self.0.iter().find(|(identity, _)| Arc::ptr_eq(identity, &table.identity)).map(|(_, rows)| &rows[..])
    }

    fn add(&mut self, table: &Table, rows: &[u32]) {
        let known = self.0.iter().position(|(identity, _)| Arc::ptr_eq(identity, &table.identity));
        let place = known.unwrap_or_else(|| {
            self.0.push((Arc::clone(&table.identity), vec![false; table.rows()]));
            self.0.len() - 1
        });
        for &row in rows {
            self.0[place].1[row as usize] = true;
        }
    }
}

impl Encoder {
    /// Encodes rows to train on, in this order: rows that [`Encoder::fit`] or [`Encoder::extend`] has learned from, all of them or some.
    ///
    /// It differs from [`Encoder::encode`] only if features have [target statistics](crate::data::TargetStatistics). These count labels, so
    /// the inputs of a training row must not count its own: for each of `rows`, they count the learned rows that are not among `rows`, and
    /// those of `rows` that are earlier in the order of [`TargetStatistics::order`](crate::data::TargetStatistics::order). So after
    /// [`Encoder::extend`], pass the rows of the new log: all rows of the logs before come first.
    ///
    /// | rows | method |
    /// |---|---|
    /// | rows to train on | `fit` or `extend` with them, then `encode_training` |
    /// | rows to validate, test, calibrate or serve | `encode`, `encode_rows` |
    ///
    /// ```
    /// use starple::data::{Categorical, Encoder, Format, Schema, Table};
    ///
    /// let schema = Schema::builder().feature(Categorical::new("item").statistics(true)).label("click").build()?;
    /// let read = |log: &str| Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema);
    /// let (monday, tuesday) = (read("item,click\nlamp,1\nlamp,1\nsofa,0\n")?, read("item,click\nlamp,1\n")?);
    /// let mut encoder = Encoder::fit(&schema, &monday, &monday.all())?;
    /// let train = encoder.encode_training(&monday, &monday.all())?;
    /// // Before it is learned, Tuesday's row is one to serve.
    /// let served = encoder.encode(&tuesday, &[0])?;
    /// encoder.extend(&tuesday, &[0])?;
    /// assert_eq!(encoder.encode_training(&tuesday, &[0])?.numeric, served.numeric);
    /// // Now its own label is among those that are counted.
    /// assert!(encoder.encode(&tuesday, &[0]).is_err());
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Encoder::encode`]. With target statistics also [`ErrorKind::Layout`] if the table was read without labels or without the
    /// column of the time; [`ErrorKind::Data`] for a row that has no time, or that was not learned from.
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn encode_training(&self, table: &Table, rows: &[u32]) -> Result<DataSet> {
        let (mut batch, numeric) = self.encode_columns(table, rows)?;
        batch.numeric = join(&numeric, rows.len());
        if !self.statistics.is_empty() {
            self.check_labels(table)?;
            let order = self.order(table, rows)?;
            batch.numeric = self.with_statistics(&batch.numeric);
            let mut numeric = std::mem::take(&mut batch.numeric);
            let written = self.statistics.write_training(&batch, &order, &mut numeric);
            written.map_err(|lacking| self.not_counted(table, rows, &batch, lacking))?;
            batch.numeric = numeric;
        }
        Ok(DataSet::of_valid(&self.layout, batch))
    }

    /// The strengths of the priors of target statistics, by feature and task; empty if no feature has any.
    pub fn statistics(&self) -> Vec<StatisticsStrengths> {
        self.statistics.strengths(&self.layout)
    }

    /// Counts the labels of the rows that the encoder was fitted on.
    pub(super) fn fit_statistics(&mut self, table: &Table, rows: &[u32]) -> Result<()> {
        let features = self.schema.features();
        let setting = |field: usize| {
            let name = &self.layout.fields[field].name;
            let own = features.iter().find(|feature| feature.name() == name).and_then(Feature::statistics);
            own.or(match self.schema.target_statistics().features() {
                StatisticsFeatures::Auto => None,
                StatisticsFeatures::All => Some(true),
                StatisticsFeatures::None => Some(false),
            })
        };
        let possible = |field: usize| setting(field) != Some(false) && self.layout.fields[field].bag.is_none();
        if !(0..self.layout.fields.len()).any(possible) {
            return Ok(());
        }
        let (batch, _) = self.encode_columns(table, rows)?;
        let settings = self.schema.target_statistics();
        self.statistics = Statistics::fit(&self.layout, &batch, settings, setting);
        if !self.statistics.is_empty() {
            self.counted.add(table, rows);
            // A row without a time is noticed now.
            self.order(table, rows)?;
        }
        self.derive_layout();
        Ok(())
    }

    /// Counts the labels of more rows.
    pub(super) fn extend_statistics(&mut self, table: &Table, rows: &[u32]) -> Result<()> {
        self.check_labels(table)?;
        self.order(table, rows)?;
        let (batch, _) = self.encode_columns(table, rows)?;
        self.statistics.extend(&self.layout, &batch);
        self.counted.add(table, rows);
        Ok(())
    }

    /// Statistics count labels.
    fn check_labels(&self, table: &Table) -> Result<()> {
        match self.schema.labels().iter().find(|column| table.labels(column).is_none()) {
            None => Ok(()),
            Some(column) => Err(Error::new(ErrorKind::Layout, "the table does not have this column as labels")
                .at_path(table.source())
                .in_column(column)
                .with_help(
                    "the encoder has target statistics, which count labels: read the table with its own schema",
                )),
        }
    }

    /// The numbers with room for the statistics after them.
    pub(super) fn with_statistics(&self, numeric: &Array2<f32>) -> Array2<f32> {
        let (rows, known) = numeric.dim();
        let width = known + self.statistics.inputs();
        Array2::from_shape_fn((rows, width), |(row, column)| if column < known { numeric[[row, column]] } else { 0.0 })
    }

    /// The statistics of rows that are not counted, after the other numbers.
    pub(super) fn write_statistics(&self, batch: &mut Batch) {
        if !self.statistics.is_empty() {
            let mut numeric = self.with_statistics(&batch.numeric);
            self.statistics.write_rows(batch, &mut numeric);
            batch.numeric = numeric;
        }
    }

    /// Refuses rows that are counted.
    pub(super) fn check_uncounted(&self, table: &Table, rows: &[u32]) -> Result<()> {
        let counted = self.counted.of(table);
        match rows.iter().find(|&&row| counted.is_some_and(|counted| counted[row as usize])) {
            None => Ok(()),
            Some(&row) => {
                let message = "the encoder has learned from this row: its target statistics count the row's own label";
                Err(Error::new(ErrorKind::Config, message).at_path(table.file(row)).at_line(table.line(row)).with_help(
                    "encode rows to train on with Encoder::encode_training, which leaves the row's own label out",
                ))
            }
        }
    }

    fn order(&self, table: &Table, rows: &[u32]) -> Result<Order> {
        match self.schema.target_statistics().order() {
            StatisticsOrder::Seed(seed) => Ok(Order::random(rows.len(), *seed)),
            StatisticsOrder::Time(column) => {
                let numbers = table.numbers(column)?;
                let times: Vec<f64> = rows.iter().map(|&row| numbers[row as usize]).collect();
                if let Some(missing) = times.iter().position(|time| time.is_nan()) {
                    let message = "expected the time of the row, which orders target statistics, found an empty cell";
                    let error = Error::new(ErrorKind::Data, message).with_help("fill it in, or leave the row out");
                    return Err(table.locate(error, rows[missing], column));
                }
                Ok(Order::by_time(&times))
            }
        }
    }

    #[cold]
    fn not_counted(
        &self,
        table: &Table,
        rows: &[u32],
        batch: &Batch,
        (field, id, domain): (usize, u32, DomainId),
    ) -> Error {
        let is_it = |row: &usize| batch.domains[*row] == domain && batch.ids[field].row(*row) == [id];
        let message = "the encoder has not learned from all of these rows: its target statistics count fewer labels of this value";
        let error = Error::new(ErrorKind::Data, message).with_help(
            "rows to train on are first learned with Encoder::fit or Encoder::extend; encode other rows with Encoder::encode",
        );
        match (0..batch.rows()).find(is_it) {
            Some(row) => table.locate(error, rows[row], &self.layout.fields[field].name),
            None => error.at_path(table.source()),
        }
    }
}

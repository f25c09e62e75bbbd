//! Encoded rows: what a model reads.

use std::fmt;
use std::ops::Range;

use ndarray::Array2;

use super::{BatchBuilder, DomainId, Domains, Field, Layout, Pooling};
use crate::error::{Error, ErrorKind, Result};

/// The ids of one [`Field`] for all rows of a batch. An id is the number of a row in the field's embedding table, counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Ids {
    /// Every row has exactly one id: row `i` has the id at position `i`. Used for a field whose [`bag`](Field::bag) is `None`.
    One(Vec<u32>),
    /// Row `i` has a list of any number of ids, `ids[offsets[i]..offsets[i + 1]]`. Used for a field whose [`bag`](Field::bag) is `Some`.
    Bag {
        /// The positions in `ids`, counted from 0, at which the lists of the rows start. The first position is 0, and no position is less than
        /// the one before it. The last entry is the length of `ids`, so there is one entry more than there are rows.
        offsets: Vec<u32>,
        /// The ids of all rows: first those of row 0, then those of row 1, and so on.
        ids: Vec<u32>,
    },
    /// Row `i` has a position between the table rows `ids[i]` and `ids[i] + 1` ([`Pooling::Interpolate`](super::Pooling::Interpolate)).
    Interpolated {
        /// The table row below the position.
        ids: Vec<u32>,
        /// How far the position is from that row to the next, in `0 ..= 1`. Where it is 0, there need not be a next row.
        fractions: Vec<f32>,
    },
}

impl Ids {
    /// Returns the ids of one row: exactly one id, or for a bag a list that can be empty. For a position
    /// ([`Ids::Interpolated`]), it is the lower of the two table rows. `row` is the number of the row in the batch, counted from 0.
    ///
    /// # Panics
    /// If `row` is not less than the number of rows.
    pub fn row(&self, row: usize) -> &[u32] {
        match self {
            Self::One(ids) | Self::Interpolated { ids, .. } => &ids[row..=row],
            Self::Bag { offsets, ids } => &ids[offsets[row] as usize..offsets[row + 1] as usize],
        }
    }

    /// Whether two rows read the table rows alike.
    pub(super) fn alike(&self, a: usize, b: usize) -> bool {
        let fractions = if let Self::Interpolated { fractions, .. } = self { &fractions[..] } else { &[] };
        self.row(a) == self.row(b) && fractions.get(a) == fractions.get(b)
    }

    /// How many ids are 0, that of values which a vocabulary does not have.
    pub(super) fn unknown(&self) -> usize {
        let (Self::One(ids) | Self::Bag { ids, .. } | Self::Interpolated { ids, .. }) = self;
        ids.iter().filter(|&&id| id == 0).count()
    }

    /// No rows, as a field with this pooling has them; buffers stay.
    pub(super) fn restart(&mut self, pooling: Option<Pooling>) {
        match (self, pooling) {
            (Self::One(ids), None) => ids.clear(),
            (Self::Interpolated { ids, fractions }, Some(Pooling::Interpolate)) => {
                ids.clear();
                fractions.clear();
            }
            (Self::Bag { offsets, ids }, Some(Pooling::Sum | Pooling::Mean | Pooling::Keep(_))) => {
                ids.clear();
                offsets.clear();
                offsets.push(0);
            }
            (other, None) => *other = Self::One(Vec::new()),
            (other, Some(Pooling::Interpolate)) => *other = Self::no_positions(),
            (other, Some(_)) => *other = Self::Bag { offsets: vec![0], ids: Vec::new() },
        }
    }

    fn no_positions() -> Self {
        Self::Interpolated { ids: Vec::new(), fractions: Vec::new() }
    }

    /// Whether a field with this pooling has such ids.
    pub(crate) fn is_of(&self, pooling: Option<Pooling>) -> bool {
        match self {
            Self::One(_) => pooling.is_none(),
            Self::Interpolated { .. } => pooling == Some(Pooling::Interpolate),
            Self::Bag { .. } => pooling.is_some_and(|pooling| pooling != Pooling::Interpolate),
        }
    }

    /// Adds rows of id 0, or empty bags, until the batch has this number of rows.
    pub(super) fn pad(&mut self, rows: usize) {
        match self {
            Self::One(ids) => ids.resize(rows, 0),
            Self::Interpolated { ids, fractions } => {
                ids.resize(rows, 0);
                fractions.resize(rows, 0.0);
            }
            Self::Bag { offsets, ids } => offsets.resize(rows + 1, ids.len() as u32),
        }
    }

    /// Replaces `out` by the ids of these rows.
    fn take(&self, rows: impl Rows, out: &mut Self) {
        match (self, out) {
            (Self::One(from), Self::One(to)) => take(from, rows, to),
            (Self::Interpolated { ids, fractions }, Self::Interpolated { ids: to_ids, fractions: to_fractions }) => {
                take(ids, rows.clone(), to_ids);
                take(fractions, rows, to_fractions);
            }
            (Self::Bag { offsets, ids }, Self::Bag { offsets: to_offsets, ids: to_ids }) => {
                to_offsets.clear();
                to_ids.clear();
                to_offsets.reserve(rows.len() + 1);
                to_offsets.push(0);
                for row in rows {
                    to_ids.extend_from_slice(&ids[offsets[row] as usize..offsets[row + 1] as usize]);
                    let end = u32::try_from(to_ids.len()).expect("the bags of a batch hold fewer than 2^32 ids");
                    to_offsets.push(end);
                }
            }
            (Self::One(_), out) => {
                *out = Self::One(Vec::new());
                self.take(rows, out);
            }
            (Self::Interpolated { .. }, out) => {
                *out = Self::no_positions();
                self.take(rows, out);
            }
            (Self::Bag { .. }, out) => {
                *out = Self::Bag { offsets: Vec::new(), ids: Vec::new() };
                self.take(rows, out);
            }
        }
    }

    /// Checks that this is what the field has: for each of `rows` rows one id, a position or a bag of ids.
    fn check_shape(&self, field: &Field, rows: usize) -> Result<()> {
        let mismatch = |what: String| Err(Error::new(ErrorKind::Layout, what).in_column(&field.name));
        match self {
            _ if !self.is_of(field.bag) => {
                let expected = match field.bag {
                    None => "one id a row",
                    Some(Pooling::Interpolate) => "a position between ids a row",
                    Some(_) => "a bag of ids a row",
                };
                let found = match self {
                    Self::One(_) => "one id a row",
                    Self::Interpolated { .. } => "a position between ids a row",
                    Self::Bag { .. } => "a bag of ids a row",
                };
                mismatch(format!("expected {expected}, found {found}"))
            }
            Self::One(ids) | Self::Interpolated { ids, .. } if ids.len() != rows => {
                mismatch(format!("expected {rows} ids, one a row, found {}", ids.len()))
            }
            Self::Interpolated { fractions, .. } if fractions.len() != rows => {
                mismatch(format!("expected {rows} fractions, one a row, found {}", fractions.len()))
            }
            Self::Bag { offsets, .. } if offsets.len() != rows + 1 => {
                mismatch(format!("expected {} offsets, rows + 1, found {}", rows + 1, offsets.len()))
            }
            Self::Bag { offsets, ids }
                if offsets[0] != 0 || offsets[rows] as usize != ids.len() || !offsets.is_sorted() =>
            {
                mismatch(format!("expected offsets that ascend from 0 to {}, the number of ids", ids.len()))
            }
            Self::One(_) | Self::Bag { .. } | Self::Interpolated { .. } => Ok(()),
        }
    }

    /// Checks the ids of `rows` rows, each below `limit`, against their field.
    fn check(&self, field: &Field, limit: usize, rows: usize) -> Result<()> {
        self.check_shape(field, rows)?;
        let name = field.name.as_str();
        let ids = match self {
            Self::One(ids) | Self::Bag { ids, .. } => ids,
            Self::Interpolated { ids, fractions } => {
                check_fractions(field, limit, ids, fractions)?;
                ids
            }
        };
        // The largest first: this loop runs over every id of a data set, the search below once.
        if ids.iter().max().is_none_or(|&max| (max as usize) < limit) {
            return Ok(());
        }
        let bad = |row: &usize| self.row(*row).iter().any(|&id| id as usize >= limit);
        let row = (0..rows).find(bad).expect("some id is out of range");
        let id = self.row(row).iter().find(|&&id| id as usize >= limit).expect("this row has it");
        Err(invalid(name, row, id, &format!("expected an id below {limit}")))
    }
}

/// Rows in the form that a model reads, for example those of one training step or of one request. Every value is already an id or a number. Each
/// column is stored by itself.
///
/// A [`RowSource`](super::RowSource) fills batches with the rows of a training run, and [`Encoder::encode_rows`](super::Encoder::encode_rows)
/// makes a batch from the rows of a request. If your rows are ids and numbers already, use [`Batch::builder`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The ids of the rows, with one entry for each field, in the order of [`Layout::fields`](super::Layout::fields).
    pub ids: Vec<Ids>,
    /// The numeric inputs, a matrix `[rows, numeric inputs]`. Its columns are in the order of the list `numeric` of [`Layout`]. The model uses
    /// these numbers as they are, so standardise them first. They must be finite; otherwise [`Batch::check`] returns an error.
    pub numeric: Array2<f32>,
    /// The labels, a matrix `[rows, tasks]`. Its columns are in the order of [`Layout::tasks`]. A label of a binary task is 0
    /// or 1; a label of a task of another kind is the [target](super::Target) itself. A missing label is NaN. For any other value
    /// [`Batch::check`] returns an error.
    pub labels: Array2<f32>,
    /// The domain of each row. The length of this list is the number of rows of the batch.
    pub domains: Vec<DomainId>,
    /// The weights of the rows: one for each row, or none if every row has the weight 1. A weight multiplies the part of its row in the loss and
    /// in metrics. Each must be finite and at least 0; otherwise [`Batch::check`] returns an error.
    pub weights: Vec<f32>,
    /// The groups of the rows: one number for each row, or none if there are no groups. Rows with the same number are in the same group; for
    /// example, a group has the rows of one user. Metrics such as [GAUC](crate::metrics::gauc()) compare scores within a group.
    pub groups: Vec<u32>,
}

impl Batch {
    /// Returns a builder for a batch that has this layout and `rows` rows. The values must be encoded already: they are ids and numbers. Set the
    /// columns, then call [`BatchBuilder::build`].
    pub fn builder(layout: &Layout, rows: usize) -> BatchBuilder<'_> {
        BatchBuilder::new(layout, rows)
    }

    /// Returns the number of rows, which can be 0.
    pub fn rows(&self) -> usize {
        self.domains.len()
    }

    /// Checks that each row has what the layout asks for, one id or a bag in each field; [`Batch::check`] looks at the values too.
    pub(crate) fn check_shape(&self, layout: &Layout) -> Result<()> {
        self.check_columns(layout)?;
        self.ids.iter().zip(&layout.fields).try_for_each(|(ids, field)| ids.check_shape(field, self.rows()))?;
        self.check_sequences(layout, |_| true)
    }

    /// Checks the ids in the fields at these positions, and that there is a column for every field and numeric input. Columns of other
    /// fields may hold anything.
    pub(crate) fn check_fields(&self, layout: &Layout, mut fields: impl Iterator<Item = usize> + Clone) -> Result<()> {
        self.check_columns(layout)?;
        let check = |f: usize| self.ids[f].check(&layout.fields[f], layout.rows_of(f), self.rows());
        let all = fields.clone();
        fields.try_for_each(check)?;
        self.check_sequences(layout, |f| all.clone().any(|checked| checked == f))
    }

    /// Checks that the lists of a sequence have the same lengths, and no more events than it may have, in the fields that are read.
    fn check_sequences(&self, layout: &Layout, is_read: impl Fn(usize) -> bool) -> Result<()> {
        for sequence in &layout.sequences {
            let position = |name: &String| layout.fields.iter().position(|field| field.name == *name);
            let mut main: Option<&[u32]> = None;
            for f in sequence.fields.iter().filter_map(position).filter(|&f| is_read(f)) {
                let Ids::Bag { offsets, .. } = &self.ids[f] else { continue };
                let column = &layout.fields[f].name;
                let wrong = |text: String| Err(Error::new(ErrorKind::Layout, text).in_column(column));
                if *main.get_or_insert(offsets) != &offsets[..] {
                    let (name, first) = (&sequence.name, &sequence.fields[0]);
                    return wrong(format!("expected lists as long as those of {first:?} in the sequence {name:?}"));
                }
                let (len, most) = (|row: usize| (offsets[row + 1] - offsets[row]) as usize, sequence.max_len);
                if let Some(row) = (0..offsets.len().saturating_sub(1)).find(|&row| len(row) > most) {
                    return wrong(format!("row {row}: expected at most {most} events, found {}", len(row)));
                }
            }
        }
        Ok(())
    }

    fn check_columns(&self, layout: &Layout) -> Result<()> {
        if self.ids.len() != layout.fields.len() {
            let message = format!("expected ids of {} fields, found {}", layout.fields.len(), self.ids.len());
            return Err(Error::new(ErrorKind::Layout, message));
        }
        check_dim("numeric", &self.numeric, self.rows(), &layout.numeric)
    }

    /// Returns the domain of each row as a [`Domains`], the type of an argument of [`Model::forward`](crate::Model::forward).
    pub fn domains(&self) -> Domains<'_> {
        Domains::PerRow(&self.domains)
    }

    /// Replaces `out`, whose buffers it keeps, by these rows.
    pub(super) fn take(&self, rows: impl Rows, out: &mut Self) {
        out.ids.resize_with(self.ids.len(), || Ids::One(Vec::new()));
        for (from, to) in self.ids.iter().zip(&mut out.ids) {
            from.take(rows.clone(), to);
        }
        take_rows(&self.numeric, rows.clone(), &mut out.numeric);
        take_rows(&self.labels, rows.clone(), &mut out.labels);
        take(&self.domains, rows.clone(), &mut out.domains);
        take_optional(&self.weights, rows.clone(), &mut out.weights);
        take_optional(&self.groups, rows, &mut out.groups);
    }

    /// Copies some rows to a new batch. `rows` is a range of row numbers, counted from 0. The end of the range is not included.
    ///
    /// # Panics
    /// If the start of `rows` is greater than its end, or its end is greater than [`Batch::rows`].
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let mut out = Self::default();
        self.slice_into(rows, &mut out);
        out
    }

    /// Copies some rows to `out`. `rows` is a range of row numbers, counted from 0. The end of the range is not included. The contents of `out`
    /// are replaced, and its memory is reused.
    ///
    /// # Panics
    /// If the start of `rows` is greater than its end, or its end is greater than [`Batch::rows`].
    pub fn slice_into(&self, rows: Range<usize>, out: &mut Self) {
        assert!(rows.start <= rows.end && rows.end <= self.rows(), "rows {rows:?} of a batch of {}", self.rows());
        self.take(rows, out);
    }

    /// Checks that the batch has the columns of `layout`, and that all values are valid. [`DomainId::SHARED`], the id for rows of an unknown
    /// domain, is valid here. Prediction accepts it, but training does not.
    ///
    /// # Errors
    /// * [`ErrorKind::Layout`] if a field, numeric input or task has no column, if a column has a wrong number of rows, if a field has bags but
    ///   should have single ids, or the reverse, or if `weights` or `groups` is not empty and does not have one entry for each row.
    /// * [`ErrorKind::Data`] if an id is not less than the number of rows of the field's embedding table, a numeric input is not finite, a label
    ///   is neither NaN nor one of its task's kind ([`TaskKind`](super::TaskKind)), or a weight is negative or not finite. The message has the number of the batch's row, counted from 0.
    /// * [`ErrorKind::UnknownDomain`] if a row has the id of a domain that the layout does not have.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let rows = self.rows();
        self.check_fields(layout, 0..layout.fields.len())?;
        let finite = |x: f32| x.is_finite();
        check_matrix("numeric", &self.numeric, rows, &layout.numeric, finite, "expected a finite number")?;
        check_dim("labels", &self.labels, rows, &layout.tasks)?;
        check_labels(&self.labels, layout)?;
        let domains = layout.domains.len();
        let unknown = |domain: &DomainId| domain.index().is_some_and(|index| index >= domains);
        if let Some(row) = self.domains.iter().position(unknown) {
            let message = format!("row {row}: expected a domain of the layout, which has {domains}");
            let index = self.domains[row].index().unwrap_or_default();
            return Err(Error::new(ErrorKind::UnknownDomain, message)
                .in_column("domains")
                .with_value(index.to_string()));
        }
        for (name, len) in [("weights", self.weights.len()), ("groups", self.groups.len())] {
            if len != 0 && len != rows {
                let message = format!("expected {rows} entries, one a row, or none, found {len}");
                return Err(Error::new(ErrorKind::Layout, message).in_column(name));
            }
        }
        match self.weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            Some(row) => Err(invalid("weights", row, self.weights[row], "expected a finite number, at least 0")),
            None => Ok(()),
        }
    }
}

/// Checks that fractions are in range, and that the next table row exists where it is read.
fn check_fractions(field: &Field, limit: usize, ids: &[u32], fractions: &[f32]) -> Result<()> {
    let name = field.name.as_str();
    if let Some(row) = fractions.iter().position(|fraction| !(0.0..=1.0).contains(fraction)) {
        return Err(invalid(name, row, fractions[row], "expected a fraction from 0 to 1"));
    }
    let beyond = |(&id, &fraction): (&u32, &f32)| fraction > 0.0 && id as usize + 1 >= limit;
    match ids.iter().zip(fractions).position(beyond) {
        Some(row) => {
            let expected = format!("expected an id below {} where the fraction is above 0", limit.saturating_sub(1));
            Err(invalid(name, row, ids[row], &expected))
        }
        None => Ok(()),
    }
}

fn check_matrix(
    what: &str,
    matrix: &Array2<f32>,
    rows: usize,
    names: &[String],
    valid: impl Fn(f32) -> bool,
    expected: &str,
) -> Result<()> {
    check_dim(what, matrix, rows, names)?;
    match matrix.indexed_iter().find(|&(_, &value)| !valid(value)) {
        Some(((row, column), value)) => Err(invalid(&names[column], row, value, expected)),
        None => Ok(()),
    }
}

/// Checks labels by the kinds of their tasks.
fn check_labels(labels: &Array2<f32>, layout: &Layout) -> Result<()> {
    for (task, (labels, name)) in labels.columns().into_iter().zip(&layout.tasks).enumerate() {
        let kind = layout.target(task).kind();
        let invalid_label = labels.iter().position(|&label| !label.is_nan() && !kind.accepts(label));
        if let Some(row) = invalid_label {
            let expected = format!("expected {}, or NaN for a missing label", kind.labels());
            return Err(invalid(name, row, labels[row], &expected));
        }
    }
    Ok(())
}

fn check_dim(what: &str, matrix: &Array2<f32>, rows: usize, names: &[String]) -> Result<()> {
    if matrix.dim() == (rows, names.len()) {
        return Ok(());
    }
    let (found_rows, found_columns) = matrix.dim();
    let message = format!("expected [{rows}, {}], found [{found_rows}, {found_columns}]", names.len());
    Err(Error::new(ErrorKind::Layout, message).in_column(what))
}

fn invalid(column: &str, row: usize, value: impl fmt::Display, expected: &str) -> Error {
    Error::new(ErrorKind::Data, format!("row {row}: {expected}")).in_column(column).with_value(value.to_string())
}

/// Columns side by side: `[rows, columns]`.
pub(super) fn join(columns: &[Vec<f32>], rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns.len()), |(row, column)| columns[column][row])
}

/// Numbers of rows, which are not bound to 32 bits: a list of them, or a range.
pub(super) trait Rows: ExactSizeIterator<Item = usize> + Clone {}

impl<R: ExactSizeIterator<Item = usize> + Clone> Rows for R {}

/// Replaces `to` by these rows of a column.
fn take<T: Copy>(from: &[T], rows: impl Rows, to: &mut Vec<T>) {
    to.clear();
    to.extend(rows.map(|row| from[row]));
}

/// Replaces `to` by these rows of a column, or by nothing if there is no column.
fn take_optional<T: Copy>(from: &[T], rows: impl Rows, to: &mut Vec<T>) {
    to.clear();
    if !from.is_empty() {
        take(from, rows, to);
    }
}

/// Replaces `to` by these rows of a matrix.
fn take_rows(from: &Array2<f32>, rows: impl Rows, to: &mut Array2<f32>) {
    let (count, columns) = (rows.len(), from.ncols());
    let (mut values, _) = std::mem::take(to).into_raw_vec_and_offset();
    values.clear();
    if let Some(all) = from.as_slice() {
        for row in rows {
            values.extend_from_slice(&all[row * columns..][..columns]);
        }
    } else {
        for row in rows {
            values.extend(from.row(row));
        }
    }
    *to = Array2::from_shape_vec((count, columns), values).expect("as many values as the shape holds");
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;

    fn layout() -> Layout {
        Layout::new(["a", "b"], ["click"]).field("user", 10).bag("tags", 4, Pooling::Mean).numeric(["age", "price"])
    }

    fn batch() -> Batch {
        Batch {
            ids: vec![Ids::One(vec![7, 8, 9]), Ids::Bag { offsets: vec![0, 2, 2, 3], ids: vec![1, 2, 3] }],
            numeric: array![[0.1, 0.2], [1.1, 1.2], [2.1, 2.2]],
            labels: array![[0.0], [1.0], [f32::NAN]],
            domains: [0, 1, 0].map(DomainId::new).into(),
            weights: vec![1.0, 2.0, 3.0],
            groups: vec![5, 6, 5],
        }
    }

    fn select(batch: &Batch, rows: &[usize]) -> Batch {
        let mut out = Batch::default();
        batch.take(rows.iter().copied(), &mut out);
        out
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let chosen = select(&batch(), &[2, 0, 2]);
        assert_eq!(chosen.ids[0], Ids::One(vec![9, 7, 9]));
        assert_eq!(chosen.ids[1], Ids::Bag { offsets: vec![0, 1, 3, 4], ids: vec![3, 1, 2, 3] });
        assert_eq!(chosen.numeric, array![[2.1, 2.2], [0.1, 0.2], [2.1, 2.2]]);
        assert!(chosen.labels[[0, 0]].is_nan() && chosen.labels[[1, 0]] == 0.0);
        assert_eq!(chosen.domains, [0, 0, 0].map(DomainId::new));
        assert_eq!((chosen.weights, chosen.groups), (vec![3.0, 1.0, 3.0], vec![5, 5, 5]));
    }

    #[test]
    fn slice_is_a_range_of_rows() {
        let part = batch().slice(1..2);
        assert_eq!(part.rows(), 1);
        assert_eq!(part.ids[1].row(0), [0_u32; 0]);
        assert_eq!(part.numeric, array![[1.1, 1.2]]);
        assert_eq!(batch().slice(3..3).rows(), 0);
    }

    #[test]
    #[should_panic(expected = "rows 2..4 of a batch of 3")]
    fn slice_behind_the_end() {
        batch().slice(2..4);
    }

    #[test]
    fn gathering_overwrites_whatever_was_there() {
        let mut out = Batch { weights: vec![9.0; 7], ids: vec![Ids::One(vec![1]); 5], ..Batch::default() };
        let mut plain = batch();
        plain.weights.clear();
        plain.labels = Array2::zeros((3, 1));
        plain.take(0..3, &mut out);
        assert_eq!(out, plain);
    }

    #[test]
    fn matrices_in_any_memory_order() {
        let mut turned = batch();
        turned.numeric = array![[0.1, 1.1, 2.1], [0.2, 1.2, 2.2]].reversed_axes();
        assert_eq!(turned.numeric, batch().numeric);
        assert_eq!(select(&turned, &[1, 0]).numeric, array![[1.1, 1.2], [0.1, 0.2]]);
        turned.numeric.invert_axis(Axis(0));
        assert_eq!(select(&turned, &[0]).numeric, array![[2.1, 2.2]]);
    }

    #[test]
    fn a_warm_buffer_stays_where_it_is() {
        let (batch, mut out) = (batch(), Batch::default());
        batch.take(0..3, &mut out);
        let address = |out: &Batch| (out.numeric.as_ptr(), out.labels.as_ptr(), out.domains.as_ptr());
        let before = address(&out);
        batch.take([2, 0].into_iter(), &mut out);
        batch.take([2, 1, 0].into_iter(), &mut out);
        assert_eq!(address(&out), before);
    }

    #[test]
    fn check_names_what_is_wrong() {
        type Spoil = fn(&mut Batch);
        assert!(batch().check(&layout()).is_ok());
        let shared = Batch { domains: vec![DomainId::SHARED; 3], ..batch() };
        assert!(shared.check(&layout()).is_ok());
        let cases: [(Spoil, &str); 13] = [
            (|b| b.ids.truncate(1), "expected ids of 2 fields, found 1"),
            (|b| b.ids.swap(0, 1), "column \"user\": expected one id a row, found a bag of ids a row"),
            (|b| b.ids[1] = b.ids[0].clone(), "column \"tags\": expected a bag of ids a row, found one id a row"),
            (|b| b.ids[0] = Ids::One(vec![1]), "column \"user\": expected 3 ids, one a row, found 1"),
            (
                |b| b.ids[1] = Ids::Bag { offsets: vec![0, 0], ids: vec![] },
                "column \"tags\": expected 4 offsets, rows + 1, found 2",
            ),
            (
                |b| b.ids[1] = Ids::Bag { offsets: vec![0, 2, 1, 3], ids: vec![1, 2, 3] },
                "column \"tags\": expected offsets that ascend from 0 to 3, the number of ids",
            ),
            (
                |b| b.ids[1] = Ids::Bag { offsets: vec![0, 1, 1, 3], ids: vec![1, 2, 4] },
                "column \"tags\": found \"4\": row 2: expected an id below 4",
            ),
            (|b| b.numeric[[1, 1]] = f32::INFINITY, "column \"price\": found \"inf\": row 1: expected a finite number"),
            (|b| b.numeric = Array2::zeros((3, 1)), "column \"numeric\": expected [3, 2], found [3, 1]"),
            (
                |b| b.labels[[0, 0]] = 2.0,
                "column \"click\": found \"2\": row 0: expected 0, 1, or NaN for a missing label",
            ),
            (
                |b| b.domains[2] = DomainId::new(2),
                "column \"domains\": found \"2\": row 2: expected a domain of the layout, which has 2",
            ),
            (|b| b.groups.truncate(1), "column \"groups\": expected 3 entries, one a row, or none, found 1"),
            (|b| b.weights[1] = -1.0, "column \"weights\": found \"-1\": row 1: expected a finite number, at least 0"),
        ];
        for (spoil, text) in cases {
            let mut spoilt = batch();
            spoil(&mut spoilt);
            assert_eq!(spoilt.check(&layout()).unwrap_err().to_string(), text);
        }
    }
}

//! Builds a batch from values that are encoded already.

use super::batch::join;
use super::{Batch, DomainId, Ids, Layout};
use crate::error::{Problems, Result};

/// Builds a [`Batch`] column by column, from values that are already ids and numbers, so that no [`Encoder`](super::Encoder) is needed. Start
/// with [`Batch::builder`], which takes the number of rows. The methods that set a column do not fail: [`BatchBuilder::build`] checks all
/// columns and returns the errors.
///
/// ```
/// use starple::data::{Batch, DomainId, Layout, Pooling};
///
/// let layout = Layout::new(["home", "search"], ["click"])
///     .field("user", 100)
///     .bag("genres", 20, Pooling::Mean)
///     .numeric(["age"]);
/// let batch = Batch::builder(&layout, 2)
///     .ids("user", vec![17, 42])
///     .bag("genres", [vec![3, 5, 8], vec![]])
///     .numeric("age", vec![-0.5, 1.25])
///     .domains(vec![DomainId::new(0), DomainId::new(1)])
///     .labels("click", vec![1.0, 0.0])
///     .build()?;
/// assert_eq!(batch.rows(), 2);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder<'a> {
    layout: &'a Layout,
    rows: usize,
    /// By field.
    ids: Vec<Option<Ids>>,
    /// By numeric column.
    numeric: Vec<Option<Vec<f32>>>,
    /// By task.
    labels: Vec<Option<Vec<f32>>>,
    domains: Option<Vec<DomainId>>,
    weights: Vec<f32>,
    groups: Vec<u32>,
    problems: Problems,
}

impl<'a> BatchBuilder<'a> {
    pub(super) fn new(layout: &'a Layout, rows: usize) -> Self {
        Self {
            layout,
            rows,
            ids: vec![None; layout.fields.len()],
            numeric: vec![None; layout.numeric.len()],
            labels: vec![None; layout.tasks.len()],
            domains: None,
            weights: Vec::new(),
            groups: Vec::new(),
            problems: Problems::default(),
        }
    }

    /// Sets the ids of the field with this name: one id for each row, in the order of the rows. Ids are counted from 0. Each must be less than
    /// the number of rows of the field's embedding table. If a name, an id or the number of ids is wrong, [`build`](BatchBuilder::build) returns
    /// an error.
    pub fn ids(mut self, field: &str, ids: Vec<u32>) -> Self {
        let position = self.layout.fields.iter().position(|other| other.name == field);
        place("field", field, position, &mut self.ids, Ids::One(ids), &mut self.problems);
        self
    }

    /// Sets the ids of the field with this name, which has a bag (a list of any number of ids) in each row. `rows` gives one list for each row,
    /// in the order of the rows; a list can be empty. Ids are counted from 0. Each must be less than the number of rows of the field's embedding
    /// table. If a name, an id or the number of lists is wrong, [`build`](BatchBuilder::build) returns an error.
    pub fn bag<B: AsRef<[u32]>>(mut self, field: &str, rows: impl IntoIterator<Item = B>) -> Self {
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for row in rows {
            ids.extend_from_slice(row.as_ref());
            // With too many ids an offset is wrong, and `build` returns an error.
            offsets.push(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        }
        let position = self.layout.fields.iter().position(|other| other.name == field);
        place("field", field, position, &mut self.ids, Ids::Bag { offsets, ids }, &mut self.problems);
        self
    }

    /// Sets the positions of the field with this name, which has [`Pooling::Interpolate`](super::Pooling::Interpolate): for each row an id, and a fraction in `0 ..= 1` of
    /// the way to the next table row.
    pub fn interpolated(mut self, field: &str, ids: Vec<u32>, fractions: Vec<f32>) -> Self {
        let position = self.layout.fields.iter().position(|other| other.name == field);
        let ids = Ids::Interpolated { ids, fractions };
        place("field", field, position, &mut self.ids, ids, &mut self.problems);
        self
    }

    /// Sets the values of the numeric input with this name: one for each row, in the order of the rows. The model uses them as they are, so
    /// standardise them first. Each must be finite. If a name, a value or the number of values is wrong, [`build`](BatchBuilder::build) returns
    /// an error.
    pub fn numeric(mut self, name: &str, values: Vec<f32>) -> Self {
        let position = self.layout.numeric.iter().position(|other| other == name);
        let values = self.sized("numeric", name, values);
        place("numeric", name, position, &mut self.numeric, values, &mut self.problems);
        self
    }

    /// Sets the labels of the task with this name: one for each row, in the order of the rows. A label of a binary task is 0 or 1, a label of
    /// a task of another kind is a number, and a missing label is NaN. If a
    /// name, a label or the number of labels is wrong, [`build`](BatchBuilder::build) returns an error. A task for which no labels are set has
    /// only missing labels.
    pub fn labels(mut self, task: &str, values: Vec<f32>) -> Self {
        let position = self.layout.tasks.iter().position(|other| other == task);
        let values = self.sized("labels", task, values);
        place("task", task, position, &mut self.labels, values, &mut self.problems);
        self
    }

    /// Sets the domains of the rows: one for each row, in the order of the rows. If the layout has exactly one domain, this call is optional,
    /// and every row gets that domain by default. If a domain is not in the layout or their number is wrong, [`build`](BatchBuilder::build)
    /// returns an error.
    pub fn domains(mut self, domains: Vec<DomainId>) -> Self {
        let (rows, found) = (self.rows, domains.len());
        self.problems.require(found == rows, || format!("domains: expected {rows}, one per row, found {found}"));
        self.domains = Some(domains);
        self
    }

    /// Sets the weights of the rows: one for each row, in the order of the rows. A weight multiplies the part of its row in the loss and in
    /// metrics. Each must be finite and at least 0; otherwise [`build`](BatchBuilder::build) returns an error, as it does for a wrong number of
    /// weights. By default every weight is 1.
    pub fn weights(mut self, weights: Vec<f32>) -> Self {
        self.weights = weights;
        self
    }

    /// Sets the groups of the rows: one number for each row, in the order of the rows. Rows with the same number are in the same group; for
    /// example, a group has the rows of one user. Metrics such as [GAUC](crate::metrics::gauc()) compare scores within a group. For a wrong
    /// number of groups [`build`](BatchBuilder::build) returns an error. By default there are no groups.
    pub fn groups(mut self, groups: Vec<u32>) -> Self {
        self.groups = groups;
        self
    }

    /// Checks all columns and builds the batch.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) in these cases. The message names every such column.
    ///
    /// * A field, numeric input or task is not in the layout, or is given twice.
    /// * A field or numeric input of the layout is missing.
    /// * The domains are missing, and the layout does not have exactly one.
    /// * There is not one numeric value, label or domain for each row.
    ///
    /// If there is no such case, the errors of [`Batch::check`], for example if there is not one id for each row or an id is too large.
    pub fn build(self) -> Result<Batch> {
        let Self { layout, rows, ids, numeric, labels, domains, weights, groups, mut problems } = self;
        for (field, ids) in layout.fields.iter().zip(&ids) {
            problems.require(ids.is_some(), || format!("field {:?}: missing", field.name));
        }
        for (name, values) in layout.numeric.iter().zip(&numeric) {
            problems.require(values.is_some(), || format!("numeric {name:?}: missing"));
        }
        let one = layout.domains.len() == 1;
        problems.require(one || domains.is_some(), || {
            format!("domains: missing, and the layout has {} domains", layout.domains.len())
        });
        problems.into_result("Batch")?;
        let missing = || vec![f32::NAN; rows];
        let labels: Vec<_> = labels.into_iter().map(|labels| labels.unwrap_or_else(missing)).collect();
        let numeric: Vec<_> = numeric.into_iter().flatten().collect();
        let batch = Batch {
            ids: ids.into_iter().flatten().collect(),
            numeric: join(&numeric, rows),
            labels: join(&labels, rows),
            domains: domains.unwrap_or_else(|| vec![DomainId::new(0); rows]),
            weights,
            groups,
        };
        batch.check(layout)?;
        Ok(batch)
    }

    /// Returns `values`, and notes a problem if there is not one value per row.
    fn sized(&mut self, what: &str, name: &str, values: Vec<f32>) -> Vec<f32> {
        let (rows, found) = (self.rows, values.len());
        self.problems.require(found == rows, || format!("{what} {name:?}: expected {rows} values, found {found}"));
        values
    }
}

/// Stores `column` at its position, or notes a problem.
fn place<T>(
    what: &str,
    name: &str,
    position: Option<usize>,
    columns: &mut [Option<T>],
    column: T,
    problems: &mut Problems,
) {
    match position {
        None => problems.require(false, || format!("{what} {name:?}: not in the layout")),
        Some(position) => {
            let twice = columns[position].replace(column).is_some();
            problems.require(!twice, || format!("{what} {name:?}: given twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pooling;

    fn layout(domains: usize) -> Layout {
        Layout::new((0..domains).map(|domain| domain.to_string()), ["click", "buy"])
            .field("user", 10)
            .bag("tags", 4, Pooling::Sum)
            .numeric(["age", "price"])
    }

    #[test]
    fn columns_are_given_in_any_order_and_stored_in_that_of_the_layout() {
        let layout = layout(1);
        let batch = Batch::builder(&layout, 2)
            .labels("buy", vec![0.0, 1.0])
            .numeric("price", vec![3.0, 4.0])
            .numeric("age", vec![1.0, 2.0])
            .bag("tags", [&[1, 2][..], &[]])
            .ids("user", vec![8, 9])
            .weights(vec![0.5, 2.0])
            .groups(vec![3, 3])
            .build()
            .unwrap();
        assert_eq!(batch.ids, [Ids::One(vec![8, 9]), Ids::Bag { offsets: vec![0, 2, 2], ids: vec![1, 2] }]);
        assert_eq!(batch.numeric, ndarray::array![[1.0, 3.0], [2.0, 4.0]]);
        assert!(batch.labels.column(0).iter().all(|label| label.is_nan()));
        assert_eq!(batch.labels.column(1).to_vec(), [0.0, 1.0]);
        assert_eq!(batch.domains, [DomainId::new(0); 2]);
        assert_eq!((batch.weights, batch.groups), (vec![0.5, 2.0], vec![3, 3]));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let layout = layout(2);
        let error = Batch::builder(&layout, 2)
            .ids("usr", vec![1, 2])
            .bag("tags", [[1], [2]])
            .bag("tags", [[1], [2]])
            .numeric("age", vec![1.0])
            .labels("sale", vec![0.0, 0.0])
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Batch: field \"usr\": not in the layout; field \"tags\": given twice; \
             numeric \"age\": expected 2 values, found 1; task \"sale\": not in the layout; \
             field \"user\": missing; numeric \"price\": missing; domains: missing, and the layout has 2 domains"
        );
    }

    #[test]
    fn values_are_checked_too() {
        let layout = Layout { numeric: vec![], ..layout(1) };
        let build = |user, tags: &[Vec<u32>]| Batch::builder(&layout, 1).ids("user", user).bag("tags", tags).build();
        assert!(build(vec![9], &[vec![3]]).is_ok());
        for (error, text) in [
            (build(vec![10], &[vec![]]), "column \"user\": found \"10\": row 0: expected an id below 10"),
            (build(vec![9, 9], &[vec![]]), "column \"user\": expected 1 ids, one a row, found 2"),
            (build(vec![9], &[]), "column \"tags\": expected 2 offsets, rows + 1, found 1"),
        ] {
            assert_eq!(error.unwrap_err().to_string(), text);
        }
    }
}

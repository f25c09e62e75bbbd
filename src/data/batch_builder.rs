//! Builds a batch from values that are encoded already.

use super::batch::join;
use super::{Batch, DomainId, Ids, Layout};
use crate::error::{Problems, Result};

/// Builds a [`Batch`] column by column, from values that are encoded already and need no [`Encoder`](super::Encoder). Start with
/// [`Batch::builder`], which takes the number of rows. [`BatchBuilder::build`] checks all columns, so no other method fails.
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

    /// Sets the ids of the field with this name, one id for each row. An id is counted from 0 and must be less than the number of rows of the
    /// field's embedding table.
    pub fn ids(mut self, field: &str, ids: Vec<u32>) -> Self {
        let position = self.layout.fields.iter().position(|other| other.name == field);
        place("field", field, position, &mut self.ids, Ids::One(ids), &mut self.problems);
        self
    }

    /// Sets the ids of the field with this name, which has a bag of ids in each row: `rows` gives one list for each row, which can be empty. An
    /// id is counted from 0 and must be less than the number of rows of the field's embedding table.
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

    /// Sets the values of the numeric input with this name, one finite value for each row. They are used as they are, so standardise them first.
    pub fn numeric(mut self, name: &str, values: Vec<f32>) -> Self {
        let position = self.layout.numeric.iter().position(|other| other == name);
        let values = self.sized("numeric", name, values);
        place("numeric", name, position, &mut self.numeric, values, &mut self.problems);
        self
    }

    /// Sets the labels of the task with this name, one for each row: 0 and 1, for tasks of other
    /// kinds numbers, and NaN for a missing label. By default all labels are missing.
    pub fn labels(mut self, task: &str, values: Vec<f32>) -> Self {
        let position = self.layout.tasks.iter().position(|other| other == task);
        let values = self.sized("labels", task, values);
        place("task", task, position, &mut self.labels, values, &mut self.problems);
        self
    }

    /// Sets the domain of each row. If the layout has exactly one domain, this is optional and every row gets that domain.
    pub fn domains(mut self, domains: Vec<DomainId>) -> Self {
        let (rows, found) = (self.rows, domains.len());
        self.problems.require(found == rows, || format!("domains: expected {rows}, one per row, found {found}"));
        self.domains = Some(domains);
        self
    }

    /// Sets the weight of each row in the loss and in metrics, finite and at least 0. By default every weight is 1.
    pub fn weights(mut self, weights: Vec<f32>) -> Self {
        self.weights = weights;
        self
    }

    /// Sets the group of each row, for example the number of its user. Metrics such as [GAUC](crate::metrics::gauc()) compare scores within a
    /// group. By default there are no groups.
    pub fn groups(mut self, groups: Vec<u32>) -> Self {
        self.groups = groups;
        self
    }

    /// Checks all columns and builds the batch.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a field, numeric input or task is not in the layout or is given twice, if a field or
    /// numeric input is missing, if the domains are missing and the layout does not have exactly one, or if numbers, labels or domains are not
    /// one for each row. The message names every such column.
    ///
    /// Otherwise an error of [`Batch::check`], for example if there is not one id for each row or an id is too large.
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

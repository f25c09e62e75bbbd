//! Metrics of a model on rows.

use crate::Result;
use crate::data::DataSet;
use crate::metrics::{Evaluator, Report};
use crate::model::Model;

/// Scores the rows `rows` with `model` in inference ([`Model::score`]), compares the scores with the labels, and returns every metric for each
/// task: over all rows, and over the rows of each domain.
///
/// If the rows have weights, each row counts by its weight. A missing label is left out. A metric is `None` if it is undefined, for example
/// if a task has no labels. Rows of no known domain count under the name [`SHARED_DOMAIN`](crate::metrics::SHARED_DOMAIN). Inside a rayon
/// pool it uses all threads of the pool, with the same result.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if the rows do not have the model's layout.
/// [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) if the logit of a labelled row with a weight above 0 is not finite.
pub fn evaluate(model: &Model, rows: &DataSet) -> Result<Report> {
    rows.check_for(model.layout())?;
    let mut evaluator = Evaluator::new(model.layout());
    evaluator.add(&model.score(rows), &rows.labels, rows.domains(), &rows.weights, &rows.groups)?;
    Ok(evaluator.report())
}

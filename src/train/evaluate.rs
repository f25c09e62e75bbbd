//! Metrics of a model on rows.

use crate::Result;
use crate::data::DataSet;
use crate::metrics::{Evaluator, Report};
use crate::model::Model;

/// Computes every metric of the model on these rows, by task and domain. The scores are those of [`Model::score`]. If the rows have
/// weights, each row counts by its weight.
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if the rows do not have the model's layout.
/// [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) if the score of a row with a label is not finite.
pub fn evaluate(model: &Model, rows: &DataSet) -> Result<Report> {
    rows.check_for(model.layout())?;
    let mut evaluator = Evaluator::new(model.layout());
    evaluator.add(&model.score(rows), &rows.labels, rows.domains(), &rows.weights, &rows.groups)?;
    Ok(evaluator.report())
}

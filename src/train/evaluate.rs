//! Metrics of a model on rows.

use crate::Result;
use crate::data::DataSet;
use crate::metrics::{Evaluator, Report};
use crate::model::Model;

/// Every metric of the model on these rows, by task and domain.
///
/// Rows count by their weights, if they have weights. Scores are those of [`Model::score`].
///
/// # Errors
/// [`ErrorKind::Layout`](crate::ErrorKind::Layout) or [`ErrorKind::Data`](crate::ErrorKind::Data) if the rows do not have
/// the model's layout; [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) if a score is not finite.
pub fn evaluate(model: &Model, rows: &DataSet) -> Result<Report> {
    rows.check_for(model.layout())?;
    let mut evaluator = Evaluator::new(model.layout());
    evaluator.add(&model.score(rows), &rows.labels, rows.domains(), &rows.weights, &rows.groups)?;
    Ok(evaluator.report())
}

//! Where a loss stopped being a number.

/// The place of the first loss, gradient or logit that is NaN or infinite: the error of [`Objective::evaluate`](super::Objective::evaluate).
///
/// Tasks are searched in the order of the layout. For each task, the logits of all rows are checked first, then the loss and gradient of each row.
/// The error has only positions, not names: look up the name of the task in the layout and the domain of the row in the batch.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "row {row} of the batch, task {task}: logit {logit}, label {label}, row weight {weight} and unit weight \
     {unit_weight} give a loss or gradient that is not finite"
)]
pub struct NonFiniteAt {
    /// The number of the row in the batch, from 0 for the first row.
    pub row: usize,
    /// The position of the task in [`Layout::tasks`](crate::data::Layout::tasks), from 0: the column of the logits.
    pub task: usize,
    /// The logit of this row and task.
    pub logit: f32,
    /// The label of this row and task, as in the batch; NaN if it is missing.
    pub label: f32,
    /// The weight of the row in the loss; 1 if the rows have no weights.
    pub weight: f32,
    /// The weight of the unit that the label belongs to ([`Units`](super::Units)): its entry in the `weights` that
    /// [`Objective::evaluate`](super::Objective::evaluate) got.
    pub unit_weight: f64,
}

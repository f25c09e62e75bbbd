//! Where a loss stopped being a number.

/// The first row, in the first task, whose loss or gradient is not a finite number.
///
/// The caller knows the names: the step, the domain of the row, the task.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "row {row} of the batch, task {task}: logit {logit}, label {label}, row weight {weight} and unit weight \
     {unit_weight} give a loss or gradient that is not finite"
)]
pub struct NonFiniteAt {
    /// The number of the row in the batch, from 0.
    pub row: usize,
    /// The position of the task in [`Layout::tasks`](crate::data::Layout::tasks), from 0.
    pub task: usize,
    /// The logit of this row and task.
    pub logit: f32,
    /// The label of this row and task; NaN if it is missing.
    pub label: f32,
    /// The sample weight of the row.
    pub weight: f32,
    /// The weight of the label's unit ([`Units`](crate::loss::Units)) in this step.
    pub unit_weight: f64,
}

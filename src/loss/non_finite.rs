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
    /// The row of the batch.
    pub row: usize,
    /// The task.
    pub task: usize,
    /// The logit there.
    pub logit: f32,
    /// The label there; NaN when it is missing.
    pub label: f32,
    /// The weight of the row.
    pub weight: f32,
    /// The weight of the label's unit in that step.
    pub unit_weight: f64,
}

//! Checks that every optimizer makes.

use crate::error::Problems;

/// Notes in `problems` if a setting is no finite number above 0, also as the f32 that the inner loops take.
pub(super) fn require_positive(problems: &mut Problems, name: &str, value: f64) {
    let narrow = value as f32;
    problems.require(narrow.is_finite() && narrow >= f32::MIN_POSITIVE, || {
        format!("{name}: a finite number above 0, found {value}")
    });
}

/// The learning rate as f32, which the updates take.
pub(super) fn checked_lr(lr: f64) -> f32 {
    assert!((lr as f32).is_finite() && lr >= 0.0, "a learning rate is finite and at least 0, found {lr}");
    lr as f32
}

/// Asserts that values and gradient are of one shape: a zip would silently stop at the shorter.
pub(super) fn assert_same_len(slot: usize, values: &[f32], grad: &[f32]) {
    assert_eq!(values.len(), grad.len(), "slot {slot}: values and gradient differ in length");
}

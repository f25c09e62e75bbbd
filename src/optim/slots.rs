//! An optimizer's memory: a few vectors and a step count for each slot.

use super::SlotState;
use crate::{Error, ErrorKind, Result};

/// The vectors that hold sums or means of squares.
const SQUARES: [&str; 2] = ["sum", "second_moment"];

/// The most steps that a slot can have taken: such counts stay in range.
const MAX_STEPS: u64 = 1 << 48;

/// The state of every slot: `N` vectors of one length, known by `names`.
#[derive(Debug, Clone)]
pub(super) struct Slots<const N: usize> {
    names: [&'static str; N],
    slots: Vec<Option<Slot<N>>>,
}

/// The state of one slot.
#[derive(Debug, Clone)]
pub(super) struct Slot<const N: usize> {
    pub(super) steps: u64,
    pub(super) tensors: [Vec<f32>; N],
}

impl<const N: usize> Slot<N> {
    /// Its vectors.
    pub(super) fn slices(&mut self) -> [&mut [f32]; N] {
        self.tensors.each_mut().map(|tensor| &mut tensor[..])
    }
}

impl<const N: usize> Slots<N> {
    pub(super) fn new(names: [&'static str; N]) -> Self {
        Self { names, slots: Vec::new() }
    }

    /// Counts one more step of a slot and gives its state, which starts as `len` times `start`.
    pub(super) fn step(&mut self, slot: usize, len: usize, start: f32) -> &mut Slot<N> {
        let state = self
            .entry(slot)
            .get_or_insert_with(|| Slot { steps: 0, tensors: std::array::from_fn(|_| vec![start; len]) });
        let held = state.tensors.first().map_or(len, Vec::len);
        assert_eq!(held, len, "slot {slot}: its optimizer state is of another length than its values");
        state.steps += 1;
        state
    }

    pub(super) fn state(&self, slot: usize) -> Option<SlotState<'_>> {
        let state = self.slots.get(slot)?.as_ref()?;
        let tensors = self.names.iter().zip(&state.tensors);
        Some(SlotState { steps: state.steps, tensors: tensors.map(|(&name, values)| (name, &values[..])).collect() })
    }

    /// Takes a saved state whose tensors must be ours, each of `len` values.
    pub(super) fn restore(&mut self, slot: usize, len: usize, saved: &SlotState<'_>) -> Result<()> {
        let mut problems = Vec::new();
        for (i, (name, values)) in saved.tensors.iter().enumerate() {
            if !self.names.contains(name) {
                problems.push(format!("{name}: not a part of this optimizer's state"));
            } else if saved.tensors[..i].iter().any(|(earlier, _)| earlier == name) {
                problems.push(format!("{name}: given twice"));
            } else if values.len() != len {
                problems.push(format!("{name}: expected {len} values, found {}", values.len()));
            } else if SQUARES.contains(name) && values.iter().any(|&value| value < 0.0) {
                problems.push(format!("{name}: expected values of at least 0, found a negative one"));
            }
        }
        if saved.steps > MAX_STEPS {
            problems.push(format!("steps: at most {MAX_STEPS}, found {}", saved.steps));
        }
        for name in self.names {
            if !saved.tensors.iter().any(|&(found, _)| found == name) {
                problems.push(format!("{name}: missing"));
            }
        }
        if !problems.is_empty() {
            let message = format!("optimizer state of slot {slot}: {}", problems.join("; "));
            return Err(Error::new(ErrorKind::Layout, message)
                .with_help("resume with the optimizer and the model that the state was saved from"));
        }
        let tensors = self.names.map(|name| {
            let values = saved.tensors.iter().find(|&&(found, _)| found == name).map(|&(_, values)| values);
            values.expect("checked above").to_vec()
        });
        *self.entry(slot) = Some(Slot { steps: saved.steps, tensors });
        Ok(())
    }

    fn entry(&mut self, slot: usize) -> &mut Option<Slot<N>> {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        &mut self.slots[slot]
    }
}

/// The value, or 0 where it is too small for a normal number.
///
/// A moment without gradient fades by a constant factor until it is subnormal, and there rounding holds it for ever:
/// `0.9 · x` rounds back to `x`. Arithmetic on subnormals is slow: Adam took twice as long over tensors without gradient.
#[inline(always)]
pub(super) fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_state_is_refused_with_all_that_is_wrong_and_changes_nothing() {
        let mut slots = Slots::new(["first", "second"]);
        slots.step(1, 2, 0.5);
        let saved = SlotState { steps: 9, tensors: vec![("first", &[1.0; 3]), ("third", &[1.0; 2])] };
        let error = slots.restore(1, 2, &saved).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout);
        let text = error.to_string();
        for part in ["slot 1", "first: expected 2 values, found 3", "third: not a part", "second: missing"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        let kept = slots.state(1).unwrap();
        assert_eq!(kept, SlotState { steps: 1, tensors: vec![("first", &[0.5; 2]), ("second", &[0.5; 2])] });
        assert_eq!(slots.state(0), None);
        assert_eq!(slots.state(7), None);
    }

    #[test]
    #[should_panic(expected = "slot 0: its optimizer state is of another length")]
    fn a_slot_does_not_change_its_length() {
        let mut slots = Slots::new(["only"]);
        slots.step(0, 2, 0.0);
        slots.step(0, 3, 0.0);
    }

    #[test]
    fn a_fading_moment_reaches_zero() {
        let mut moment = 1.0_f32;
        for _ in 0..2000 {
            moment = flush(0.9 * moment);
        }
        assert_eq!(moment, 0.0);
        assert_eq!(flush(-f32::MIN_POSITIVE), -f32::MIN_POSITIVE);
        assert!(flush(f32::NAN).is_nan());
    }
}

//! Learning rates that change over time.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Clock;
use crate::error::Problems;
use crate::{Error, Result};

/// How the learning rate changes over time: a factor on the base rate for every step.
///
/// Any schedule may start with a linear [warm-up](LrSchedule::with_warm_up). In a file `kind` says which, and
/// `warm_up_steps` (default 0) is a setting of all of them:
///
/// | `kind` | settings |
/// |---|---|
/// | `"constant"` | none |
/// | `"cosine"` | `total_steps`, `floor = 0` |
/// | `"step"` | `every_epochs`, `factor` |
/// | `"plateau"` | `factor`, `patience`, `min_factor = 0` |
///
/// All are functions of the [`Clock`] alone, except the plateau, whose [`PlateauState`] the caller keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct LrSchedule {
    warm_up_steps: u64,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Constant,
    Cosine { total_steps: u64, floor: f64 },
    Step { every_epochs: u64, factor: f64 },
    Plateau { factor: f64, patience: u64, min_factor: f64 },
}

/// What a plateau schedule remembers; for all others it stays as it starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The best value of the metric so far.
    pub best: Option<f64>,
    /// How many values since then, or since the last reduction, were no better.
    pub waited: u64,
    /// The factor on the learning rate.
    pub factor: f64,
}

impl Default for PlateauState {
    fn default() -> Self {
        Self { best: None, waited: 0, factor: 1.0 }
    }
}

impl Default for LrSchedule {
    fn default() -> Self {
        Self::constant()
    }
}

impl LrSchedule {
    /// The base learning rate always.
    pub fn constant() -> Self {
        Self { warm_up_steps: 0, shape: Shape::Constant }
    }

    /// Falls along half a cosine: `floor + (1 − floor)·(1 + cos πp)/2`, where p goes from 0 to 1.
    ///
    /// It reaches `floor` (from 0 to 1) at step `total_steps` (at least 1) and stays there. A warm-up is part of the
    /// total, and p counts from its end (Loshchilov & Hutter 2017, equation 5, without restarts).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming every setting that is out of range; so in all of these.
    pub fn cosine(total_steps: u64, floor: f64) -> Result<Self> {
        Self { warm_up_steps: 0, shape: Shape::Cosine { total_steps, floor } }.checked()
    }

    /// Multiplies by `factor` (0 < factor ≤ 1) after every `every_epochs` (at least 1) epochs.
    ///
    /// # Errors
    /// As [`LrSchedule::cosine`].
    pub fn step(every_epochs: u64, factor: f64) -> Result<Self> {
        Self { warm_up_steps: 0, shape: Shape::Step { every_epochs, factor } }.checked()
    }

    /// Multiplies by `factor` (0 < factor < 1), down to `min_factor` (0 ≤ `min_factor` ≤ 1) of the base rate, whenever a
    /// metric has not become better for more than `patience` observations in a row.
    ///
    /// # Errors
    /// As [`LrSchedule::cosine`].
    pub fn plateau(factor: f64, patience: u64, min_factor: f64) -> Result<Self> {
        Self { warm_up_steps: 0, shape: Shape::Plateau { factor, patience, min_factor } }.checked()
    }

    /// Starts this schedule with a linear rise over the first `steps` steps: the first is at `1/steps` of what it would be,
    /// the last at all of it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a cosine would end before the warm-up does.
    pub fn with_warm_up(self, steps: u64) -> Result<Self> {
        Self { warm_up_steps: steps, ..self }.checked()
    }

    /// The factor on the base learning rate for the step that is about to be taken.
    pub fn factor(&self, clock: Clock, plateau: &PlateauState) -> f64 {
        let rise =
            if clock.step < self.warm_up_steps { (clock.step + 1) as f64 / self.warm_up_steps as f64 } else { 1.0 };
        let shape = match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine { total_steps, floor } => {
                let done = clock.step.saturating_sub(self.warm_up_steps) as f64;
                let part = (done / (total_steps - self.warm_up_steps) as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * part).cos())
            }
            Shape::Step { every_epochs, factor } => {
                factor.powi(i32::try_from(clock.epoch / every_epochs).unwrap_or(i32::MAX))
            }
            Shape::Plateau { .. } => plateau.factor,
        };
        rise * shape
    }

    /// Shows a plateau schedule the next value of its metric, once an epoch as a rule; others ignore it.
    ///
    /// Better means strictly larger, or strictly smaller, as `larger_is_better` says. A NaN (an undefined metric) is no
    /// improvement.
    pub fn observe(&self, plateau: &mut PlateauState, metric: f64, larger_is_better: bool) {
        let Shape::Plateau { factor, patience, min_factor } = self.shape else { return };
        let better = match plateau.best {
            None => !metric.is_nan(),
            Some(best) if larger_is_better => metric > best,
            Some(best) => metric < best,
        };
        if better {
            (plateau.best, plateau.waited) = (Some(metric), 0);
            return;
        }
        plateau.waited += 1;
        if plateau.waited > patience {
            plateau.waited = 0;
            plateau.factor = (plateau.factor * factor).max(min_factor);
        }
    }

    /// Whether it depends on what it is shown.
    pub(crate) fn observes(&self) -> bool {
        matches!(self.shape, Shape::Plateau { .. })
    }

    fn checked(self) -> Result<Self> {
        let mut problems = Problems::default();
        match self.shape {
            Shape::Constant => {}
            Shape::Cosine { total_steps, floor } => {
                problems.require(total_steps > self.warm_up_steps, || {
                    format!("total_steps: above warm_up_steps ({}), found {total_steps}", self.warm_up_steps)
                });
                problems.require((0.0..=1.0).contains(&floor), || format!("floor: from 0 to 1, found {floor}"));
            }
            Shape::Step { every_epochs, factor } => {
                problems.require(every_epochs > 0, || "every_epochs: at least 1, found 0".into());
                problems.require(factor > 0.0 && factor <= 1.0, || {
                    format!("factor: above 0 and at most 1, found {factor}")
                });
            }
            Shape::Plateau { factor, patience: _, min_factor } => {
                problems
                    .require(factor > 0.0 && factor < 1.0, || format!("factor: above 0 and below 1, found {factor}"));
                problems.require((0.0..=1.0).contains(&min_factor), || {
                    format!("min_factor: from 0 to 1, found {min_factor}")
                });
            }
        }
        problems.into_result("schedule")?;
        Ok(self)
    }
}

/// The settings as a file has them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum File {
    Constant {
        #[serde(default)]
        warm_up_steps: u64,
    },
    Cosine {
        total_steps: u64,
        #[serde(default)]
        floor: f64,
        #[serde(default)]
        warm_up_steps: u64,
    },
    Step {
        every_epochs: u64,
        factor: f64,
        #[serde(default)]
        warm_up_steps: u64,
    },
    Plateau {
        factor: f64,
        patience: u64,
        #[serde(default)]
        min_factor: f64,
        #[serde(default)]
        warm_up_steps: u64,
    },
}

impl TryFrom<File> for LrSchedule {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let (warm_up_steps, shape) = match file {
            File::Constant { warm_up_steps } => (warm_up_steps, Shape::Constant),
            File::Cosine { total_steps, floor, warm_up_steps } => (warm_up_steps, Shape::Cosine { total_steps, floor }),
            File::Step { every_epochs, factor, warm_up_steps } => (warm_up_steps, Shape::Step { every_epochs, factor }),
            File::Plateau { factor, patience, min_factor, warm_up_steps } => {
                (warm_up_steps, Shape::Plateau { factor, patience, min_factor })
            }
        };
        Self { warm_up_steps, shape }.checked()
    }
}

impl From<LrSchedule> for File {
    fn from(LrSchedule { warm_up_steps, shape }: LrSchedule) -> Self {
        match shape {
            Shape::Constant => Self::Constant { warm_up_steps },
            Shape::Cosine { total_steps, floor } => Self::Cosine { total_steps, floor, warm_up_steps },
            Shape::Step { every_epochs, factor } => Self::Step { every_epochs, factor, warm_up_steps },
            Shape::Plateau { factor, patience, min_factor } => {
                Self::Plateau { factor, patience, min_factor, warm_up_steps }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: LrSchedule, clocks: impl IntoIterator<Item = (u64, u64)>) -> Vec<f64> {
        let factor = |(epoch, step)| schedule.factor(Clock { epoch, step }, &PlateauState::default());
        clocks.into_iter().map(factor).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn warm_up_rises_in_equal_parts_and_combines() {
        let schedule = LrSchedule::constant().with_warm_up(4).unwrap();
        assert_close(&factors(schedule, (0..6).map(|step| (0, step))), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        let schedule = LrSchedule::step(1, 0.5).unwrap().with_warm_up(4).unwrap();
        assert_close(&factors(schedule, [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), &[0.25, 0.5, 0.375, 0.5, 0.25]);
    }

    #[test]
    fn the_cosine_passes_through_its_known_points() {
        let schedule = LrSchedule::cosine(6, 0.2).unwrap();
        // cos of 0°, 60°, 90°, 120°, 180° is 1, 1/2, 0, −1/2, −1; behind the end the floor holds.
        assert_close(&factors(schedule, [0, 2, 3, 4, 6, 99].map(|s| (0, s))), &[1.0, 0.8, 0.6, 0.4, 0.2, 0.2]);
        let schedule = LrSchedule::cosine(10, 0.0).unwrap().with_warm_up(4).unwrap();
        assert_close(&factors(schedule, [1, 3, 4, 7, 10].map(|s| (0, s))), &[0.5, 1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn steps_count_epochs() {
        let schedule = LrSchedule::step(2, 0.1).unwrap();
        assert_close(&factors(schedule, (0..5).map(|epoch| (epoch, 1000))), &[1.0, 1.0, 0.1, 0.1, 0.01]);
    }

    #[test]
    fn a_plateau_waits_and_then_reduces_to_its_floor() {
        let schedule = LrSchedule::plateau(0.5, 1, 0.2).unwrap();
        let mut state = PlateauState::default();
        let mut seen = Vec::new();
        for auc in [0.7, 0.8, 0.8, f64::NAN, 0.79, 0.81, 0.6, 0.6, 0.6, 0.6] {
            schedule.observe(&mut state, auc, true);
            seen.push(schedule.factor(Clock::default(), &state));
        }
        assert_eq!(seen, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]);
        let mut state = PlateauState::default();
        for loss in [0.7, 0.6, 0.65, 0.5] {
            schedule.observe(&mut state, loss, false);
        }
        assert_eq!(state, PlateauState { best: Some(0.5), waited: 0, factor: 1.0 });
        // Others learn nothing from a metric.
        let mut state = PlateauState::default();
        LrSchedule::constant().observe(&mut state, 0.7, true);
        assert_eq!(state, PlateauState::default());
    }

    #[test]
    fn files_say_what_code_says() {
        for (text, expected) in [
            ("kind = 'constant'", LrSchedule::constant()),
            ("kind = 'constant'\nwarm_up_steps = 9", LrSchedule::constant().with_warm_up(9).unwrap()),
            ("kind = 'cosine'\ntotal_steps = 50", LrSchedule::cosine(50, 0.0).unwrap()),
            ("kind = 'step'\nevery_epochs = 2\nfactor = 0.5", LrSchedule::step(2, 0.5).unwrap()),
            (
                "kind = 'plateau'\nfactor = 0.5\npatience = 3\nmin_factor = 0.1\nwarm_up_steps = 2",
                LrSchedule::plateau(0.5, 3, 0.1).unwrap().with_warm_up(2).unwrap(),
            ),
        ] {
            assert_eq!(toml::from_str::<LrSchedule>(text).unwrap(), expected);
            assert_eq!(toml::from_str::<LrSchedule>(&toml::to_string(&expected).unwrap()).unwrap(), expected);
        }
        for (text, parts) in [
            (
                "kind = 'cosine'\ntotal_steps = 5\nwarm_up_steps = 5\nfloor = 2",
                &["total_steps", "found 5", "floor"][..],
            ),
            ("kind = 'step'\nevery_epochs = 0\nfactor = 0", &["every_epochs", "factor"]),
            ("kind = 'plateau'\nfactor = 1\npatience = 1\nmin_factor = -1", &["factor", "min_factor"]),
            ("kind = 'cosine'\ntotal_steps = 5\nfactor = 1", &["factor"]),
            ("kind = 'constant'\nwarmup = 1", &["warmup", "warm_up_steps"]),
            ("kind = 'linear'", &["linear", "plateau"]),
        ] {
            let error = toml::from_str::<LrSchedule>(text).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }
}

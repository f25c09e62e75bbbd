//! Learning rates that change over time.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Clock;

/// How the learning rate changes over time: in every step, the base rate ([`OptimizerConfig::lr`](super::OptimizerConfig::lr)) is
/// multiplied by a factor.
///
/// In a file, `kind` names the schedule, and every setting except `total_steps` has a default:
///
/// | `kind` | settings and defaults |
/// |---|---|
/// | `"constant"`, the default | none |
/// | `"cosine"` | `total_steps`, `floor = 0` |
/// | `"step"` | `every_epochs = 1`, `factor = 0.1` |
/// | `"plateau"` | `factor = 0.1`, `patience = 10`, `min_factor = 0` |
///
/// All of them also have the setting `warm_up_steps`; its default 0 means no warm-up. Otherwise, over the first n = `warm_up_steps` steps
/// of training, the rate rises linearly: the first step has 1/n of the rate that the schedule gives, the second step 2/n, and step n the
/// whole rate.
///
/// [`LrSchedule::factor`] computes the factor from the [`Clock`]. Only the factor of `"plateau"` also depends on a [`PlateauState`], which
/// the caller keeps.
///
/// ```
/// use starple::optim::{CosineLr, LrSchedule};
///
/// let text = r#"{"kind": "cosine", "total_steps": 1000, "warm_up_steps": 100}"#;
/// let in_code = CosineLr::builder().total_steps(1000).warm_up_steps(100).build()?;
/// assert_eq!(serde_json::from_str::<LrSchedule>(text)?, LrSchedule::Cosine(in_code));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LrSchedule {
    /// The factor is 1: the learning rate does not change after the warm-up.
    Constant(ConstantLr),
    /// The factor is `floor + (1 − floor)·(1 + cos(π·p))/2`, where p rises from 0 at the end of the warm-up to 1 at step
    /// [`CosineLr::total_steps`]. So the learning rate falls along half a cosine, and then stays at [`CosineLr::floor`] times the base
    /// rate.
    Cosine(CosineLr),
    /// The learning rate is multiplied by [`StepLr::factor`] after every [`StepLr::every_epochs`] epochs: after n times this number of
    /// epochs, the factor is `factorⁿ`.
    Step(StepLr),
    /// The factor starts at 1. It is multiplied by [`PlateauLr::factor`] whenever the monitored metric has not improved for more than
    /// [`PlateauLr::patience`] epochs in a row. It needs validation rows.
    Plateau(PlateauLr),
}

impl Default for LrSchedule {
    fn default() -> Self {
        Self::Constant(ConstantLr::default())
    }
}

crate::settings! {
    /// The settings of [`LrSchedule::Constant`]: after the warm-up, the base learning rate does not change.
    #[derive(Default)]
    ConstantLr, ConstantLrBuilder, in files {
        /// The number of steps, from the start of training, over which the learning rate rises linearly to its full value. Default 0: no
        /// warm-up.
        warm_up_steps: u64 = 0;
    }
}

crate::settings! {
    /// The settings of [`LrSchedule::Cosine`]. The factor on the base learning rate falls along half a cosine from 1 to `floor`: it is
    /// `floor + (1 − floor)·(1 + cos(π·p))/2`.
    ///
    /// Here p rises linearly from 0 at the end of the warm-up to 1 at step `total_steps`. From then on the factor is `floor` (Loshchilov &
    /// Hutter 2017, equation 5, without restarts).
    CosineLr, CosineLrBuilder, in files {
        /// The number of steps after which the factor is `floor`, counted from the start of training; the warm-up is included. It must be
        /// above `warm_up_steps`. It has no default.
        total_steps: u64 = 0;
        /// The lowest factor on the base learning rate, which the factor reaches at step `total_steps`. From 0 to 1; default 0.
        floor: f64 = 0.0;
        /// The number of steps, from the start of training, over which the learning rate rises linearly to its full value. Default 0: no
        /// warm-up.
        warm_up_steps: u64 = 0;
    }
    check(this, problems) {
        let CosineLrBuilder { total_steps, floor, warm_up_steps } = *this;
        problems.require(total_steps > warm_up_steps, || {
            format!("total_steps: above warm_up_steps ({warm_up_steps}), found {total_steps}")
        });
        problems.require((0.0..=1.0).contains(&floor), || format!("floor: from 0 to 1, found {floor}"));
    }
}

crate::settings! {
    /// The settings of [`LrSchedule::Step`]: the learning rate is multiplied by `factor` after every `every_epochs` epochs.
    StepLr, StepLrBuilder, in files {
        /// The number of epochs between two changes of the learning rate, and before the first change. At least 1; default 1.
        every_epochs: u64 = 1;
        /// The number by which each change multiplies the learning rate, above 0 and at most 1; default 0.1.
        factor: f64 = 0.1;
        /// The number of steps, from the start of training, over which the learning rate rises linearly to its full value. Default 0: no
        /// warm-up.
        warm_up_steps: u64 = 0;
    }
    check(this, problems) {
        let factor = this.factor;
        problems.require(this.every_epochs > 0, || "every_epochs: at least 1, found 0".into());
        problems.require(factor > 0.0 && factor <= 1.0, || format!("factor: above 0 and at most 1, found {factor}"));
    }
}

crate::settings! {
    /// The settings of [`LrSchedule::Plateau`]: the learning rate is multiplied by `factor` whenever a metric has not improved in more than
    /// `patience` observations in a row. The [`Trainer`](crate::train::Trainer) observes the monitored metric once an epoch.
    PlateauLr, PlateauLrBuilder, in files {
        /// The number by which each reduction multiplies the learning rate, above 0 and below 1; default 0.1.
        factor: f64 = 0.1;
        /// The number of observations in a row without improvement that do not change the learning rate; one more without improvement
        /// reduces it. The [`Trainer`](crate::train::Trainer) makes one observation in each epoch. At least 0; default 10.
        patience: u64 = 10;
        /// The lowest factor on the base learning rate: reductions never make the factor smaller. From 0 to 1; default 0.
        min_factor: f64 = 0.0;
        /// The number of steps, from the start of training, over which the learning rate rises linearly to its full value. Default 0: no
        /// warm-up.
        warm_up_steps: u64 = 0;
    }
    check(this, problems) {
        let (factor, min_factor) = (this.factor, this.min_factor);
        problems.require(factor > 0.0 && factor < 1.0, || format!("factor: above 0 and below 1, found {factor}"));
        problems.require((0.0..=1.0).contains(&min_factor), || format!("min_factor: from 0 to 1, found {min_factor}"));
    }
}

/// What a plateau schedule ([`LrSchedule::Plateau`]) remembers about its metric. The caller keeps it, and [`LrSchedule::observe`] updates
/// it. Other schedules neither read nor change it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The best value of the metric so far; `None` before the first value that is not NaN.
    pub best: Option<f64>,
    /// The number of observations since the last improvement of the metric or the last reduction of the learning rate, whichever is later.
    pub waited: u64,
    /// The factor on the base learning rate, from 0 to 1; 1 at the start. Each reduction multiplies it by [`PlateauLr::factor`], but it
    /// never becomes smaller than [`PlateauLr::min_factor`].
    pub factor: f64,
}

impl Default for PlateauState {
    fn default() -> Self {
        Self { best: None, waited: 0, factor: 1.0 }
    }
}

impl LrSchedule {
    /// The number of steps of the linear warm-up at the start of training; 0 if there is none.
    pub fn warm_up_steps(&self) -> u64 {
        match self {
            Self::Constant(constant) => constant.warm_up_steps(),
            Self::Cosine(cosine) => cosine.warm_up_steps(),
            Self::Step(step) => step.warm_up_steps(),
            Self::Plateau(plateau) => plateau.warm_up_steps(),
        }
    }

    /// The number by which the base learning rate is multiplied in the next step, from 0 to 1. `clock` has the numbers of epochs and steps
    /// that are completed. Only a plateau schedule reads `plateau`; for other schedules, pass `&PlateauState::default()`.
    pub fn factor(&self, clock: Clock, plateau: &PlateauState) -> f64 {
        let warm_up = self.warm_up_steps();
        let rise = if clock.step < warm_up { (clock.step + 1) as f64 / warm_up as f64 } else { 1.0 };
        let factor = match self {
            Self::Constant(_) => 1.0,
            Self::Cosine(cosine) => {
                let done = clock.step.saturating_sub(warm_up) as f64;
                let part = (done / (cosine.total_steps() - warm_up) as f64).min(1.0);
                cosine.floor() + (1.0 - cosine.floor()) * 0.5 * (1.0 + (PI * part).cos())
            }
            Self::Step(step) => {
                step.factor().powi(i32::try_from(clock.epoch / step.every_epochs()).unwrap_or(i32::MAX))
            }
            Self::Plateau(_) => plateau.factor,
        };
        rise * factor
    }

    /// Updates `plateau` by the next value of the metric, `metric`. Call it once an epoch. Only [`LrSchedule::Plateau`] uses it; for other
    /// schedules it does nothing.
    ///
    /// If `larger_is_better` is true, a value is an improvement if it is larger than the best value so far; otherwise, if it is smaller.
    /// NaN (an undefined metric) is never an improvement. After more than [`PlateauLr::patience`] values in a row without improvement,
    /// [`PlateauState::factor`] is reduced and the count starts again from 0.
    pub fn observe(&self, plateau: &mut PlateauState, metric: f64, larger_is_better: bool) {
        let Self::Plateau(settings) = self else { return };
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
        if plateau.waited > settings.patience() {
            plateau.waited = 0;
            plateau.factor = (plateau.factor * settings.factor()).max(settings.min_factor());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(warm_up_steps: u64) -> LrSchedule {
        LrSchedule::Constant(ConstantLr::builder().warm_up_steps(warm_up_steps).build().unwrap())
    }

    fn cosine(total_steps: u64, floor: f64, warm_up_steps: u64) -> LrSchedule {
        let builder = CosineLr::builder().total_steps(total_steps).floor(floor).warm_up_steps(warm_up_steps);
        LrSchedule::Cosine(builder.build().unwrap())
    }

    fn step(every_epochs: u64, factor: f64, warm_up_steps: u64) -> LrSchedule {
        let builder = StepLr::builder().every_epochs(every_epochs).factor(factor).warm_up_steps(warm_up_steps);
        LrSchedule::Step(builder.build().unwrap())
    }

    fn plateau(factor: f64, patience: u64, min_factor: f64) -> PlateauLrBuilder {
        PlateauLr::builder().factor(factor).patience(patience).min_factor(min_factor)
    }

    fn factors(schedule: &LrSchedule, clocks: impl IntoIterator<Item = (u64, u64)>) -> Vec<f64> {
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
        let schedule = constant(4);
        assert_close(&factors(&schedule, (0..6).map(|step| (0, step))), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        let schedule = step(1, 0.5, 4);
        assert_close(&factors(&schedule, [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]), &[0.25, 0.5, 0.375, 0.5, 0.25]);
    }

    #[test]
    fn the_cosine_passes_through_its_known_points() {
        let schedule = cosine(6, 0.2, 0);
        // cos of 0°, 60°, 90°, 120°, 180° is 1, 1/2, 0, −1/2, −1; after the end the floor holds.
        assert_close(&factors(&schedule, [0, 2, 3, 4, 6, 99].map(|s| (0, s))), &[1.0, 0.8, 0.6, 0.4, 0.2, 0.2]);
        let schedule = cosine(10, 0.0, 4);
        assert_close(&factors(&schedule, [1, 3, 4, 7, 10].map(|s| (0, s))), &[0.5, 1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn steps_count_epochs() {
        let schedule = step(2, 0.1, 0);
        assert_close(&factors(&schedule, (0..5).map(|epoch| (epoch, 1000))), &[1.0, 1.0, 0.1, 0.1, 0.01]);
    }

    #[test]
    fn a_plateau_waits_and_then_reduces_to_its_floor() {
        let schedule = LrSchedule::Plateau(plateau(0.5, 1, 0.2).build().unwrap());
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
        LrSchedule::default().observe(&mut state, 0.7, true);
        assert_eq!(state, PlateauState::default());
    }

    #[test]
    fn files_say_what_code_says() {
        for (text, expected) in [
            ("kind = 'constant'", LrSchedule::default()),
            ("kind = 'constant'\nwarm_up_steps = 9", constant(9)),
            ("kind = 'cosine'\ntotal_steps = 50", cosine(50, 0.0, 0)),
            ("kind = 'step'\nevery_epochs = 2\nfactor = 0.5", step(2, 0.5, 0)),
            (
                "kind = 'plateau'\nfactor = 0.5\npatience = 3\nmin_factor = 0.1\nwarm_up_steps = 2",
                LrSchedule::Plateau(plateau(0.5, 3, 0.1).warm_up_steps(2).build().unwrap()),
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

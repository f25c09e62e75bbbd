//! What training minimises, as settings.

use serde::{Deserialize, Serialize};

use super::{Units, Weighting};
use crate::Result;
use crate::data::Layout;
use crate::error::Problems;
use crate::optim::Clock;

/// Whether the weights of units decay with every epoch or with every step: the `t` in `γ_k^t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecayPer {
    /// Completed epochs (the default), as in the PLE paper.
    #[default]
    Epoch,
    /// Completed optimizer steps.
    Step,
}

crate::settings! {
    /// The training objective: masked binary cross entropy, averaged over rows and summed over units.
    ///
    /// `L = Σ_k ω_k(t)·v_k·L_k` with `L_k = Σ_i w_i δ_ik ℓ_ik / Σ_i w_i δ_ik` and `ω_k(t) = ω_k0 · γ_k^t`.
    ///
    /// * k is a unit: by default a task ([`Units`] has other choices). `L_k` is the mean loss of its rows.
    /// * `ℓ_ik` is the loss of row i for task k ([`bce_with_logits`](super::bce_with_logits)). `w_i` is the weight of the row. `δ_ik` is 1
    ///   if the row has a label for task k, otherwise 0.
    /// * `ω_k(t)` is the weight of the unit. It starts at `ω_k0` and is multiplied by `γ_k` after every epoch or step. A unit of weight 0
    ///   has no effect.
    /// * `v_k` is 1, unless a [`Weighting`] computes it during training.
    ///
    /// So each task averages over the rows that have a label for it, and a row is used if it has a label for at least one task (PLE: Tang
    /// et al., `RecSys` 2020, section 4.3, there with `w_i` = 1).
    ///
    /// In a file: `units = "tasks"` (the default), `"domains"` or `"domains_and_tasks"`; `weights` (`ω_k0`) and `decays`
    /// (`γ_k`), one for each unit in the order of [`Units::names`], by default all 1; `decay_per = "epoch"` (the
    /// default) or `"step"`; `weighting = { kind = "fixed" }` (the default) or another kind.
    #[derive(Default)]
    Objective, ObjectiveBuilder, in files {
        /// What a unit of the objective is, that is, what gets a loss and a weight of its own; default [`Units::Tasks`].
        units: Units = Units::default();
        /// The weight `ω_k0` of each unit at the start, in the order of [`Units::names`]: finite, at least 0, and not all 0. Default (an
        /// empty list): all 1.
        weights: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// For each unit, in the order of [`Units::names`], the factor `γ_k` by which its weight is multiplied after every epoch or step
        /// (see `decay_per`): finite and above 0. Default (an empty list): all 1, so that weights do not change.
        decays: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// Whether `decays` apply after every epoch or after every step; default [`DecayPer::Epoch`].
        decay_per: DecayPer = DecayPer::default();
        /// How training computes the additional factors `v_k` of the units; default [`Weighting::Fixed`]: they are 1.
        weighting: Weighting = Weighting::default(), as &Weighting;
    }
    check(this, problems) {
        let (weights, decays) = (&this.weights, &this.decays);
        for (unit, weight) in weights.iter().enumerate() {
            problems.require(weight.is_finite() && *weight >= 0.0, || {
                format!("weights[{unit}]: a finite number, at least 0, found {weight}")
            });
        }
        problems.require(weights.is_empty() || weights.iter().any(|&weight| weight != 0.0), || {
            "weights: at least one above 0, or nothing is trained".into()
        });
        for (unit, decay) in decays.iter().enumerate() {
            problems.require(decay.is_finite() && *decay > 0.0, || {
                format!("decays[{unit}]: a finite number above 0, found {decay}")
            });
        }
        let lengths = (weights.len(), decays.len());
        problems.require(lengths.0 == lengths.1 || lengths.0 == 0 || lengths.1 == 0, || {
            format!("weights and decays: one for each unit, found {} and {}", lengths.0, lengths.1)
        });
    }
}

impl Objective {
    /// Checks that `weights` and `decays` have one entry for each unit of this layout, or are empty.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `weights` or `decays` has another number of entries.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let (mut problems, units) = (Problems::default(), self.0.units.count(layout));
        for (name, list) in [("weights", &self.0.weights), ("decays", &self.0.decays)] {
            problems.require(list.is_empty() || list.len() == units, || {
                let names: Vec<String> = self.0.units.names(layout).collect();
                format!("{name}: one for each of {names:?}, found {}", list.len())
            });
        }
        problems.into_result("Objective")
    }

    /// The weight `ω_k(t) = ω_k0 · γ_k^t` of a unit, without the factor `v_k` of the [`Weighting`]. `unit` is its position in
    /// [`Units::names`], and `clock` gives t: the completed epochs or steps.
    ///
    /// # Panics
    /// If `weights` or `decays` is not empty and has no entry for this unit.
    pub fn weight(&self, unit: usize, clock: Clock) -> f64 {
        let of = |list: &[f64]| if list.is_empty() { 1.0 } else { list[unit] };
        let ticks = match self.0.decay_per {
            DecayPer::Epoch => clock.epoch,
            DecayPer::Step => clock.step,
        };
        let weight = of(&self.0.weights);
        if weight == 0.0 {
            // A decay above 1 overflows in the end, and 0·∞ is not a number.
            return 0.0;
        }
        weight * of(&self.0.decays).powi(i32::try_from(ticks).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::DwaConfig;

    fn layout(domains: &[&str], tasks: &[&str]) -> Layout {
        let [domains, tasks] = [domains, tasks].map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Layout { domains, tasks, ..Layout::default() }
    }

    #[test]
    fn weights_decay_by_epoch_or_step() {
        let builder = Objective::builder().weights([1.0, 8.0]).decays([1.0, 0.5]);
        let clock = Clock { epoch: 2, step: 3 };
        for (per, expected) in [(DecayPer::Epoch, 2.0), (DecayPer::Step, 1.0)] {
            let objective = builder.clone().decay_per(per).build().unwrap();
            assert_eq!((objective.weight(0, clock), objective.weight(1, clock)), (1.0, expected));
        }
        assert_eq!(Objective::default().weight(5, clock), 1.0);
        let off =
            Objective::builder().weights([0.0, 1.0]).decays([1.1, 1.0]).decay_per(DecayPer::Step).build().unwrap();
        assert_eq!(off.weight(0, Clock { epoch: 0, step: 100_000 }), 0.0, "a unit of weight 0 stays off");
        // A decay without weights starts from 1.
        assert_eq!(Objective::builder().decays([0.5]).build().unwrap().weight(0, clock), 0.25);
    }

    #[test]
    fn settings_are_checked_in_code_and_file() {
        let builder = Objective::builder().weights([1.0, -1.0]).decays([0.0, 1.0, f64::NAN]);
        let error = builder.build().unwrap_err().to_string();
        for part in ["Objective: weights[1]: ", "found -1", "decays[0]: ", "decays[2]: ", "found 2 and 3"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        assert!(Objective::builder().weights([0.0, 0.0]).build().is_err());
        let text = "units = 'domains'\nweights = [1, 0.5]\ndecays = [0.9, 1]\ndecay_per = 'step'\nweighting = { kind = 'dwa' }";
        let objective: Objective = toml::from_str(text).unwrap();
        let builder = Objective::builder().units(Units::Domains).weights([1.0, 0.5]).decays([0.9, 1.0]);
        let builder = builder.decay_per(DecayPer::Step).weighting(Weighting::Dwa(DwaConfig::default()));
        assert_eq!(objective, builder.build().unwrap());
        assert_eq!(toml::from_str::<Objective>(&toml::to_string(&objective).unwrap()).unwrap(), objective);
        assert_eq!(toml::from_str::<Objective>("").unwrap(), Objective::default());
        for (text, part) in [
            ("weight = [1]", "weight"),
            ("weights = [-1]", "weights[0]"),
            ("decay_per = 'day'", "day"),
            ("units = 'rows'", "rows"),
            ("weighting = { kind = 'dwa', temperature = -1 }", "temperature: a finite number above 0, found -1"),
        ] {
            let error = toml::from_str::<Objective>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn there_is_a_weight_for_every_unit() {
        let two = Objective::builder().weights([1.0, 0.5]).decays([0.9, 1.0]);
        let of = |units| two.clone().units(units).build().unwrap();
        let layout = layout(&["search", "feed", "cart"], &["click", "buy"]);
        assert!(of(Units::Tasks).check(&layout).is_ok() && Objective::default().check(&layout).is_ok());
        let error = of(Units::Domains).check(&layout).unwrap_err().to_string();
        let expected = "weights: one for each of [\"search\", \"feed\", \"cart\"], found 2; decays: one for each";
        assert!(error.contains(expected), "{error}");
        assert!(of(Units::DomainsAndTasks).check(&layout).unwrap_err().to_string().contains("\"feed/buy\""));
    }
}

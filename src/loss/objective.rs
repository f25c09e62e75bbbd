//! What training minimises, as settings.

use serde::{Deserialize, Serialize};

use super::{TaskLoss, Units, Weighting};
use crate::Result;
use crate::data::Layout;
use crate::error::Problems;
use crate::optim::Clock;

/// How often the weight of each unit of an [`Objective`] is multiplied by its decay factor: after every epoch or after every step. In other words:
/// what t counts in the weight `ω_k(t) = ω_k0 · γ_k^t` of unit k, with the first weight `ω_k0` ([`Objective::weights`]) and the decay factor `γ_k`
/// ([`Objective::decays`]). In a file: `"epoch"` or `"step"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecayPer {
    /// After every epoch (the default), as in the PLE paper: t is the number of completed epochs, 0 in the first epoch.
    #[default]
    Epoch,
    /// After every optimizer step: t is the number of completed steps of the whole training run, 0 in the first step.
    Step,
}

crate::settings! {
    /// The training objective: for each task, the mean loss over the rows that have a label for it; then the weighted sum over tasks, or over other
    /// units.
    ///
    /// `L = Σ_k ω_k(t)·v_k·L_k` with `L_k = Σ_i w_i δ_ik ℓ_ik / Σ_i w_i δ_ik` and `ω_k(t) = ω_k0 · γ_k^t`.
    ///
    /// * k is a unit: by default a task. Then `L_k` is the mean loss of task k over its labelled rows in a step. [`Units`] has the other choices,
    ///   and what `L_k` is for them.
    /// * i is a row of the step, and `w_i` is its weight. `δ_ik` is 1 if the row has a label for task k, otherwise 0.
    /// * `ℓ_ik` is the loss of row i for task k. [`TaskLoss`] has the equations: binary cross entropy for a binary task; half the squared error, or
    ///   Huber's loss, of the standardised number for a regression; Poisson's loss for a count.
    /// * `ω_k(t)` is the weight of the unit. It starts at `ω_k0` and is multiplied by `γ_k` after every epoch or step; t counts them. A unit of
    ///   weight 0 has no effect.
    /// * `v_k` is 1, unless a [`Weighting`] computes it during training.
    ///
    /// So each task averages over the rows that have a label for it, and a row is used if it has a label for at least one task (PLE: Tang et al.,
    /// `RecSys` 2020, section 4.3, there with `w_i` = 1).
    ///
    /// # Rare positives
    ///
    /// Two settings of each binary task help if positives are rare. With both, the predicted probabilities stay those of all rows: if 3 % of all rows
    /// are positive, the mean prediction is about 3 %.
    ///
    /// * `pos_weights`: the loss of a positive label is multiplied by `w`, like `pos_weight` of PyTorch's `BCEWithLogitsLoss`.
    /// * `negatives`: in each epoch, a label 0 is kept with probability `q`; otherwise it counts as missing in this epoch. A row without any label
    ///   left is skipped. With one task this is down-sampling of negative rows. With several tasks, all tasks of a row use the same random number. So
    ///   each task sees all its positives and the share `q` of its negatives, whatever the labels of the other tasks are.
    ///
    /// Without a correction, either setting would make the model's logits too high, by `c = ln w − ln q` (for sampling: He et al., ADKDD 2014,
    /// section 6.3, `p = p'/(p' + (1 − p')/q)`). Therefore the loss is computed at `z + c`, where z is the model's logit (as in Menon et al.,
    /// *Long-tail learning via logit adjustment*, ICLR 2021, section 5). Then z itself is the logit of the probability among all rows. Metrics, model
    /// files, serving and ONNX graphs need no correction, and later training may use other settings. The value of the training loss depends on these
    /// settings: compare runs by their validation metrics.
    ///
    /// # In a file
    ///
    /// All keys are optional: `units`, `weights` (`ω_k0`), `decays` (`γ_k`), `decay_per`, `pos_weights`, `negatives` and `weighting`. For example:
    /// `units = "domains"`, `weights = [1.0, 0.5]`, `decay_per = "step"`, `weighting = { kind = "dwa" }`. The settings below have their values and
    /// defaults.
    #[derive(Default)]
    Objective, ObjectiveBuilder, in files {
        /// What has a loss and a weight of its own: each task, each domain, or each pair of both. Each of them is a *unit* of the objective. In a
        /// file: `"tasks"`, `"domains"` or `"domains_and_tasks"`. Default [`Units::Tasks`].
        units: Units = Units::default();
        /// The weight `ω_k0` of the loss of each unit ([`Units`]) at the start of training, in the order of [`Units::names`]. Each weight is finite
        /// and at least 0, and at least one is above 0; otherwise `build` returns an error. Training returns an error at its start if there is not
        /// one weight for each unit. Default: an empty list, which means that all weights are 1.
        weights: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// The factor `γ_k` of each unit ([`Units`]), in the order of [`Units::names`]: after every epoch or every step (the setting `decay_per` says
        /// which), the weight of the unit is multiplied by it. Each factor is finite and above 0; otherwise `build` returns an error. Training
        /// returns an error at its start if there is not one factor for each unit. Default: an empty list, which means that all factors are 1, so
        /// weights do not change.
        decays: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// For each task, in the order of [`Layout::tasks`], the weight `w` by which the loss of a label 1 is multiplied. It is finite and above 0;
        /// otherwise `build` returns an error. Training returns an error at its start if there is not one weight for each task, or if the weight of a
        /// task that is not binary is not 1. Default: an empty list, which means that all weights are 1. [`Objective`] says why probabilities stay
        /// right.
        pos_weights: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// For each task, in the order of [`Layout::tasks`], the probability `q` with which an epoch keeps a label 0. It is above 0 and at most 1;
        /// otherwise `build` returns an error. Training returns an error at its start if there is not one probability for each task, or if that of a
        /// task that is not binary is not 1. Default: an empty list, which means that all labels are kept. [`Objective`] says how labels are chosen.
        negatives: Vec<f64> = Vec::new(), each f64, as &[f64];
        /// When the weights of units are multiplied by their factors in `decays`: after every epoch, or after every optimizer step. In a file:
        /// `"epoch"` or `"step"`. Default [`DecayPer::Epoch`].
        decay_per: DecayPer = DecayPer::default();
        /// The method by which training computes a second factor `v_k` for the weight of each unit k, in addition to `weights` and `decays`. In a
        /// file: `{ kind = "fixed" }` or another kind with its settings ([`Weighting`]). Default [`Weighting::Fixed`]: every `v_k` is 1, so it has no
        /// effect.
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
        for (task, weight) in this.pos_weights.iter().enumerate() {
            problems.require(weight.is_finite() && *weight > 0.0, || {
                format!("pos_weights[{task}]: a finite number above 0, found {weight}")
            });
        }
        check_negatives("negatives", &this.negatives, problems);
        let lengths = (weights.len(), decays.len());
        problems.require(lengths.0 == lengths.1 || lengths.0 == 0 || lengths.1 == 0, || {
            format!("weights and decays: one for each unit, found {} and {}", lengths.0, lengths.1)
        });
    }
}

impl Objective {
    /// Checks that the lists of the objective fit `layout`. Each list may be empty. Otherwise `weights` and `decays` need one entry for each unit
    /// ([`Units::count`]), and `pos_weights` and `negatives` one for each task. In `pos_weights` and `negatives`, the entry of a task that is not
    /// binary must be 1. Training does this check before the first step.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) if a list does not fit. The message names every such list.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let (mut problems, units) = (Problems::default(), self.0.units.count(layout));
        for (name, list) in [("weights", &self.0.weights), ("decays", &self.0.decays)] {
            problems.require(list.is_empty() || list.len() == units, || {
                let names: Vec<String> = self.0.units.names(layout).collect();
                format!("{name}: one for each of {names:?}, found {}", list.len())
            });
        }
        for (name, list) in [("pos_weights", &self.0.pos_weights), ("negatives", &self.0.negatives)] {
            problems.require(list.is_empty() || list.len() == layout.tasks.len(), || {
                format!("{name}: one for each task of {:?}, found {}", layout.tasks, list.len())
            });
            for (task, value) in list.iter().enumerate() {
                let kind = layout.target(task).kind();
                problems.require(kind.is_binary() || *value == 1.0, || {
                    format!("{name}[{task}]: 1, as {:?} is a {kind} task, found {value}", layout.tasks[task])
                });
            }
        }
        problems.into_result("Objective")
    }

    /// Returns true if epochs leave out some of the labels 0, because at least one probability in [`Objective::negatives`] is below 1.
    pub fn samples_negatives(&self) -> bool {
        self.0.negatives.iter().any(|&share| share < 1.0)
    }

    /// Returns the loss function of each task of `layout`, in the order of [`Layout::tasks`], with its settings in `pos_weights` and `negatives`.
    /// Pass them to [`Objective::evaluate`].
    ///
    /// # Panics
    /// If `pos_weights` or `negatives` is not empty and has no entry for a task. Call [`Objective::check`] first.
    pub fn task_losses(&self, layout: &Layout) -> Vec<TaskLoss> {
        let of = |list: &[f64], task: usize| if list.is_empty() { 1.0 } else { list[task] };
        let loss = |task| TaskLoss::of(layout.target(task), of(&self.0.pos_weights, task), of(&self.0.negatives, task));
        (0..layout.tasks.len()).map(loss).collect()
    }

    /// Computes the weight `ω_k(t) = ω_k0 · γ_k^t` of unit k in the next step, without the factor `v_k` of the [`Weighting`]. `unit` is k, the
    /// position of the unit in [`Units::names`], from 0. `clock` has the numbers of completed epochs and steps; [`DecayPer`] decides which of them
    /// is t. The weight of a unit with `ω_k0` = 0 is always 0. With `γ_k` above 1, the weight can become infinite.
    ///
    /// # Panics
    /// If `weights` or `decays` is not empty and has no entry at the position `unit`.
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

/// Notes shares of kept negatives that are no probabilities above 0; `name` is the setting that they belong to.
pub(crate) fn check_negatives(name: &str, negatives: &[f64], problems: &mut Problems) {
    for (task, share) in negatives.iter().enumerate() {
        problems
            .require(*share > 0.0 && *share <= 1.0, || format!("{name}[{task}]: above 0 and at most 1, found {share}"));
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
        let builder = Objective::builder().pos_weights([2.0, 0.0]).negatives([0.0, 1.0, 1.5]);
        let error = builder.build().unwrap_err().to_string();
        for part in ["pos_weights[1]: a finite number above 0, found 0", "negatives[0]: above 0", "negatives[2]: "] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
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
        let builder = Objective::builder().pos_weights([2.0, 1.0, 3.0]).negatives([0.5]);
        let error = builder.build().unwrap().check(&layout).unwrap_err().to_string();
        let expected = "pos_weights: one for each task of [\"click\", \"buy\"], found 3; negatives: one for each task";
        assert!(error.contains(expected), "{error}");
        assert!(of(Units::DomainsAndTasks).check(&layout).unwrap_err().to_string().contains("\"feed/buy\""));
    }
}

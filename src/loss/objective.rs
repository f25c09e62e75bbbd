//! The loss of a batch over all its tasks.

use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};

use super::NonFiniteAt;
use super::bce::bce_and_derivative;
use crate::error::Problems;
use crate::optim::Clock;
use crate::{Error, Result};

/// What the decay of task weights counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayPer {
    /// Completed epochs (the default), as in the PLE paper.
    #[default]
    Epoch,
    /// Completed optimizer steps.
    Step,
}

/// The training objective: masked binary cross entropy, averaged over rows and summed over tasks.
///
/// `L = Σ_k ω_k(t)·L_k` with `L_k = Σ_i w_i δ_ik ℓ_ik / Σ_i w_i δ_ik` and `ω_k(t) = ω_k0 · γ_k^t`.
///
/// `ℓ_ik` is [`bce_with_logits`](super::bce_with_logits), `w_i` the weight of a row, `δ_ik` 1 where row i has a label for
/// task k and 0 where it is missing. So each task averages over its own sample space, and the union of all is trained on
/// (PLE: Tang et al., `RecSys` 2020, section 4.3, there with `w_i` = 1).
///
/// In a file: `weights` (`ω_k0`) and `decays` (`γ_k`), one for each task in the order of
/// [`Layout::tasks`](crate::data::Layout::tasks), each all 1 when left out, and `decay_per = "epoch"` (the default) or
/// `"step"`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "ObjectiveBuilder", into = "ObjectiveBuilder")]
pub struct Objective {
    weights: Vec<f64>,
    decays: Vec<f64>,
    decay_per: DecayPer,
}

/// Collects the settings of an [`Objective`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveBuilder {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weights: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decays: Vec<f64>,
    decay_per: DecayPer,
}

impl ObjectiveBuilder {
    /// The weight `ω_k0` of each task, finite and at least 0. Default: all 1.
    pub fn weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.weights = weights.into_iter().collect();
        self
    }

    /// The factor `γ_k > 0` by which each task's weight changes for every tick of [`ObjectiveBuilder::decay_per`].
    /// Default: all 1.
    pub fn decays(mut self, decays: impl IntoIterator<Item = f64>) -> Self {
        self.decays = decays.into_iter().collect();
        self
    }

    /// What the decays count. Default: epochs.
    pub fn decay_per(mut self, per: DecayPer) -> Self {
        self.decay_per = per;
        self
    }

    /// The objective, checked.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming every setting that is out of range.
    pub fn build(self) -> Result<Objective> {
        let Self { weights, decays, decay_per } = self;
        let mut problems = Problems::default();
        for (task, weight) in weights.iter().enumerate() {
            problems.require(weight.is_finite() && *weight >= 0.0, || {
                format!("weights[{task}]: a finite number, at least 0, found {weight}")
            });
        }
        problems.require(weights.is_empty() || weights.iter().any(|&weight| weight != 0.0), || {
            "weights: at least one above 0, or nothing is trained".into()
        });
        for (task, decay) in decays.iter().enumerate() {
            problems.require(decay.is_finite() && *decay > 0.0, || {
                format!("decays[{task}]: a finite number above 0, found {decay}")
            });
        }
        let lengths = (weights.len(), decays.len());
        problems.require(lengths.0 == lengths.1 || lengths.0 == 0 || lengths.1 == 0, || {
            format!("weights and decays: one for each task, found {} and {}", lengths.0, lengths.1)
        });
        problems.into_result("objective")?;
        Ok(Objective { weights, decays, decay_per })
    }
}

impl TryFrom<ObjectiveBuilder> for Objective {
    type Error = Error;

    fn try_from(builder: ObjectiveBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Objective> for ObjectiveBuilder {
    fn from(Objective { weights, decays, decay_per }: Objective) -> Self {
        Self { weights, decays, decay_per }
    }
}

/// The loss of one batch. Lend the same value to every call: it keeps its memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loss {
    /// `L`, the weighted sum over tasks.
    pub total: f64,
    /// `L_k` of each task, before its weight; `None` when no row of the batch has a label for it.
    pub tasks: Vec<Option<f64>>,
}

impl Objective {
    /// Starts from defaults: every task weighs 1 always.
    pub fn builder() -> ObjectiveBuilder {
        ObjectiveBuilder::default()
    }

    /// Checks that there is a weight and a decay for each of this many tasks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if weights or decays were given for another number of tasks.
    pub fn check_tasks(&self, tasks: usize) -> Result<()> {
        let mut problems = Problems::default();
        for (name, list) in [("weights", &self.weights), ("decays", &self.decays)] {
            problems.require(list.is_empty() || list.len() == tasks, || {
                format!("{name}: one for each of {tasks} tasks, found {}", list.len())
            });
        }
        problems.into_result("objective")
    }

    /// The weight `ω_k(t)` of a task.
    ///
    /// # Panics
    /// If weights or decays were given, but none for this task.
    pub fn task_weight(&self, task: usize, clock: Clock) -> f64 {
        let of = |list: &[f64]| if list.is_empty() { 1.0 } else { list[task] };
        let ticks = match self.decay_per {
            DecayPer::Epoch => clock.epoch,
            DecayPer::Step => clock.step,
        };
        of(&self.weights) * of(&self.decays).powi(i32::try_from(ticks).unwrap_or(i32::MAX))
    }

    /// Writes the loss of a batch to `loss` and its gradient by the logits to `dlogits`.
    ///
    /// `logits`, `labels` and `dlogits` are `[rows, tasks]`; a NaN label is missing. `weights` has a value for each row,
    /// finite and at least 0, or is empty when all weigh 1. The gradient is
    /// `ω_k·w_i δ_ik·(σ(z_ik) − y_ik) / Σ_i w_i δ_ik`, computed in f64 and rounded once; it is exactly 0 where the label
    /// is missing. A task without labels (or with labels on rows of weight 0 only) adds nothing.
    ///
    /// # Errors
    /// [`NonFiniteAt`] names the first place where the logit (even one without label), the loss or the gradient is
    /// not finite. `loss` and `dlogits` are then only partly written.
    ///
    /// # Panics
    /// If the shapes do not agree, or [`Objective::check_tasks`] fails.
    pub fn evaluate(
        &self,
        logits: &ArrayRef2<f32>,
        labels: &ArrayRef2<f32>,
        weights: &[f32],
        clock: Clock,
        dlogits: &mut ArrayRef2<f32>,
        loss: &mut Loss,
    ) -> Result<(), NonFiniteAt> {
        let (rows, tasks) = logits.dim();
        assert_eq!(labels.dim(), (rows, tasks), "labels and logits differ in shape");
        assert_eq!(dlogits.dim(), (rows, tasks), "dlogits and logits differ in shape");
        assert!(weights.is_empty() || weights.len() == rows, "{} weights for {rows} rows", weights.len());
        for list in [&self.weights, &self.decays] {
            assert!(list.is_empty() || list.len() == tasks, "an objective of {} tasks for {tasks}", list.len());
        }
        loss.total = 0.0;
        loss.tasks.clear();
        for task in 0..tasks {
            let task_weight = self.task_weight(task, clock);
            let weight = |row: usize| if weights.is_empty() { 1.0 } else { weights[row] };
            let not_finite =
                |row, logit, label| NonFiniteAt { row, task, logit, label, weight: weight(row), task_weight };
            let columns = || logits.column(task).into_iter().zip(labels.column(task)).enumerate();

            let mut total_weight = 0.0;
            for (row, (&logit, &label)) in columns() {
                let labelled = !label.is_nan();
                if !logit.is_finite() || (labelled && !weight(row).is_finite()) {
                    return Err(not_finite(row, logit, label));
                }
                if labelled {
                    total_weight += f64::from(weight(row));
                }
            }
            if total_weight <= 0.0 {
                dlogits.column_mut(task).fill(0.0);
                loss.tasks.push(None);
                continue;
            }

            let mut sum = 0.0;
            for ((row, (&logit, &label)), dlogit) in columns().zip(dlogits.column_mut(task)) {
                if label.is_nan() {
                    *dlogit = 0.0;
                    continue;
                }
                let (value, derivative) = bce_and_derivative(f64::from(logit), f64::from(label));
                let share = f64::from(weight(row)) / total_weight;
                sum += share * value;
                *dlogit = (task_weight * share * derivative) as f32;
                if !value.is_finite() || !dlogit.is_finite() {
                    return Err(not_finite(row, logit, label));
                }
            }
            loss.total += task_weight * sum;
            loss.tasks.push(Some(sum));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};
    use proptest::prelude::*;

    use super::*;

    const NAN: f32 = f32::NAN;

    fn evaluate(
        objective: &Objective,
        logits: &Array2<f32>,
        labels: &Array2<f32>,
        weights: &[f32],
        clock: Clock,
    ) -> Result<(Loss, Array2<f32>), NonFiniteAt> {
        let mut loss = Loss { total: 9.0, tasks: vec![Some(9.0); 7] };
        let mut dlogits = Array2::from_elem(logits.raw_dim(), 9.0);
        objective.evaluate(logits, labels, weights, clock, &mut dlogits, &mut loss)?;
        Ok((loss, dlogits))
    }

    /// `Σ_k ω_k · mean` as the definition has it, with logarithms of probabilities.
    fn naive(omega: &[f64], logits: &Array2<f64>, labels: &Array2<f32>, weights: &[f64]) -> (f64, Vec<Option<f64>>) {
        let tasks: Vec<Option<f64>> = (0..logits.ncols())
            .map(|k| {
                let labelled: Vec<usize> = (0..logits.nrows()).filter(|&i| !labels[[i, k]].is_nan()).collect();
                let weight: f64 = labelled.iter().map(|&i| weights[i]).sum();
                let loss: f64 = labelled
                    .iter()
                    .map(|&i| {
                        let p = 1.0 / (1.0 + (-logits[[i, k]]).exp());
                        let y = f64::from(labels[[i, k]]);
                        -weights[i] * (y * p.ln() + (1.0 - y) * (1.0 - p).ln())
                    })
                    .sum();
                (weight > 0.0).then(|| loss / weight)
            })
            .collect();
        (tasks.iter().zip(omega).map(|(loss, omega)| omega * loss.unwrap_or(0.0)).sum(), tasks)
    }

    fn batches() -> impl Strategy<Value = (Array2<f32>, Array2<f32>, Vec<f32>)> {
        (1..9_usize, 1..4_usize).prop_flat_map(|(rows, tasks)| {
            let label = prop_oneof![Just(0.0_f32), Just(1.0), Just(NAN), 0.0..1.0_f32];
            let matrix = move |values| Array2::from_shape_vec((rows, tasks), values).unwrap();
            (
                prop::collection::vec(-6.0..6.0_f32, rows * tasks).prop_map(matrix),
                prop::collection::vec(label, rows * tasks).prop_map(matrix),
                prop::collection::vec(prop_oneof![Just(0.0_f32), 0.1..5.0_f32], rows),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn loss_and_gradient_are_those_of_the_definition((logits, labels, weights) in batches()) {
            let tasks = logits.ncols();
            let omega: Vec<f64> = (0..tasks).map(|k| 0.5 + k as f64).collect();
            let objective = Objective::builder().weights(omega.iter().copied()).build().unwrap();
            let (loss, dlogits) = evaluate(&objective, &logits, &labels, &weights, Clock::default()).unwrap();

            let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
            let z = logits.mapv(f64::from);
            let (total, by_task) = naive(&omega, &z, &labels, &wide);
            prop_assert!((loss.total - total).abs() < 1e-10);
            for (found, expected) in loss.tasks.iter().zip(&by_task) {
                prop_assert_eq!(found.is_some(), expected.is_some());
                prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-10);
            }

            for ((i, k), &dlogit) in dlogits.indexed_iter() {
                let shifted = |by: f64| {
                    let mut z = z.clone();
                    z[[i, k]] += by;
                    naive(&omega, &z, &labels, &wide).0
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                prop_assert!((f64::from(dlogit) - expected).abs() < 1e-6, "{} is not {}", dlogit, expected);
                if labels[[i, k]].is_nan() || by_task[k].is_none() {
                    prop_assert_eq!(dlogit, 0.0);
                }
            }
        }
    }

    #[test]
    fn a_batch_computed_by_hand() {
        // All logits 0: every loss is ln 2, every derivative ±1/2. Task 0 has weights 1 and 3, task 1 none.
        let labels = arr2(&[[1.0, NAN], [0.0, NAN], [NAN, NAN]]);
        let objective = Objective::builder().weights([2.0, 5.0]).build().unwrap();
        let (loss, dlogits) =
            evaluate(&objective, &Array2::zeros((3, 2)), &labels, &[1.0, 3.0, 8.0], Clock::default()).unwrap();
        assert_eq!(loss.tasks.len(), 2);
        assert!((loss.tasks[0].unwrap() - 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(loss.tasks[1], None);
        assert!((loss.total - 2.0 * 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(dlogits, arr2(&[[-0.25, 0.0], [0.75, 0.0], [0.0, 0.0]]));
        // Empty weights are all 1.
        let (_, dlogits) = evaluate(&objective, &Array2::zeros((3, 2)), &labels, &[], Clock::default()).unwrap();
        assert_eq!(dlogits, arr2(&[[-0.5, 0.0], [0.5, 0.0], [0.0, 0.0]]));
    }

    #[test]
    fn task_weights_decay_by_epoch_or_step() {
        let builder = Objective::builder().weights([1.0, 8.0]).decays([1.0, 0.5]);
        let clock = Clock { epoch: 2, step: 3 };
        for (per, expected) in [(DecayPer::Epoch, 2.0), (DecayPer::Step, 1.0)] {
            let objective = builder.clone().decay_per(per).build().unwrap();
            assert_eq!(objective.task_weight(0, clock), 1.0);
            assert_eq!(objective.task_weight(1, clock), expected);
            let (loss, dlogits) =
                evaluate(&objective, &Array2::zeros((1, 2)), &arr2(&[[1.0, 1.0]]), &[], clock).unwrap();
            assert!((loss.total - (1.0 + expected) * 2.0_f64.ln()).abs() < 1e-15);
            assert_eq!(dlogits, arr2(&[[-0.5, -0.5 * expected as f32]]));
        }
        assert_eq!(Objective::default().task_weight(5, clock), 1.0);
        // A decay without weights starts from 1.
        assert_eq!(Objective::builder().decays([0.5]).build().unwrap().task_weight(0, clock), 0.25);
    }

    #[test]
    fn an_empty_batch_has_no_loss() {
        let empty = Array2::zeros((0, 2));
        let (loss, _) = evaluate(&Objective::default(), &empty, &empty, &[], Clock::default()).unwrap();
        assert_eq!(loss, Loss { total: 0.0, tasks: vec![None, None] });
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let at = |logits: &Array2<f32>, labels: &Array2<f32>, weights: &[f32]| {
            evaluate(&Objective::default(), logits, labels, weights, Clock::default()).unwrap_err()
        };
        let (mut logits, mut labels) = (Array2::zeros((3, 2)), Array2::ones((3, 2)));
        logits[[2, 1]] = NAN;
        let error = at(&logits, &labels, &[]);
        assert_eq!((error.row, error.task, error.label), (2, 1, 1.0));
        assert!(error.logit.is_nan() && error.to_string().contains("row 2 of the batch, task 1: logit NaN, label 1"));
        // A missing label does not hide a broken logit.
        labels[[2, 1]] = NAN;
        assert_eq!((at(&logits, &labels, &[]).row, at(&logits, &labels, &[]).task), (2, 1));
        logits.fill(1.0);
        assert_eq!(at(&logits, &labels, &[1.0, f32::INFINITY, 1.0]).row, 1);
        labels[[1, 0]] = f32::INFINITY;
        assert_eq!((at(&logits, &labels, &[]).row, at(&logits, &labels, &[]).task), (1, 0));
        // A task weight that has grown out of range.
        let objective = Objective::builder().decays([1e300]).decay_per(DecayPer::Step).build().unwrap();
        let clock = Clock { epoch: 0, step: 2 };
        let error = evaluate(&objective, &Array2::zeros((1, 1)), &Array2::ones((1, 1)), &[], clock).unwrap_err();
        assert_eq!((error.row, error.task, error.task_weight), (0, 0, f64::INFINITY));
    }

    #[test]
    fn settings_are_checked_in_code_and_file() {
        let builder = Objective::builder().weights([1.0, -1.0]).decays([0.0, 1.0, f64::NAN]);
        let error = builder.build().unwrap_err().to_string();
        for part in ["objective: weights[1]: ", "found -1", "decays[0]: ", "decays[2]: ", "found 2 and 3"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        assert!(Objective::builder().weights([0.0, 0.0]).build().is_err());
        let text = "weights = [1, 0.5]\ndecays = [0.9, 1]\ndecay_per = 'step'";
        let objective: Objective = toml::from_str(text).unwrap();
        let builder = Objective::builder().weights([1.0, 0.5]).decays([0.9, 1.0]);
        assert_eq!(objective, builder.decay_per(DecayPer::Step).build().unwrap());
        assert_eq!(toml::from_str::<Objective>(&toml::to_string(&objective).unwrap()).unwrap(), objective);
        assert_eq!(toml::from_str::<Objective>("").unwrap(), Objective::default());
        for (text, part) in [("weight = [1]", "weight"), ("weights = [-1]", "weights[0]"), ("decay_per = 'day'", "day")]
        {
            let error = toml::from_str::<Objective>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(objective.check_tasks(2).is_ok() && Objective::default().check_tasks(3).is_ok());
        let error = objective.check_tasks(3).unwrap_err().to_string();
        assert!(error.contains("weights: one for each of 3 tasks, found 2") && error.contains("decays: "), "{error}");
    }
}

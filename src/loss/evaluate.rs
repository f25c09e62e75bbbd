//! The loss of a batch, and its gradient by the logits.

use ndarray::ArrayRef2;

use super::{NonFiniteAt, Objective, TaskLoss};
use crate::Result;
use crate::data::Batch;

/// The loss of one batch, which [`Objective::evaluate`] writes. The default has the total 0 and no units. Pass the same `Loss` for all batches: each
/// call overwrites it and reuses its memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loss {
    /// The total loss `L = Σ_k ω_k L_k`: the sum of the losses `L_k` of the units, each multiplied by the weight `ω_k` of the unit. In the loss that
    /// a [`Step`](crate::train::Step) reports, it also includes the terms that the [`Weighting`](super::Weighting) and the model (its penalties on
    /// weights) add.
    pub total: f64,
    /// The loss `L_k` of each unit k ([`Units`](super::Units)), not multiplied by its weight, in the order of [`Units::names`](super::Units::names).
    /// It is a mean over rows for a task, or for a pair of a domain and a task; for a domain, it is the sum of the means of its tasks. It is `None`
    /// if no row of the batch with a weight above 0 has a label that belongs to the unit.
    pub units: Vec<Option<f64>>,
}

impl Loss {
    /// Adds `other`, the loss of other rows of the same step, to this loss: the totals, and the losses of each unit, where `None` counts as 0.
    /// Compute both with the [`Normalisers`] of the whole step; then the sum is the loss of the step.
    ///
    /// # Panics
    /// If `self` and `other` have different numbers of units.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.units.len(), other.units.len(), "losses of one step have the same units");
        self.total += other.total;
        for (sum, loss) in self.units.iter_mut().zip(&other.units) {
            if let Some(loss) = loss {
                *sum.get_or_insert(0.0) += loss;
            }
        }
    }
}

/// The denominators of the mean losses of a step. There is one for each pair of a task and a unit ([`Units`](super::Units)): the sum `Σ_i w_i` of the
/// weights `w_i` of the rows i that have a label for this task which belongs to this unit. A row without a weight counts as 1. If no label of the
/// task belongs to the unit, the denominator is 0.
///
/// [`Objective::normalisers`] computes them for a batch. If the rows of a step are divided into several batches, add the normalisers of these batches
/// ([`Normalisers::add`]): the sum has the denominators of the step. The default has no entries; [`Objective::normalisers`] fills it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normalisers {
    units: usize,
    /// `[tasks, units]`.
    labelled: Vec<f64>,
}

impl Normalisers {
    /// Adds the denominators of `other`, which are those of other rows of the same step, to these, entry by entry: for each task and unit. Then these
    /// normalisers are for the rows of both.
    ///
    /// # Panics
    /// If `self` and `other` have different numbers of tasks or units.
    pub fn add(&mut self, other: &Self) {
        assert_eq!((self.units, self.labelled.len()), (other.units, other.labelled.len()), "the step's own units");
        self.labelled.iter_mut().zip(&other.labelled).for_each(|(sum, weight)| *sum += weight);
    }

    /// Returns the denominators, one for each pair of a task and a unit: the total weights of the labelled rows. The entry for the task at position t
    /// and the unit at position u is `values()[t·units + u]`, where `units` is the number of units and both positions count from 0.
    pub fn values(&self) -> &[f64] {
        &self.labelled
    }

    /// Returns the denominators so that you can change them: for example, replace them by their sums over several machines. They have the order of
    /// [`Normalisers::values`].
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.labelled
    }
}

impl Objective {
    /// Computes the denominators of the mean losses of `batch` and writes them to `to`, whose old values are overwritten. `units` is the number of
    /// units, as [`Units::count`](super::Units::count) returns it for the layout of the model.
    ///
    /// # Panics
    /// If `units` is 0. Also if the units are domains, or pairs of domain and task, and the domain of a labelled row is
    /// [`DomainId::SHARED`](crate::data::DomainId::SHARED) or is not one of the units.
    pub fn normalisers(&self, batch: &Batch, units: usize, to: &mut Normalisers) {
        let Batch { labels, weights, domains, .. } = batch;
        let tasks = labels.ncols();
        to.units = units;
        to.labelled.clear();
        to.labelled.resize(tasks * units, 0.0);
        for (task, labelled) in to.labelled.chunks_exact_mut(units).enumerate() {
            for (row, label) in labels.column(task).iter().enumerate() {
                if !label.is_nan() {
                    let weight = if weights.is_empty() { 1.0 } else { weights[row] };
                    labelled[self.units().of(domains, row, task, tasks)] += f64::from(weight);
                }
            }
        }
    }

    /// Computes the loss `L = Σ_k ω_k L_k` of a batch, where k is a unit ([`Units`](super::Units)), and its gradient by the logits, and writes them
    /// to `loss` and `dlogits`.
    ///
    /// * `logits` and `dlogits` are `[rows, tasks]`. `batch` has the labels, the weights and the domains of the rows.
    /// * `losses` has the loss function of each task ([`Objective::task_losses`]).
    /// * `weights` has the weight `ω_k` of each unit, in the order of [`Units::names`](super::Units::names). They replace the weights in the
    ///   settings, which [`Objective::weight`] computes; pass those, or others.
    /// * `normalisers` are those of the batch ([`Objective::normalisers`]). If a step has several batches, pass the sum of their normalisers with
    ///   each batch: then the losses and gradients of the batches add up to those of the step.
    ///
    /// The entry of `dlogits` for row i and task t is `ω_k·w_i·(dℓ_it/dz_it)/n_kt`. Here k is the unit of the label, `w_i` the weight of the row,
    /// `ℓ_it` the loss, `z_it` the logit, and `n_kt` the normaliser of unit k and task t. It is computed in f64 and rounded once to f32. It is
    /// exactly 0 if the label is missing. A unit without labels (or with labels on rows of weight 0 only) adds nothing. With an empty batch, the
    /// total is 0.
    ///
    /// # Errors
    /// [`NonFiniteAt`] names the first row and task whose logit (even without a label), loss or gradient is not finite. `loss` and `dlogits` are then
    /// only partly written.
    ///
    /// # Panics
    /// If the shapes of `logits`, `dlogits` and `batch` disagree, if `losses` does not have one entry for each task, or if `normalisers` has other
    /// numbers of tasks or units than `logits` and `weights`. Also if the units are domains, or pairs of domain and task, and the domain of a row is
    /// [`DomainId::SHARED`](crate::data::DomainId::SHARED) or has no entry in `weights`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a step that the caller owns")]
    pub fn evaluate(
        &self,
        logits: &ArrayRef2<f32>,
        batch: &Batch,
        losses: &[TaskLoss],
        weights: &[f64],
        normalisers: &Normalisers,
        dlogits: &mut ArrayRef2<f32>,
        loss: &mut Loss,
    ) -> Result<(), NonFiniteAt> {
        let (rows, tasks) = logits.dim();
        let Batch { labels, weights: row_weights, domains, .. } = batch;
        assert_eq!(labels.dim(), (rows, tasks), "labels and logits differ in shape");
        assert_eq!(dlogits.dim(), (rows, tasks), "dlogits and logits differ in shape");
        assert_eq!(losses.len(), tasks, "a loss for each task");
        let given = row_weights.len();
        assert!(given == 0 || given == rows, "{given} weights for {rows} rows");
        let Loss { total, units } = loss;
        let expected = (weights.len(), tasks * weights.len());
        assert_eq!((normalisers.units, normalisers.labelled.len()), expected, "normalisers of other tasks or units");
        units.clear();
        units.resize(weights.len(), None);
        for (task, task_loss) in losses.iter().enumerate() {
            let unit_of = |row: usize| self.units().of(domains, row, task, tasks);
            let row_weight = |row: usize| if given == 0 { 1.0 } else { row_weights[row] };
            let columns = || logits.column(task).into_iter().zip(labels.column(task)).enumerate();
            let not_finite = |row, logit, label| {
                let (weight, unit_weight) = (row_weight(row), weights[unit_of(row)]);
                NonFiniteAt { row, task, logit, label, weight, unit_weight }
            };

            let labelled = &normalisers.labelled[task * weights.len()..][..weights.len()];
            for (row, (&logit, &label)) in columns() {
                let has_label = !label.is_nan();
                if !logit.is_finite() || (has_label && !row_weight(row).is_finite()) {
                    return Err(not_finite(row, logit, label));
                }
            }
            for ((row, (&logit, &label)), dlogit) in columns().zip(dlogits.column_mut(task)) {
                let unit = unit_of(row);
                if label.is_nan() || labelled[unit] <= 0.0 {
                    *dlogit = 0.0;
                    continue;
                }
                let (value, derivative) = task_loss.value_and_derivative(f64::from(logit), f64::from(label));
                let share = f64::from(row_weight(row)) / labelled[unit];
                *units[unit].get_or_insert(0.0) += share * value;
                *dlogit = (weights[unit] * share * derivative) as f32;
                if !value.is_finite() || !dlogit.is_finite() {
                    return Err(not_finite(row, logit, label));
                }
            }
        }
        *total = units.iter().zip(weights).map(|(loss, weight)| loss.map_or(0.0, |loss| weight * loss)).sum();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};
    use proptest::prelude::*;

    use super::*;
    use crate::data::{DomainId, Layout};
    use crate::loss::{DecayPer, Units};
    use crate::optim::Clock;

    const NAN: f32 = f32::NAN;
    const EVERY: [Units; 3] = [Units::Tasks, Units::Domains, Units::DomainsAndTasks];

    fn rows(labels: &Array2<f32>, weights: &[f32], domains: &[usize]) -> Batch {
        let domains = domains.iter().map(|&domain| DomainId::new(domain)).collect();
        Batch { labels: labels.clone(), weights: weights.to_vec(), domains, ..Batch::default() }
    }

    fn evaluate(
        units: Units,
        omega: &[f64],
        logits: &Array2<f32>,
        batch: &Batch,
    ) -> Result<(Loss, Array2<f32>), NonFiniteAt> {
        let mut loss = Loss { total: 9.0, units: vec![Some(9.0); 7] };
        let mut normalisers = Normalisers { units: 3, labelled: vec![9.0; 5] };
        let mut dlogits = Array2::from_elem(logits.raw_dim(), 9.0);
        let objective = Objective::builder().units(units).build().unwrap();
        objective.normalisers(batch, omega.len(), &mut normalisers);
        let losses = vec![TaskLoss::binary(1.0, 1.0); logits.ncols()];
        objective.evaluate(logits, batch, &losses, omega, &normalisers, &mut dlogits, &mut loss)?;
        Ok((loss, dlogits))
    }

    /// `L_k` and `Σ_k ω_k L_k` as the definition has it, with logarithms of probabilities. Each unit is a list of means
    /// over labels, which are told apart by task and, where the domain counts, domain.
    fn naive(units: Units, omega: &[f64], logits: &Array2<f64>, batch: &Batch) -> (f64, Vec<Option<f64>>) {
        let (rows, tasks) = logits.dim();
        let weight = |i: usize| batch.weights.get(i).map_or(1.0, |&w| f64::from(w));
        let mean = |domain: Option<usize>, k: usize| {
            let counts = |&i: &usize| {
                !batch.labels[[i, k]].is_nan() && domain.is_none_or(|d| batch.domains[i] == DomainId::new(d))
            };
            let labelled: Vec<usize> = (0..rows).filter(counts).collect();
            let total: f64 = labelled.iter().map(|&i| weight(i)).sum();
            let loss: f64 = labelled
                .iter()
                .map(|&i| {
                    let p = 1.0 / (1.0 + (-logits[[i, k]]).exp());
                    let y = f64::from(batch.labels[[i, k]]);
                    -weight(i) * (y * p.ln() + (1.0 - y) * (1.0 - p).ln())
                })
                .sum();
            (total > 0.0).then(|| loss / total)
        };
        let parts = |unit: usize| -> Vec<Option<f64>> {
            match units {
                Units::Tasks => vec![mean(None, unit)],
                Units::Domains => (0..tasks).map(|k| mean(Some(unit), k)).collect(),
                Units::DomainsAndTasks => vec![mean(Some(unit / tasks), unit % tasks)],
            }
        };
        let losses = (0..omega.len()).map(|unit| {
            let known: Vec<f64> = parts(unit).into_iter().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum())
        });
        let losses: Vec<Option<f64>> = losses.collect();
        (losses.iter().zip(omega).map(|(loss, omega)| omega * loss.unwrap_or(0.0)).sum(), losses)
    }

    fn batches() -> impl Strategy<Value = (Array2<f32>, Batch)> {
        (1..9_usize, 1..4_usize).prop_flat_map(|(count, tasks)| {
            let label = prop_oneof![Just(0.0_f32), Just(1.0), Just(NAN), 0.0..1.0_f32];
            let matrix = move |values| Array2::from_shape_vec((count, tasks), values).unwrap();
            let labels = prop::collection::vec(label, count * tasks).prop_map(matrix);
            let weights = prop::collection::vec(prop_oneof![Just(0.0_f32), 0.1..5.0_f32], count);
            let domains = prop::collection::vec(0..3_usize, count);
            let batch =
                (labels, weights, domains).prop_map(|(labels, weights, domains)| rows(&labels, &weights, &domains));
            (prop::collection::vec(-6.0..6.0_f32, count * tasks).prop_map(matrix), batch)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn loss_and_gradient_are_those_of_the_definition((logits, batch) in batches(), which in 0..3_usize) {
            let (units, tasks) = (EVERY[which], logits.ncols());
            let omega: Vec<f64> = (0..[tasks, 3, 3 * tasks][which]).map(|k| 0.5 + k as f64).collect();
            let (loss, dlogits) = evaluate(units, &omega, &logits, &batch).unwrap();

            let z = logits.mapv(f64::from);
            let (total, by_unit) = naive(units, &omega, &z, &batch);
            prop_assert!((loss.total - total).abs() < 1e-10);
            prop_assert_eq!(loss.units.len(), by_unit.len());
            for (found, expected) in loss.units.iter().zip(&by_unit) {
                prop_assert_eq!(found.is_some(), expected.is_some());
                prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-10);
            }

            for ((i, k), &dlogit) in dlogits.indexed_iter() {
                let shifted = |by: f64| {
                    let mut z = z.clone();
                    z[[i, k]] += by;
                    naive(units, &omega, &z, &batch).0
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                prop_assert!((f64::from(dlogit) - expected).abs() < 1e-6, "{} is not {}", dlogit, expected);
                if batch.labels[[i, k]].is_nan() || batch.weights[i] == 0.0 {
                    prop_assert_eq!(dlogit, 0.0);
                }
            }
        }
    }

    #[test]
    fn a_batch_computed_by_hand() {
        // All logits 0: every loss is ln 2, every derivative ±1/2. Task 0 has weights 1 and 3, task 1 none.
        let labels = arr2(&[[1.0, NAN], [0.0, NAN], [NAN, NAN]]);
        let (zeros, omega) = (Array2::zeros((3, 2)), [2.0, 5.0]);
        let (loss, dlogits) = evaluate(Units::Tasks, &omega, &zeros, &rows(&labels, &[1.0, 3.0, 8.0], &[])).unwrap();
        assert_eq!(loss.units.len(), 2);
        assert!((loss.units[0].unwrap() - 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(loss.units[1], None);
        assert!((loss.total - 2.0 * 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(dlogits, arr2(&[[-0.25, 0.0], [0.75, 0.0], [0.0, 0.0]]));
        // Empty weights are all 1.
        let (_, dlogits) = evaluate(Units::Tasks, &omega, &zeros, &rows(&labels, &[], &[])).unwrap();
        assert_eq!(dlogits, arr2(&[[-0.5, 0.0], [0.5, 0.0], [0.0, 0.0]]));
    }

    #[test]
    fn a_rare_domain_counts_as_its_weight_says() {
        // Three rows of domain 0, one of domain 2; domain 1 is absent.
        let batch = rows(&Array2::ones((4, 1)), &[], &[0, 2, 0, 0]);
        let (loss, dlogits) = evaluate(Units::Domains, &[1.0, 9.0, 4.0], &Array2::zeros((4, 1)), &batch).unwrap();
        assert!(loss.units[1].is_none() && (loss.total - 5.0 * 2.0_f64.ln()).abs() < 1e-15);
        let share = 1.0 / 6.0;
        assert_eq!(dlogits, arr2(&[[-share], [-2.0], [-share], [-share]]));
        // Over tasks, every row counts the same.
        let (_, dlogits) = evaluate(Units::Tasks, &[1.0], &Array2::zeros((4, 1)), &batch).unwrap();
        assert_eq!(dlogits, Array2::from_elem((4, 1), -0.125));
    }

    #[test]
    fn with_one_domain_the_units_make_no_difference() {
        let batch = rows(&arr2(&[[1.0, NAN], [0.0, 1.0], [1.0, NAN]]), &[0.5, 2.0, 1.0], &[0, 0, 0]);
        let logits = arr2(&[[0.3, -1.0], [1.5, 2.0], [-0.2, 0.1]]);
        let of = |units, weights: &[f64]| evaluate(units, weights, &logits, &batch).unwrap();
        let (tasks, dlogits) = of(Units::Tasks, &[1.0, 1.0]);
        for (units, weights) in [(Units::Domains, &[1.0][..]), (Units::DomainsAndTasks, &[1.0, 1.0])] {
            let (loss, same) = of(units, weights);
            assert!((loss.total - tasks.total).abs() < 1e-12);
            assert_eq!(same, dlogits);
        }
    }

    #[test]
    fn an_empty_batch_has_no_loss() {
        let empty = Array2::zeros((0, 2));
        let (loss, _) = evaluate(Units::Tasks, &[1.0, 1.0], &empty, &rows(&empty, &[], &[])).unwrap();
        assert_eq!((loss.total, loss.units), (0.0, vec![None, None]));
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let at = |logits: &Array2<f32>, labels: &Array2<f32>, weights: &[f32]| {
            evaluate(Units::DomainsAndTasks, &[1.0; 4], logits, &rows(labels, weights, &[0, 1, 0])).unwrap_err()
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
        // A weight that has grown out of range.
        let objective = Objective::builder().decays([1e300]).decay_per(DecayPer::Step).build().unwrap();
        let weight = objective.weight(0, Clock { epoch: 0, step: 2 });
        let batch = rows(&Array2::ones((1, 1)), &[], &[0]);
        let error = evaluate(Units::Tasks, &[weight], &Array2::zeros((1, 1)), &batch).unwrap_err();
        assert_eq!((error.row, error.task, error.unit_weight), (0, 0, f64::INFINITY));
    }

    #[test]
    #[should_panic(expected = "training rows have a domain")]
    fn units_that_are_domains_need_domains() {
        let mut batch = rows(&Array2::ones((1, 1)), &[], &[0]);
        batch.domains[0] = DomainId::SHARED;
        let units = Units::Domains.count(&Layout { domains: vec!["search".into()], ..Layout::default() });
        drop(evaluate(Units::Domains, &vec![1.0; units], &Array2::zeros((1, 1)), &batch));
    }
}

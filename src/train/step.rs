//! The gradient of a training step.

use std::sync::Arc;

use ndarray::Array2;

use super::id_l2::add_l2;
use super::statistics::{StatisticsRows, recompute};
use super::unknown::{Replacer, set_to_mean};
use super::{IdCounts, UnitReport, Unknown};
use crate::data::{Batch, RowSource};
use crate::loss::weighting::{Measured, Needs, Projection, UnitWeights, WeightingState};
use crate::loss::{Loss, NonFiniteAt, Normalisers, Objective, TaskLoss};
use crate::model::{Cache, Gradient, Model, Statistics, has_averages, is_below};
use crate::nn::buffer::resize;
use crate::nn::{Leaf, Train};
use crate::optim::Clock;
use crate::{Error, ErrorKind, Result};

/// Computes the gradients of training steps, for a training loop of your own; a [`Trainer`](super::Trainer) uses it too. For each batch it
/// does the forward pass, computes the losses and the weights of the [units](crate::loss::Units) of the objective (tasks, domains, or pairs
/// of both), and does the backward pass.
///
/// Make one `Step` for a training run and use it for all steps: it reuses its buffers, and it remembers what the objective's
/// [`Weighting`](crate::loss::Weighting) has learned. It does not clip gradients and does not change the model. An example of a loop for one
/// epoch:
///
/// ```
/// # fn run(model: &mut starple::Star, batches: &[starple::data::Batch]) -> starple::Result<()> {
/// use starple::loss::{Objective, Units, Weighting};
/// use starple::optim::{Clock, OptimizerConfig};
/// use starple::train::Step;
///
/// let objective = Objective::builder().units(Units::Domains).weighting(Weighting::PcGrad {}).build()?;
/// let mut step = Step::new(model, &objective, 1)?;
/// let mut optimizer = OptimizerConfig::adam(0.001)?.build();
/// let mut clock = Clock::default();
/// for batch in batches {
///     let gradient = step.gradient(model, batch, clock).expect("a loss that is finite");
///     model.apply(gradient, &mut *optimizer);
///     clock.step += 1;
/// }
/// let units = step.end_epoch();
/// # Ok(()) }
/// ```
///
/// # Parts of a step
///
/// The rows of one training step can be divided into parts, one for each of several `Step`s of equal models, in one process or in several:
///
/// 1. Each `Step` does the forward pass of its part ([`Step::forward`]), which returns the normalisers of the part: the numbers of labelled
///    rows by which losses are divided. Add up the normalisers of all parts.
/// 2. Each `Step` does the backward pass of its part ([`Step::backward`]) with this sum. Add up the gradients and the losses.
/// 3. Each `Step` whose gradient is applied finishes it ([`Step::finish`]).
///
/// The gradient is then that of the whole step, except for rounding, because f32 values are added in another order.
///
/// ```
/// # fn run(model: &starple::Star, rows: &starple::data::Batch, mut steps: [starple::train::Step; 2]) {
/// # use starple::optim::Clock;
/// let half = rows.rows() / 2;
/// let parts = [rows.slice(0..half), rows.slice(half..rows.rows())];
/// let [one, other] = &mut steps;
/// let mut sum = one.forward(model, &parts[0], 0, Clock::default()).clone();
/// sum.add(other.forward(model, &parts[1], half as u64, Clock::default()));
/// let rest = other.backward(model, &parts[1], &sum).expect("a loss that is finite");
/// one.backward(model, &parts[0], &sum).expect("a loss that is finite").add(rest);
/// one.loss_mut().add(other.loss());
/// let gradient = one.finish(model);
/// # }
/// ```
///
/// Between processes, add up [`Gradient::net`] and [`Gradient::tables`], and combine [`Gradient::presence`], which says which parameters
/// have a gradient, by OR. Some results still differ from those of an undivided step:
///
/// * Batch normalisation, Partitioned Normalization and Dice use the statistics of each part alone.
/// * [GradNorm](crate::loss::Weighting::GradNorm) and [PCGrad](crate::loss::Weighting::PcGrad) measure the gradients of each part alone.
/// * With a [`Single`](crate::model::Single) model and lazy [`RowUpdates`](crate::optim::RowUpdates), the embeddings of a row without labels
///   are updated only if another row of its domain in the same part has a label.
#[derive(Debug)]
pub struct Step {
    seed: u64,
    units: Vec<String>,
    weights: UnitWeights,
    losses: Vec<TaskLoss>,
    normalisers: Normalisers,
    loss: Loss,
    cache: Cache<Train>,
    dlogits: Array2<f32>,
    grad: Gradient,
    by_unit: ByUnit,
    unknown: Unknown,
    id_l2: f64,
    counts: Arc<IdCounts>,
    replacer: Replacer,
}

/// Buffers for the gradients of single units.
#[derive(Debug)]
struct ByUnit {
    /// `dlogits` of one unit; 0 for all other units.
    dlogits: Array2<f32>,
    /// One if norms are needed, one for each unit if products are needed.
    grads: Vec<Gradient>,
    /// The units that have labels and a weight above 0 in the step.
    active: Vec<usize>,
    measured: Vec<Measured>,
    /// By position in the model's walk, whether norms are taken over the tensor.
    shared: Vec<bool>,
    projection: Projection,
}

impl Step {
    /// Makes a `Step` for training `model` with the loss `objective`. All tensors are trained, and no ids are replaced or penalised:
    /// [`Step::freeze`] and [`Step::ids`] change this. `seed` can be any number. It is the seed of dropout masks, of the ids that
    /// [`Step::ids`] replaces, and of the random order in which [PCGrad](crate::loss::Weighting::PcGrad) compares units.
    ///
    /// The `Step` is for this model alone. If you add a domain to the model later, make a new `Step`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a list of `objective` does not fit the layout of the model ([`Objective::check`]). Also if its weighting is
    /// [GradNorm](crate::loss::Weighting::GradNorm) and the model has no tensor whose gradients GradNorm can measure: a tensor that is not an
    /// embedding table, that no single domain or branch owns, and that has the name in the settings of GradNorm, if there is one.
    pub fn new(model: &Model, objective: &Objective, seed: u64) -> Result<Self> {
        objective.check(model.layout())?;
        let units: Vec<String> = objective.units().names(model.layout()).collect();
        let weights = UnitWeights::new(objective, units.len());
        let (kept, shared) = match weights.needs() {
            Needs::Nothing => (0, Vec::new()),
            Needs::Norms => (1, shared_tensors(model, weights.shared(), &[])?),
            Needs::Products => (units.len(), Vec::new()),
        };
        let by_unit = ByUnit {
            dlogits: Array2::default((0, 0)),
            grads: (0..kept).map(|_| model.zero_grad()).collect(),
            active: Vec::new(),
            measured: Vec::new(),
            shared,
            projection: Projection::default(),
        };
        Ok(Self {
            seed,
            units,
            weights,
            losses: objective.task_losses(model.layout()),
            normalisers: Normalisers::default(),
            loss: Loss::default(),
            cache: Cache::default(),
            dlogits: Array2::default((0, 0)),
            grad: model.zero_grad(),
            by_unit,
            unknown: Unknown::Off,
            id_l2: 0.0,
            counts: Arc::default(),
            replacer: Replacer::default(),
        })
    }

    /// Freezes the tensors of `model` that match one of `names`, and unfreezes all others: frozen tensors are not trained. A name such as
    /// `"embeddings.user"` matches all tensors whose dotted name starts with it; [`Gradient::freeze`] has the rules. An empty list freezes
    /// nothing. `model` is the model of [`Step::new`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one of `names` matches no tensor, if no tensor is left to train, or if
    /// [GradNorm](crate::loss::Weighting::GradNorm) is used and all tensors whose gradients it measures are frozen.
    ///
    /// # Panics
    /// If `model` is not the model of [`Step::new`].
    pub fn freeze<S: AsRef<str>>(mut self, model: &Model, names: &[S]) -> Result<Self> {
        for grad in [&mut self.grad].into_iter().chain(&mut self.by_unit.grads) {
            grad.freeze(model, names)?;
        }
        if matches!(self.weights.needs(), Needs::Norms) {
            self.by_unit.shared = shared_tensors(model, self.weights.shared(), self.grad.frozen())?;
        }
        Ok(self)
    }

    /// Sets what the steps do with ids of embedding tables. Without this call: nothing.
    ///
    /// * `model` is the model of [`Step::new`].
    /// * `unknown` says how the embedding of unknown values is filled: [`Unknown::Rate`] and [`Unknown::ByCount`] replace some ids of the
    ///   training rows by the id 0 in the forward pass; [`Unknown::Off`] does nothing. [`Unknown::Mean`] does nothing during steps: call
    ///   [`Step::set_unknown_to_mean`] before you evaluate or save the model.
    /// * `id_l2` is the strength of the L2 penalty on embeddings that is stronger for rare ids ([`id_l2`](super::TrainConfig::id_l2)): finite
    ///   and at least 0; 0 means no penalty.
    /// * `counts` says how often each id occurs in one epoch of the training rows ([`IdCounts::of`]). It is needed for [`Unknown::ByCount`],
    ///   for [`Unknown::Mean`] and for a penalty; otherwise pass `IdCounts::default()`.
    ///
    /// # Panics
    /// If `id_l2` is negative or not finite, or if the counts are needed and do not have the tables of the model with the same numbers of rows.
    #[must_use]
    pub fn ids(mut self, model: &Model, unknown: Unknown, id_l2: f64, counts: impl Into<Arc<IdCounts>>) -> Self {
        let counts = counts.into();
        assert!(id_l2 >= 0.0 && id_l2.is_finite(), "id_l2: a finite number of at least 0, found {id_l2}");
        if unknown.counts() && model.layout().tables.iter().any(|table| table.unknown) || id_l2 > 0.0 {
            assert!(counts.fit(model.layout()), "the counts are not of the model's tables");
        }
        (self.unknown, self.id_l2, self.counts) = (unknown, id_l2, counts);
        self
    }

    /// If [`Step::ids`] has set [`Unknown::Mean`], sets the embedding of unknown values (row 0) of each table of `model` that has one to the
    /// mean of the other embeddings of the table, each weighted by the count of its id. Otherwise it does nothing. A table does not change if
    /// it is frozen, if some training rows have its id 0, or if no training row has any of its ids.
    ///
    /// # Panics
    /// If `model` has more tables than the model of [`Step::ids`].
    pub fn set_unknown_to_mean(&self, model: &mut Model) {
        if self.unknown == Unknown::Mean && model.layout().tables.iter().any(|table| table.unknown) {
            set_to_mean(model, &self.counts, self.grad.frozen());
        }
    }

    /// Computes the gradient of the objective on the rows of `batch`: the forward pass in training mode, the losses and the backward pass.
    /// Pass the returned gradient to [`Model::apply`], which updates the model and sets the gradient back to 0; a gradient that is not set
    /// back is added to that of the next step. [`Step::loss`] and [`Step::logits`] then have the loss and the logits of this step.
    ///
    /// `clock` has the numbers of epochs and of steps that the run has completed before this step: count them up yourself. Dropout and decaying
    /// weights of the objective depend on them.
    ///
    /// If the [`Weighting`](crate::loss::Weighting) of the objective learns, it is updated too; its new weights are used from the next step
    /// on. If no row has a label, the loss of every unit is `None`, and the gradient has the penalties alone.
    ///
    /// # Errors
    /// [`NonFiniteAt`] if a logit, a loss or the gradient of a logit is NaN or infinite. It names the first row and task where this happens.
    /// There is no gradient then, and neither the weighting nor the model has changed.
    ///
    /// # Panics
    /// If `batch` does not have the model's layout, if one of its rows has no known domain, or if `model` is not the model of
    /// [`Step::new`].
    pub fn gradient(&mut self, model: &Model, batch: &Batch, clock: Clock) -> Result<&mut Gradient, NonFiniteAt> {
        self.forward(model, batch, 0, clock);
        let normalisers = std::mem::take(&mut self.normalisers);
        let done = self.backward(model, batch, &normalisers).map(|_| ());
        self.normalisers = normalisers;
        done?;
        Ok(self.finish(model))
    }

    /// Does the first stage of [`Step::gradient`] on `part`, some of the rows of a training step ([parts of a step](Step#parts-of-a-step)): the
    /// forward pass. Returns the [`Normalisers`] of these rows: for each task and unit, the sum of the weights of the labelled rows, by which
    /// losses are divided. Add the normalisers of the other parts before you call [`Step::backward`].
    ///
    /// `first_row` is the number of rows in all parts before this one, so 0 for the first part. With it, dropout draws the same masks as if
    /// the step were not divided. `clock` has the numbers of epochs and of steps that the run has completed before this step.
    ///
    /// # Panics
    /// If `part` does not have the model's layout, if one of its rows has no known domain, or if `model` is not the model of [`Step::new`].
    pub fn forward(&mut self, model: &Model, part: &Batch, first_row: u64, clock: Clock) -> &Normalisers {
        let Self { weights, normalisers, cache, grad, unknown, counts, replacer, .. } = self;
        cache.mode = Train { seed: self.seed, step: clock.step, first_row };
        let mut read = part;
        if unknown.replaces(model.layout()) {
            replacer.replace(*unknown, counts, (model, grad), part, cache.mode);
            read = replacer.batch();
        }
        model.forward_with(read, read.domains(), cache);
        weights.start(clock);
        weights.objective().normalisers(part, weights.step().len(), normalisers);
        normalisers
    }

    /// Does the second stage of [`Step::gradient`], after [`Step::forward`] with the same `model` and `part`: the losses and the backward
    /// pass of these rows. `normalisers` is the sum of the normalisers of all parts of the step.
    ///
    /// Returns the gradient of these rows: their share of the gradient of the step. Before you call [`Step::finish`], add the gradients of the
    /// other parts to it ([`Gradient::add`]), and add their losses ([`Step::loss`]) to [`Step::loss_mut`].
    ///
    /// # Errors
    /// [`NonFiniteAt`] if a logit, a loss or the gradient of a logit is NaN or infinite. It names the first row and task where this happens;
    /// the number of the row counts within `part`.
    ///
    /// # Panics
    /// If `model` and `part` are not those of [`Step::forward`], or if `normalisers` has another number of tasks or units than the objective.
    pub fn backward(
        &mut self,
        model: &Model,
        part: &Batch,
        normalisers: &Normalisers,
    ) -> Result<&mut Gradient, NonFiniteAt> {
        let Self { weights, losses, loss, cache, dlogits, grad, replacer, .. } = self;
        resize(dlogits, part.rows(), model.layout().tasks.len());
        weights.objective().evaluate(cache.logits(), part, losses, weights.step(), normalisers, dlogits, loss)?;

        let replaced = self.unknown.replaces(model.layout());
        let read = if replaced { replacer.batch() } else { part };
        let takes_part = |&unit: &usize| loss.units[unit].is_some() && weights.fixed(unit) > 0.0;
        self.by_unit.active.clear();
        self.by_unit.active.extend((0..loss.units.len()).filter(takes_part));
        self.by_unit.measured.clear();
        match weights.needs() {
            // A single unit needs no balance and has no conflict.
            Needs::Norms | Needs::Products if self.by_unit.active.len() == 1 => {
                let unit = self.by_unit.active[0];
                let loss = loss.units[unit].expect("the unit takes part");
                self.by_unit.measured.push(Measured { unit, norm: 0.0, loss });
                model.backward(read, dlogits, cache, grad);
            }
            Needs::Norms if self.by_unit.active.len() > 1 => self.balance(model, part),
            Needs::Products if self.by_unit.active.len() > 1 => self.project(model, part),
            _ => model.backward(read, dlogits, cache, grad),
        }
        Ok(&mut self.grad)
    }

    /// Does the last stage of [`Step::gradient`], when the gradient and the loss are those of the whole step. Call it once in each step.
    ///
    /// The [`Weighting`](crate::loss::Weighting) of the objective learns from the loss. The model's own penalty ([`Model::penalize`]) is added
    /// to the loss and its gradient to the gradient. The penalty on embeddings ([`Step::ids`]) is added to the gradient alone, not to the
    /// loss. The returned gradient is complete: pass it to [`Model::apply`].
    ///
    /// # Panics
    /// If `model` is not the model of [`Step::new`].
    pub fn finish(&mut self, model: &Model) -> &mut Gradient {
        self.weights.finish(&mut self.loss, &self.by_unit.measured);
        // The model's penalty belongs to no unit: it is neither weighted nor projected.
        self.loss.total += model.penalize(&mut self.cache, &mut self.grad);
        if self.id_l2 > 0.0 {
            add_l2(self.id_l2, &self.counts, model, &mut self.grad);
        }
        &mut self.grad
    }

    /// One backward pass for each unit; measures the norms. The gradient is the sum.
    fn balance(&mut self, model: &Model, batch: &Batch) {
        let replaced = self.unknown.replaces(model.layout());
        let Self { weights, loss, cache, dlogits, grad, by_unit, replacer, .. } = self;
        let batch = if replaced { replacer.batch() } else { batch };
        let ByUnit { dlogits: own, grads, active, measured, shared, .. } = by_unit;
        for &unit in &*active {
            select(weights.objective(), unit, batch, dlogits, own);
            model.backward(batch, own, cache, &mut grads[0]);
            let norm = grads[0].squares_where(|slot| shared[slot]).sqrt() / weights.fixed(unit);
            measured.push(Measured { unit, norm, loss: loss.units[unit].expect("the unit takes part") });
            grad.add_scaled(1.0, &mut grads[0]);
            grads[0].zero();
        }
    }

    /// One backward pass for each unit; keeps all gradients. The gradient is the sum of their projections.
    fn project(&mut self, model: &Model, batch: &Batch) {
        let step = self.cache.mode.step;
        let replaced = self.unknown.replaces(model.layout());
        let Self { seed, weights, cache, dlogits, grad, by_unit, replacer, .. } = self;
        let batch = if replaced { replacer.batch() } else { batch };
        let ByUnit { dlogits: own, grads, active, projection, .. } = by_unit;
        for (&unit, grad) in active.iter().zip(&mut *grads) {
            select(weights.objective(), unit, batch, dlogits, own);
            model.backward(batch, own, cache, grad);
        }
        projection.measure(active.len(), |i, j| {
            let (before, rest) = grads.split_at_mut(i);
            if i == j { rest[0].squares() } else { rest[0].dot(&mut before[j]) }
        });
        let factors = projection.factors(*seed, step, active);
        for ((&unit, own), &factor) in active.iter().zip(grads).zip(factors) {
            weights.scale(unit, factor);
            grad.add_scaled(factor as f32, own);
            own.zero();
        }
    }

    /// [`recompute_statistics`](super::recompute_statistics) in the buffers of this step; frozen averages stay.
    pub(super) fn recompute_statistics(
        &mut self,
        model: &mut Model,
        rows: &mut dyn RowSource,
        sample: StatisticsRows,
    ) -> Result<()> {
        if has_averages(model.net()) {
            let frozen = self.grad.frozen().to_vec();
            let negatives = self.weights.objective().negatives();
            let statistics = Statistics::new(&mut self.cache, &mut self.dlogits, &mut self.grad.net);
            recompute(model, rows, sample, negatives, statistics, &frozen)?;
        }
        Ok(())
    }

    /// Returns the logits of the last forward pass in training mode, `[rows, tasks]`, with the rows in the order of the batch. They were computed
    /// with the weights before the step, with dropout. The array is empty before the first step.
    pub fn logits(&self) -> &Array2<f32> {
        self.cache.logits()
    }

    /// Returns the loss of the last step: its total and the loss of each unit. If the step is divided, it is the loss of the rows of the last
    /// [`Step::backward`] until you add the losses of the other parts. Before the first step the total is 0 and there are no units. After an
    /// error of a step, the values have no meaning.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Returns the loss of the rows of the last [`Step::backward`], so that you can change it: if a step is divided, add the losses of the other
    /// parts to it ([`Loss::add`]) before [`Step::finish`].
    pub fn loss_mut(&mut self) -> &mut Loss {
        &mut self.loss
    }

    /// Returns the weight of each [unit](crate::loss::Units) (such as each task) in the last step: the number by which its loss, or with PCGrad
    /// its gradient, was multiplied. It is the weight that the settings of the objective give the unit in this step
    /// ([`Objective::weight`]), times the factor of the objective's [`Weighting`](crate::loss::Weighting). The order is that of
    /// [`Units::names`](crate::loss::Units::names). All are 0 before the first step.
    pub fn weights(&self) -> &[f64] {
        self.weights.step()
    }

    /// Ends an epoch: call it once after the last step of each epoch. Returns the mean loss and the mean weight of each
    /// [unit](crate::loss::Units) over the steps since the last call, in the order of [`Units::names`](crate::loss::Units::names). The weighting
    /// [DWA](crate::loss::Weighting::Dwa), which adapts once per epoch, computes its new weights now.
    pub fn end_epoch(&mut self) -> Vec<UnitReport> {
        let sums = self.units.iter().zip(&self.weights.state().epoch);
        let report = |(unit, sums): (&String, &crate::loss::weighting::UnitSums)| UnitReport {
            unit: unit.clone(),
            loss: sums.mean_loss(),
            weight: sums.mean_weight(),
        };
        let reports = sums.map(report).collect();
        self.weights.end_epoch();
        reports
    }

    /// Returns what the objective's [`Weighting`](crate::loss::Weighting) has learned so far, and the sums of losses and weights over the
    /// current epoch. To continue training later with another `Step`, save it together with the model and give it to [`Step::restore`].
    pub fn weighting(&self) -> &WeightingState {
        self.weights.state()
    }

    /// Replaces the state of the objective's [`Weighting`](crate::loss::Weighting) by `state`, which [`Step::weighting`] returned earlier. With
    /// the same model, optimizer state, seed and clock, the next step then has the same bits as if training had not been interrupted.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if `state` is that of another weighting, has another number of units, or has an invalid number. The weighting
    /// does not change then.
    pub fn restore(&mut self, state: WeightingState) -> Result<()> {
        self.weights.restore(state)
    }
}

/// Copies the entries of one unit from `dlogits`, and sets all others to 0.
fn select(objective: &Objective, unit: usize, batch: &Batch, dlogits: &Array2<f32>, own: &mut Array2<f32>) {
    let (rows, tasks) = dlogits.dim();
    resize(own, rows, tasks);
    for (((row, task), own), &d) in own.indexed_iter_mut().zip(dlogits) {
        *own = if objective.units().of(&batch.domains, row, task, tasks) == unit { d } else { 0.0 };
    }
}

/// By position in the walk, whether a tensor is dense, shared, not frozen, and below `prefix` if there is one.
fn shared_tensors(model: &Model, prefix: Option<&str>, frozen: &[bool]) -> Result<Vec<bool>> {
    let tables = model.embeddings().tables().len();
    let (mut shared, mut names) = (Vec::new(), Vec::new());
    model.visit(|path, leaf| {
        shared.resize(path.slot() + 1, false);
        let out = path.slot() < tables || path.owned() || frozen.get(path.slot()) == Some(&true);
        if let (Leaf::Tensor(..), false) = (leaf, out) {
            let name = path.name(model.layout());
            shared[path.slot()] = prefix.is_none_or(|prefix| is_below(&name, prefix));
            names.push(name);
        }
    });
    if shared.contains(&true) {
        return Ok(shared);
    }
    let message = match prefix {
        Some(prefix) => format!(
            "weighting: shared: expected the name, or the first parts of the name, of a dense tensor that no domain or branch \
             owns and that is not frozen, one of {names:?}, found {prefix:?}"
        ),
        None => "weighting: gradnorm needs a dense tensor that no domain or branch owns and that is not frozen; the model has none".into(),
    };
    Err(Error::new(ErrorKind::Config, message))
}

//! The first half of a training step: from rows to the gradient of an objective.

use ndarray::Array2;

use super::UnitReport;
use super::statistics::{StatisticsRows, recompute};
use crate::data::{Batch, RowSource};
use crate::loss::weighting::{Measured, Needs, Projection, UnitWeights, WeightingState};
use crate::loss::{Loss, NonFiniteAt, Objective};
use crate::model::{Cache, Gradient, Model, Statistics, has_averages, is_below};
use crate::nn::buffer::resize;
use crate::nn::{Leaf, Train};
use crate::optim::Clock;
use crate::{Error, ErrorKind, Result};

/// Takes the steps of a training run as far as their gradient: forward pass, losses, weights of the units, backward
/// pass or passes.
///
/// It owns what outlives a step: activations, buffers, and what the objective's [`Weighting`](crate::loss::Weighting)
/// has learned. The [`Trainer`](super::Trainer) has one; with one of your own, a loop is
///
/// ```
/// # fn run(model: &mut starple::Star, batches: &[starple::data::Batch]) -> starple::Result<()> {
/// use starple::loss::{Objective, Units, Weighting};
/// use starple::optim::{Clock, OptimizerConfig};
/// use starple::train::Step;
///
/// let objective = Objective::builder().units(Units::Domains).weighting(Weighting::pcgrad()).build()?;
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
#[derive(Debug)]
pub struct Step {
    seed: u64,
    units: Vec<String>,
    weights: UnitWeights,
    loss: Loss,
    cache: Cache<Train>,
    dlogits: Array2<f32>,
    grad: Gradient,
    by_unit: ByUnit,
}

/// What it takes to know the gradients of single units.
#[derive(Debug)]
struct ByUnit {
    /// `dlogits` of one unit, 0 where others' labels are.
    dlogits: Array2<f32>,
    /// One when norms are needed, one for each unit when products are.
    grads: Vec<Gradient>,
    /// The units that take part in the step.
    active: Vec<usize>,
    measured: Vec<Measured>,
    /// By position in the model's walk, whether norms are taken over the tensor.
    shared: Vec<bool>,
    projection: Projection,
}

impl Step {
    /// The steps of `model` under an objective. `seed` is that of dropout and of random orders.
    ///
    /// Make a new one when the model has got a new domain.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the objective has weights for other units than the model's tasks and domains make, or
    /// there is no tensor that norms could be taken over.
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
            loss: Loss::default(),
            cache: Cache::default(),
            dlogits: Array2::default((0, 0)),
            grad: model.zero_grad(),
            by_unit,
        })
    }

    /// Freezes some tensors in these steps: [`Gradient::freeze`] says which these names are.
    ///
    /// # Errors
    /// Those of [`Gradient::freeze`], and [`ErrorKind::Config`] if all tensors are frozen that norms could be taken over.
    ///
    /// # Panics
    /// If the model is not the one of [`Step::new`].
    pub fn freeze<S: AsRef<str>>(mut self, model: &Model, names: &[S]) -> Result<Self> {
        for grad in [&mut self.grad].into_iter().chain(&mut self.by_unit.grads) {
            grad.freeze(model, names)?;
        }
        if matches!(self.weights.needs(), Needs::Norms) {
            self.by_unit.shared = shared_tensors(model, self.weights.shared(), self.grad.frozen())?;
        }
        Ok(self)
    }

    /// The gradient of the objective on a batch, for [`Model::apply`], which sets it back to zero before the next step.
    ///
    /// What the weighting learns from the step counts from the next one on.
    ///
    /// # Errors
    /// [`NonFiniteAt`] names the first place where a logit, loss or gradient by a logit is not finite; nothing was
    /// learned then.
    ///
    /// # Panics
    /// If the batch does not have the model's layout, a row has no known domain, or the model is not the one of
    /// [`Step::new`].
    pub fn gradient(&mut self, model: &Model, batch: &Batch, clock: Clock) -> Result<&mut Gradient, NonFiniteAt> {
        let Self { weights, loss, cache, dlogits, grad, .. } = self;
        cache.mode = Train { seed: self.seed, step: clock.step };
        model.forward_with(batch, batch.domains(), cache);
        weights.start(clock);
        resize(dlogits, batch.rows(), model.layout().tasks.len());
        weights.objective().evaluate(cache.logits(), batch, weights.step(), dlogits, loss)?;

        let takes_part = |&unit: &usize| loss.units[unit].is_some() && weights.fixed(unit) > 0.0;
        self.by_unit.active.clear();
        self.by_unit.active.extend((0..loss.units.len()).filter(takes_part));
        self.by_unit.measured.clear();
        match weights.needs() {
            // One unit alone has no other unit to be balanced with or to conflict with.
            Needs::Norms | Needs::Products if self.by_unit.active.len() == 1 => {
                let unit = self.by_unit.active[0];
                let loss = loss.units[unit].expect("the unit takes part");
                self.by_unit.measured.push(Measured { unit, norm: 0.0, loss });
                model.backward(batch, dlogits, cache, grad);
            }
            Needs::Norms if self.by_unit.active.len() > 1 => self.balance(model, batch),
            Needs::Products if self.by_unit.active.len() > 1 => self.project(model, batch, clock.step),
            _ => model.backward(batch, dlogits, cache, grad),
        }
        self.weights.finish(&mut self.loss, &self.by_unit.measured);
        // What the model adds by itself belongs to no unit: it is neither weighed nor projected.
        self.loss.total += model.penalize(&mut self.cache, &mut self.grad);
        Ok(&mut self.grad)
    }

    /// A backward pass for each unit, whose norm is measured; their sum is the gradient.
    fn balance(&mut self, model: &Model, batch: &Batch) {
        let Self { weights, loss, cache, dlogits, grad, by_unit, .. } = self;
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

    /// A backward pass for each unit, all of which are kept; the sum of their projections is the gradient.
    fn project(&mut self, model: &Model, batch: &Batch, step: u64) {
        let Self { seed, weights, cache, dlogits, grad, by_unit, .. } = self;
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

    /// [`recompute_statistics`](super::recompute_statistics) in the buffers of the steps; what is frozen stays.
    pub(super) fn recompute_statistics(
        &mut self,
        model: &mut Model,
        rows: &mut dyn RowSource,
        sample: StatisticsRows,
    ) -> Result<()> {
        if has_averages(model.net()) {
            let frozen = self.grad.frozen().to_vec();
            let statistics = Statistics::new(&mut self.cache, &mut self.dlogits, &mut self.grad.net);
            recompute(model, rows, sample, statistics, &frozen)?;
        }
        Ok(())
    }

    /// The logits of the last step, `[rows, tasks]`, in the order of its batch.
    pub fn logits(&self) -> &Array2<f32> {
        self.cache.logits()
    }

    /// The loss of the last step.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The weight `ω_k(t)·v_k` that each unit's gradient had in the last step, in the order of
    /// [`Units::names`](crate::loss::Units::names).
    pub fn weights(&self) -> &[f64] {
        self.weights.step()
    }

    /// Ends an epoch, which some weightings learn from, and says what its units were like.
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

    /// What the weighting remembers, to be saved.
    pub fn weighting(&self) -> &WeightingState {
        self.weights.state()
    }

    /// Puts a saved state in place of what the weighting remembers: the next step is then, bit for bit, the one that
    /// would have followed.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if it is that of another weighting or of other units; nothing changes then.
    pub fn restore(&mut self, state: WeightingState) -> Result<()> {
        self.weights.restore(state)
    }
}

/// Copies one unit's entries of `dlogits`; all others are 0.
fn select(objective: &Objective, unit: usize, batch: &Batch, dlogits: &Array2<f32>, own: &mut Array2<f32>) {
    let (rows, tasks) = dlogits.dim();
    resize(own, rows, tasks);
    for (((row, task), own), &d) in own.indexed_iter_mut().zip(dlogits) {
        *own = if objective.units().of(&batch.domains, row, task, tasks) == unit { d } else { 0.0 };
    }
}

/// By position in the walk, the shared dense tensors that are not frozen, those under `prefix` alone if there is one.
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
            "weighting: shared: expected the start of a name, whole parts of it, of a dense tensor that no domain or branch \
             owns and that is not frozen, one of {names:?}, found {prefix:?}"
        ),
        None => "weighting: gradnorm needs a dense tensor that no domain or branch owns and that is not frozen; the model has none".into(),
    };
    Err(Error::new(ErrorKind::Config, message))
}

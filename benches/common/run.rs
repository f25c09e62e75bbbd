//! Models that train or predict after a warm-up, and the measurement of their time.

use std::time::Instant;

use ndarray::Array2;
use starple::Model;
use starple::data::{Batch, DomainId};
use starple::loss::Objective;
use starple::model::{Cache, Gradient};
use starple::nn::Infer;
use starple::optim::{Clock, Optimizer, OptimizerConfig};
use starple::serve::{Context, Scorer, ScorerCache};
use starple::train::Step;

/// The learning rate. With a usual rate, tens of steps on one batch make the loss almost 0. Its gradients then become subnormal numbers, with
/// which some processors are many times slower.
const RATE: f64 = 1e-6;

/// A model that trains with Adam.
pub(crate) struct Training {
    pub(crate) model: Model,
    pub(crate) step: Step,
    optimizer: Box<dyn Optimizer>,
    clock: Clock,
}

impl Training {
    pub(crate) fn new(model: Model) -> Self {
        let step = Step::new(&model, &Objective::default(), 1).expect("an objective for any model");
        let optimizer = OptimizerConfig::adam(RATE).expect("a learning rate that can be").build();
        Self { model, step, optimizer, clock: Clock::default() }
    }

    /// Forward pass, loss and backward pass.
    pub(crate) fn gradient(&mut self, batch: &Batch) -> &mut Gradient {
        self.step.gradient(&self.model, batch, self.clock).expect("a loss that is finite")
    }

    /// One training step.
    pub(crate) fn step(&mut self, batch: &Batch) {
        let gradient = self.step.gradient(&self.model, batch, self.clock).expect("a loss that is finite");
        self.model.apply(gradient, &mut *self.optimizer);
        self.clock.step += 1;
    }
}

/// A model that predicts, with its cache.
pub(crate) struct Inference {
    pub(crate) model: Model,
    cache: Cache<Infer>,
}

impl Inference {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, cache: Cache::default() }
    }

    /// The logits of a batch.
    pub(crate) fn pass(&mut self, batch: &Batch) -> &Array2<f32> {
        self.model.forward_with(batch, batch.domains(), &mut self.cache)
    }
}

/// A scorer that serves requests: first the context, then the scores of all candidates.
pub(crate) struct Serving {
    scorer: Scorer,
    context: Context,
    cache: ScorerCache,
    user: Batch,
}

impl Serving {
    /// Requests with the values of this batch's first row in the first `given` fields and a fifth as many numbers.
    pub(crate) fn new(model: Model, given: usize, batch: &Batch) -> Self {
        let layout = model.layout().clone();
        let fields = layout.fields[..given].iter().map(|field| field.name.as_str());
        let given: Vec<_> = fields.chain(layout.numeric[..given / 5].iter().map(String::as_str)).collect();
        let scorer = Scorer::new(model, &given).expect("fields of the model");
        Self { scorer, context: Context::default(), cache: ScorerCache::default(), user: batch.slice(0..1) }
    }

    /// The logits of the candidates of one request, all of one domain.
    pub(crate) fn pass(&mut self, batch: &Batch) -> &Array2<f32> {
        let domain = batch.domains.first().copied().unwrap_or(DomainId::SHARED);
        self.scorer.context_into(domain, &self.user, &mut self.context);
        self.scorer.score(&self.context, batch, &mut self.cache)
    }
}

/// The length of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// The number of calls before the measurement.
    pub(crate) warm: usize,
    /// Calls continue for this number of seconds, …
    pub(crate) seconds: f64,
    /// … but there are at least and at most this number of calls.
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// The seconds of each call of `work`, in order. Nothing is allocated between calls.
pub(crate) fn time(length: Length, mut work: impl FnMut()) -> Vec<f64> {
    let Length { warm, seconds, least, most } = length;
    let mut times = Vec::with_capacity(most);
    (0..warm).for_each(|_| work());
    let begin = Instant::now();
    while times.len() < most && (times.len() < least || begin.elapsed().as_secs_f64() < seconds) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    times
}

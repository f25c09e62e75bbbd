//! Recomputes normalisation statistics with the current weights, to replace moving averages.

use ndarray::Array2;

use super::{Cache, Model};
use crate::data::Batch;
use crate::net::{Input, Net, Rows};
use crate::nn::buffer::resize;
use crate::nn::{Leaf, Mode, Pair, Params as _, Path, PreciseStatistics, Train};

/// Collects the statistics of a net's normalisation layers over many rows, batch by batch.
///
/// It borrows the cache and the gradient of a training step, so that it needs no more memory.
#[derive(Debug)]
pub(crate) struct Statistics<'a> {
    cache: &'a mut Cache<Train>,
    dlogits: &'a mut Array2<f32>,
    /// Holds the statistics of one batch; 0 between batches.
    grad: &'a mut Net,
    /// In the order in which the net visits its tensors.
    precise: Vec<PreciseStatistics>,
}

impl<'a> Statistics<'a> {
    /// Starts a collection. `grad` must be 0, and is 0 afterwards.
    pub(crate) fn new(cache: &'a mut Cache<Train>, dlogits: &'a mut Array2<f32>, grad: &'a mut Net) -> Self {
        Self { cache, dlogits, grad, precise: Vec::new() }
    }

    /// Adds the statistics of these rows.
    ///
    /// If only the input is normalised, the embedded rows are enough. Otherwise this runs a forward pass without dropout and a backward
    /// pass, which records the statistics. The gradients are not used.
    pub(crate) fn add(&mut self, model: &mut Model, rows: &Batch) {
        let Self { cache, dlogits, grad, precise } = self;
        let Cache { order, blocks, x, events, dx, grouped: logits, tape, .. } = &mut **cache;
        let layout = model.config.layout();
        order.group(rows, rows.domains(), layout.domains.len());
        let embedded = model.embeddings.find_blocks(rows.rows(), &order.segments, blocks);
        resize(x, embedded, model.embeddings.width());
        model.embeddings.forward(rows, &order.rows, blocks, x, events);
        if !model.net.note_statistics(Input { x, segments: &order.segments }, grad) {
            resize(logits, rows.rows(), layout.tasks.len());
            resize(dlogits, rows.rows(), layout.tasks.len());
            resize(dx, x.nrows(), x.ncols());
            let input = Rows { x, events, segments: &order.segments, numbers: &order.rows };
            model.net.forward(input, Mode::Measure, tape, logits);
            // Every branch needs a gradient, or it does not record its statistics.
            dlogits.fill(1.0);
            model.net.backward(x, events, dlogits, tape, grad, dx);
        }
        model.net.visit_pair(grad, &mut Path::starting_at(0), &mut |path, pair| {
            if let (Pair::Average(_, batch), true) = (pair, path.present()) {
                let slot = path.slot();
                precise.resize(precise.len().max(slot + 1), PreciseStatistics::default());
                precise[slot].add(batch);
            }
        });
        grad.zero();
    }

    /// Replaces the moving averages by the statistics, except those that are `frozen`, which is in the order of [`Model::visit`].
    pub(crate) fn replace(self, model: &mut Model, frozen: &[bool]) {
        let tables = model.embeddings.tables().len();
        model.net.visit_pair(self.grad, &mut Path::starting_at(0), &mut |path, pair| {
            let slot = path.slot();
            if let (Pair::Average(average, _), Some(precise)) = (pair, self.precise.get(slot))
                && frozen.get(tables + slot) != Some(&true)
            {
                precise.replace(average);
            }
        });
    }
}

/// Whether one of these tensors is a moving average.
pub(crate) fn has_averages(net: &impl crate::nn::Params) -> bool {
    let mut found = false;
    net.visit(&mut Path::starting_at(0), &mut |_, leaf| found |= matches!(leaf, Leaf::Average(..)));
    found
}

//! The statistics of rows with the weights as they are: what moving averages should be.

use ndarray::Array2;

use super::{Cache, Model};
use crate::data::Batch;
use crate::net::{Input, Net};
use crate::nn::buffer::resize;
use crate::nn::{Leaf, Mode, Pair, Params as _, Path, PreciseStatistics, Train};

/// Takes the statistics that a net's normalisations have over many rows, batch by batch.
///
/// Cache and gradient are lent: in a training run they are those of its steps, so that it takes no more memory.
#[derive(Debug)]
pub(crate) struct Statistics<'a> {
    cache: &'a mut Cache<Train>,
    dlogits: &'a mut Array2<f32>,
    /// All zero; holds the statistics of one batch.
    grad: &'a mut Net,
    /// By position in the net's walk.
    precise: Vec<PreciseStatistics>,
}

impl<'a> Statistics<'a> {
    /// With what a step lends; `grad` is zero, and is so afterwards.
    pub(crate) fn new(cache: &'a mut Cache<Train>, dlogits: &'a mut Array2<f32>, grad: &'a mut Net) -> Self {
        Self { cache, dlogits, grad, precise: Vec::new() }
    }

    /// Adds the statistics of these rows.
    ///
    /// Where only the input is normalised, its rows tell them. Elsewhere a forward pass without dropout does, and a backward pass, which
    /// notes them; the gradients are thrown away.
    pub(crate) fn add(&mut self, model: &mut Model, rows: &Batch) {
        let Self { cache, dlogits, grad, precise } = self;
        let Cache { order, blocks, x, dx, grouped: logits, tape, .. } = &mut **cache;
        let layout = model.config.layout();
        order.group(rows, rows.domains(), layout.domains.len());
        let embedded = model.embeddings.find_blocks(rows.rows(), &order.segments, blocks);
        resize(x, embedded, model.embeddings.width());
        model.embeddings.forward(rows, &order.rows, blocks, x);
        let input = Input { x, segments: &order.segments, rows: &order.rows };
        if !model.net.note_statistics(input, grad) {
            resize(logits, rows.rows(), layout.tasks.len());
            resize(dlogits, rows.rows(), layout.tasks.len());
            resize(dx, x.nrows(), x.ncols());
            model.net.forward(input, Mode::Measure, tape, logits);
            // So that every branch has a gradient, and notes its statistics.
            dlogits.fill(1.0);
            model.net.backward(input, dlogits, tape, grad, dx);
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

    /// Puts the statistics in place of the moving averages, but for those that are frozen by their position in the model's walk.
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

/// Whether there is a moving average among these tensors.
pub(crate) fn has_averages(net: &impl crate::nn::Params) -> bool {
    let mut found = false;
    net.visit(&mut Path::starting_at(0), &mut |_, leaf| found |= matches!(leaf, Leaf::Average(..)));
    found
}

//! Attention over sequences: it writes columns of the embedded row, before the other steps run.

use std::ops::Range;

use ndarray::{Array2, ArrayRef2, s};

use super::layer::Layer;
use super::program::{Op, Program, Step};
use super::tape::{Part, StepCache, cache_of};
use crate::data::SequenceColumns;
use crate::model::Events;
use crate::nn::buffer::{clear, grow, resize};
use crate::nn::{Mode, TargetAttentionCache};

/// What the attention over one sequence keeps for the rows of one step.
#[derive(Debug, Default)]
pub(crate) struct AttendedCache {
    /// Queries and pooled events, `[rows, dim]`, and their gradients.
    q: Array2<f32>,
    p: Array2<f32>,
    dq: Array2<f32>,
    dp: Array2<f32>,
    attention: TargetAttentionCache,
}

/// Copies these columns of some rows, side by side, to `to`.
fn gather(x: &ArrayRef2<f32>, rows: Range<usize>, columns: &[Range<usize>], to: &mut Array2<f32>) {
    let mut start = 0;
    for columns in columns {
        let end = start + columns.len();
        to.slice_mut(s![.., start..end]).assign(&x.slice(s![rows.clone(), columns.clone()]));
        start = end;
    }
}

/// The rows of a part that a step has attention for, if there are any.
fn attended_rows(part: &Part, i: usize, step: &Step) -> Option<Range<usize>> {
    let (range, has) = (part.ranges[i], matches!(step.op, Op::Row { .. }) && !step.names.is_empty());
    (has && range.len() > 0).then(|| range.embedded(range))
}

impl Program {
    /// Writes the columns of fields that attention pools.
    pub(super) fn attend(
        &self,
        layers: &[Layer],
        x: &mut ArrayRef2<f32>,
        events: &[Events],
        mode: Mode<'_>,
        part: &mut Part,
    ) {
        for (i, step) in self.steps.iter().enumerate() {
            let Some(rows) = attended_rows(part, i, step) else { continue };
            let caches = cache_of!(&mut part.cells[i].cache, Row);
            grow(caches, self.sequences.len());
            let layers = layers[step.layers()].iter().map(Layer::attention);
            for (((layer, columns), events), cache) in layers.zip(&self.sequences).zip(events).zip(caches) {
                let AttendedCache { q, p, attention, .. } = cache;
                let SequenceColumns { query, pooled, dim, .. } = columns;
                resize(q, rows.len(), *dim);
                resize(p, rows.len(), *dim);
                gather(x, rows.clone(), query, q);
                let (offsets, own) = events_of(&events.offsets, &rows);
                layer.forward(q, &events.keys.slice(s![own, ..]), offsets, mode, attention, p);
                let mut start = 0;
                for columns in pooled {
                    let end = start + columns.len();
                    x.slice_mut(s![rows.clone(), columns.clone()]).assign(&p.slice(s![.., start..end]));
                    start = end;
                }
            }
        }
    }

    /// The backward pass of [`Program::attend`], after that of all other steps: adds to `grads` and to the columns of targets in `dx`, and
    /// overwrites the gradients of the events.
    pub(super) fn attend_back(
        &self,
        layers: &[Layer],
        events: &mut [Events],
        part: &mut Part,
        grads: &mut [Layer],
        dx: &mut ArrayRef2<f32>,
    ) {
        for (i, step) in self.steps.iter().enumerate() {
            let Some(rows) = attended_rows(part, i, step) else { continue };
            let active = part.active_rows[i];
            let cell = &mut part.cells[i];
            cell.active = active;
            let StepCache::Row(caches) = &mut cell.cache else { unreachable!("the forward pass made it") };
            let layers = layers[step.layers()].iter().map(Layer::attention).zip(&mut grads[step.layers()]);
            for ((((layer, grad), columns), events), cache) in layers.zip(&self.sequences).zip(&mut *events).zip(caches)
            {
                let Layer::TargetAttention(grad) = grad else { unreachable!("a gradient has the type of its layer") };
                let Events { offsets, keys, dkeys } = events;
                let (offsets, own) = events_of(offsets, &rows);
                let (keys, mut dkeys) = (keys.slice(s![own.clone(), ..]), dkeys.slice_mut(s![own, ..]));
                if !active {
                    clear(&mut dkeys);
                    continue;
                }
                let AttendedCache { q, dq, dp, attention, .. } = cache;
                resize(dq, rows.len(), columns.dim);
                resize(dp, rows.len(), columns.dim);
                gather(dx, rows.clone(), &columns.pooled, dp);
                layer.backward(q, &keys, offsets, dp, attention, grad, dq, &mut dkeys);
                let mut start = 0;
                for columns in &columns.query {
                    let end = start + columns.len();
                    let mut dx = dx.slice_mut(s![rows.clone(), columns.clone()]);
                    dx += &dq.slice(s![.., start..end]);
                    start = end;
                }
            }
        }
    }
}

/// The offsets of some rows, and the range of their events.
fn events_of<'a>(offsets: &'a [u32], rows: &Range<usize>) -> (&'a [u32], Range<usize>) {
    let offsets = &offsets[rows.start..=rows.end];
    (offsets, offsets[0] as usize..offsets[rows.len()] as usize)
}

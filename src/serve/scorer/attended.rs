//! Attention over the sequences of a request and its candidates.

use std::ops::Range;

use ndarray::{Array2, ArrayRef2, ArrayView2, s};

use crate::data::{Batch, InputColumns, Layout, SequenceColumns};
use crate::error::Problems;
use crate::model::{Embeddings, Events};
use crate::nn::buffer::resize;
use crate::nn::{Mode, ServedCache, ServedHistory, TargetAttention, TargetAttentionCache};

/// Where the parts of a sequence are: in what a request gives, or in what candidates have.
#[derive(Debug)]
pub(super) struct Attended {
    /// Its position in the layout.
    sequence: usize,
    dim: usize,
    /// Whether the request gives the history, and with it the targets too: then one vector serves all candidates.
    history_given: bool,
    pub(super) all_given: bool,
    /// For each target, whether it is given, and its columns among those that are given or not.
    query: Vec<(bool, Range<usize>)>,
    /// The columns of the pooled events: among those that are given if all is, or else among the others.
    pooled: Vec<Range<usize>>,
}

/// The buffers of one sequence.
#[derive(Debug, Default)]
pub(super) struct AttendedBuffers {
    q: Array2<f32>,
    p: Array2<f32>,
    order: Vec<u32>,
    events: Events,
    attention: TargetAttentionCache,
    served: ServedCache,
}

/// Whether the fields at these positions have columns that a request gives: a field that attention pools has them if the request gives both
/// the history and its targets.
pub(super) fn pooled_given(columns: &InputColumns, is_given: &[bool], field: usize) -> bool {
    let Some((sequence, _)) = columns.fields[field].event else { return is_given[field] };
    let SequenceColumns { fields, targets, .. } = &columns.sequences[sequence];
    fields.iter().chain(targets).all(|&f| is_given[f])
}

impl Attended {
    /// Notes sequences of which a request gives some lists and candidates have others.
    pub(super) fn check(layout: &Layout, is_given: impl Fn(&str) -> bool, problems: &mut Problems) {
        for sequence in &layout.sequences {
            let given = sequence.fields.iter().filter(|field| is_given(field)).count();
            problems.require(given == 0 || given == sequence.fields.len(), || {
                let (name, fields) = (&sequence.name, crate::data::listed(&sequence.fields));
                format!("sequence {name:?}: give all of its lists ({fields}) or none")
            });
        }
    }

    /// The sequences of a model; `sides` are the columns of a row that are given, and the others.
    pub(super) fn all(columns: &InputColumns, is_given: &[bool], sides: [&[usize]; 2]) -> Vec<Self> {
        let of = |(sequence, own): (usize, &SequenceColumns)| {
            let place = |given: bool, columns: &Range<usize>| {
                let side = sides[usize::from(!given)];
                let start = side.iter().position(|&column| column == columns.start).expect("a side has whole fields");
                start..start + columns.len()
            };
            let history_given = own.fields.iter().all(|&f| is_given[f]);
            let all_given = own.fields.iter().all(|&f| pooled_given(columns, is_given, f));
            let query = own.targets.iter().zip(&own.query);
            Self {
                sequence,
                dim: own.dim,
                history_given,
                all_given,
                query: query.map(|(&f, columns)| (is_given[f], place(is_given[f], columns))).collect(),
                pooled: own.pooled.iter().map(|columns| place(all_given, columns)).collect(),
            }
        };
        columns.sequences.iter().enumerate().map(of).collect()
    }

    /// Prepares the history that a request gives, if it does.
    pub(super) fn prepare(
        &self,
        (embeddings, owner): (&Embeddings, usize),
        attention: &TargetAttention,
        row: &Batch,
        buffers: &mut AttendedBuffers,
        history: &mut ServedHistory,
    ) {
        if !self.history_given {
            return;
        }
        let AttendedBuffers { order, events, .. } = buffers;
        order.clear();
        order.push(0);
        embeddings.gather_events(self.sequence, owner, row, order, events);
        resize(&mut history.keys, events.keys.nrows(), self.dim);
        history.keys.assign(&events.keys);
        history.prepare(attention);
    }

    /// Writes the pooled events of a request that gives history and targets.
    pub(super) fn pool_given(
        &self,
        attention: &TargetAttention,
        given: &mut ArrayRef2<f32>,
        buffers: &mut AttendedBuffers,
        history: &ServedHistory,
    ) {
        let AttendedBuffers { q, p, served, .. } = buffers;
        resize(q, 1, self.dim);
        resize(p, 1, self.dim);
        self.fill_query(&given.view(), None, q);
        history.pool(attention, q, served, p);
        self.put(p, given);
    }

    /// Writes the pooled events of candidates, the rows of `batch` from `start` on. `given` is the line of the request, `x` has what each
    /// candidate has.
    #[expect(clippy::too_many_arguments, reason = "the request, the candidates and the model")]
    pub(super) fn pool(
        &self,
        (embeddings, owner): (&Embeddings, usize),
        attention: &TargetAttention,
        batch: &Batch,
        start: usize,
        given: &ArrayView2<'_, f32>,
        history: &ServedHistory,
        buffers: &mut AttendedBuffers,
        x: &mut ArrayRef2<f32>,
    ) {
        let rows = x.nrows();
        let AttendedBuffers { q, p, order, events, attention: cache, served } = buffers;
        resize(q, rows, self.dim);
        resize(p, rows, self.dim);
        self.fill_query(given, Some(x), q);
        if self.history_given {
            history.pool(attention, q, served, p);
        } else {
            order.clear();
            order.extend((start as u32..).take(rows));
            embeddings.gather_events(self.sequence, owner, batch, order, events);
            attention.forward(q, &events.keys, &events.offsets, Mode::Infer, cache, p);
        }
        self.put(p, x);
    }

    fn fill_query(&self, given: &ArrayView2<'_, f32>, own: Option<&ArrayRef2<f32>>, q: &mut Array2<f32>) {
        let mut at = 0;
        for (is_given, columns) in &self.query {
            let mut q = q.slice_mut(s![.., at..at + columns.len()]);
            at += columns.len();
            match own {
                Some(own) if !is_given => q.assign(&own.slice(s![.., columns.clone()])),
                _ => q.assign(&given.slice(s![.., columns.clone()])),
            }
        }
    }

    fn put(&self, p: &Array2<f32>, x: &mut ArrayRef2<f32>) {
        let mut at = 0;
        for columns in &self.pooled {
            x.slice_mut(s![.., columns.clone()]).assign(&p.slice(s![.., at..at + columns.len()]));
            at += columns.len();
        }
    }
}

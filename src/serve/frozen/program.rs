//! What a net's [`Plan`](crate::model::Plan) becomes: for every domain the steps that its answers need.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array2, ArrayRef2, ArrayView2, s};

use super::maps::Maps;
use crate::model::Fusion;
use crate::nn::buffer::{grow, resize};
use crate::nn::matmul::{Out, Right, Then, product_with};
use crate::nn::{GateCache, Gated, Hidden, HiddenCache, Infer, Stitch, mix};

/// The steps to one domain's logits. Each has a buffer of its own, behind those of the rows.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Whose tables embed the rows that are read.
    pub(super) owners: Vec<usize>,
    /// The maps that read a row, and which.
    pub(super) firsts: Vec<(usize, Arc<Maps>)>,
    pub(super) steps: Vec<Step>,
    pub(super) answers: Vec<Answer>,
}

#[derive(Debug)]
pub(super) struct Step {
    /// How many values it gives for a row.
    pub(super) width: usize,
    pub(super) run: Run,
}

#[derive(Debug)]
pub(super) enum Run {
    /// `x·W + b`; `first` is the position among the maps that read a row, whose bias the context has.
    Maps {
        input: Part,
        maps: Arc<Maps>,
        first: Option<usize>,
    },
    Hidden {
        input: Part,
        hidden: Arc<Hidden>,
    },
    Mix {
        scores: Part,
        parts: Vec<Part>,
    },
    Join {
        parts: Vec<Part>,
        fusion: Fusion,
    },
    Stitch {
        parts: Vec<Part>,
        stitch: Arc<Stitch>,
    },
    Gated {
        shared: Part,
        own: Part,
        gate: Part,
    },
}

/// A value that is added to logits, `share` times: to those of one task, or to all.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) part: Part,
    pub(super) task: Option<usize>,
    pub(super) share: f32,
}

/// Where a value is: some columns of a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) buffer: usize,
    pub(super) start: usize,
    pub(super) width: usize,
}

/// The buffers of one run.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    values: Vec<Array2<f32>>,
    gate: GateCache,
    /// By width: one of another width would lay out its statistics of columns anew.
    hidden: BTreeMap<usize, HiddenCache>,
}

impl Part {
    fn of(self, buffers: &[Array2<f32>]) -> ArrayView2<'_, f32> {
        buffers[self.buffer].slice(s![.., self.start..self.start + self.width])
    }
}

impl Buffers {
    /// The buffers of the rows, `[rows, width]` each.
    pub(super) fn rows(&mut self, count: usize, rows: usize, width: usize) -> &mut [Array2<f32>] {
        grow(&mut self.values, count);
        let values = &mut self.values[..count];
        for x in &mut *values {
            resize(x, rows, width);
        }
        values
    }
}

impl Program {
    /// The biases of the maps that read a row, with what is given: that is a line of `given` for each of the rows.
    pub(super) fn start(&self, given: &Array2<f32>, starts: &mut Vec<Array2<f32>>) {
        grow(starts, self.firsts.len());
        for ((row, maps), start) in self.firsts.iter().zip(starts) {
            resize(start, 1, maps.bias.len());
            let given = given.slice(s![*row..=*row, ..]);
            product_with(given, Right::packed(&maps.given), Out::set(start).then(Then::Bias(&maps.bias)));
        }
    }

    /// The logits of the rows that stand in their buffers.
    pub(super) fn run(&self, starts: &[Array2<f32>], buffers: &mut Buffers, logits: &mut ArrayRef2<f32>) {
        let (rows, before) = (logits.nrows(), self.owners.len());
        let Buffers { values, gate, hidden } = buffers;
        grow(values, before + self.steps.len());
        for (i, Step { width, run }) in self.steps.iter().enumerate() {
            let (values, rest) = values.split_at_mut(before + i);
            let out = &mut rest[0];
            resize(out, rows, *width);
            match run {
                Run::Maps { input, maps, first } => {
                    let start = first.map(|first| starts[first].as_slice().expect("a row is contiguous"));
                    let then = maps.then(start.unwrap_or(&maps.bias));
                    product_with(input.of(values), Right::packed(&maps.weight), Out::set(out).then(then));
                }
                Run::Hidden { input, hidden: post } => {
                    post.forward(&input.of(values), Infer, hidden.entry(*width).or_default(), out);
                }
                Run::Mix { scores, parts } => {
                    gate.take(&scores.of(values));
                    mix(gate, parts.iter().map(|part| part.of(values)), out);
                }
                Run::Join { parts, fusion } => fusion.forward(parts.iter().map(|part| part.of(values)), out),
                Run::Stitch { parts, stitch } => stitch.forward(parts.iter().map(|part| part.of(values)), out),
                Run::Gated { shared, own, gate } => {
                    Gated::join(&shared.of(values), &own.of(values), &gate.of(values), out);
                }
            }
        }
        logits.fill(0.0);
        for &Answer { part, task, share } in &self.answers {
            match task {
                Some(task) => logits.slice_mut(s![.., task..=task]).scaled_add(share, &part.of(values)),
                None => logits.scaled_add(share, &part.of(values)),
            }
        }
    }
}

//! The backward pass of a program: the chain rule, in reverse order of the steps.
//!
//! A step is active if labels reach it: an active step reads its value, or its value is added to logits that have a gradient. Other steps
//! are skipped, and their layers stay absent. The first reader of a value overwrites its gradient; later readers add to it.

mod mixtures;
mod step;

use std::ops::Range;

use ndarray::{ArrayRef2, s};

use self::mixtures::mixtures_back;
use self::step::{Below, Given, back, claim};
use super::layer::Layer;
use super::program::{Op, Program};
use super::tape::{Cell, Part};
use crate::nn::buffer::{clear, resize};
use crate::parallel::{self, Divide, join};

/// Neighbouring strands of a group, for the backward pass of all their steps but the first.
struct Tails<'a> {
    given: Given<'a>,
    starts: &'a [usize],
    cells: &'a mut [Cell],
    grads: &'a mut [Layer],
}

impl<'a> Tails<'a> {
    /// The position of a strand's first layer, counted from the first layer of step `from`.
    fn layer(given: Given<'a>, from: usize, strand: usize) -> usize {
        let at = |i: usize| given.steps.get(i).map_or(given.layers.len(), |step| step.at);
        at(strand) - at(from)
    }
}

impl Divide for Tails<'_> {
    fn pieces(&self) -> usize {
        self.starts.len() - 1
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let Self { given, starts, cells, grads } = self;
        let (cells, rest_cells) = cells.split_at_mut(starts[pieces] - starts[0]);
        let (grads, rest_grads) = grads.split_at_mut(Tails::layer(given, starts[0], starts[pieces]));
        (
            Self { given, starts: &starts[..=pieces], cells, grads },
            Self { given, starts: &starts[pieces..], cells: rest_cells, grads: rest_grads },
        )
    }
}

/// The backward pass of the steps of one strand, except the first.
fn tail(strand: Tails<'_>) {
    let Tails { given, starts, cells, grads } = strand;
    let first = starts[0];
    for i in (first + 1..starts[1]).rev() {
        let (before, rest) = cells.split_at_mut(i - first);
        if rest[0].active {
            let at = Tails::layer(given, first, i);
            let grads = &mut grads[at..at + given.steps[i].names.len()];
            back(i, &mut rest[0], grads, Below { given, cells: before, first, rows: None });
        }
    }
}

/// The backward pass of the first step of a strand.
fn head(i: usize, own: &mut Cell, grads: &mut [Layer], below: Below<'_>) {
    if own.active {
        back(i, own, grads, below);
    }
}

impl Program {
    /// The backward pass, given the gradient of the logits: adds to `grads`, overwrites `dx`.
    pub(super) fn backward(
        &self,
        layers: &[Layer],
        x: &ArrayRef2<f32>,
        dlogits: &ArrayRef2<f32>,
        part: &mut Part,
        grads: &mut [Layer],
        dx: &mut ArrayRef2<f32>,
    ) {
        self.start(dlogits, part);
        let Part { ranges, cells, active_rows, .. } = part;
        let given = Given { steps: &self.steps, layers, ranges, x };
        for group in self.groups.iter().rev() {
            let Range { start, end } = group.steps();
            let (outside, rest) = cells.split_at_mut(start);
            let cells = &mut rest[..end - start];
            let at = self.steps[start].at;
            let to = self.steps.get(end).map_or(layers.len(), |step| step.at);
            let grads = &mut grads[at..to];
            let starts = &group.starts[..];
            if !group.mixed.is_empty() {
                let tails = Tails { given, starts, cells: &mut *cells, grads: &mut *grads };
                parallel::each(tails, &tail);
                mixtures_back(given, group, outside, cells, grads, (dx, active_rows));
                continue;
            }
            // All strands may read the same values: the last strand writes their gradients first, then the others one by one.
            let last = starts.len() - 2;
            let tails = Tails { given, starts, cells: &mut *cells, grads: &mut *grads };
            let whole = |strand: Tails<'_>, below: Below<'_>| {
                let first = strand.starts[0];
                let names = given.steps[first].names.len();
                tail(Tails { given, starts: strand.starts, cells: &mut *strand.cells, grads: &mut *strand.grads });
                head(first, &mut strand.cells[0], &mut strand.grads[..names], below);
            };
            let rows = Some((&mut *dx, &mut active_rows[..]));
            let below = Below { given, cells: &mut *outside, first: 0, rows };
            if last == 0 {
                whole(tails, below);
                continue;
            }
            let (others, one) = tails.divide(last);
            join(|| parallel::each(others, &tail), || whole(one, below));
            for strand in group.strands().rev().skip(1) {
                let at = Tails::layer(given, start, strand.start);
                let grads = &mut grads[at..at + given.steps[strand.start].names.len()];
                let rows = Some((&mut *dx, &mut active_rows[..]));
                let below = Below { given, cells: &mut *outside, first: 0, rows };
                head(strand.start, &mut cells[strand.start - start], grads, below);
            }
        }
        for (i, (step, range)) in self.steps.iter().zip(ranges).enumerate() {
            if let (Op::Row { .. }, false) = (&step.op, active_rows[i]) {
                clear(&mut dx.slice_mut(s![range.embedded(*range), ..]));
            }
        }
    }

    /// Writes the gradients of the values that are added to logits.
    fn start(&self, dlogits: &ArrayRef2<f32>, part: &mut Part) {
        part.cells.iter_mut().for_each(|cell| cell.active = false);
        part.active_rows.fill(false);
        for answer in &self.answers {
            let Some(answered) = part.answered(answer) else { continue };
            let given = answer.of(dlogits, answered.rows);
            // None of its rows has a label.
            if answer.by_labels && given.iter().all(|&d| d == 0.0) {
                continue;
            }
            let (range, value) = (part.ranges[answer.value.index()], answer.value.index());
            let Cell { out, dout, active, .. } = &mut part.cells[value];
            let within = range.within(answered.rows);
            if !*active {
                resize(dout, out.nrows(), out.ncols());
            }
            let add = claim(active, within.len() < range.len(), || clear(dout));
            let mut dout = dout.slice_mut(s![within, ..]);
            if !add {
                clear(&mut dout);
            }
            dout.scaled_add(answered.share, &given);
        }
    }
}

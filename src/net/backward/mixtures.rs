//! The backward pass of all mixtures of a group together.

use ndarray::{ArrayRef2, s};

use super::Tails;
use super::step::{Below, Given};
use crate::net::layer::Layer;
use crate::net::program::{Group, Mixed, Op};
use crate::net::tape::{Cell, StepCache};
use crate::nn::buffer::{clear, resize};
use crate::nn::{InputGrad, mix_backward_rows};
use crate::parallel::{self, Divide};

/// The number of rows whose gradient is summed at a time, so that the sum stays in the processor's cache.
const MIXED: usize = 64;

const GATE: &str = "a mixture has run before it is taken back";

/// The backward pass of the mixtures that begin a group's strands: value by value over all mixtures of it, then gate by gate.
pub(super) fn mixtures_back(
    given: Given<'_>,
    group: &Group,
    outside: &mut [Cell],
    cells: &mut [Cell],
    grads: &mut [Layer],
    rows: (&mut ArrayRef2<f32>, &mut [bool]),
) {
    let start = group.starts[0];
    parallel::each(MixedValues { mixed: &group.mixed, outside: &mut *outside, first: 0, cells, start }, &|work| {
        let value = work.mixed[0].value;
        let cell = &mut work.outside[value - work.first];
        mixed_back(given, &work.mixed[0], cell, work.cells, work.start);
    });
    for cell in group.strands().map(|strand| strand.start - start) {
        if let Cell { active: true, cache: StepCache::Mix(cache), .. } = &mut cells[cell] {
            cache.fit_gradient();
        }
    }
    for Mixed { value, readers } in &group.mixed {
        let mut found = 0;
        for &(mixture, part) in readers {
            let Cell { active: true, cache, .. } = &mut cells[mixture - start] else { continue };
            let StepCache::Mix(cache) = cache else { unreachable!("{GATE}") };
            let rows = given.ranges[*value].within(given.ranges[mixture]);
            cache.dweights.column_mut(part).assign(&outside[*value].dweights.slice(s![found, rows]));
            found += 1;
        }
    }
    let (dx, active_rows) = rows;
    for strand in group.strands().rev() {
        let i = strand.start;
        let Cell { active: true, cache, .. } = &mut cells[i - start] else { continue };
        let StepCache::Mix(cache) = cache else { unreachable!("{GATE}") };
        let (Op::Mix { selector, .. }, [Layer::Gate(gate)]) =
            (&given.steps[i].op, &given.layers[given.steps[i].layers()])
        else {
            unreachable!("a mixture has a gate")
        };
        let Layer::Gate(grad) = &mut grads[Tails::layer(given, start, i)] else { unreachable!("a gate's gradient") };
        let rows = Some((&mut *dx, &mut *active_rows));
        let mut below = Below { given, cells: &mut *outside, first: 0, rows };
        let (x, dx) = below.of(*selector, i);
        gate.backward_into(&x, cache, grad, dx);
    }
}

/// Values that mixtures read, in order, and their cells.
struct MixedValues<'a> {
    mixed: &'a [Mixed],
    /// The cells from step `first` on.
    outside: &'a mut [Cell],
    first: usize,
    /// The cells of the mixtures, from step `start` on.
    cells: &'a [Cell],
    start: usize,
}

impl Divide for MixedValues<'_> {
    fn pieces(&self) -> usize {
        self.mixed.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (mixed, rest) = self.mixed.split_at(pieces);
        let middle = rest[0].value;
        let (outside, rest_outside) = self.outside.split_at_mut(middle - self.first);
        (Self { mixed, outside, ..self }, Self { mixed: rest, outside: rest_outside, first: middle, ..self })
    }
}

/// The gradient of a mixed value, `Σ w·dy` over the active mixtures, and of its weights in them.
fn mixed_back(given: Given<'_>, mixed: &Mixed, cell: &mut Cell, cells: &[Cell], start: usize) {
    let active = |&&(mixture, _): &&(usize, usize)| cells[mixture - start].active;
    let readers = || mixed.readers.iter().filter(active);
    let range = given.ranges[mixed.value];
    let count = readers().count();
    if count == 0 {
        return;
    }
    let rectified = given.rectified(mixed.value);
    let Cell { out, dout, active, dweights, .. } = cell;
    resize(dout, out.nrows(), out.ncols());
    resize(dweights, count, range.len());
    for block in (0..range.len()).step_by(MIXED) {
        let end = range.len().min(block + MIXED);
        let mut add = *active;
        for (found, &(mixture, part)) in readers().enumerate() {
            let read = range.within(given.ranges[mixture]);
            // The first mixture overwrites the gradient, unless it does not cover all rows.
            if found == 0 && !add && (block < read.start || read.end < end) {
                clear(&mut dout.slice_mut(s![block..end, ..]));
                add = true;
            }
            let rows = block.max(read.start)..end.min(read.end);
            if rows.is_empty() {
                continue;
            }
            let Cell { dout: dy, cache: StepCache::Mix(cache), .. } = &cells[mixture - start] else {
                unreachable!("{GATE}")
            };
            let own = rows.start - read.start..rows.end - read.start;
            mix_backward_rows(
                &cache.weights.slice(s![own.clone(), part]),
                &out.slice(s![rows.clone(), ..]),
                &dy.slice(s![own, ..]),
                rectified,
                InputGrad { dx: dout.slice_mut(s![rows.clone(), ..]), add: std::mem::replace(&mut add, true) },
                &mut dweights.slice_mut(s![found, rows]),
            );
        }
    }
    *active = true;
}

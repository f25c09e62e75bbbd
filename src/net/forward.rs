//! The forward pass of a program.

use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2, s};

use super::layer::Layer;
use super::program::{Answer, Op, Program, Step};
use super::tape::{Cell, Part, Reads, RowRange, StepCache, cache_of};
use crate::nn::buffer::resize;
use crate::nn::{AttentionMask, Mode, MultiHeadAttention, Segment, align, attend, mix, pairwise, product, scale};
use crate::parallel::{self, Divide};

/// Neighbouring strands of a group, with what a thread needs to run them.
struct Strands<'a> {
    program: &'a Program,
    layers: &'a [Layer],
    ranges: &'a [RowRange],
    segments: &'a [Segment],
    x: &'a ArrayRef2<f32>,
    mode: Mode<'a>,
    outside: &'a [Cell],
    /// The first step of each strand, then the end of the last.
    starts: &'a [usize],
    cells: &'a mut [Cell],
}

impl Divide for Strands<'_> {
    fn pieces(&self) -> usize {
        self.starts.len() - 1
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (cells, rest) = self.cells.split_at_mut(self.starts[pieces] - self.starts[0]);
        let (starts, rest_starts) = (&self.starts[..=pieces], &self.starts[pieces..]);
        (Self { starts, cells, ..self }, Self { starts: rest_starts, cells: rest, ..self })
    }
}

impl Strands<'_> {
    fn run(self) {
        let first = self.starts[0];
        for i in first..self.starts[1] {
            let (strand, rest) = self.cells.split_at_mut(i - first);
            let Self { ranges, x, outside, .. } = self;
            let steps = &self.program.steps;
            let reads = Reads { steps, ranges, x, outside, strand, first, step: i };
            if ranges[i].len() > 0 {
                run(&steps[i], &self.layers[steps[i].layers()], &reads, self.segments, self.mode, &mut rest[0]);
            }
        }
    }
}

/// One step.
fn run(step: &Step, layers: &[Layer], reads: &Reads<'_>, segments: &[Segment], mode: Mode<'_>, cell: &mut Cell) {
    let (Step { op, width, .. }, range) = (step, reads.ranges[reads.step]);
    let mode = if step.fixed.is_some() { mode.of_no_row() } else { mode.of_rows(range.rows()) };
    if let Op::Row { .. } = op {
        return;
    }
    resize(&mut cell.out, range.len(), *width);
    if let Op::DomainMlp { .. } | Op::Norm { .. } | Op::Star { .. } | Op::Custom { .. } = op {
        cell.find_segments(segments, range);
    }
    let Cell { out, segments, cache, .. } = cell;
    match (op, layers) {
        (Op::Mlp { input, .. }, [Layer::Mlp(mlp)]) => {
            mlp.forward_into(&reads.value(*input), mode, cache_of!(cache, Mlp), out);
        }
        (Op::DomainMlp { input }, [Layer::DomainMlp(net)]) => {
            net.forward(&reads.value(*input), segments, mode, cache_of!(cache, DomainMlp), out);
        }
        (Op::Norm { input }, [Layer::Norm(norm)]) => {
            norm.forward(&reads.value(*input), segments, mode, cache_of!(cache, Norm), out);
        }
        (Op::Star { input }, [Layer::Star(linear)]) => {
            linear.forward(&reads.value(*input), segments, &mut cache_of!(cache, Star).linear, out);
        }
        (Op::Star { input }, [Layer::Star(linear), Layer::PostAffine(hidden)]) => {
            let (x, cache) = (reads.value(*input), cache_of!(cache, Star));
            if hidden.rectifies().is_some() {
                linear.forward_into(&x, segments, &mut cache.linear, out, true);
                hidden.drop_out(mode, &mut cache.hidden, out);
            } else {
                resize(&mut cache.z, range.len(), *width);
                linear.forward(&x, segments, &mut cache.linear, &mut cache.z);
                hidden.forward(&cache.z, mode, &mut cache.hidden, out);
            }
        }
        (Op::Mix { selector, parts }, [Layer::Gate(gate)]) => {
            let cache = cache_of!(cache, Mix);
            gate.forward(&reads.value(*selector), cache);
            mix(cache, parts.iter().map(|&part| reads.value(part)), out);
        }
        (Op::Stitch { parts }, [Layer::Stitch(stitch)]) => {
            stitch.forward(parts.iter().map(|&part| reads.value(part)), out);
        }
        (Op::Join { parts, fusion }, []) => {
            fusion.forward(parts.iter().map(|&part| reads.value(part)), out);
        }
        (Op::Concat { parts }, []) => {
            let mut start = 0;
            for &part in parts {
                out.slice_mut(s![.., start..start + part.width()]).assign(&reads.value(part));
                start += part.width();
            }
        }
        (Op::Scale { input, gate, factor }, []) => {
            scale(*factor, &reads.value(*input), &reads.value(*gate), cache_of!(cache, Scale), out);
        }
        (Op::Product { a, b }, []) => product(&reads.value(*a), &reads.value(*b), cache_of!(cache, Product), out),
        (Op::Cross { first, input }, [Layer::Cross(layer)]) => {
            layer.forward(&reads.value(*first), &reads.value(*input), cache_of!(cache, Cross), out);
        }
        (Op::Pairwise { parts }, []) => {
            pairwise(parts.iter().map(|&part| reads.value(part)), cache_of!(cache, Pairwise), out);
        }
        (Op::Attend { query, values, filled }, []) => {
            let [q, v, filled] = [query, values, filled].map(|&value| reads.value(value));
            attend(&q, &v, &filled, cache_of!(cache, Attend), out);
        }
        (Op::PostAffine { input }, [Layer::PostAffine(hidden)]) => {
            hidden.forward(&reads.value(*input), mode, cache_of!(cache, PostAffine), out);
        }
        (Op::Custom { input }, [Layer::Custom(layer)]) => {
            layer.forward(&reads.value(*input), segments, mode, cache_of!(cache, Custom), out);
        }
        (Op::Tokens { input }, [Layer::Tokens(tokens)]) => {
            tokens.forward(&reads.value(*input), &mut lines_mut(out, tokens.count()));
        }
        (Op::Attention { input, tokens }, [Layer::Attention(attention)]) => {
            let x = reads.value(*input);
            let y = &mut lines_mut(out, *tokens);
            attention.forward(
                &lines(&x, *tokens),
                AttentionMask::all(*tokens),
                mode.of_lines(*tokens),
                cache_of!(cache, Attention),
                y,
            );
        }
        (Op::Queries, [Layer::Representations(own), relations @ ..]) => {
            own.forward(relations_of(relations), mode, cache_of!(cache, Queries), out);
        }
        (Op::Directions { queries }, [Layer::Alignment(alignment)]) => alignment.forward(&reads.value(*queries), out),
        (Op::Align { tokens, directions, branch }, []) => {
            let directions = reads.value(*directions);
            let direction = directions.row(*branch);
            align(direction.to_slice().expect(LINES), &reads.value(*tokens), &mut cache_of!(cache, Align).weights, out);
        }
        _ => unreachable!("a step has the layer of its kind"),
    }
}

pub(super) const LINES: &str = "values are in standard layout";

/// `[rows, tokens·width]` as `[rows·tokens, width]`.
pub(super) fn lines(matrix: &ArrayRef2<f32>, tokens: usize) -> ArrayView2<'_, f32> {
    let (rows, width) = matrix.dim();
    matrix.view().into_shape_with_order((rows * tokens, width / tokens)).expect(LINES)
}

/// `[rows, tokens·width]` as `[rows·tokens, width]`, for changes.
pub(super) fn lines_mut(matrix: &mut ArrayRef2<f32>, tokens: usize) -> ArrayViewMut2<'_, f32> {
    let (rows, width) = matrix.dim();
    matrix.view_mut().into_shape_with_order((rows * tokens, width / tokens)).expect(LINES)
}

/// The attention among branches, if there is one.
pub(super) fn relations_of(layers: &[Layer]) -> Option<&MultiHeadAttention> {
    match layers {
        [Layer::Attention(relations)] => Some(relations),
        _ => None,
    }
}

impl Program {
    /// Runs every step for the rows that need it, and writes the logits of the part's rows.
    pub(super) fn forward(
        &self,
        layers: &[Layer],
        x: &ArrayRef2<f32>,
        mode: Mode<'_>,
        part: &mut Part,
        logits: &mut ArrayRef2<f32>,
    ) {
        let Part { ranges, cells, segments, .. } = part;
        for group in &self.groups {
            let steps = group.steps();
            let (outside, rest) = cells.split_at_mut(steps.start);
            let strands = Strands {
                program: self,
                layers,
                ranges,
                segments,
                x,
                mode,
                outside,
                starts: &group.starts,
                cells: &mut rest[..steps.len()],
            };
            parallel::each(strands, &Strands::run);
        }
        logits.fill(0.0);
        for answer in &self.answers {
            if let Some(answered) = part.answered(answer) {
                let out = &part.cells[answer.value.index()].out;
                let within = part.ranges[answer.value.index()].within(answered.rows);
                let mut logits = answer.of_mut(logits, answered.rows);
                logits.scaled_add(answered.share, &out.slice(s![within, ..]));
            }
        }
    }
}

/// The rows of a part that an answer is for, and its weight in them.
#[derive(Clone, Copy)]
pub(super) struct Answered {
    pub(super) rows: RowRange,
    pub(super) share: f32,
}

impl Part {
    /// The rows that an answer is for, if there are any, and its weight in them.
    pub(super) fn answered(&self, answer: &Answer) -> Option<Answered> {
        let range = self.ranges[answer.value.index()];
        let rows = match answer.domain {
            _ if range.len() == 0 => return None,
            None => return Some(Answered { rows: range, share: answer.share }),
            Some(d) => match self.segment_of(d as usize) {
                Some(segment) => {
                    let rows = RowRange { start: segment.start, end: segment.end, at: 0 };
                    Answered { rows, share: answer.share }
                }
                None if self.is_unknown() => Answered { rows: range, share: answer.unknown },
                None => return None,
            },
        };
        (rows.share != 0.0).then_some(rows)
    }
}

impl Answer {
    /// Its entries of a `[rows, tasks]` matrix.
    pub(super) fn of_mut<'a>(&self, matrix: &'a mut ArrayRef2<f32>, rows: RowRange) -> ndarray::ArrayViewMut2<'a, f32> {
        match self.task {
            Some(task) => matrix.slice_mut(s![rows.rows(), task..=task]),
            None => matrix.slice_mut(s![rows.rows(), ..]),
        }
    }

    pub(super) fn of<'a>(&self, matrix: &'a ArrayRef2<f32>, rows: RowRange) -> ndarray::ArrayView2<'a, f32> {
        match self.task {
            Some(task) => matrix.slice(s![rows.rows(), task..=task]),
            None => matrix.slice(s![rows.rows(), ..]),
        }
    }
}

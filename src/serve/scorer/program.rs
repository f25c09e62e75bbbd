//! What a net's [`Plan`](crate::model::Plan) becomes: for every domain the steps that its answers need.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayRef2, ArrayView2, ArrayViewMut2, s};

use super::attended::AttendedBuffers;
use super::maps::Maps;
use crate::data::DomainId;
use crate::model::Fusion;
use crate::net::{Custom, CustomCache};
use crate::nn::buffer::{grow, resize};
use crate::nn::matmul::{Output, PostOp, Right, product_with};
use crate::nn::{
    AlignCache, AttendCache, AttentionMask, GateCache, Mode, MultiHeadAttention, MultiHeadAttentionCache, PostAffine,
    PostAffineCache, ProductCache, ScaleCache, Segment, SigmoidGate, Stitch, TargetAttention, Tokens, align, attend,
    mix, product, scale,
};

/// The steps to one domain's logits. Each has a buffer of its own, after those of the rows.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Whose tables embed the rows that are read.
    pub(super) owners: Vec<usize>,
    /// By owner, then by sequence: the attention that pools it.
    pub(super) attention: Vec<Vec<Arc<TargetAttention>>>,
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
    PostAffine {
        input: Part,
        hidden: Arc<PostAffine>,
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
    Concat {
        parts: Vec<Part>,
    },
    Scale {
        input: Part,
        gate: Part,
        factor: f32,
    },
    Product {
        a: Part,
        b: Part,
    },
    Attend {
        query: Part,
        values: Part,
        filled: Part,
    },
    /// The row as the model has it: what is given, and what each candidate has for itself.
    Whole {
        row: Part,
        columns: Arc<Columns>,
    },
    Custom {
        input: Part,
        layer: Arc<Custom>,
        domain: DomainId,
    },
    Tokens {
        row: Part,
        tokens: Arc<Tokens>,
    },
    Attention {
        tokens: Part,
        attention: Arc<MultiHeadAttention>,
    },
    Align {
        tokens: Part,
        direction: Arc<Array1<f32>>,
    },
}

/// Which columns of a row are given, and which each candidate has for itself: neighbours together.
#[derive(Debug)]
pub(super) struct Columns {
    given: Vec<Range<usize>>,
    rest: Vec<Range<usize>>,
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
    /// By width: a cache reused for another width would allocate again.
    hidden: BTreeMap<usize, PostAffineCache>,
    /// By the width of a token.
    attention: BTreeMap<usize, MultiHeadAttentionCache>,
    weights: AlignCache,
    scale: ScaleCache,
    product: ProductCache,
    attend: AttendCache,
    /// By step.
    custom: BTreeMap<usize, CustomCache>,
    /// By sequence.
    attended: Vec<AttendedBuffers>,
}

impl Columns {
    pub(super) fn new(given: &[usize], rest: &[usize]) -> Self {
        let [given, rest] = [given, rest].map(|columns| {
            let neighbours = columns.chunk_by(|left, right| left + 1 == *right);
            neighbours.map(|run| run[0]..run[0] + run.len()).collect()
        });
        Self { given, rest }
    }

    /// How many there are.
    pub(super) fn width(&self) -> usize {
        self.given.iter().chain(&self.rest).map(Range::len).sum()
    }

    /// Writes into `x` what is given, one line for all rows, and what each row has for itself.
    fn fill(&self, given: &ArrayRef2<f32>, rest: &ArrayRef2<f32>, x: &mut Array2<f32>) {
        let given = given.as_slice().expect(LINES);
        for (i, mut x) in x.rows_mut().into_iter().enumerate() {
            let (x, rest) = (x.as_slice_mut().expect(LINES), rest.row(i));
            put(given, &self.given, x);
            put(rest.as_slice().expect(LINES), &self.rest, x);
        }
    }
}

/// Puts values that stand side by side into their columns.
fn put(mut values: &[f32], columns: &[Range<usize>], x: &mut [f32]) {
    for columns in columns {
        let (these, behind) = values.split_at(columns.len());
        x[columns.clone()].copy_from_slice(these);
        values = behind;
    }
}

impl Part {
    fn of(self, buffers: &[Array2<f32>]) -> ArrayView2<'_, f32> {
        buffers[self.buffer].slice(s![.., self.start..self.start + self.width])
    }

    /// Tokens of this width that stand side by side, one below the other: for values that have a buffer for themselves.
    fn tokens(self, buffers: &[Array2<f32>], width: usize) -> ArrayView2<'_, f32> {
        let x = self.of(buffers);
        let lines = x.len() / width;
        x.into_shape_with_order((lines, width)).expect(LINES)
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

impl Buffers {
    /// The row of this position, and the buffers of a sequence.
    pub(super) fn attended(&mut self, row: usize, sequence: usize) -> (&mut Array2<f32>, &mut AttendedBuffers) {
        grow(&mut self.attended, sequence + 1);
        (&mut self.values[row], &mut self.attended[sequence])
    }
}

impl Program {
    /// The biases of the maps that read a row, with what is given: that is a line of `given` for each of the rows.
    pub(super) fn start(&self, given: &Array2<f32>, starts: &mut Vec<Array2<f32>>) {
        grow(starts, self.firsts.len());
        for ((row, maps), start) in self.firsts.iter().zip(starts) {
            resize(start, 1, maps.bias.len());
            let given = given.slice(s![*row..=*row, ..]);
            product_with(given, Right::packed(&maps.given), Output::set(start).post_op(PostOp::Bias(&maps.bias)));
        }
    }

    /// The logits of the rows that stand in their buffers, with what is given, a line for each of the rows, and what was started with it.
    pub(super) fn run(
        &self,
        given: &Array2<f32>,
        starts: &[Array2<f32>],
        buffers: &mut Buffers,
        logits: &mut ArrayRef2<f32>,
    ) {
        let (rows, before) = (logits.nrows(), self.owners.len());
        let Buffers {
            values,
            gate,
            hidden,
            attention: attentions,
            weights,
            scale: scales,
            product: products,
            attend: attended,
            custom,
            attended: _,
        } = buffers;
        grow(values, before + self.steps.len());
        for (i, Step { width, run }) in self.steps.iter().enumerate() {
            let (values, rest) = values.split_at_mut(before + i);
            let out = &mut rest[0];
            resize(out, rows, *width);
            match run {
                Run::Maps { input, maps, first } => {
                    let start = first.map(|first| starts[first].as_slice().expect("a row is contiguous"));
                    let post_op = maps.post_op(start.unwrap_or(&maps.bias));
                    product_with(input.of(values), Right::packed(&maps.weight), Output::set(out).post_op(post_op));
                }
                Run::PostAffine { input, hidden: post } => {
                    post.forward(&input.of(values), Mode::Infer, hidden.entry(*width).or_default(), out);
                }
                Run::Mix { scores, parts } => {
                    gate.take(&scores.of(values));
                    mix(gate, parts.iter().map(|part| part.of(values)), out);
                }
                Run::Join { parts, fusion } => fusion.forward(parts.iter().map(|part| part.of(values)), out),
                Run::Stitch { parts, stitch } => stitch.forward(parts.iter().map(|part| part.of(values)), out),
                Run::Gated { shared, own, gate } => {
                    SigmoidGate::join(&shared.of(values), &own.of(values), &gate.of(values), out);
                }
                Run::Concat { parts } => {
                    let mut start = 0;
                    for part in parts {
                        out.slice_mut(s![.., start..start + part.width]).assign(&part.of(values));
                        start += part.width;
                    }
                }
                Run::Scale { input, gate, factor } => {
                    scale(*factor, &input.of(values), &gate.of(values), scales, out);
                }
                Run::Product { a, b } => product(&a.of(values), &b.of(values), products, out),
                Run::Attend { query, values: own, filled } => {
                    attend(&query.of(values), &own.of(values), &filled.of(values), attended, out);
                }
                Run::Whole { row, columns } => {
                    columns.fill(&given.slice(s![row.buffer..=row.buffer, ..]), &row.of(values), out);
                }
                Run::Custom { input, layer, domain } => {
                    let segment = Segment { domain: *domain, start: 0, end: rows };
                    let cache = custom.entry(i).or_default();
                    layer.forward(&input.of(values), &[segment], Mode::Infer, cache, out);
                }
                Run::Tokens { row, tokens } => tokens.forward(&row.of(values), &mut tokens_mut(out, tokens.width())),
                Run::Attention { tokens, attention } => {
                    let (x, width) = (tokens.tokens(values, attention.projection.nrows()), attention.width());
                    let (mask, cache) = (AttentionMask::all(x.nrows() / rows), attentions.entry(width).or_default());
                    attention.forward(&x, mask, Mode::Infer, cache, &mut tokens_mut(out, width));
                }
                Run::Align { tokens, direction } => {
                    let direction = direction.as_slice().expect(LINES);
                    align(direction, &tokens.of(values), weights, out);
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

/// Where tokens of this width are to stand side by side, one below the other.
fn tokens_mut(out: &mut Array2<f32>, width: usize) -> ArrayViewMut2<'_, f32> {
    let lines = out.len() / width;
    out.view_mut().into_shape_with_order((lines, width)).expect(LINES)
}

const LINES: &str = "buffers are in standard layout";

//! The values and gradients of a pass through a program.

use std::ops::Range;

use ndarray::{Array2, ArrayRef2, ArrayView2, s};

use super::attended::AttendedCache;
use super::custom::CustomCache;
use super::program::{Domains, Op, Program, Step, Value};
use crate::data::DomainId;
use crate::nn::{
    AlignCache, AttendCache, CrossCache, DomainMlpCache, GateCache, MlpCache, MultiHeadAttentionCache, PairwiseCache,
    PartitionedNormCache, PostAffineCache, ProductCache, RepresentationsCache, ScaleCache, Segment, StarLinearCache,
};

/// The memory of one pass through a net: the values that its steps computed and, in training, their gradients. It is a part of a
/// [`Cache`](crate::model::Cache), and each pass with this cache overwrites it.
///
/// [`Cache::tape`](crate::model::Cache::tape) returns it. Pass it to [`Net::visit_gates`](super::Net::visit_gates) to see the weights of
/// gates; it has no other use outside of the crate.
#[derive(Debug, Default)]
pub struct Tape {
    /// The rows of known domains, or all rows if every row needs every value; and the rows of no known domain.
    pub(crate) known: Part,
    pub(crate) unknown: Part,
    /// The batch's rows of no known domain, if they are apart.
    pub(crate) apart: Range<usize>,
}

/// The values for some rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) ranges: Vec<RowRange>,
    pub(crate) cells: Vec<Cell>,
    /// By domain, the position of its segment, if it has one.
    by_domain: Vec<Option<u32>>,
    pub(crate) segments: Vec<Segment>,
    /// By step, for embedded rows: whether they have a gradient.
    pub(crate) active_rows: Vec<bool>,
    /// The products of two subspaces' weights.
    pub(crate) products: Array2<f32>,
}

/// The rows that a value is computed for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct RowRange {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// For embedded rows: the position of the first in the net's input.
    pub(crate) at: usize,
}

/// The value of one step, its gradient, and the caches of its layers.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) out: Array2<f32>,
    /// The gradient of `out`. If readers apply the derivative of a ReLU: the gradient before the ReLU.
    pub(crate) dout: Array2<f32>,
    /// Whether `dout` holds a gradient: whether the step is active in this training step.
    pub(crate) active: bool,
    /// For a value that mixtures read: the gradients of its weights in them, `[mixtures, rows]`.
    pub(crate) dweights: Array2<f32>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) cache: StepCache,
}

/// The cache of a step's layer.
#[derive(Debug, Default)]
pub(crate) enum StepCache {
    #[default]
    Unused,
    Mlp(MlpCache),
    DomainMlp(Box<DomainMlpCache>),
    Norm(PartitionedNormCache),
    Star(Box<StarCache>),
    Mix(GateCache),
    PostAffine(Box<PostAffineCache>),
    Attention(Box<MultiHeadAttentionCache>),
    Queries(Box<RepresentationsCache>),
    Align(Box<AlignedCache>),
    Scale(ScaleCache),
    Product(ProductCache),
    Attend(AttendCache),
    Cross(Box<CrossCache>),
    Pairwise(PairwiseCache),
    Custom(CustomCache),
    /// By sequence.
    Row(Vec<AttendedCache>),
}

/// The cache of one branch's alignment.
#[derive(Debug, Default)]
pub(crate) struct AlignedCache {
    pub(crate) weights: AlignCache,
    /// The direction and its gradient, `[1, width]`, for the backward pass.
    pub(crate) p: Array2<f32>,
    pub(crate) dp: Array2<f32>,
}

/// The cache of a star layer and the rest of its hidden layer.
#[derive(Debug, Default)]
pub(crate) struct StarCache {
    pub(crate) linear: StarLinearCache,
    pub(crate) z: Array2<f32>,
    pub(crate) dz: Array2<f32>,
    pub(crate) hidden: PostAffineCache,
}

/// Replaces a cache of another kind by one of the wanted kind.
macro_rules! cache_of {
    ($cache:expr, $kind:ident) => {{
        if !matches!($cache, StepCache::$kind(_)) {
            *$cache = StepCache::$kind(Default::default());
        }
        let StepCache::$kind(cache) = $cache else { unreachable!("it was just made") };
        cache
    }};
}
pub(crate) use cache_of;

impl RowRange {
    pub(crate) fn rows(self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    /// The positions of a reader's rows among these.
    pub(crate) fn within(self, reader: Self) -> Range<usize> {
        reader.start - self.start..reader.end - self.start
    }

    /// The positions of a reader's rows among the embedded rows.
    pub(crate) fn embedded(self, reader: Self) -> Range<usize> {
        let Range { start, end } = self.within(reader);
        self.at + start..self.at + end
    }
}

impl Part {
    /// Computes the rows that every step runs for. `segments` are consecutive from row `first` on; embedded rows start at `at`. Returns the
    /// end of the embedded rows.
    pub(crate) fn find_ranges(&mut self, program: &Program, segments: &[Segment], first: usize, at: usize) -> usize {
        let Self { ranges, cells, by_domain, active_rows, segments: own, .. } = self;
        let steps = &program.steps;
        if cells.len() < steps.len() {
            cells.resize_with(steps.len(), Cell::default);
        }
        active_rows.resize(steps.len(), false);
        own.clear();
        let shifted =
            |segment: &Segment| Segment { start: segment.start - first, end: segment.end - first, ..*segment };
        own.extend(segments.iter().map(shifted));
        let end = own.last().map_or(0, |segment| segment.end);
        by_domain.clear();
        by_domain.resize(program.domains, None);
        for (i, segment) in own.iter().enumerate() {
            if let Some(d) = segment.domain.index() {
                by_domain[d] = Some(i as u32);
            }
        }
        let unknown = !program.common && own.iter().any(|segment| segment.domain == DomainId::SHARED);
        ranges.clear();
        ranges.extend(steps.iter().map(|step| {
            if let Some(rows) = step.fixed {
                return RowRange { start: 0, end: rows, at };
            }
            let whole = RowRange { start: 0, end, at };
            match &step.needs.known {
                Domains::All => whole,
                Domains::Some(_) if unknown => {
                    if step.needs.unknown {
                        whole
                    } else {
                        RowRange::default()
                    }
                }
                Domains::Some(domains) => {
                    let mut rows = RowRange { at, ..RowRange::default() };
                    for segment in domains.iter().filter_map(|&d| by_domain[d as usize]) {
                        let Segment { start, end, .. } = own[segment as usize];
                        let empty = rows.start == rows.end;
                        rows.start = if empty { start } else { rows.start.min(start) };
                        rows.end = if empty { end } else { rows.end.max(end) };
                    }
                    rows
                }
            }
        }));
        let mut next = at;
        if program.own_rows.is_empty() {
            // The rows of one owner after those of another; usually there is one owner.
            for (range, _) in ranges.iter_mut().zip(steps).filter(|(_, step)| matches!(step.op, Op::Row { .. })) {
                range.at = next;
                next += range.len();
            }
            return next;
        }
        for segment in &*own {
            for &step in &program.own_rows[segment.domain.index().unwrap_or(program.domains)] {
                ranges[step as usize].at = next;
                next += segment.len();
            }
        }
        next
    }
}

impl Part {
    pub(super) fn segment_of(&self, domain: usize) -> Option<Segment> {
        self.by_domain[domain].map(|i| self.segments[i as usize])
    }

    /// Whether its rows are of no known domain.
    pub(super) fn is_unknown(&self) -> bool {
        self.segments.iter().all(|segment| segment.domain == DomainId::SHARED)
    }
}

impl Cell {
    /// Computes the segments of these rows, counted from the first of them.
    pub(crate) fn find_segments(&mut self, all: &[Segment], range: RowRange) {
        self.segments.clear();
        let own = all.iter().filter(|segment| range.start <= segment.start && segment.end <= range.end);
        self.segments.extend(own.map(|segment| Segment {
            start: segment.start - range.start,
            end: segment.end - range.start,
            ..*segment
        }));
    }
}

/// Access to the values that a step reads.
#[derive(Clone, Copy)]
pub(crate) struct Reads<'a> {
    pub(crate) steps: &'a [Step],
    pub(crate) ranges: &'a [RowRange],
    pub(crate) x: &'a ArrayRef2<f32>,
    /// The cells before the group.
    pub(crate) outside: &'a [Cell],
    /// The strand's cells from step `first` up to the step's own.
    pub(crate) strand: &'a [Cell],
    pub(crate) first: usize,
    /// The step that reads.
    pub(crate) step: usize,
}

impl<'a> Reads<'a> {
    /// A value, for the rows of the step that reads it.
    pub(crate) fn value(&self, value: Value) -> ArrayView2<'a, f32> {
        let (i, reader) = (value.index(), self.ranges[self.step]);
        if let Op::Row { .. } = self.steps[i].op {
            return self.x.slice(s![self.ranges[i].embedded(reader), value.of_step()]);
        }
        let cell = if i < self.outside.len() { &self.outside[i] } else { &self.strand[i - self.first] };
        if self.steps[i].fixed.is_some() {
            return cell.out.view();
        }
        cell.out.slice(s![self.ranges[i].within(reader), value.of_step()])
    }
}

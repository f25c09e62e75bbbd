//! What a pass through a program leaves behind.

use std::ops::Range;

use ndarray::{Array2, ArrayRef2, ArrayView2, s};

use super::custom::CustomCache;
use super::program::{Domains, Op, Program, Step, Value};
use crate::nn::{
    AlignCache, AttendCache, DomainMlpCache, GateCache, MlpCache, MultiHeadAttentionCache, PartitionedNormCache,
    PostAffineCache, ProductCache, RepresentationsCache, ScaleCache, Segment, StarLinearCache,
};

/// The values of all steps of a pass, and in training their gradients. The caller lends it, so that one net serves many threads and a warm step
/// allocates nothing.
#[derive(Debug, Default)]
pub struct Tape {
    /// Rows of known domains, or all where every row needs every value; then rows of no known domain.
    pub(crate) known: Part,
    pub(crate) unknown: Part,
    /// Which rows of the batch are those of no known domain, where they are apart.
    pub(crate) apart: Range<usize>,
}

/// The values for some rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) places: Vec<Place>,
    pub(crate) cells: Vec<Cell>,
    /// By domain, the position of its segment, if the part has one.
    by_domain: Vec<Option<u32>>,
    pub(crate) segments: Vec<Segment>,
    /// Of rows, which have a gradient.
    pub(crate) active_rows: Vec<bool>,
    /// The products of two subspaces' weights.
    pub(crate) products: Array2<f32>,
}

/// Which rows a value is for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Of embedded rows, where they start in the net's input.
    pub(crate) at: usize,
}

/// What one step keeps.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) out: Array2<f32>,
    /// The gradient of `out`; of the value in front of the rectifier, where its readers take it back through that.
    pub(crate) dout: Array2<f32>,
    /// Whether `dout` holds something: whether the step took part in the training step.
    pub(crate) active: bool,
    /// Of what mixtures read: the gradients of the weights they gave it, `[mixtures, rows]`.
    pub(crate) dweights: Array2<f32>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) cache: StepCache,
}

/// What the layer of a step keeps.
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
    Custom(CustomCache),
}

/// What the alignment of one branch keeps.
#[derive(Debug, Default)]
pub(crate) struct AlignedCache {
    pub(crate) weights: AlignCache,
    /// The direction and its gradient, `[1, width]`, for the backward pass.
    pub(crate) p: Array2<f32>,
    pub(crate) dp: Array2<f32>,
}

/// What a star layer and what follows it keep.
#[derive(Debug, Default)]
pub(crate) struct StarCache {
    pub(crate) linear: StarLinearCache,
    pub(crate) z: Array2<f32>,
    pub(crate) dz: Array2<f32>,
    pub(crate) hidden: PostAffineCache,
}

/// Gives a cache of the wrong kind, or none, the kind that is wanted.
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

impl Place {
    pub(crate) fn rows(self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    /// Where the rows of a reader are among these.
    pub(crate) fn within(self, reader: Self) -> Range<usize> {
        reader.start - self.start..reader.end - self.start
    }

    /// The rows of a reader among the embedded rows.
    pub(crate) fn embedded(self, reader: Self) -> Range<usize> {
        let Range { start, end } = self.within(reader);
        self.at + start..self.at + end
    }
}

impl Part {
    /// Finds which rows every step runs for. `segments` follow each other from row `first` on; embedded rows start at `at`. Returns where they
    /// end.
    pub(crate) fn lay(&mut self, program: &Program, segments: &[Segment], first: usize, at: usize) -> usize {
        let Self { places, cells, by_domain, active_rows, segments: own, .. } = self;
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
            if let Some(d) = segment.domain {
                by_domain[d] = Some(i as u32);
            }
        }
        let unknown = !program.common && own.iter().any(|segment| segment.domain.is_none());
        places.clear();
        places.extend(steps.iter().map(|step| {
            if let Some(rows) = step.fixed {
                return Place { start: 0, end: rows, at };
            }
            let whole = Place { start: 0, end, at };
            match &step.needs.known {
                Domains::All => whole,
                Domains::Some(_) if unknown => {
                    if step.needs.unknown {
                        whole
                    } else {
                        Place::default()
                    }
                }
                Domains::Some(domains) => {
                    let mut rows = Place { at, ..Place::default() };
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
            // One owner's rows after the other's; one owner is the usual case.
            for (place, _) in places.iter_mut().zip(steps).filter(|(_, step)| matches!(step.op, Op::Row { .. })) {
                place.at = next;
                next += place.len();
            }
            return next;
        }
        for segment in &*own {
            for &step in &program.own_rows[segment.domain.unwrap_or(program.domains)] {
                places[step as usize].at = next;
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
        self.segments.iter().all(|segment| segment.domain.is_none())
    }
}

impl Cell {
    /// The segments of these rows, counted from the first of them.
    pub(crate) fn lay_segments(&mut self, all: &[Segment], place: Place) {
        self.segments.clear();
        let own = all.iter().filter(|segment| place.start <= segment.start && segment.end <= place.end);
        self.segments.extend(own.map(|segment| Segment {
            start: segment.start - place.start,
            end: segment.end - place.start,
            ..*segment
        }));
    }
}

/// Values that a step reads.
#[derive(Clone, Copy)]
pub(crate) struct Reads<'a> {
    pub(crate) steps: &'a [Step],
    pub(crate) places: &'a [Place],
    pub(crate) x: &'a ArrayRef2<f32>,
    /// The cells before the group's.
    pub(crate) outside: &'a [Cell],
    /// The strand's, up to the step's own, from step `first` on.
    pub(crate) strand: &'a [Cell],
    pub(crate) first: usize,
    /// The step that reads.
    pub(crate) step: usize,
}

impl<'a> Reads<'a> {
    /// A value, in the rows of the step that reads it.
    pub(crate) fn value(&self, value: Value) -> ArrayView2<'a, f32> {
        let (i, reader) = (value.index(), self.places[self.step]);
        if let Op::Row { .. } = self.steps[i].op {
            return self.x.slice(s![self.places[i].embedded(reader), value.of_step()]);
        }
        let cell = if i < self.outside.len() { &self.outside[i] } else { &self.strand[i - self.first] };
        if self.steps[i].fixed.is_some() {
            return cell.out.view();
        }
        cell.out.slice(s![self.places[i].within(reader), value.of_step()])
    }
}

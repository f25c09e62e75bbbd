//! Consecutive rows of one domain.

use std::ops::Range;

use ndarray::{ArrayRef2, ArrayViewMut2, Axis};

use crate::data::DomainId;
use crate::parallel::{self, Divide};

/// Consecutive rows of a layer's input that all belong to one domain.
///
/// A layer that treats domains differently takes a list of segments. The list must cover all rows of the input, in order: the first segment
/// starts at row 0, and each other segment starts where the one before it ends. A model groups the rows of a batch by domain and makes the
/// list ([`Cache::segments`](crate::model::Cache::segments)). Its segments are in ascending order of domain, and each domain has at most
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The domain of the rows. [`DomainId::SHARED`] if the domain is not known.
    pub domain: DomainId,
    /// The number of the segment's first row in the input, from 0.
    pub start: usize,
    /// The number of the row after the segment's last row.
    pub end: usize,
}

impl Segment {
    /// The numbers of the segment's rows: `start..end`.
    pub fn rows(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the segment has no rows.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The position of the segment's domain in [`Layout::domains`](crate::data::Layout::domains), from 0, for a backward pass. Training
    /// needs a known domain for every row.
    ///
    /// # Panics
    /// If the domain is [`DomainId::SHARED`].
    pub fn trained_domain(&self) -> usize {
        self.domain.index().expect("training rows have a domain; DomainId::SHARED is for prediction")
    }
}

/// Runs `f` on every segment, with the segment's cache and rows of `out`.
///
/// # Panics
/// If there are fewer caches than segments, or the segments are not all rows in order.
pub(crate) fn each_segment<C: Send>(
    segments: &[Segment],
    caches: &mut [C],
    out: &mut ArrayRef2<f32>,
    f: impl Fn(Segment, &mut C, &mut ArrayRef2<f32>) + Sync,
) {
    let caches = &mut caches[..segments.len()];
    let work = BySegment { segments, caches, out: out.view_mut() };
    parallel::each(work, &|BySegment { segments, caches, mut out }| f(segments[0], &mut caches[0], &mut out));
}

struct BySegment<'a, C> {
    segments: &'a [Segment],
    caches: &'a mut [C],
    /// The rows of these segments.
    out: ArrayViewMut2<'a, f32>,
}

impl<C: Send> Divide for BySegment<'_, C> {
    fn pieces(&self) -> usize {
        self.segments.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (segments, rest) = self.segments.split_at(pieces);
        let (caches, rest_caches) = self.caches.split_at_mut(pieces);
        let (out, rest_out) = self.out.split_at(Axis(0), rest[0].start - segments[0].start);
        (Self { segments, caches, out }, Self { segments: rest, caches: rest_caches, out: rest_out })
    }
}

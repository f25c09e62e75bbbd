//! Consecutive rows of one domain.

use std::ops::Range;

use ndarray::{ArrayRef2, ArrayViewMut2, Axis};

use crate::parallel::{self, Divide};

/// Consecutive rows that belong to one domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The domain's position, or `None` for rows that take the shared path.
    pub domain: Option<usize>,
    /// The first row.
    pub start: usize,
    /// The row after the last.
    pub end: usize,
}

impl Segment {
    /// The rows.
    pub fn rows(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The domain of rows that are trained on.
    ///
    /// # Panics
    /// If there is none: the shared path is for prediction.
    pub fn trained_domain(&self) -> usize {
        self.domain.expect("training rows have a domain; DomainId::SHARED is for prediction")
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

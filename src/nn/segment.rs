//! Runs of rows of one domain.

use std::ops::Range;

/// A run of neighbouring rows that belong to one domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The domain's position, or `None` for rows that take the shared path.
    pub domain: Option<usize>,
    /// The first row.
    pub start: usize,
    /// The row behind the last.
    pub end: usize,
}

impl Segment {
    /// The rows.
    pub fn rows(&self) -> Range<usize> {
        self.start..self.end
    }

    /// How many rows there are.
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

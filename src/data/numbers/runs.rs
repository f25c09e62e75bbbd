//! The distinct values of a numeric column, with their numbers of rows.

/// A value and the number of rows that have it.
pub(in crate::data) type Run = (f64, usize);

/// The distinct values of a column in ascending order, and the number of missing ones.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::data) struct Runs {
    pub(in crate::data) list: Vec<Run>,
    /// The number of rows that have a value.
    pub(in crate::data) rows: usize,
    /// The number of rows that have none.
    pub(in crate::data) missing: usize,
}

impl Runs {
    /// Counts `values`. NaN is a missing value, and −0 is 0.
    pub(in crate::data) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut missing = 0;
        let known = values.filter(|x| {
            missing += usize::from(x.is_nan());
            !x.is_nan()
        });
        let mut sorted: Vec<f64> = known.map(|x| x + 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let list = sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        Self { list, rows: sorted.len(), missing }
    }

    /// The number of distinct values.
    pub(in crate::data) fn distinct(&self) -> usize {
        self.list.len()
    }

    /// The most frequent value and its number of rows; of several, the least.
    pub(in crate::data) fn spike(&self) -> Option<Run> {
        self.list.iter().copied().reduce(|most, run| if run.1 > most.1 { run } else { most })
    }
}

//! Quantile buckets: ids for numeric values that are embedded.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::runs::{Run, Runs};

/// The boundaries between buckets, in ascending order: bucket `i` is `boundaries[i − 1] <= x < boundaries[i]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::data) struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Fits `count` buckets with about equal numbers of rows.
    ///
    /// A value that has more rows than an equal share gets its own bucket. The other boundaries are quantiles of the remaining rows: with 92 %
    /// zeros and ten buckets, one bucket is 0 and nine share the rest. If there are at most `count` distinct values, each value gets its own
    /// bucket and there are no other buckets.
    pub(in crate::data) fn fit(count: usize, runs: &Runs) -> Self {
        let runs = &runs.list;
        if runs.len() <= count {
            return Self(runs.iter().skip(1).map(|&(x, _)| x).collect());
        }
        let (heavy, buckets) = heavy(runs, count);
        Self(boundaries(runs, &heavy, buckets))
    }

    /// The number of buckets.
    pub(in crate::data) fn buckets(&self) -> usize {
        self.0.len() + 1
    }

    /// The number of rows of the embedding table: one for missing values, then one per bucket.
    pub(in crate::data) fn rows(&self) -> usize {
        self.buckets() + 1
    }

    /// The id of `x`: 0 for NaN, otherwise 1 + its bucket.
    pub(in crate::data) fn encode(&self, x: f64) -> u32 {
        if x.is_nan() { 0 } else { 1 + self.0.partition_point(|&boundary| boundary <= x) as u32 }
    }

    pub(in crate::data) fn is_valid(&self) -> bool {
        self.0.iter().all(|boundary| boundary.is_finite()) && self.0.is_sorted_by(|a, b| a < b)
    }
}

/// Decides which runs get their own bucket: those with more rows than an equal share of the rows that the larger runs leave. Also returns how
/// many buckets remain for the other runs: at least one for each piece between the runs with their own bucket.
pub(super) fn heavy(runs: &[Run], count: usize) -> (Vec<bool>, usize) {
    let mut heavy = vec![false; runs.len()];
    let (mut rows, mut buckets, mut pieces) = (runs.iter().map(|&(_, rows)| rows).sum::<usize>(), count, 1);
    // From the most to the least frequent: each takes more than the share, so the share of the others becomes smaller.
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_unstable_by_key(|&run| (Reverse(runs[run].1), run));
    for run in order {
        let of_run = runs[run].1;
        if of_run as u128 * buckets as u128 <= rows as u128 {
            break;
        }
        let light = |run: Option<usize>| run.and_then(|run| heavy.get(run)).is_some_and(|heavy| !heavy);
        let pieces_then = pieces - 1 + usize::from(light(run.checked_sub(1))) + usize::from(light(Some(run + 1)));
        if pieces_then < buckets {
            heavy[run] = true;
            rows -= of_run;
            (buckets, pieces) = (buckets - 1, pieces_then);
        }
    }
    (heavy, buckets)
}

/// The boundaries around heavy runs, and the boundaries that split the pieces between them into `buckets` parts.
pub(super) fn boundaries(runs: &[Run], heavy: &[bool], buckets: usize) -> Vec<f64> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for part in heavy.chunk_by(|a, b| a == b) {
        if !part[0] {
            pieces.push(at..at + part.len());
        }
        at += part.len();
    }
    let mut cuts = share_out(runs, &pieces, buckets).into_iter();
    let mut boundaries = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    let mut run = 0;
    while run < runs.len() {
        if run > 0 {
            // The bucket of a heavy value contains nothing else, also no later value between it and the next run.
            let between = if heavy[run - 1] && !heavy[run] { runs[run - 1].0.next_up() } else { runs[run].0 };
            boundaries.push(between);
        }
        let piece = pieces.next_if(|piece| piece.start == run);
        run = match piece {
            Some(piece) => {
                cut(&runs[piece.clone()], cuts.next().unwrap_or(1), &mut boundaries);
                piece.end
            }
            None => run + 1,
        };
    }
    boundaries
}

/// Rows and buckets of a piece, and its number. Ordered by rows per bucket, without rounding; of equals, the first is the largest.
struct Fullness(u128, u128, usize);
impl Ord for Fullness {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0 * other.1).cmp(&(other.0 * self.1)).then(other.2.cmp(&self.2))
    }
}
impl PartialOrd for Fullness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Fullness {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Fullness {}

/// How many buckets each piece gets: at least one, and at most its number of runs. Every further bucket goes to the piece with the most rows per
/// bucket.
fn share_out(runs: &[Run], pieces: &[Range<usize>], buckets: usize) -> Vec<usize> {
    let rows = |piece: &Range<usize>| runs[piece.clone()].iter().map(|&(_, rows)| rows as u128).sum::<u128>();
    let mut shares = vec![1; pieces.len()];
    let mut queue: BinaryHeap<Fullness> = pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.len() > 1)
        .map(|(i, piece)| Fullness(rows(piece), 1, i))
        .collect();
    for _ in pieces.len()..buckets {
        let Some(Fullness(rows, share, piece)) = queue.pop() else { break };
        shares[piece] += 1;
        if shares[piece] < pieces[piece].len() {
            queue.push(Fullness(rows, share + 1, piece));
        }
    }
    shares
}

/// Adds the boundaries that split these runs into `buckets` buckets with about equal numbers of rows. There are at least as many runs as buckets.
fn cut(runs: &[Run], buckets: usize, boundaries: &mut Vec<f64>) {
    let mut left: usize = runs.iter().map(|&(_, rows)| rows).sum();
    let (mut buckets, mut rows) = (buckets, 0);
    for (i, &(x, of_run)) in runs.iter().enumerate() {
        if buckets == 1 {
            return;
        }
        // The bucket ends before this run if that is nearer to an equal share, or if the other buckets need all remaining runs.
        let (share, other) = (left as f64 / buckets as f64, (rows + of_run) as f64);
        let enough = i > 0 && rows > 0 && (other - share > share - rows as f64 || runs.len() - i < buckets);
        if enough {
            boundaries.push(x);
            left -= rows;
            buckets -= 1;
            rows = 0;
        }
        rows += of_run;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(count: usize, values: impl IntoIterator<Item = f64>) -> Quantiles {
        Quantiles::fit(count, &Runs::of(values.into_iter()))
    }

    #[test]
    fn quantile_buckets_are_equally_full() {
        let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        let quantiles = fit(4, values.iter().copied());
        assert_eq!(quantiles.0, [25.0, 50.0, 75.0]);
        let mut full = [0; 5];
        for &x in &values {
            full[quantiles.encode(x) as usize] += 1;
        }
        assert_eq!(full, [0, 25, 25, 25, 25]);
        assert_eq!([f64::NAN, -1e9, 24.9, 25.0, 1e9].map(|x| quantiles.encode(x)), [0, 1, 1, 2, 4]);
        assert_eq!(quantiles.rows(), 5);
    }

    #[test]
    fn few_values_have_a_bucket_each() {
        let quantiles = fit(4, [0.0, 0.0, -0.0, 0.0, 0.0, 1.0, 1.0, 2.0]);
        assert_eq!(quantiles.0, [1.0, 2.0]);
        assert_eq!(fit(4_000_000_000, [7.0; 9]).buckets(), 1);
        assert_eq!(fit(10, [3.0, f64::NAN]).rows(), 2);
        assert_eq!(fit(10, [f64::NAN]).encode(5.0), 1);
        assert_eq!(fit(10, [2.0, 1.0]).0, [2.0]);
    }

    fn full(quantiles: &Quantiles, values: &[f64]) -> Vec<usize> {
        let mut full = vec![0; quantiles.rows()];
        for &x in values {
            full[quantiles.encode(x) as usize] += 1;
        }
        full
    }

    #[test]
    fn a_spike_is_a_bucket_and_the_rest_is_cut_among_the_others() {
        // 920 zeros and 80 distinct positive numbers.
        let values: Vec<f64> = (0..1000).map(|i: i32| f64::from((i - 919).max(0))).collect();
        let quantiles = fit(10, values.iter().copied());
        let rows = full(&quantiles, &values);
        assert_eq!((rows.len(), rows[1]), (11, 920));
        assert!(rows[2..].iter().all(|&rows| rows == 8 || rows == 9), "{rows:?}");
        assert_eq!([-1.0, 0.0, 1e-300, 0.5].map(|x| quantiles.encode(x)), [1, 1, 2, 2]);
    }

    #[test]
    fn spikes_at_both_ends_and_in_the_middle() {
        let light = |from: i32| (0..100).map(move |i| f64::from(from + i));
        let values: Vec<f64> =
            [vec![-1000.0; 300], light(-500).collect(), vec![0.0; 500], light(1).collect(), vec![1000.0; 400]].concat();
        let quantiles = fit(8, values.iter().copied());
        assert_eq!(quantiles.buckets(), 8);
        let rows = full(&quantiles, &values);
        for spike in [-1000.0, 0.0, 1000.0] {
            let alone = values.iter().filter(|&&x| x == spike).count();
            assert_eq!(rows[quantiles.encode(spike) as usize], alone, "{rows:?}");
        }
        // One spike between two tails, and two buckets: no bucket is empty, and there are two.
        let values: Vec<f64> = [vec![0.0; 600], light(-200).collect(), light(1).collect()].concat();
        let rows = full(&fit(2, values.iter().copied()), &values);
        assert_eq!(rows.len(), 3);
        assert!(rows[1..].iter().all(|&rows| rows > 0), "{rows:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn buckets_of_any_values(
            draws in prop::collection::vec((0_u8..12, 1_usize..60), 1..40),
            count in 2_usize..12,
        ) {
            let values: Vec<f64> =
                draws.iter().flat_map(|&(x, rows)| std::iter::repeat_n(f64::from(x) * 1.5 - 4.0, rows)).collect();
            let quantiles = fit(count, values.iter().copied());
            prop_assert!(quantiles.is_valid());
            let rows = full(&quantiles, &values);
            let mut distinct: Vec<f64> = values.clone();
            distinct.sort_unstable_by(f64::total_cmp);
            distinct.dedup();
            prop_assert_eq!(quantiles.buckets(), count.min(distinct.len()));
            prop_assert!(rows[0] == 0 && rows[1..].iter().all(|&rows| rows > 0), "{:?}", rows);
            let of = |x: f64| values.iter().filter(|&&y| x == y).count();
            let spikes = distinct.iter().filter(|&&x| of(x) * count > values.len());
            // There are enough buckets for each spike and for the pieces between them.
            if distinct.len() <= count || 2 * spikes.clone().count() < count {
                for &spike in spikes {
                    prop_assert_eq!(rows[quantiles.encode(spike) as usize], of(spike));
                }
            }
        }
    }
}

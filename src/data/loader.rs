//! Splits the rows of a data set into batches.

use std::ops::Range;
use std::sync::Arc;

use rand::seq::{SliceRandom, index};

use super::negatives::Negatives;
use super::{Batch, BatchOrder, DataSet, DomainId, Layout, LoaderConfig, Pass, RowCounts, RowSource};
use crate::error::Result;
use crate::random::{Purpose, keyed};

/// The [`RowSource`] of a [`DataSet`]: splits its rows into batches. The batches depend only on the rows, the [`LoaderConfig`] with its seed,
/// and the [`Pass`] with its number.
///
/// In an epoch, every row occurs in exactly one batch, with any [`BatchOrder`]. Exception: with [`LoaderConfig::negatives`], some labels 0 are
/// missing in an epoch, and it skips rows without any label left. Batches with fewer rows than the others are kept. Within a batch, rows are
/// grouped by domain, in ascending order of [`DomainId`]s ([`DomainId::SHARED`] is last). See [`RowSource`] for an example.
#[derive(Debug, Clone)]
pub struct Loader {
    rows: Arc<DataSet>,
    /// The domains that have rows, in ascending order.
    domains: Vec<DomainId>,
    /// For each row, the position of its domain in `domains`.
    positions: Vec<u32>,
    /// The rows of the pass in order; a batch is a range of it.
    order: Vec<u32>,
    batches: Vec<Range<usize>>,
    position: usize,
    negatives: Negatives,
    /// Scratch space of the sort by domain.
    counts: Vec<usize>,
    sorted: Vec<u32>,
}

impl Loader {
    /// Makes a loader for all rows of a [`DataSet`], or of an `Arc<DataSet>` if others share it. Call [`RowSource::begin`] before you read batches.
    ///
    /// # Panics
    /// If the data set has 2³² rows or more.
    pub fn new(rows: impl Into<Arc<DataSet>>) -> Self {
        let rows = rows.into();
        assert!(u32::try_from(rows.rows()).is_ok(), "{} rows are too many for one loader", rows.rows());
        let mut domains = rows.domains.clone();
        domains.sort_unstable();
        domains.dedup();
        let find = |domain| domains.binary_search(domain).expect("every row's domain is in the list") as u32;
        let positions = rows.domains.iter().map(find).collect();
        let (order, batches, negatives, counts, sorted) = Default::default();
        Self { rows, domains, positions, order, batches, position: 0, negatives, counts, sorted }
    }

    /// Returns the data set whose rows the loader reads.
    pub fn rows(&self) -> &Arc<DataSet> {
        &self.rows
    }

    /// Puts the rows in the order of an epoch and splits them into batches.
    fn order_epoch(&mut self, epoch: u64, config: &LoaderConfig) {
        let Self { rows, domains, positions, order, batches, negatives, counts, .. } = self;
        let mut rng = keyed(config.seed(), Purpose::Shuffle, epoch, 0);
        let shuffle = config.shuffle();
        let labels = &rows.labels;
        let kept = (0..rows.rows() as u32).filter(|&row| negatives.keep_row(labels, row));
        let group_size = match config.order() {
            BatchOrder::Mixed { max_domains } => max_domains.unwrap_or(usize::MAX),
            BatchOrder::OneDomain => 1,
        };
        let mut dealt: Vec<usize> = (0..domains.len()).collect();
        if shuffle && group_size < dealt.len() {
            dealt.shuffle(&mut rng);
        }
        let mut group_of = vec![0; dealt.len()];
        for (i, &domain) in dealt.iter().enumerate() {
            group_of[domain] = i / group_size;
        }
        let groups = dealt.len().div_ceil(group_size);
        order.resize(if negatives.keep_all() { rows.rows() } else { kept.clone().count() }, 0);
        let group = |row: u32| group_of[positions[row as usize] as usize];
        counting_sort(kept, groups, group, counts, order);

        batches.clear();
        let mut start = 0;
        // After the sort, `counts` holds the end of each group.
        for &end in &*counts {
            if shuffle {
                order[start..end].shuffle(&mut rng);
            }
            batches.extend(cuts(start..end, config.batch_rows()));
            start = end;
        }
        if shuffle && groups > 1 {
            batches.shuffle(&mut rng);
        }
    }

    /// Draws at most `per_domain` rows of each domain, puts them in random order and splits them into batches. So the batches have mixed domains,
    /// as in training.
    fn order_sample(&mut self, per_domain: usize, number: u64, config: &LoaderConfig) {
        let known = self.rows.layout().domains.len();
        let mut of_domain = vec![Vec::new(); known];
        for (row, domain) in self.rows.domains.iter().enumerate() {
            if let Some(domain) = domain.index().filter(|_| self.negatives.keep_row(&self.rows.labels, row as u32)) {
                of_domain[domain].push(row as u32);
            }
        }
        let order = &mut self.order;
        order.clear();
        for (domain, rows) in of_domain.iter().enumerate() {
            if rows.len() <= per_domain {
                order.extend(rows);
            } else {
                let mut rng = keyed(config.seed(), Purpose::Statistics, number, domain as u64);
                order.extend(index::sample(&mut rng, rows.len(), per_domain).iter().map(|i| rows[i]));
            }
        }
        order.shuffle(&mut keyed(config.seed(), Purpose::Statistics, number, known as u64));
        self.batches.clear();
        self.batches.extend(cuts(0..order.len(), config.batch_rows()));
    }
}

impl RowSource for Loader {
    fn layout(&self) -> &Layout {
        self.rows.layout()
    }

    fn counts(&self) -> RowCounts {
        self.rows.counts()
    }

    fn fingerprint(&self) -> u32 {
        self.rows.checksum()
    }

    fn samples_negatives(&self) -> bool {
        true
    }

    fn begin(&mut self, pass: Pass, config: &LoaderConfig) -> Result<()> {
        self.negatives.draw(&self.rows, pass, config)?;
        match pass {
            Pass::Epoch(epoch) => self.order_epoch(epoch, config),
            Pass::Sample { per_domain, number } => self.order_sample(per_domain, number, config),
        }
        if self.order.is_empty() && !self.negatives.keep_all() {
            return Err(Negatives::nothing_left());
        }
        // Then no batch of the pass allocates.
        let largest = self.batches.iter().map(Range::len).max().unwrap_or(0);
        self.sorted.resize(largest, 0);
        self.counts.resize(self.domains.len(), 0);
        self.position = 0;
        Ok(())
    }

    fn batches(&self) -> usize {
        self.batches.len()
    }

    fn position(&self) -> usize {
        self.position
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.position = self.position.saturating_add(count).min(self.batches.len());
        Ok(())
    }

    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        let Self { rows: source, domains, positions, order, batches, position, negatives, counts, sorted } = self;
        let Some(range) = batches.get(*position) else { return Ok(false) };
        let rows = &order[range.clone()];
        sorted.resize(rows.len(), 0);
        let domain = |row: u32| positions[row as usize] as usize;
        counting_sort(rows.iter().copied(), domains.len(), domain, counts, sorted);
        source.gather_into(sorted, batch);
        negatives.mask(sorted, batch);
        *position += 1;
        Ok(true)
    }
}

/// Splits a range into ranges of `batch_rows`; the last one can be shorter.
fn cuts(rows: Range<usize>, batch_rows: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(batch_rows).map(move |from| from..end.min(from.saturating_add(batch_rows)))
}

/// Writes `rows` to `sorted` in ascending order of their keys. Rows with equal keys keep their order. Keys are less than `keys`. Afterwards
/// `counts[k]` is the end of key `k` in `sorted`.
fn counting_sort(
    rows: impl Iterator<Item = u32> + Clone,
    keys: usize,
    key: impl Fn(u32) -> usize,
    counts: &mut Vec<usize>,
    sorted: &mut [u32],
) {
    counts.clear();
    counts.resize(keys, 0);
    for row in rows.clone() {
        counts[key(row)] += 1;
    }
    let mut start = 0;
    for count in counts.iter_mut() {
        start += std::mem::replace(count, start);
    }
    for row in rows {
        let place = &mut counts[key(row)];
        sorted[*place] = row;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::data::Ids;

    /// Rows with one id each: the number of the row.
    fn rows(domains: &[usize]) -> DataSet {
        of(domains.iter().map(|&domain| DomainId::new(domain)).collect())
    }

    fn of(domains: Vec<DomainId>) -> DataSet {
        let count = domains.len();
        let layout = Layout::new((0..10).map(|domain| domain.to_string()), ["y"]).field("row", 1000);
        let rows = Batch {
            ids: vec![Ids::One((0..count as u32).collect())],
            numeric: Array2::zeros((count, 0)),
            labels: Array2::zeros((count, 1)),
            domains,
            ..Batch::default()
        };
        DataSet::new(&layout, rows).unwrap()
    }

    fn numbers(batch: &Batch) -> Vec<u32> {
        (0..batch.rows()).map(|row| batch.ids[0].row(row)[0]).collect()
    }

    /// The row numbers of all remaining batches.
    fn remaining(loader: &mut Loader) -> Vec<Vec<u32>> {
        let (mut all, mut batch) = (Vec::new(), Batch::default());
        while loader.next_into(&mut batch).unwrap() {
            all.push(numbers(&batch));
        }
        all
    }

    fn pass(rows: DataSet, pass: Pass, config: &LoaderConfig) -> Vec<Vec<u32>> {
        let mut loader = Loader::new(rows);
        loader.begin(pass, config).unwrap();
        remaining(&mut loader)
    }

    fn orders() -> impl Strategy<Value = BatchOrder> {
        prop_oneof![
            Just(BatchOrder::OneDomain),
            Just(BatchOrder::default()),
            (1_usize..5).prop_map(|cap| BatchOrder::Mixed { max_domains: Some(cap) }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn each_row_once_grouped_and_capped(
            domains in prop::collection::vec(0_usize..7, 0..200),
            batch_rows in 1_usize..40,
            order in orders(),
            shuffle: bool,
            seed: u64,
            epoch in 0_u64..5,
        ) {
            let config = LoaderConfig::builder().batch_rows(batch_rows).seed(seed).order(order).shuffle(shuffle).build().unwrap();
            let mut loader = Loader::new(rows(&domains));
            loader.begin(Pass::Epoch(epoch), &config).unwrap();
            let batches = remaining(&mut loader);
            prop_assert_eq!((batches.len(), loader.position()), (loader.batches(), loader.batches()));

            let mut seen: Vec<u32> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..domains.len() as u32).collect::<Vec<_>>());

            let cap = match order {
                BatchOrder::Mixed { max_domains } => max_domains.unwrap_or(usize::MAX),
                BatchOrder::OneDomain => 1,
            };
            for batch in &batches {
                prop_assert!((1..=batch_rows).contains(&batch.len()));
                let of: Vec<usize> = batch.iter().map(|&row| domains[row as usize]).collect();
                prop_assert!(of.is_sorted());
                prop_assert!(of.iter().collect::<HashSet<_>>().len() <= cap);
            }
            // The same seed and epoch give the same batches, from any position in the epoch.
            let half = batches.len() / 2;
            // Earlier passes have no effect.
            loader.begin(Pass::Sample { per_domain: 3, number: 0 }, &config).unwrap();
            loader.begin(Pass::Epoch(epoch), &config).unwrap();
            loader.skip(half).unwrap();
            prop_assert_eq!(loader.position(), half);
            prop_assert_eq!(&remaining(&mut loader)[..], &batches[half..]);
        }
    }

    #[test]
    fn other_epochs_and_other_seeds_have_other_orders() {
        let domains: Vec<usize> = (0..100).map(|row| row % 5).collect();
        for batches in [BatchOrder::OneDomain, BatchOrder::default(), BatchOrder::Mixed { max_domains: Some(2) }] {
            let order = |seed, epoch| {
                let config = LoaderConfig::builder().batch_rows(8).seed(seed).order(batches).build().unwrap();
                pass(rows(&domains), Pass::Epoch(epoch), &config)
            };
            assert_ne!(order(1, 0), order(1, 1));
            assert_ne!(order(1, 0), order(2, 0));
        }
    }

    #[test]
    fn one_domain_batches_take_turns() {
        let domains: Vec<usize> = (0..400).map(|row| row / 100).collect();
        let config = LoaderConfig::builder().batch_rows(10).order(BatchOrder::OneDomain).build().unwrap();
        let batches = pass(rows(&domains), Pass::Epoch(0), &config);
        let turns: Vec<usize> = batches.iter().map(|b| domains[b[0] as usize]).collect();
        assert!(turns.windows(2).filter(|pair| pair[0] != pair[1]).count() > 15, "{turns:?}");
    }

    #[test]
    fn without_shuffling_rows_keep_their_order() {
        let config = LoaderConfig::builder().batch_rows(3).shuffle(false);
        let batches = |order| {
            let config = config.clone().order(order).build().unwrap();
            pass(rows(&[1, 0, 1, 0, 2]), Pass::Epoch(3), &config)
        };
        assert_eq!(batches(BatchOrder::default()), [vec![1, 0, 2], vec![3, 4]]);
        assert_eq!(batches(BatchOrder::OneDomain), [vec![1, 3], vec![0, 2], vec![4]]);
        assert_eq!(batches(BatchOrder::Mixed { max_domains: Some(2) }), [vec![1, 0, 2], vec![3], vec![4]]);
    }

    #[test]
    fn the_shared_domain_comes_last() {
        let rows = of(vec![DomainId::SHARED, DomainId::new(1), DomainId::new(0)]);
        let config = LoaderConfig::builder().shuffle(false).build().unwrap();
        assert_eq!(pass(rows, Pass::Epoch(0), &config), [[2, 1, 0]]);
    }

    #[test]
    fn a_sample_has_at_most_this_many_rows_of_each_domain() {
        let mut domains = vec![DomainId::SHARED; 4];
        domains.extend((0..60).map(|row| DomainId::new(usize::from(row >= 50))));
        let config = LoaderConfig::builder().batch_rows(8).seed(3).build().unwrap();
        let sample = |number| pass(of(domains.clone()), Pass::Sample { per_domain: 15, number }, &config);
        let batches = sample(0);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 1]);
        let rows: HashSet<u32> = batches.concat().into_iter().collect();
        let count = |of: Range<u32>| rows.iter().filter(|row| of.contains(row)).count();
        assert_eq!((rows.len(), count(0..4), count(4..54), count(54..64)), (25, 0, 15, 10));
        assert!(batches[0].iter().any(|&row| row >= 54) && batches[0].iter().any(|&row| row < 54), "mixed");
        assert_eq!(sample(0), batches);
        assert_ne!(sample(1), batches);
    }
}

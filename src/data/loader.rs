//! Cuts rows into the batches of an epoch.

use std::ops::Range;
use std::sync::Arc;

use rand::seq::SliceRandom;

use super::{Batch, DomainId, LoaderConfig, Schedule};
use crate::random::{Purpose, keyed};

/// Cuts rows into the batches of an epoch, in an order that the seed and the epoch's number decide alone.
///
/// Every row comes once an epoch, whatever the schedule; no short batch is dropped. Inside a batch the rows of a domain
/// lie together, in ascending order of domains ([`DomainId::SHARED`] is the last).
///
/// ```
/// use starple::data::{Batch, Field, Layout, Loader, LoaderConfig};
///
/// let layout = Layout {
///     fields: vec![Field { name: "item".into(), rows: 10, bag: None }],
///     domains: vec!["all".into()],
///     tasks: vec!["click".into()],
///     ..Layout::default()
/// };
/// let rows = Batch::builder(&layout, 10).ids("item", (0..10).collect()).build()?;
/// let loader = Loader::new(rows, LoaderConfig::builder().batch_rows(4).seed(7).build()?);
/// let mut epoch = loader.epoch(0);
/// assert_eq!(epoch.len(), 3);
/// let (mut batch, mut seen) = (Batch::default(), 0);
/// while epoch.next_into(&mut batch) {
///     seen += batch.rows();
/// }
/// assert_eq!(seen, 10);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    rows: Arc<Batch>,
    config: LoaderConfig,
    /// The domains that have rows, ascending.
    domains: Vec<DomainId>,
    /// For each row the position of its domain in `domains`.
    positions: Vec<u32>,
}

impl Loader {
    /// A loader of all these rows: a [`Batch`], or an `Arc` of one to share it.
    ///
    /// # Panics
    /// If there are 2³² rows or more.
    pub fn new(rows: impl Into<Arc<Batch>>, config: LoaderConfig) -> Self {
        let rows = rows.into();
        assert!(u32::try_from(rows.rows()).is_ok(), "{} rows are too many for one loader", rows.rows());
        let mut domains = rows.domains.clone();
        domains.sort_unstable();
        domains.dedup();
        let find = |domain| domains.binary_search(domain).expect("every row's domain is in the list") as u32;
        let positions = rows.domains.iter().map(find).collect();
        Self { rows, config, domains, positions }
    }

    /// The rows it cuts.
    pub fn rows(&self) -> &Arc<Batch> {
        &self.rows
    }

    /// The batches of an epoch: always the same ones for the same rows, configuration and number.
    pub fn epoch(&self, epoch: u64) -> Epoch<'_> {
        let mut rng = keyed(self.config.seed, Purpose::Shuffle, epoch, 0);
        let shuffle = self.config.shuffle;
        let rows = self.rows.rows();
        let group_size = match self.config.schedule {
            Schedule::Mixed { max_domains } => max_domains.unwrap_or(usize::MAX),
            Schedule::OneDomain => 1,
        };
        let mut dealt: Vec<usize> = (0..self.domains.len()).collect();
        if shuffle && group_size < dealt.len() {
            dealt.shuffle(&mut rng);
        }
        let mut group_of = vec![0; dealt.len()];
        for (i, &domain) in dealt.iter().enumerate() {
            group_of[domain] = i / group_size;
        }
        let groups = dealt.len().div_ceil(group_size);
        let mut order: Vec<u32> = vec![0; rows];
        let mut counts = Vec::new();
        let group = |row: u32| group_of[self.positions[row as usize] as usize];
        counting_sort(0..rows as u32, groups, group, &mut counts, &mut order);

        let mut batches = Vec::new();
        let mut start = 0;
        // The sort has left the end of each group in its count.
        for end in counts {
            if shuffle {
                order[start..end].shuffle(&mut rng);
            }
            let cuts = (start..end).step_by(self.config.batch_rows);
            batches.extend(cuts.map(|from| from..end.min(from.saturating_add(self.config.batch_rows))));
            start = end;
        }
        if shuffle && groups > 1 {
            batches.shuffle(&mut rng);
        }
        let largest = batches.iter().map(Range::len).max().unwrap_or(0);
        let (counts, sorted) = (Vec::with_capacity(self.domains.len()), Vec::with_capacity(largest));
        Epoch { loader: self, order, batches, position: 0, counts, sorted }
    }
}

/// The batches of one epoch, one after the other, each written into a buffer that the caller keeps.
#[derive(Debug, Clone)]
pub struct Epoch<'a> {
    loader: &'a Loader,
    /// All rows; a batch is a range of it.
    order: Vec<u32>,
    batches: Vec<Range<usize>>,
    position: usize,
    /// Scratch of the sort by domain.
    counts: Vec<usize>,
    sorted: Vec<u32>,
}

impl Epoch<'_> {
    /// How many batches the epoch has, those that are past included.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether the epoch has no batch: there are no rows.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many batches are past.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Passes over `count` batches, without reading them: so an interrupted epoch is taken up again.
    pub fn skip(&mut self, count: usize) {
        self.position = self.position.saturating_add(count).min(self.batches.len());
    }

    /// Writes the next batch into `batch`; false, and `batch` is left alone, when the epoch is over.
    ///
    /// Once the buffers of `batch` are large enough, nothing is allocated.
    pub fn next_into(&mut self, batch: &mut Batch) -> bool {
        let Some(range) = self.batches.get(self.position) else { return false };
        let rows = &self.order[range.clone()];
        let Loader { rows: source, domains, positions, .. } = self.loader;
        self.sorted.resize(rows.len(), 0);
        let domain = |row: u32| positions[row as usize] as usize;
        counting_sort(rows.iter().copied(), domains.len(), domain, &mut self.counts, &mut self.sorted);
        source.gather_into(&self.sorted, batch);
        self.position += 1;
        true
    }
}

/// Writes `rows` into `sorted`, by ascending key and, where keys are equal, in their own order. Keys are below `keys`;
/// afterwards `counts[k]` is the end of key `k` in `sorted`.
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

    /// Rows whose one id is their number.
    fn rows(domains: &[usize]) -> Batch {
        let count = domains.len();
        Batch {
            ids: vec![Ids::One((0..count as u32).collect())],
            numeric: Array2::zeros((count, 0)),
            labels: Array2::zeros((count, 1)),
            domains: domains.iter().map(|&domain| DomainId::new(domain)).collect(),
            ..Batch::default()
        }
    }

    fn numbers(batch: &Batch) -> Vec<u32> {
        (0..batch.rows()).map(|row| batch.ids[0].row(row)[0]).collect()
    }

    /// The row numbers of every batch that is left.
    fn remaining(mut epoch: Epoch<'_>) -> Vec<Vec<u32>> {
        let (mut all, mut batch) = (Vec::new(), Batch::default());
        while epoch.next_into(&mut batch) {
            all.push(numbers(&batch));
        }
        all
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            Just(Schedule::OneDomain),
            Just(Schedule::default()),
            (1_usize..5).prop_map(|cap| Schedule::Mixed { max_domains: Some(cap) }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn each_row_once_grouped_and_capped(
            domains in prop::collection::vec(0_usize..7, 0..200),
            batch_rows in 1_usize..40,
            schedule in schedules(),
            shuffle: bool,
            seed: u64,
            epoch in 0_u64..5,
        ) {
            let config = LoaderConfig::builder().batch_rows(batch_rows).seed(seed).schedule(schedule).shuffle(shuffle);
            let loader = Loader::new(rows(&domains), config.build().unwrap());
            let batches = remaining(loader.epoch(epoch));
            prop_assert_eq!(batches.len(), loader.epoch(epoch).len());

            let mut seen: Vec<u32> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..domains.len() as u32).collect::<Vec<_>>());

            let cap = match schedule {
                Schedule::Mixed { max_domains } => max_domains.unwrap_or(usize::MAX),
                Schedule::OneDomain => 1,
            };
            for batch in &batches {
                prop_assert!((1..=batch_rows).contains(&batch.len()));
                let of: Vec<usize> = batch.iter().map(|&row| domains[row as usize]).collect();
                prop_assert!(of.is_sorted());
                prop_assert!(of.iter().collect::<HashSet<_>>().len() <= cap);
            }
            // The same key gives the same batches, from any place in the epoch.
            let half = batches.len() / 2;
            let mut resumed = loader.epoch(epoch);
            resumed.skip(half);
            prop_assert_eq!(resumed.position(), half);
            prop_assert_eq!(&remaining(resumed)[..], &batches[half..]);
        }
    }

    #[test]
    fn other_epochs_and_other_seeds_have_other_orders() {
        let domains: Vec<usize> = (0..100).map(|row| row % 5).collect();
        for schedule in [Schedule::OneDomain, Schedule::default(), Schedule::Mixed { max_domains: Some(2) }] {
            let order = |seed, epoch| {
                let config = LoaderConfig::builder().batch_rows(8).seed(seed).schedule(schedule).build().unwrap();
                remaining(Loader::new(rows(&domains), config).epoch(epoch))
            };
            assert_ne!(order(1, 0), order(1, 1));
            assert_ne!(order(1, 0), order(2, 0));
        }
    }

    #[test]
    fn one_domain_batches_take_turns() {
        let domains: Vec<usize> = (0..400).map(|row| row / 100).collect();
        let config = LoaderConfig::builder().batch_rows(10).schedule(Schedule::OneDomain).build().unwrap();
        let turns: Vec<usize> =
            remaining(Loader::new(rows(&domains), config).epoch(0)).iter().map(|b| domains[b[0] as usize]).collect();
        assert!(turns.windows(2).filter(|pair| pair[0] != pair[1]).count() > 15, "{turns:?}");
    }

    #[test]
    fn without_shuffling_rows_keep_their_order() {
        let config = LoaderConfig::builder().batch_rows(3).shuffle(false);
        let batches = |schedule| {
            let config = config.clone().schedule(schedule).build().unwrap();
            remaining(Loader::new(rows(&[1, 0, 1, 0, 2]), config).epoch(3))
        };
        assert_eq!(batches(Schedule::default()), [vec![1, 0, 2], vec![3, 4]]);
        assert_eq!(batches(Schedule::OneDomain), [vec![1, 3], vec![0, 2], vec![4]]);
        assert_eq!(batches(Schedule::Mixed { max_domains: Some(2) }), [vec![1, 0, 2], vec![3], vec![4]]);
    }

    #[test]
    fn the_shared_domain_comes_last() {
        let mut batch = rows(&[0, 1, 0]);
        batch.domains[0] = DomainId::SHARED;
        let loader = Loader::new(batch, LoaderConfig::builder().shuffle(false).build().unwrap());
        assert_eq!(remaining(loader.epoch(0)), [[2, 1, 0]]);
    }
}

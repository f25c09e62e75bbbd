//! Counts of labels by value and domain.

use serde::{Deserialize, Serialize, Serializer};

use crate::data::{Batch, DomainId};

/// The labels of some rows, as statistics count them.
#[derive(Debug)]
pub(super) struct Labelled<'a> {
    /// The ids of the field.
    pub(super) ids: &'a [u32],
    pub(super) rows: &'a Batch,
    /// The columns of the tasks in the labels.
    pub(super) tasks: &'a [usize],
    /// The weight that counts as one row.
    pub(super) unit: f64,
}

impl Labelled<'_> {
    /// The domain of a row, if the row counts: it weighs something, and has a label and a domain.
    pub(super) fn domain(&self, row: usize) -> Option<u32> {
        let weighs = self.rows.weights.get(row).is_none_or(|&weight| weight > 0.0);
        let labelled = self.tasks.iter().any(|&task| !self.rows.labels[[row, task]].is_nan());
        self.rows.domains[row].index().filter(|_| weighs && labelled).map(|domain| domain as u32)
    }

    /// What a row adds to a task: its weight, and its weight if the label is 1.
    pub(super) fn label(&self, row: usize, task: usize) -> (f64, f64) {
        let label = self.rows.labels[[row, self.tasks[task]]];
        if label.is_nan() {
            return (0.0, 0.0);
        }
        let weight = self.rows.weights.get(row).map_or(1.0, |&weight| f64::from(weight) / self.unit);
        (weight, weight * f64::from(label))
    }
}

/// Counts of one field: for each pair of id and domain that has labelled rows, their number, and by task the weight of its labels and of the
/// labels 1. The pairs of id i are `offsets[i] .. offsets[i + 1]`, in the order of domains.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Counts {
    offsets: Vec<u32>,
    pub(super) domains: Vec<u32>,
    pub(super) rows: Vec<u32>,
    /// `[pairs, tasks]`.
    pub(super) labelled: Vec<f64>,
    pub(super) positive: Vec<f64>,
}

impl Counts {
    /// The counts of these rows.
    pub(super) fn of(rows: &Labelled<'_>) -> Self {
        let key = |row: usize| rows.domain(row).map(|domain| u64::from(rows.ids[row]) << 32 | u64::from(domain));
        let mut keys: Vec<u64> = (0..rows.ids.len()).filter_map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut counts = Self::empty(&keys, rows.tasks.len());
        for (row, &id) in rows.ids.iter().enumerate() {
            let Some(pair) = rows.domain(row).and_then(|domain| counts.pair(id, domain)) else { continue };
            counts.rows[pair] += 1;
            for task in 0..rows.tasks.len() {
                let (labelled, positive) = rows.label(row, task);
                counts.labelled[pair * rows.tasks.len() + task] += labelled;
                counts.positive[pair * rows.tasks.len() + task] += positive;
            }
        }
        counts
    }

    /// Pairs without rows, from distinct keys of id and domain in ascending order.
    fn empty(keys: &[u64], tasks: usize) -> Self {
        let ids = keys.last().map_or(0, |&key| (key >> 32) as usize + 1);
        let mut offsets = vec![0; ids + 1];
        for &key in keys {
            offsets[(key >> 32) as usize + 1] += 1;
        }
        for id in 0..ids {
            offsets[id + 1] += offsets[id];
        }
        Self {
            offsets,
            domains: keys.iter().map(|&key| key as u32).collect(),
            rows: vec![0; keys.len()],
            labelled: vec![0.0; keys.len() * tasks],
            positive: vec![0.0; keys.len() * tasks],
        }
    }

    fn keys(&self) -> impl Iterator<Item = u64> {
        (0..self.ids())
            .flat_map(move |id| self.pairs(id).map(move |pair| (id as u64) << 32 | u64::from(self.domains[pair])))
    }

    /// One more than the largest id with rows.
    pub(super) fn ids(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The pairs of an id.
    pub(super) fn pairs(&self, id: usize) -> std::ops::Range<usize> {
        match self.offsets.get(id..id + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        }
    }

    /// The pair of an id and a domain, if it has rows.
    pub(super) fn pair(&self, id: u32, domain: u32) -> Option<usize> {
        let pairs = self.pairs(id as usize);
        self.domains[pairs.clone()].binary_search(&domain).ok().map(|at| pairs.start + at)
    }

    /// How many ids have rows.
    pub(super) fn values(&self) -> usize {
        self.offsets.windows(2).filter(|ends| ends[0] < ends[1]).count()
    }

    /// Adds the counts of other rows.
    pub(super) fn add(&mut self, other: &Self, tasks: usize) {
        let mut keys: Vec<u64> = self.keys().chain(other.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut sum = Self::empty(&keys, tasks);
        for part in [&*self, other] {
            for (pair, key) in part.keys().enumerate() {
                let at = sum.pair((key >> 32) as u32, key as u32).expect("all keys have a pair");
                sum.rows[at] += part.rows[pair];
                for task in 0..tasks {
                    sum.labelled[at * tasks + task] += part.labelled[pair * tasks + task];
                    sum.positive[at * tasks + task] += part.positive[pair * tasks + task];
                }
            }
        }
        *self = sum;
    }

    /// Takes out the counts of some of the rows; the pairs stay. If they cannot all be counted here, gives the id and domain of a pair that
    /// has too few.
    pub(super) fn take_out(&mut self, other: &Self, tasks: usize) -> Result<(), (u32, DomainId)> {
        // Sums of weights in another order differ in the last digits.
        let take = |from: &mut f64, part: f64| {
            let left = *from - part;
            let enough = left >= -1e-6 * (1.0 + part);
            *from = left.max(0.0);
            enough
        };
        for (pair, key) in other.keys().enumerate() {
            let (id, domain) = ((key >> 32) as u32, key as u32);
            let lacking = (id, DomainId::new(domain as usize));
            let at = self.pair(id, domain).ok_or(lacking)?;
            self.rows[at] = self.rows[at].checked_sub(other.rows[pair]).ok_or(lacking)?;
            for task in 0..tasks {
                let (at, part) = (at * tasks + task, pair * tasks + task);
                let enough = take(&mut self.labelled[at], other.labelled[part])
                    & take(&mut self.positive[at], other.positive[part]);
                if !enough {
                    return Err(lacking);
                }
            }
        }
        Ok(())
    }
}

/// Counts as a file has them: lists by value, with the gaps between ids, and only what is not the rule.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CountsForm {
    /// By value with rows, how much its id is above that of the one before; the first has its id.
    steps: Vec<u32>,
    /// By value, the number of its domains; empty if all have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pairs: Vec<u32>,
    /// By pair; empty if all are 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    domains: Vec<u32>,
    /// By pair.
    rows: Vec<u32>,
    /// By task and pair; an empty list if it is that of the rows.
    labelled: Vec<Numbers>,
    positive: Vec<Numbers>,
}

/// Numbers that a file has as integers where they are some.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Numbers(pub(super) Vec<f64>);

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Number {
            Integer(u64),
            Float(f64),
        }
        serializer.collect_seq(self.0.iter().map(|&x| {
            let integer = x >= 0.0 && x < 2_f64.powi(53) && x.fract() == 0.0;
            if integer { Number::Integer(x as u64) } else { Number::Float(x) }
        }))
    }
}

impl CountsForm {
    pub(super) fn new(counts: &Counts, tasks: usize) -> Self {
        let values: Vec<usize> = (0..counts.ids()).filter(|&id| !counts.pairs(id).is_empty()).collect();
        let mut before = 0;
        let steps = values.iter().map(|&id| (id - std::mem::replace(&mut before, id)) as u32).collect();
        let one_each = counts.domains.len() == values.len();
        let pairs =
            if one_each { Vec::new() } else { values.iter().map(|&id| counts.pairs(id).len() as u32).collect() };
        let by_task =
            |numbers: &[f64], task: usize| Numbers(numbers.iter().skip(task).step_by(tasks).copied().collect());
        let labelled = |task| {
            let labelled = by_task(&counts.labelled, task);
            let all = labelled.0.iter().zip(&counts.rows).all(|(&labelled, &rows)| labelled == f64::from(rows));
            if all { Numbers::default() } else { labelled }
        };
        Self {
            steps,
            pairs,
            domains: if counts.domains.iter().all(|&domain| domain == 0) { Vec::new() } else { counts.domains.clone() },
            rows: counts.rows.clone(),
            labelled: (0..tasks).map(labelled).collect(),
            positive: (0..tasks).map(|task| by_task(&counts.positive, task)).collect(),
        }
    }

    /// The counts, or what is wrong with them. `ids`, `domains` and `tasks` are the numbers of those that the encoder has.
    pub(super) fn counts(self, ids: usize, domains: usize, tasks: usize) -> Result<Counts, String> {
        let Self { steps, mut pairs, domains: mut of_pairs, rows, labelled, positive } = self;
        if pairs.is_empty() {
            pairs = vec![1; steps.len()];
        }
        let count = rows.len();
        if of_pairs.is_empty() {
            of_pairs = vec![0; count];
        }
        let total: u64 = pairs.iter().map(|&pairs| u64::from(pairs)).sum();
        if pairs.len() != steps.len() || total != count as u64 || of_pairs.len() != count {
            return Err(format!("expected one domain for each of {count} rows, and their number for each value"));
        }
        let (mut keys, mut id, mut at) = (Vec::with_capacity(count), 0_u64, 0);
        for (step, pairs) in steps.iter().zip(pairs) {
            id += u64::from(*step);
            if id >= ids as u64 {
                return Err(format!("expected ids below {ids}, found {id}"));
            }
            for &domain in &of_pairs[at..at + pairs as usize] {
                if domain as usize >= domains {
                    return Err(format!("expected domains below {domains}, found {domain}"));
                }
                keys.push(id << 32 | u64::from(domain));
            }
            at += pairs as usize;
        }
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err("expected values and their domains in ascending order, each once".into());
        }
        let mut counts = Counts::empty(&keys, tasks);
        if labelled.len() != tasks || positive.len() != tasks {
            return Err(format!("expected counts of {tasks} tasks"));
        }
        for (task, (labelled, positive)) in labelled.into_iter().zip(positive).enumerate() {
            let of_rows = || rows.iter().map(|&rows| f64::from(rows)).collect();
            let labelled = if labelled.0.is_empty() { of_rows() } else { labelled.0 };
            if labelled.len() != count || positive.0.len() != count {
                return Err(format!("expected {count} counts by task"));
            }
            for (pair, (labelled, positive)) in labelled.into_iter().zip(positive.0).enumerate() {
                // Sums of weights in another order differ in the last digits.
                if !(labelled.is_finite() && positive >= 0.0 && positive <= labelled * (1.0 + 1e-6)) {
                    return Err(format!("expected at most as many labels 1 as labels, found {positive} of {labelled}"));
                }
                counts.labelled[pair * tasks + task] = labelled;
                counts.positive[pair * tasks + task] = positive.min(labelled);
            }
        }
        if rows.contains(&0) {
            return Err("expected rows for each value and domain, found 0".into());
        }
        counts.rows = rows;
        Ok(counts)
    }
}

//! The statistics of one field.

use super::counts::{Counts, Labelled};
use super::order::Order;
use super::rates::{Strengths, Sum, lift, lift_in_domain, lifted};
use super::settings::TargetStatistics;
use super::strengths::{self, Observed};
use crate::data::numbers::Scaler;
use crate::data::{DomainId, Transform};

/// The strength of a value where no value has two rows, so that there is nothing to fit it to: a rate of ½ has it in the uniform prior.
const UNFITTED: f64 = 2.0;

/// The statistics of one field: its counts, and the inputs that they give.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldStatistics {
    /// The position of the field in the layout.
    pub(super) field: usize,
    /// By task.
    pub(super) strengths: Vec<Strengths>,
    /// Scales `ln(1 + rows)`.
    pub(super) scaler: Scaler,
    pub(super) counts: Counts,
    pub(super) inputs: Inputs,
}

/// The inputs of a field that serving reads, computed from the counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Inputs {
    /// `[ids, tasks + 1]`: `δ_v` of each task, then the number of rows.
    of_ids: Vec<f32>,
    /// `[pairs, tasks]`: `x_dv`.
    of_pairs: Vec<f32>,
    /// Those of an id without rows.
    new: Vec<f32>,
}

/// The rates of domains by task: `[tasks][domains]`.
pub(super) type Rates = [Vec<f64>];

impl FieldStatistics {
    /// Fits strengths and scale to the counts of a field.
    pub(super) fn fit(
        field: usize,
        counts: Counts,
        rates: &Rates,
        settings: &TargetStatistics,
        by_domain: bool,
    ) -> Self {
        let tasks = rates.len();
        let strengths = (0..tasks).map(|task| {
            let value = settings.value_strength().or_else(|| fit_value(&counts, &rates[task], task, tasks));
            let value = value.unwrap_or(UNFITTED);
            let fit = || fit_domain(&counts, &rates[task], task, tasks, value);
            Strengths { value, domain: settings.domain_strength().or_else(fit).filter(|_| by_domain) }
        });
        let strengths = strengths.collect();
        // Row k of a value has k rows before it, in any order.
        let before = (0..counts.ids()).flat_map(|id| {
            let rows: u32 = counts.pairs(id).map(|pair| counts.rows[pair]).sum();
            (0..rows).map(|rows| f64::from(rows).ln_1p())
        });
        let scaler = Scaler::fit(Transform::Standard, before);
        let mut this = Self { field, strengths, scaler, counts, inputs: Inputs::default() };
        this.refresh(rates);
        this
    }

    pub(super) fn tasks(&self) -> usize {
        self.strengths.len()
    }

    /// Computes the inputs anew, from changed counts or rates.
    pub(super) fn refresh(&mut self, rates: &Rates) {
        let tasks = self.tasks();
        let mut inputs = Inputs {
            of_ids: Vec::new(),
            of_pairs: vec![0.0; self.counts.domains.len() * tasks],
            new: vec![0.0; tasks],
        };
        inputs.new.push(self.of_rows(0));
        inputs.of_ids.reserve(self.counts.ids() * (tasks + 1));
        for id in 0..self.counts.ids() {
            for (task, rates) in rates.iter().enumerate() {
                let (value, expected) = of_value(&self.counts, id, rates, task, tasks);
                let above = lift(value, expected, self.strengths[task]);
                inputs.of_ids.push(above as f32);
                for pair in self.counts.pairs(id) {
                    let rate = rates[self.counts.domains[pair] as usize];
                    let x = lift_in_domain(of_pair(&self.counts, pair, task, tasks), rate, above, self.strengths[task]);
                    inputs.of_pairs[pair * tasks + task] = x as f32;
                }
            }
            let rows = self.counts.pairs(id).map(|pair| self.counts.rows[pair]).sum();
            inputs.of_ids.push(self.of_rows(rows));
        }
        self.inputs = inputs;
    }

    fn of_rows(&self, rows: u32) -> f32 {
        self.scaler.encode(Transform::Standard, f64::from(rows).ln_1p())
    }

    /// Writes the inputs of an id in a domain: one for each task, then that of the number of rows.
    #[inline]
    pub(super) fn write(&self, id: u32, domain: DomainId, out: &mut [f32]) {
        let columns = self.tasks() + 1;
        let of_id = self.inputs.of_ids.chunks_exact(columns).nth(id as usize);
        out.copy_from_slice(of_id.unwrap_or(&self.inputs.new));
        let pair = domain.index().and_then(|domain| self.counts.pair(id, domain as u32));
        if let Some(pair) = pair {
            out[..columns - 1].copy_from_slice(&self.inputs.of_pairs[pair * (columns - 1)..][..columns - 1]);
        }
    }

    /// The inputs of training rows, by input: counts of rows before these rows, and of those of these rows that are earlier in the order.
    /// `before` has the rate of each row's domain before the row, `[rows, tasks]`, and `rates` those before all rows.
    pub(super) fn of_training(
        &self,
        rows: &Labelled<'_>,
        order: &Order,
        rates: &Rates,
        before: &[f64],
    ) -> Result<Vec<Vec<f32>>, (u32, DomainId)> {
        let tasks = self.tasks();
        let mut counts = self.counts.clone();
        counts.take_out(&Counts::of(rows), tasks)?;
        // By id: the rows, and by id and task the labels and what was expected of them.
        let mut rows_of: Vec<u32> = Vec::with_capacity(counts.ids());
        let mut of_ids: Vec<(Sum, f64)> = Vec::with_capacity(counts.ids() * tasks);
        for id in 0..counts.ids() {
            rows_of.push(counts.pairs(id).map(|pair| counts.rows[pair]).sum());
            of_ids.extend((0..tasks).map(|task| of_value(&counts, id, &rates[task], task, tasks)));
        }
        let mut columns = vec![vec![0.0; rows.ids.len()]; tasks + 1];
        for group in order.groups() {
            for row in group.iter().map(|&row| row as usize) {
                let id = rows.ids[row] as usize;
                let pair = rows.rows.domains[row].index().and_then(|domain| counts.pair(id as u32, domain as u32));
                for task in 0..tasks {
                    let Some(&(value, expected)) = of_ids.get(id * tasks + task) else { continue };
                    let above = lift(value, expected, self.strengths[task]);
                    let in_domain = |pair| {
                        let labels = of_pair(&counts, pair, task, tasks);
                        lift_in_domain(labels, before[row * tasks + task], above, self.strengths[task])
                    };
                    columns[task][row] = pair.map_or(above, in_domain) as f32;
                }
                columns[tasks][row] = self.of_rows(rows_of.get(id).copied().unwrap_or(0));
            }
            for row in group.iter().map(|&row| row as usize) {
                let id = rows.ids[row];
                let Some(pair) = rows.domain(row).and_then(|domain| counts.pair(id, domain)) else { continue };
                rows_of[id as usize] += 1;
                for task in 0..tasks {
                    let (labelled, positive) = rows.label(row, task);
                    counts.labelled[pair * tasks + task] += labelled;
                    counts.positive[pair * tasks + task] += positive;
                    let (value, expected) = &mut of_ids[id as usize * tasks + task];
                    value.add(labelled, positive);
                    *expected += labelled * before[row * tasks + task];
                }
            }
        }
        Ok(columns)
    }
}

fn of_pair(counts: &Counts, pair: usize, task: usize, tasks: usize) -> Sum {
    Sum::new(counts.labelled[pair * tasks + task], counts.positive[pair * tasks + task])
}

/// The labels of a value in all domains, and how many labels 1 its domains expect of it.
fn of_value(counts: &Counts, id: usize, rates: &[f64], task: usize, tasks: usize) -> (Sum, f64) {
    let (mut value, mut expected) = (Sum::default(), 0.0);
    for pair in counts.pairs(id) {
        let Sum { labelled, positive } = of_pair(counts, pair, task, tasks);
        value.add(labelled, positive);
        expected += labelled * rates[counts.domains[pair] as usize];
    }
    (value, expected)
}

fn fit_value(counts: &Counts, rates: &[f64], task: usize, tasks: usize) -> Option<f64> {
    strengths::fit((0..counts.ids()).map(|id| {
        let (Sum { labelled, positive }, expected) = of_value(counts, id, rates, task, tasks);
        Observed { labelled, positive, expected: expected / labelled }
    }))
}

/// By the rows of a value in one domain, of which the prior is what its rows in the other domains say: its own rows would seem to agree.
fn fit_domain(counts: &Counts, rates: &[f64], task: usize, tasks: usize, value_strength: f64) -> Option<f64> {
    let strengths = Strengths { value: value_strength, domain: None };
    let of_id = |id| {
        let (value, expected) = of_value(counts, id, rates, task, tasks);
        counts.pairs(id).filter_map(move |pair| {
            let rate = rates[counts.domains[pair] as usize];
            let own = of_pair(counts, pair, task, tasks);
            let others = Sum::new(value.labelled - own.labelled, (value.positive - own.positive).max(0.0));
            let expected = expected - own.labelled * rate;
            // What is left of weights may be rounding.
            let some = others.labelled > 1e-6 * value.labelled && others.positive <= others.labelled && expected > 0.0;
            some.then(|| Observed {
                labelled: own.labelled,
                positive: own.positive,
                expected: lifted(rate, lift(others, expected.min(others.labelled * (1.0 - 1e-9)), strengths)),
            })
        })
    };
    strengths::fit((0..counts.ids()).flat_map(of_id))
}

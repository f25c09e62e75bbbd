//! Ordered target statistics: how often the label was 1 in earlier rows with the same value, as inputs of the model.

mod counts;
mod field;
mod order;
mod rates;
mod saved;
mod settings;
mod strengths;
#[cfg(test)]
mod tests;

use ndarray::{Array2, s};
use serde::Serialize;

use self::counts::{Counts, Labelled};
use self::field::FieldStatistics;
pub(super) use self::order::Order;
use self::rates::{Sum, rate};
pub(super) use self::saved::Form;
pub use self::settings::{StatisticsFeatures, StatisticsOrder, TargetStatistics, TargetStatisticsBuilder};
use super::{Batch, DomainId, Ids, Layout};

/// From this number of different ids in the fitting rows on, a field has statistics unless a setting says otherwise.
const AUTO: usize = 100;

/// The statistics of all fields that have them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Statistics {
    /// The positions of the tasks in the layout: those whose labels are 0 and 1. A task with other labels has no rate.
    tasks: Vec<usize>,
    /// The weight that counts as one row: the mean of the fitting rows.
    unit: f64,
    /// Labels by task and domain, `[tasks][domains]`; a domain that was added later may have no entry.
    by_domain: Vec<Vec<Sum>>,
    fields: Vec<FieldStatistics>,
}

/// The prior strengths with which the [target statistics](TargetStatistics) of one feature are computed for one binary task.
/// [`DataReport::statistics`](super::DataReport::statistics) has one for each such pair.
///
/// The click rate of a value with few rows is uncertain. So its statistic lies between the rate in its rows and an expected rate, the prior. A
/// strength s gives the prior as much weight as s rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatisticsStrengths {
    /// The name of the feature.
    pub feature: String,
    /// The name of the task.
    pub task: String,
    /// The strength b of the prior for a value over all domains, in rows, 0.5 to 1e5: [`TargetStatistics::value_strength`] if it is set, otherwise
    /// the fitted one. If no value has more than one labelled row, there is nothing to fit, and b is 2.
    pub value: f64,
    /// The strength a of the prior for a value in one domain, in rows, 0.5 to 1e5: [`TargetStatistics::domain_strength`] if it is set, otherwise
    /// the fitted one. `None` if there is only one domain, or if the strength is not set and no value has labelled rows in several domains. Then
    /// the statistic of a value is the same in all domains.
    pub domain: Option<f64>,
}

impl Statistics {
    /// Counts the labels of these rows, which are encoded with this layout, for each field that is `wanted`: always, never, or if it has
    /// enough different ids. The layout has no statistics yet.
    pub(super) fn fit(
        layout: &Layout,
        rows: &Batch,
        settings: &TargetStatistics,
        wanted: impl Fn(usize) -> Option<bool>,
    ) -> Self {
        let binary = |&task: &usize| layout.target(task).kind().is_binary();
        let tasks: Vec<usize> = (0..layout.tasks.len()).filter(binary).collect();
        if tasks.is_empty() {
            return Self::default();
        }
        let mut this = Self { tasks, unit: unit(rows), ..Self::default() };
        let fields: Vec<(usize, Counts)> = (0..layout.fields.len())
            .filter_map(|field| {
                let Ids::One(ids) = &rows.ids[field] else { return None };
                let always = wanted(field) == Some(true);
                let possible = always || wanted(field).is_none() && layout.rows_of(field) >= AUTO;
                let counts = possible.then(|| Counts::of(&this.labelled(ids, rows)))?;
                (always || counts.values() >= AUTO).then_some((field, counts))
            })
            .collect();
        if fields.is_empty() {
            return Self::default();
        }
        this.by_domain = this.domains_of(rows, layout.domains.len());
        let (rates, by_domain) = (this.rates(layout.domains.len()), layout.domains.len() > 1);
        let fit = |(field, counts)| FieldStatistics::fit(field, counts, &rates, settings, by_domain);
        this.fields = fields.into_iter().map(fit).collect();
        this
    }

    /// Whether no field has statistics.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The number of numeric inputs of each field.
    fn columns(&self) -> usize {
        self.tasks.len() + 1
    }

    /// The number of all numeric inputs, which are the last of a row.
    pub(super) fn inputs(&self) -> usize {
        self.fields.len() * self.columns()
    }

    /// The names of the numeric inputs of each field that has statistics.
    pub(super) fn names<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = (usize, Vec<String>)> + 'a {
        self.fields.iter().map(move |statistics| {
            let tasks = self.tasks.iter().map(|&task| layout.tasks[task].as_str());
            (statistics.field, names(&layout.fields[statistics.field].name, tasks))
        })
    }

    /// Counts the labels of these rows too. Strengths and scales stay.
    pub(super) fn extend(&mut self, layout: &Layout, rows: &Batch) {
        let (tasks, domains) = (self.tasks.len(), layout.domains.len());
        let added = self.domains_of(rows, domains);
        for (known, added) in self.by_domain.iter_mut().zip(added) {
            known.resize(domains, Sum::default());
            known.iter_mut().zip(added).for_each(|(known, added)| known.add(added.labelled, added.positive));
        }
        let rates = self.rates(domains);
        let mut fields = std::mem::take(&mut self.fields);
        for field in &mut fields {
            field.counts.add(&Counts::of(&self.labelled(ids(rows, field.field), rows)), tasks);
            field.refresh(&rates);
        }
        self.fields = fields;
    }

    /// Writes the inputs of an id of the `i`-th field with statistics.
    pub(super) fn write(&self, i: usize, id: u32, domain: DomainId, inputs: &mut [f32]) {
        let columns = self.columns();
        self.fields[i].write(id, domain, &mut inputs[i * columns..][..columns]);
    }

    /// The inputs of the `i`-th field with statistics for the first ids, `[ids, tasks + 1]`, in a domain.
    #[cfg(feature = "onnx")]
    pub(super) fn table(&self, i: usize, ids: usize, domain: DomainId) -> Array2<f32> {
        let mut table = Array2::zeros((ids, self.columns()));
        for (id, mut row) in table.rows_mut().into_iter().enumerate() {
            self.fields[i].write(id as u32, domain, row.as_slice_mut().expect("a row of a new table"));
        }
        table
    }

    /// Writes the inputs of rows that are not counted into the last columns of `numeric`.
    pub(super) fn write_rows(&self, rows: &Batch, numeric: &mut Array2<f32>) {
        let first = numeric.ncols() - self.inputs();
        for (row, &domain) in rows.domains.iter().enumerate() {
            let mut line = numeric.slice_mut(s![row, first..]);
            let line = line.as_slice_mut().expect("rows that follow each other");
            for (i, statistics) in self.fields.iter().enumerate() {
                self.write(i, ids(rows, statistics.field)[row], domain, line);
            }
        }
    }

    /// Writes the inputs of rows that are counted into the last columns of `numeric`: of these rows only those count that are earlier in the
    /// order. If the rows are not all counted, gives the field, id and domain of one that is not.
    pub(super) fn write_training(
        &self,
        rows: &Batch,
        order: &Order,
        numeric: &mut Array2<f32>,
    ) -> Result<(), (usize, u32, DomainId)> {
        let Some(first) = self.fields.first() else { return Ok(()) };
        // Rates of domains without these rows, and before each of them.
        let mut sums = self.by_domain.clone();
        let domains = sums.first().map_or(0, Vec::len);
        for (known, own) in sums.iter_mut().zip(self.domains_of(rows, domains)) {
            for (known, own) in known.iter_mut().zip(own) {
                *known = Sum::new((known.labelled - own.labelled).max(0.0), (known.positive - own.positive).max(0.0));
                known.positive = known.positive.min(known.labelled);
            }
        }
        let rates = rates(&sums, domains);
        let labelled = self.labelled(ids(rows, first.field), rows);
        let before = rates_before(&labelled, order, sums);
        let mut column = numeric.ncols() - self.inputs();
        for statistics in &self.fields {
            let labelled = self.labelled(ids(rows, statistics.field), rows);
            let columns = statistics.of_training(&labelled, order, &rates, &before);
            for values in columns.map_err(|(id, domain)| (statistics.field, id, domain))? {
                numeric.column_mut(column).iter_mut().zip(values).for_each(|(input, value)| *input = value);
                column += 1;
            }
        }
        Ok(())
    }

    /// The strengths of all priors.
    pub(super) fn strengths(&self, layout: &Layout) -> Vec<StatisticsStrengths> {
        let of_field = |statistics: &FieldStatistics| {
            let of_task = |(strengths, &task): (&rates::Strengths, &usize)| StatisticsStrengths {
                feature: layout.fields[statistics.field].name.clone(),
                task: layout.tasks[task].clone(),
                value: strengths.value,
                domain: strengths.domain,
            };
            statistics.strengths.iter().zip(&self.tasks).map(of_task).collect::<Vec<_>>()
        };
        self.fields.iter().flat_map(of_field).collect()
    }

    fn labelled<'a>(&'a self, ids: &'a [u32], rows: &'a Batch) -> Labelled<'a> {
        Labelled { ids, rows, tasks: &self.tasks, unit: self.unit }
    }

    /// The labels of rows by task and domain.
    fn domains_of(&self, rows: &Batch, domains: usize) -> Vec<Vec<Sum>> {
        let labelled = self.labelled(&[], rows);
        let mut sums = vec![vec![Sum::default(); domains]; self.tasks.len()];
        for row in 0..rows.rows() {
            let Some(domain) = labelled.domain(row).filter(|&domain| (domain as usize) < domains) else { continue };
            for (task, sums) in sums.iter_mut().enumerate() {
                let (labelled, positive) = labelled.label(row, task);
                sums[domain as usize].add(labelled, positive);
            }
        }
        sums
    }

    fn rates(&self, domains: usize) -> Vec<Vec<f64>> {
        rates(&self.by_domain, domains)
    }
}

/// The names of a field's inputs.
pub(super) fn names<'a>(field: &str, tasks: impl Iterator<Item = &'a str>) -> Vec<String> {
    tasks.map(|task| format!("{field}~{task}")).chain([format!("{field}#")]).collect()
}

/// The mean weight of rows that weigh something.
fn unit(rows: &Batch) -> f64 {
    let weights = rows.weights.iter().filter(|&&weight| weight > 0.0);
    let (count, sum) = weights.fold((0.0, 0.0), |(count, sum), &weight| (count + 1.0, sum + f64::from(weight)));
    if count > 0.0 { sum / count } else { 1.0 }
}

fn ids(rows: &Batch, field: usize) -> &[u32] {
    let Ids::One(ids) = &rows.ids[field] else { unreachable!("a field with statistics has one id a row") };
    ids
}

fn total(sums: &[Sum]) -> Sum {
    let mut total = Sum::default();
    for sum in sums {
        total.add(sum.labelled, sum.positive);
    }
    total
}

/// The rates of domains, `[tasks][domains]`.
fn rates(sums: &[Vec<Sum>], domains: usize) -> Vec<Vec<f64>> {
    let of_task = |sums: &Vec<Sum>| {
        let all = total(sums);
        (0..domains).map(|domain| rate(sums.get(domain).copied().unwrap_or_default(), all)).collect()
    };
    sums.iter().map(of_task).collect()
}

/// The rate of each row's domain before the row, `[rows, tasks]`, if `sums` are the labels before all rows.
fn rates_before(rows: &Labelled<'_>, order: &Order, mut sums: Vec<Vec<Sum>>) -> Vec<f64> {
    let tasks = sums.len();
    let mut all: Vec<Sum> = sums.iter().map(|sums| total(sums)).collect();
    let mut before = vec![0.0; rows.rows.rows() * tasks];
    for group in order.groups() {
        for row in group.iter().map(|&row| row as usize) {
            for task in 0..tasks {
                let domain = rows.rows.domains[row].index().and_then(|domain| sums[task].get(domain));
                before[row * tasks + task] = rate(domain.copied().unwrap_or_default(), all[task]);
            }
        }
        for row in group.iter().map(|&row| row as usize) {
            let Some(domain) = rows.domain(row) else { continue };
            for task in 0..tasks {
                let (labelled, positive) = rows.label(row, task);
                all[task].add(labelled, positive);
                if let Some(sum) = sums[task].get_mut(domain as usize) {
                    sum.add(labelled, positive);
                }
            }
        }
    }
    before
}

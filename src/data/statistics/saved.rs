//! Statistics in a file.

use serde::{Deserialize, Serialize, Serializer};

use super::Statistics;
use super::counts::{CountsForm, Numbers};
use super::field::{FieldStatistics, Inputs};
use super::rates::{Strengths, Sum};
use super::settings::STRENGTHS;
use crate::data::Layout;
use crate::data::numbers::Scaler;

/// Statistics as a file has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::data) struct Form {
    /// The positions of the tasks in the schema.
    tasks: Vec<usize>,
    unit: f64,
    /// By task and domain.
    labelled: Vec<Numbers>,
    positive: Vec<Numbers>,
    fields: Vec<FieldForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldForm {
    /// The position of the field in the layout.
    field: usize,
    /// By task: of a value, and of a value in one domain.
    strengths: Vec<(f64, Option<f64>)>,
    scale: Scaler,
    counts: CountsForm,
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let by_task =
            |of: fn(&Sum) -> f64| self.by_domain.iter().map(move |sums| Numbers(sums.iter().map(of).collect()));
        let field = |statistics: &FieldStatistics| FieldForm {
            field: statistics.field,
            strengths: statistics.strengths.iter().map(|strengths| (strengths.value, strengths.domain)).collect(),
            scale: statistics.scaler.clone(),
            counts: CountsForm::new(&statistics.counts, self.tasks.len()),
        };
        let form = Form {
            tasks: self.tasks.clone(),
            unit: self.unit,
            labelled: by_task(|sum| sum.labelled).collect(),
            positive: by_task(|sum| sum.positive).collect(),
            fields: self.fields.iter().map(field).collect(),
        };
        form.serialize(serializer)
    }
}

impl Form {
    /// The statistics of rows with this layout, which has none yet; or what is wrong with them.
    pub(in crate::data) fn statistics(self, layout: &Layout) -> Result<Statistics, String> {
        let Self { tasks, unit, labelled, positive, fields } = self;
        let valid = |&task: &usize| task < layout.tasks.len() && layout.target(task).kind().is_binary();
        if !tasks.iter().all(valid) || !tasks.is_sorted_by(|a, b| a < b) {
            return Err(format!("expected binary tasks in ascending order, below {}", layout.tasks.len()));
        }
        if !(unit.is_finite() && unit > 0.0) {
            return Err(format!("expected the weight of a row above 0, found {unit}"));
        }
        if labelled.len() != tasks.len() || positive.len() != tasks.len() {
            return Err(format!("expected the labels of {} tasks", tasks.len()));
        }
        let by_domain = labelled.into_iter().zip(positive).map(|(labelled, positive)| {
            if labelled.0.len() != positive.0.len() || labelled.0.len() > layout.domains.len() {
                return Err(format!("expected labels of at most {} domains", layout.domains.len()));
            }
            let sums = labelled.0.into_iter().zip(positive.0).map(|(labelled, positive)| {
                // Sums of weights in another order differ in the last digits.
                let valid = labelled.is_finite() && positive >= 0.0 && positive <= labelled * (1.0 + 1e-6);
                let wrong = || format!("expected at most as many labels 1 as labels, found {positive} of {labelled}");
                valid.then(|| Sum::new(labelled, positive.min(labelled))).ok_or_else(wrong)
            });
            sums.collect()
        });
        let by_domain: Vec<Vec<Sum>> = by_domain.collect::<Result<_, _>>()?;
        let mut statistics = Statistics { tasks, unit, by_domain, fields: Vec::new() };
        let rates = statistics.rates(layout.domains.len());
        for form in fields {
            let known = statistics.fields.last().map(|last| last.field);
            let field = layout.fields.get(form.field).filter(|field| field.bag.is_none());
            let name = match field {
                Some(field) if known.is_none_or(|last| last < form.field) => &field.name,
                _ => return Err(format!("expected fields with one id a row in ascending order, found {}", form.field)),
            };
            let ids = layout.rows_of(form.field);
            let field = form.field(ids, layout.domains.len(), statistics.tasks.len());
            let mut field = field.map_err(|error| format!("{name:?}: {error}"))?;
            field.refresh(&rates);
            statistics.fields.push(field);
        }
        Ok(statistics)
    }
}

impl FieldForm {
    fn field(self, ids: usize, domains: usize, tasks: usize) -> Result<FieldStatistics, String> {
        let Self { field, strengths, scale, counts } = self;
        let valid = |strength: f64| (STRENGTHS.0..=STRENGTHS.1).contains(&strength);
        let all = strengths.iter().all(|&(value, domain)| valid(value) && domain.is_none_or(valid));
        if strengths.len() != tasks || !all {
            return Err(format!("expected strengths from {} to {} for {tasks} tasks", STRENGTHS.0, STRENGTHS.1));
        }
        if !scale.is_valid() {
            return Err("expected a finite mean and deviation".into());
        }
        Ok(FieldStatistics {
            field,
            strengths: strengths.into_iter().map(|(value, domain)| Strengths { value, domain }).collect(),
            scaler: scale,
            counts: counts.counts(ids, domains, tasks)?,
            inputs: Inputs::default(),
        })
    }
}

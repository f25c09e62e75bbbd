//! Whether rows stand in their own histories: a label that leaks into its row's input.

use serde::Serialize;

use super::data_report::Share;
use super::names::listed;
use super::{Batch, Encoder, Ids, Sequence};
use crate::error::quoted;

/// How far from ½ the AUC of "the target is in the history" may be without a warning.
const FAR: f64 = 0.25;

/// How often the targets of training rows are events of their own histories.
///
/// A history must hold only what happened before its row. If it was made of a user's whole log instead, it holds what the user clicked later
/// and in the row itself, so it tells the row's label. A model then seems good in training, and fails when it serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnHistory {
    /// The name of the sequence.
    pub sequence: String,
    /// The number of training rows of which one of the kept events has the values of the row's target in all lists with a target. Values
    /// that a vocabulary does not have are no values.
    pub rows: Share,
    /// For each task, the AUC of the question whether the history holds the target, as a prediction of the task's label. 1 means that the
    /// history tells the label, 0 that it tells the opposite; ½ means that it tells nothing. `None` if a task has no positive or no
    /// negative row.
    pub aucs: Vec<(String, Option<f64>)>,
}

impl OwnHistory {
    /// One entry for each sequence that has a target.
    pub(super) fn all(encoder: &Encoder, rows: &Batch) -> Vec<Self> {
        encoder.schema().sequences().iter().filter_map(|sequence| Self::of(encoder, sequence, rows)).collect()
    }

    fn of(encoder: &Encoder, sequence: &Sequence, rows: &Batch) -> Option<Self> {
        let layout = encoder.layout();
        let position = |name: &str| layout.fields.iter().position(|field| field.name == name);
        let mut columns = Vec::new();
        for column in sequence.columns() {
            let Some(target) = &column.target else { continue };
            let features = encoder.schema().features();
            let feature = features.iter().position(|feature| feature.name() == column.bag)?;
            let has_unknown = encoder.fitted(feature).has_vocabulary();
            columns.push((&rows.ids[position(&column.bag)?], &rows.ids[position(target)?], has_unknown));
        }
        let (first, _, _) = columns.first()?;
        let has_own = |row: usize| {
            let is_target = |event: usize| {
                columns.iter().all(|&(events, target, has_unknown): &(&Ids, &Ids, bool)| {
                    let id = events.row(row)[event];
                    id == target.row(row)[0] && (id != 0 || !has_unknown)
                })
            };
            (0..first.row(row).len()).any(is_target)
        };
        let found: Vec<bool> = (0..rows.rows()).map(has_own).collect();
        let auc = |task: usize| {
            // By label: rows, and rows whose history has their target.
            let mut counts = [[0_usize; 2]; 2];
            for (&found, &label) in found.iter().zip(rows.labels.column(task)) {
                if !label.is_nan() {
                    let of_label = &mut counts[usize::from(label > 0.5)];
                    of_label[0] += 1;
                    of_label[1] += usize::from(found);
                }
            }
            let share = |[all, found]: [usize; 2]| (all > 0).then(|| found as f64 / all as f64);
            Some(0.5 + 0.5 * (share(counts[1])? - share(counts[0])?))
        };
        let count = found.iter().filter(|&&found| found).count();
        Some(Self {
            sequence: sequence.name().to_owned(),
            rows: Share { count, of: found.len() },
            aucs: layout.tasks.iter().enumerate().map(|(task, name)| (name.clone(), auc(task))).collect(),
        })
    }

    /// A warning, if the history tells a label or holds nearly every target.
    pub(super) fn warning(&self) -> Option<String> {
        let Self { sequence, rows: Share { count, of }, aucs } = self;
        let told: Vec<String> = aucs
            .iter()
            .filter_map(|(task, auc)| {
                auc.filter(|auc| (auc - 0.5).abs() > FAR).map(|auc| format!("{task} (AUC {auc:.2})"))
            })
            .collect();
        if told.is_empty() && *count * 10 < *of * 9 || *of == 0 {
            return None;
        }
        let tells = if told.is_empty() {
            String::new()
        } else {
            format!(", and that alone tells the label of {}", listed(&told))
        };
        Some(format!(
            "sequence {}: the target is in its own history in {count} of {of} training rows{tells}; a history holds only events before its row",
            quoted(sequence)
        ))
    }
}

//! Whether rows stand in their own histories: a label that leaks into its row's input.

use serde::Serialize;

use super::data_report::Share;
use super::names::listed;
use super::{Batch, Encoder, Ids, Sequence};
use crate::error::quoted;

/// How far from ½ the AUC of "the target is in the history" may be without a warning.
const FAR: f64 = 0.25;

/// How often the *target* of a training row (the item that the model scores) is also an event in the row's history, a [`Sequence`]. It helps to
/// find a label that leaks into the input. [`DataReport::own_history`](super::DataReport::own_history) has one for each sequence with a target.
///
/// The history of a row must contain only earlier events. Suppose that it was made from a user's whole log. Then it also contains what the
/// user clicked later and in this row, and so reveals the row's label. Such a model looks good in training, and fails in serving.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnHistory {
    /// The name of the [`Sequence`].
    pub sequence: String,
    /// How many training rows have their target in their history (`count`), out of all training rows (`of`). The target is in the history if
    /// one of the events that the encoder keeps has the same values as the target, in all lists that have a target feature. A value that is not
    /// in the vocabulary equals no other value.
    pub rows: Share,
    /// For each task, its name and the AUC of a very simple predictor of the label: its score is 1 if the target is in the history, otherwise 0.
    /// An AUC of ½ means that this tells nothing about the label; 1 or 0 means that it reveals the label. The report has a warning if an AUC is
    /// above 0.75 or below 0.25, or if at least 90 % of the training rows have their target in their history.
    ///
    /// Rows without a label are skipped, and each other row counts once, whatever its weight. A label above ½ counts as positive. The AUC is
    /// `None` if no row, or every row, is positive.
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

//! Which negative labels a pass keeps.

use ndarray::Array2;
use rand::Rng as _;

use super::{Batch, DataSet, LoaderConfig, Pass};
use crate::error::{Error, ErrorKind, Result};
use crate::random::{Purpose, keyed};

/// The random choice of the negative labels of one pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Negatives {
    /// For each task, how many of the 2³² random numbers keep a label 0; empty if all labels are kept.
    bounds: Vec<u64>,
    /// For each row, its random number.
    draws: Vec<u32>,
}

impl Negatives {
    /// Draws the numbers of a pass. They depend on the seed and the pass alone.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the settings are for another number of tasks.
    pub(super) fn draw(&mut self, rows: &DataSet, pass: Pass, config: &LoaderConfig) -> Result<()> {
        let (shares, tasks) = (config.negatives(), rows.layout().tasks.len());
        self.bounds.clear();
        if shares.iter().all(|&share| share == 1.0) {
            return Ok(());
        }
        if shares.len() != tasks {
            let message = format!("negatives: one for each of {tasks} tasks, found {}", shares.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.bounds.extend(shares.iter().map(|share| (share * 4_294_967_296.0).round() as u64));
        let (number, kind) = match pass {
            Pass::Epoch(epoch) => (epoch, 0),
            Pass::Sample { number, .. } => (number, 1),
        };
        self.draws.resize(rows.rows(), 0);
        keyed(config.seed(), Purpose::Negatives, number, kind).fill(&mut self.draws[..]);
        Ok(())
    }

    /// Whether the pass keeps all labels.
    pub(super) fn keep_all(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Whether the pass keeps a label of this row.
    pub(super) fn keep_row(&self, labels: &Array2<f32>, row: u32) -> bool {
        let row = row as usize;
        let keeps = |(task, &bound): (usize, &u64)| {
            let label = labels[[row, task]];
            !label.is_nan() && (label != 0.0 || u64::from(self.draws[row]) < bound)
        };
        self.keep_all() || self.bounds.iter().enumerate().any(keeps)
    }

    /// Replaces the labels that the pass does not keep by NaN, in a batch of these rows.
    pub(super) fn mask(&self, rows: &[u32], batch: &mut Batch) {
        for (task, &bound) in self.bounds.iter().enumerate() {
            for (label, &row) in batch.labels.column_mut(task).iter_mut().zip(rows) {
                if *label == 0.0 && u64::from(self.draws[row as usize]) >= bound {
                    *label = f32::NAN;
                }
            }
        }
    }

    /// The error of a pass without rows.
    #[cold]
    pub(super) fn nothing_left() -> Error {
        Error::new(ErrorKind::Data, "negatives: the pass keeps no label of any row")
            .with_help("the rows have no positive label, or none that is not 0: keep a larger share of the negatives")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::{BatchOrder, DomainId, Layout, Loader, RowSource as _};

    const NAN: f32 = f32::NAN;

    /// Rows whose field is their number, of two domains.
    fn rows(labels: &[[f32; 2]]) -> DataSet {
        let layout = Layout::new(["a", "b"], ["click", "buy"]).field("row", labels.len());
        let batch = Batch::builder(&layout, labels.len())
            .ids("row", (0..labels.len() as u32).collect())
            .domains((0..labels.len()).map(|row| DomainId::new(row % 2)).collect())
            .labels("click", labels.iter().map(|label| label[0]).collect())
            .labels("buy", labels.iter().map(|label| label[1]).collect());
        DataSet::new(&layout, batch.build().unwrap()).unwrap()
    }

    fn config(negatives: [f64; 2], order: BatchOrder) -> LoaderConfig {
        LoaderConfig::builder().batch_rows(64).seed(3).order(order).negatives(negatives).build().unwrap()
    }

    /// The labels of each row that the pass has, by row.
    fn pass(rows: &DataSet, pass: Pass, config: &LoaderConfig) -> BTreeMap<u32, [f32; 2]> {
        let mut loader = Loader::new(rows.clone());
        loader.begin(pass, config).unwrap();
        let (mut batch, mut seen) = (Batch::default(), BTreeMap::new());
        while loader.next_into(&mut batch).unwrap() {
            for (row, labels) in batch.labels.rows().into_iter().enumerate() {
                let new = seen.insert(batch.ids[0].row(row)[0], [labels[0], labels[1]]);
                assert!(new.is_none(), "a row comes once");
            }
        }
        seen
    }

    #[test]
    fn each_task_keeps_its_positives_and_a_share_of_its_negatives_whatever_the_other_task_says() {
        let pattern = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, NAN], [NAN, 0.0]];
        let labels: Vec<[f32; 2]> = (0..24_000).map(|row| pattern[row % 6]).collect();
        let rows = rows(&labels);
        for order in [BatchOrder::default(), BatchOrder::OneDomain] {
            let settings = config([0.25, 0.5], order);
            let seen = pass(&rows, Pass::Epoch(1), &settings);
            let mut kept = [[0; 2]; 6];
            for (&row, labels) in &seen {
                for task in 0..2 {
                    let before = pattern[row as usize % 6][task];
                    assert!(labels[task].is_nan() || labels[task] == before);
                    kept[row as usize % 6][task] += u32::from(!labels[task].is_nan());
                }
                assert!(labels.iter().any(|label| !label.is_nan()), "a row without labels is skipped");
            }
            for (pattern, kept) in pattern.iter().zip(kept) {
                for (task, share) in [(0, 0.25), (1, 0.5)] {
                    let expected = match pattern[task] {
                        0.0 => share * 4000.0,
                        1.0 => 4000.0,
                        _ => 0.0,
                    };
                    // Five standard deviations of a binomial.
                    assert!((f64::from(kept[task]) - expected).abs() < 160.0, "{pattern:?}: {kept:?}");
                }
            }
            assert_eq!(kept[3], [4000, 4000]);
        }
    }

    #[test]
    fn passes_are_repeated_bit_for_bit_and_differ_from_each_other() {
        let rows = rows(&vec![[0.0, 0.0]; 1000]);
        let settings = config([0.3, 0.3], BatchOrder::default());
        let rows_of = |of| pass(&rows, of, &settings).into_keys().collect::<Vec<_>>();
        assert_eq!(rows_of(Pass::Epoch(2)), rows_of(Pass::Epoch(2)));
        assert_ne!(rows_of(Pass::Epoch(2)), rows_of(Pass::Epoch(3)));
        let sample = rows_of(Pass::Sample { per_domain: 1000, number: 2 });
        assert!((200..400).contains(&sample.len()) && sample != rows_of(Pass::Epoch(2)), "{}", sample.len());
        // Without sampling every row comes, also one without labels.
        let none = config([1.0, 1.0], BatchOrder::default());
        assert_eq!(pass(&rows, Pass::Epoch(2), &none).len(), 1000);
    }

    #[test]
    fn a_pass_without_rows_and_settings_for_other_tasks_are_errors() {
        let mut loader = Loader::new(rows(&[[0.0, 0.0]; 4]));
        let error = loader.begin(Pass::Epoch(0), &config([1e-9, 1e-9], BatchOrder::default())).unwrap_err();
        assert!(error.to_string().contains("negatives: the pass keeps no label of any row"), "{error}");
        let three = LoaderConfig::builder().negatives([0.5; 3]).build().unwrap();
        let error = loader.begin(Pass::Epoch(0), &three).unwrap_err().to_string();
        assert!(error.contains("negatives: one for each of 2 tasks, found 3"), "{error}");
    }
}

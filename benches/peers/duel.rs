//! The workloads of the comparison, and how this crate runs them.

use starple::Model;
use starple::data::Batch;

use crate::common::cost::Cost;
use crate::common::run::{Length, Serving, Training, time};
use crate::common::workload::Workload;

/// A workload that both sides run.
pub(crate) struct Duel {
    pub(crate) name: String,
    pub(crate) workload: Workload,
    /// Whether a training step is measured, or a prediction.
    pub(crate) train: bool,
    /// In prediction, the number of fields that all candidates of a call share, which are given once.
    pub(crate) given: usize,
}

/// All workloads.
pub(crate) fn duels() -> Vec<Duel> {
    let train = |name: &str, workload| Duel { name: name.to_owned(), workload, train: true, given: 0 };
    let infer = |(rows, given)| Duel {
        name: if given > 0 { format!("star-mid-{rows}-given-{given}") } else { format!("star-mid-{rows}") },
        workload: Workload { rows, ..Workload::star_mid() },
        train: false,
        given,
    };
    let mut duels = vec![
        train("star-ml", Workload::star_ml()),
        train("star-mid", Workload::star_mid()),
        train("star-big", Workload::star_big()),
        train("ple-mid", Workload::ple_mid()),
        train("ple-wide", Workload::ple_wide()),
    ];
    // Half of the fields can belong to the user and the page. The other side has no call for this.
    duels.extend([(1, 0), (100, 0), (500, 0), (500, 10)].map(infer));
    duels
}

impl Duel {
    /// A batch for this side: all candidates have one domain.
    pub(crate) fn batch(&self) -> Batch {
        if self.train { self.workload.batch(1) } else { self.workload.candidates(1) }
    }

    /// Its least cost.
    pub(crate) fn cost(&self, model: Model, batch: &Batch) -> Cost {
        let cost = if self.train { Cost::of_training } else { Cost::of_prediction };
        cost(&self.workload, &mut Training::new(model), batch)
    }

    /// The length of one turn. After many thousand steps on one batch, moments would be subnormal numbers and slow.
    pub(crate) fn turn(&self, seconds: f64) -> Length {
        Length { warm: 2, seconds, least: 3, most: if self.train { 64 } else { 5000 } }
    }
}

/// This side, ready to run.
pub(crate) enum Ours {
    Training(Box<Training>),
    Serving(Box<Serving>),
}

impl Ours {
    pub(crate) fn new(duel: &Duel, model: Model, batch: &Batch) -> Self {
        if duel.train {
            Self::Training(Box::new(Training::new(model)))
        } else {
            Self::Serving(Box::new(Serving::new(model, duel.given, batch)))
        }
    }

    /// The seconds of each step, or prediction.
    pub(crate) fn time(&mut self, batch: &Batch, length: Length) -> Vec<f64> {
        match self {
            Self::Training(training) => time(length, || training.step(batch)),
            Self::Serving(serving) => time(length, || {
                serving.pass(batch);
            }),
        }
    }
}

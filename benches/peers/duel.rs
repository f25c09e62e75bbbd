//! What both sides do, and how this one does it.

use starple::Model;
use starple::data::Batch;

use crate::common::cost::Cost;
use crate::common::run::{Length, Serving, Training, time};
use crate::common::workload::Workload;

/// Something that both sides do.
pub(crate) struct Duel {
    pub(crate) name: String,
    pub(crate) workload: Workload,
    /// Whether a step of training is measured, or a prediction.
    pub(crate) train: bool,
    /// In prediction, how many fields all candidates of a call have in common, given once.
    pub(crate) given: usize,
}

/// All there are.
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
    // Half of the fields may be the user's and the page's: the other side has no way to be told.
    duels.extend([(1, 0), (100, 0), (500, 0), (500, 10)].map(infer));
    duels
}

impl Duel {
    /// A batch for this side alone: candidates are all of one domain.
    pub(crate) fn batch(&self) -> Batch {
        if self.train { self.workload.batch(1) } else { self.workload.candidates(1) }
    }

    /// What it costs at least.
    pub(crate) fn cost(&self, model: Model, batch: &Batch) -> Cost {
        let cost = if self.train { Cost::of_training } else { Cost::of_prediction };
        cost(&self.workload, &mut Training::new(model), batch)
    }

    /// How long one turn is. Many thousand steps on one batch would leave moments so small that arithmetic on them is slow.
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

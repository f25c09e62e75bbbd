//! What a weighting remembers, in a form that any file format can hold.

use serde::{Deserialize, Serialize};

use super::{Weighting, dwa, uncertainty};
use crate::{Error, ErrorKind, Result};

/// What a [`Weighting`] has learned during training: one variant for each method that learns something. Each list has one entry for each
/// unit of the objective ([`Units`](crate::loss::Units)), in the order of [`Units::names`](crate::loss::Units::names).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Learned {
    /// The state of [`Weighting::Fixed`] and [`Weighting::PcGrad`], which learn nothing; also the default value.
    #[default]
    Nothing,
    /// The state of [`Weighting::Uncertainty`]: one log variance for each unit.
    Uncertainty {
        /// The log variance `s_k = ln σ_k²` of each unit k: finite, above −700, and 0 at the start of training. The loss of the unit is multiplied by
        /// `e^{−s_k}`.
        log_variances: Vec<f64>,
    },
    /// The state of [`Weighting::Dwa`]: the mean losses of each unit in two earlier epochs.
    Dwa {
        /// For each unit, its mean losses in the last two completed epochs in which it had labels; the earlier epoch comes first. An entry
        /// is `None` if there was no such epoch yet: both at the start, the first after one epoch.
        means: Vec<[Option<f64>; 2]>,
    },
    /// The state of [`Weighting::GradNorm`]: a factor and a first loss for each unit.
    GradNorm {
        /// The factor `v_k` by which the loss of each unit k is multiplied: above 0, and 1 at the start. The factors sum to the number of
        /// units.
        weights: Vec<f64>,
        /// For each unit k, its loss `L_k(0)` in the first step in which it had labels, finite and above 0. It is `None` if there was no such step
        /// yet.
        first: Vec<Option<f64>>,
    },
}

/// The loss and the weight of one unit of the objective ([`Units`](crate::loss::Units)), summed over the steps of the current epoch so far.
///
/// A step counts for a unit if two things are true: a row with a weight above 0 had a label of the unit in this step, and the weight `ω_k` of the
/// unit was above 0. `ω_k` is the weight from the settings of the [`Objective`](crate::loss::Objective).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSums {
    /// The number of steps of the current epoch that count for the unit; 0 at the start of an epoch.
    pub steps: u64,
    /// The sum of the losses `L_k` of the unit, not multiplied by its weight, over the steps that count.
    pub loss: f64,
    /// The sum of the weights `ω_k·v_k` of the unit over the steps that count: the weight from the settings of the objective, times the
    /// factor that the [`Weighting`] computed.
    pub weight: f64,
}

impl UnitSums {
    /// The mean loss of the unit over the steps of the current epoch that count: `loss / steps`. `None` if no step counts yet.
    pub fn mean_loss(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.loss / self.steps as f64)
    }

    /// The mean weight `ω_k·v_k` of the unit over the steps of the current epoch that count: `weight / steps`. `None` if no step counts
    /// yet.
    pub fn mean_weight(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.weight / self.steps as f64)
    }
}

/// Everything that the [`Weighting`] of a training run remembers from one step to the next. Checkpoints save it, so that a resumed run
/// continues with the same factors.
///
/// [`Step::weighting`](crate::train::Step::weighting) returns it, and [`Step::restore`](crate::train::Step::restore) replaces it by a saved
/// one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightingState {
    /// The numbers that the weighting has learned so far in this training run.
    pub learned: Learned,
    /// For each unit, the sums of its losses and weights over the steps of the current epoch so far, in the order of
    /// [`Units::names`](crate::loss::Units::names). All sums are 0 at the start of an epoch.
    pub epoch: Vec<UnitSums>,
}

impl WeightingState {
    /// That of a weighting at step 0.
    pub(super) fn new(weighting: &Weighting, units: usize) -> Self {
        Self { learned: Learned::new(weighting, units), epoch: vec![UnitSums::default(); units] }
    }

    /// Checks that `other` can replace this state: same kind, same number of units, valid numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] that lists what does not fit.
    pub(super) fn check_replacement(&self, other: &Self) -> Result<()> {
        let units = self.epoch.len();
        let mut problems = Vec::new();
        let mut require = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        let kinds = [&self.learned, &other.learned].map(Learned::kind);
        require(kinds[0] == kinds[1], format!("learned: expected {:?}, found {:?}", kinds[0], kinds[1]));
        let lengths = other.learned.lengths();
        for (name, len) in lengths.into_iter().flatten().chain([("epoch", other.epoch.len())]) {
            require(len == units, format!("{name}: one for each of {units} units, found {len}"));
        }
        let finite = other.epoch.iter().all(|sums| sums.loss.is_finite() && sums.weight.is_finite());
        require(
            finite && other.learned.possible(),
            "a number that is not finite or beyond its range, or a weight that is not above 0".into(),
        );
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Layout, format!("weighting state: {}", problems.join("; ")))
            .with_help("resume with the objective and the model that the state was saved from"))
    }
}

impl Learned {
    fn new(weighting: &Weighting, units: usize) -> Self {
        match weighting {
            Weighting::Fixed {} | Weighting::PcGrad {} => Self::Nothing,
            Weighting::Uncertainty(_) => Self::Uncertainty { log_variances: vec![0.0; units] },
            Weighting::Dwa(_) => Self::Dwa { means: vec![[None; 2]; units] },
            Weighting::GradNorm(_) => Self::GradNorm { weights: vec![1.0; units], first: vec![None; units] },
        }
    }

    /// Writes the factors `v_k` of the step to come.
    pub(super) fn factors(&self, weighting: &Weighting, factors: &mut [f64]) {
        match (self, weighting) {
            (Self::Uncertainty { log_variances }, _) => uncertainty::factors(log_variances, factors),
            (Self::Dwa { means }, Weighting::Dwa(settings)) => dwa::factors(means, settings.temperature(), factors),
            (Self::GradNorm { weights, .. }, _) => factors.copy_from_slice(weights),
            (Self::Nothing | Self::Dwa { .. }, _) => factors.fill(1.0),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Uncertainty { .. } => "uncertainty",
            Self::Dwa { .. } => "dwa",
            Self::GradNorm { .. } => "gradnorm",
        }
    }

    fn lengths(&self) -> [Option<(&'static str, usize)>; 2] {
        match self {
            Self::Nothing => [None; 2],
            Self::Uncertainty { log_variances } => [Some(("log_variances", log_variances.len())), None],
            Self::Dwa { means } => [Some(("means", means.len())), None],
            Self::GradNorm { weights, first } => [Some(("weights", weights.len())), Some(("first", first.len()))],
        }
    }

    fn possible(&self) -> bool {
        match self {
            Self::Nothing => true,
            // Beyond that `e^{−s}` has no finite value.
            Self::Uncertainty { log_variances } => log_variances.iter().all(|s| *s > -700.0 && s.is_finite()),
            Self::Dwa { means } => means.iter().flatten().flatten().all(|mean| (0.0..f64::MAX).contains(mean)),
            Self::GradNorm { weights, first } => {
                // They sum to their number.
                let most = 1.001 * weights.len() as f64;
                weights.iter().all(|weight| *weight > 0.0 && *weight <= most)
                    && first.iter().flatten().all(|first| *first > 0.0 && first.is_finite())
            }
        }
    }
}

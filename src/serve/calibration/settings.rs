//! How a calibration is fitted.

use serde::{Deserialize, Serialize};

/// The method of a [`Calibration`](super::Calibration): which kind of curve is fitted to labelled rows. A curve maps the logit of the model to a
/// calibrated probability ([`Curve`](super::Curve)). In a file: `"platt"` or `"isotonic"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// The curve `p = σ(a·z + b)` with a > 0, where z is the logit, p the probability, and σ the sigmoid. Only the two numbers a and b are fitted, so
    /// few rows suffice. The order of the scores does not change.
    ///
    /// a and b minimise the weighted cross entropy with smoothed targets: `(N₊ + 1)/(N₊ + 2)` for a label 1 and `1/(N₋ + 2)` for a label 0, where N₊
    /// and N₋ are the total weights of the rows with the label 1 and 0 (Platt, *Probabilistic Outputs for Support Vector Machines*, 1999, section
    /// 2.2). They are found by Newton's method with backtracking (Lin, Lin & Weng, *A Note on Platt's Probabilistic Outputs*, Machine Learning 2007).
    /// An a that is not positive would reverse the ranking. If the best a is such, or if all logits are equal, a is 1, and only b is fitted.
    Platt,
    /// A curve that never falls. First a step function of the logit is fitted: of all step functions that never fall, it has the smallest weighted
    /// squared distance from the labels. Between two steps the curve is a straight line; before the first step and after the last one it is constant.
    /// It can correct any monotone error of the probabilities. But it needs many rows, and it gives all rows on one step the same probability, so it
    /// can make ties.
    ///
    /// The steps are found by pooling adjacent violators (Zadrozny & Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability
    /// Estimates*, KDD 2002). On the rows of the fit, the (weighted) sum of the predicted probabilities equals that of the labels: PCOC
    /// ([`pcoc`](crate::metrics::pcoc)) is 1. The first step can have the probability 0, and the last one 1. If you need a finite log loss or a
    /// positive bid, use [`Method::Platt`].
    Isotonic,
}

/// The settings of [`Calibration::fit`](super::Calibration::fit). `Method::Platt.into()` gives these settings with the default `min_rows` of the
/// method. All values are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalibrationSettings {
    /// The kind of curve: [`Method::Platt`] has two numbers, [`Method::Isotonic`] is fitted as a step function.
    pub method: Method,
    /// The smallest number of rows to which a curve is fitted. A domain gets its own curve for a task if at least this number of its rows have a
    /// label and a weight above 0, and if the labels 0 and 1 both occur among them. Otherwise it uses the task's curve over all domains. That curve
    /// has the same conditions, with the rows of all domains; if they do not hold, probabilities are not corrected
    /// ([`Curve::Identity`](super::Curve::Identity)).
    ///
    /// Default: 100 for [`Method::Platt`], 1000 for [`Method::Isotonic`], which overfits with fewer (Niculescu-Mizil & Caruana, *Predicting Good
    /// Probabilities With Supervised Learning*, ICML 2005, section 5).
    pub min_rows: usize,
}

impl From<Method> for CalibrationSettings {
    fn from(method: Method) -> Self {
        let min_rows = match method {
            Method::Platt => 100,
            Method::Isotonic => 1000,
        };
        Self { method, min_rows }
    }
}

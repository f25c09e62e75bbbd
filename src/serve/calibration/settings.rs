//! How a calibration is fitted.

use serde::{Deserialize, Serialize};

/// The family of curves from logits to probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// `p = σ(a·z + b)` with `a > 0`: two numbers, which few rows determine. It keeps the order of the scores.
    ///
    /// `a` and `b` minimise the cross entropy with smoothed targets, `(N₊ + 1)/(N₊ + 2)` for a click and `1/(N₋ + 2)` for none, where
    /// N₊ and N₋ are the weights of the two classes (Platt, *Probabilistic Outputs for Support Vector Machines*, 1999, section 2.2), by
    /// Newton's method with backtracking (Lin, Lin & Weng, *A Note on Platt's Probabilistic Outputs*, Machine Learning 2007). Where the
    /// best slope is not positive it would turn the ranking over: then `a` is 1 and `b` alone is fitted.
    Platt,
    /// The step function that never falls and is nearest to the labels in weighted squares: it corrects any monotone distortion, but
    /// needs many rows, and scores that it takes for equal become ties.
    ///
    /// Found by pooling adjacent violators (Zadrozny & Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability
    /// Estimates*, KDD 2002). Between the steps the probability runs in a straight line over the logit, beyond the ends it stays what it
    /// is there. On the rows it was fitted on, predictions add up to the clicks: PCOC is 1. The ends may be probabilities of exactly 0
    /// and 1: where a log loss or a bid cannot bear that, take [`Method::Platt`].
    Isotonic,
}

/// How a [`Calibration`](super::Calibration) is fitted. A [`Method`] alone stands for it with the other settings at their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalibrationSettings {
    /// The family of curves.
    pub method: Method,
    /// A domain has a curve of its own for a task if at least this many of its rows have a label and weigh something, and both classes
    /// are among them; else it takes the task's curve of all domains, which asks for as many rows and is `σ(z)` if there are not.
    ///
    /// Default 100 for [`Method::Platt`], 1000 for [`Method::Isotonic`], which below that follows the noise (Niculescu-Mizil & Caruana,
    /// *Predicting Good Probabilities With Supervised Learning*, ICML 2005, section 5).
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

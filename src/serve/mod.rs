//! From raw values to probabilities: a model together with the encoder it was trained behind.
//!
//! [`Predictor`] takes raw values; [`Scorer`] takes encoded ones, many candidates at a time, with weights that were combined in advance.
//! [`Calibration`] makes probabilities mean what they say, in each domain.

mod calibration;
mod predictor;
mod scorer;

pub use calibration::{Calibration, CalibrationSettings, Curve, Method};
pub use predictor::{Predictor, PredictorBuilder, PredictorCache};
pub use scorer::{Context, Scorer, ScorerCache};

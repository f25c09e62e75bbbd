//! Prediction from raw values: a model with its encoder.
//!
//! [`Predictor`] takes raw values. [`Scorer`] takes encoded values of many candidates, and has combined the model's weights in advance.
//! [`Calibration`] corrects the probabilities in each domain.

mod calibration;
mod predictor;
mod scorer;

pub use calibration::{Calibration, CalibrationSettings, Curve, Method};
pub use predictor::{Predictor, PredictorBuilder, PredictorCache};
pub use scorer::{Context, Scorer, ScorerCache};

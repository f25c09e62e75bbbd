//! Prediction with a trained model.
//!
//! [`Predictor`] takes raw values (texts and numbers) and returns probabilities, and predicted numbers for tasks that are not binary. [`Scorer`],
//! which it uses, takes encoded values and returns logits. [`Calibration`] corrects the probabilities in each domain.

mod calibration;
mod predictor;
mod scorer;

pub use calibration::{Calibration, CalibrationSettings, Curve, Method};
pub use predictor::{Predictor, PredictorBuilder, PredictorCache};
pub use scorer::{Context, Scorer, ScorerCache};

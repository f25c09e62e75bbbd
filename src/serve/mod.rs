//! Prediction with a trained model.
//!
//! [`Predictor`] takes raw values (texts and numbers) and returns probabilities. [`Scorer`], which it uses, takes encoded values and returns
//! logits; it combines the model's weights in advance. [`Calibration`] corrects the probabilities in each domain.

mod calibration;
mod predictor;
mod scorer;

pub use calibration::{Calibration, CalibrationSettings, Curve, Method};
pub use predictor::{Predictor, PredictorBuilder, PredictorCache};
pub use scorer::{Context, Scorer, ScorerCache};

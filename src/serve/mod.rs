//! From raw values to probabilities: a model together with the encoder it was trained behind.

mod predictor;

pub use predictor::Predictor;

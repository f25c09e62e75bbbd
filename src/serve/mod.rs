//! From raw values to probabilities: a model together with the encoder it was trained behind.
//!
//! [`Predictor`] takes raw values; [`Frozen`] takes encoded ones, many candidates at a time, as fast as the processor lets it.
//! [`Calibration`] makes probabilities mean what they say, in each domain.

mod calibration;
mod frozen;
mod predictor;

pub use calibration::{Calibration, CalibrationSettings, Curve, Method};
pub use frozen::{Context, Frozen, FrozenCache};
pub use predictor::{Predictor, PredictorBuilder, PredictorCache};

//! What numeric features learn from the fitting rows, and how they encode numbers.

mod choice;
mod normal;
mod piecewise;
mod quantiles;
mod ranks;
mod runs;
mod scaler;

pub use self::choice::NumberReport;
pub(super) use self::piecewise::Piecewise;
pub(super) use self::quantiles::Quantiles;
pub(super) use self::ranks::Ranks;
pub(super) use self::runs::Runs;
pub(super) use self::scaler::Scaler;

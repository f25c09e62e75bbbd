//! What training minimises: the loss of each task's logits (binary cross entropy, squared error, Huber's or Poisson's), averaged over rows and summed
//! over *units* with weights. A unit is a task, a domain, or a pair of both ([`Units`]).
//!
//! [`Objective`] has the equation and the settings. [`weighting`] has methods that change the weights of the units during training.

mod bce;
mod evaluate;
mod non_finite;
mod objective;
mod task_loss;
mod units;
pub mod weighting;

pub use bce::bce_with_logits;
pub use evaluate::{Loss, Normalisers};
pub use non_finite::NonFiniteAt;
pub(crate) use objective::check_negatives;
pub use objective::{DecayPer, Objective, ObjectiveBuilder};
pub use task_loss::TaskLoss;
pub use units::Units;
pub use weighting::{
    DwaConfig, DwaConfigBuilder, GradNormConfig, GradNormConfigBuilder, UncertaintyConfig, UncertaintyConfigBuilder,
    Weighting,
};

pub use crate::math::sigmoid;

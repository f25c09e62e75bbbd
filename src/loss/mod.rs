//! What training minimises: the loss of each task's logits (cross entropy, squared error, Huber's or Poisson's), weighted over rows and units
//! (tasks, domains, or both).

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

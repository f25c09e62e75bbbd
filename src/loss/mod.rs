//! What training minimises: binary cross entropy on logits, weighted over rows and tasks.

mod bce;
mod non_finite;
mod objective;

pub use bce::{bce_with_logits, sigmoid};
pub use non_finite::NonFiniteAt;
pub use objective::{DecayPer, Loss, Objective, ObjectiveBuilder};

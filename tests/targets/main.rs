//! What tasks predict, and how the loss says it: rare positives, numbers and counts.

mod imbalance;
mod mixed;

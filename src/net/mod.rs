//! Nets as programs: what a net computes is said once, as steps over layers, and everything that is asked of it reads the steps.
//!
//! A model's settings [describe](Describe) its net to a [`Builder`]. Training, inference, what gates show, sizes, growth by a domain, serving
//! and ONNX are written once, over the [`Program`].

mod backward;
mod builder;
mod forward;
mod layer;
mod lower;
mod program;
mod step_net;
mod tape;

pub use self::builder::{Builder, Built, TooLarge};
pub use self::layer::{IntoName, IntoPart, Layer, LayerType};
pub use self::program::{Program, Value};
pub use self::step_net::{Describe, StepNet};
pub use self::tape::Tape;

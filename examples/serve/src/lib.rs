//! An HTTP service around a [`Predictor`](starple::serve::Predictor): the pattern, in small modules, for a service of your own.
//!
//! | module | what is there |
//! |---|---|
//! | [`model`] | loading: the one function to change for another source of models |
//! | [`state`] | the model being served |
//! | [`limits`] | what clients may ask for, and whether the limits fit each other |
//! | [`reload`] | load, check, warm up, swap; watching a file |
//! | [`api`] | the JSON of a request and of a response |
//! | [`routes`] | the endpoints |
//! | [`metrics`] | what Prometheus reads |
//! | [`logs`] | log lines that hold nothing up |
//! | [`server`] | listening, and stopping gracefully |

pub mod api;
mod body;
mod connections;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod model;
pub mod reload;
pub mod routes;
pub mod server;
pub mod state;
mod text;

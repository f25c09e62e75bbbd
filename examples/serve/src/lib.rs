//! An HTTP service around a [`Predictor`](starple::serve::Predictor): the pattern, in small modules, for a service of your own.
//!
//! | module | what is there |
//! |---|---|
//! | [`model`] | loading: the one function to change for another source of models |
//! | [`state`] | the model being served, and the limits |
//! | [`reload`] | load, check, warm up, swap; watching a file |
//! | [`api`] | the JSON of a request and of a response |
//! | [`routes`] | the endpoints |
//! | [`metrics`] | what Prometheus reads |
//! | [`server`] | listening, and stopping gracefully |

pub mod api;
pub mod metrics;
pub mod model;
pub mod reload;
pub mod routes;
pub mod server;
pub mod state;

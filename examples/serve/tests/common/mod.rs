//! Models that are quick to make, and a client.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use starple::data::{Encoder, Table, UnknownDomain};
use starple::serve::Predictor;
use starple::{Star, StarConfig};
use starple_serve::model::{Model, TOY_GIVEN, toy_schema};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/toy.csv");

pub(crate) fn encoder() -> Encoder {
    let schema = toy_schema().unwrap();
    let table = Table::read(LOG, &schema).unwrap();
    let rows = table.split("train").unwrap();
    Encoder::fit(&schema, &table, &rows[..2000]).unwrap().on_unknown_domain(UnknownDomain::Error)
}

/// An untrained model, whose scores say which seed it has.
pub(crate) fn star(encoder: &Encoder, seed: u64) -> Star {
    let config = StarConfig::builder(encoder.layout()).embedding_dim(4).embedding_std(0.5).hidden([16, 8]).seed(seed);
    Star::new(config.build().unwrap())
}

pub(crate) fn predictor(encoder: &Encoder, seed: u64) -> Predictor {
    Predictor::builder(encoder.clone(), star(encoder, seed)).given(TOY_GIVEN).build().unwrap()
}

pub(crate) fn model(encoder: &Encoder, seed: u64) -> Model {
    Model::new(predictor(encoder, seed), format!("seed-{seed}"))
}

/// A request of this many candidates.
pub(crate) fn request(candidates: usize) -> Value {
    let candidate = |i: usize| json!({ "item": format!("i{i}"), "price": 9.5 + i as f64, "tags": "t1|t9" });
    let candidates: Vec<Value> = (0..candidates).map(candidate).collect();
    json!({
        "domain": "feed",
        "given": { "user": "u16", "query": "q1", "hour": "h11", "age": null },
        "candidates": candidates,
    })
}

/// One connection, or several one after the other.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Code and text of the answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut answer = self.agent.get(self.url(path)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Code and JSON of the answer.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let mut answer = self.agent.post(self.url(path)).send(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
    }
}

/// The probabilities of an answer, by task, as bits.
pub(crate) fn bits(answer: &Value, task: &str) -> Vec<u32> {
    let numbers = answer["probabilities"][task].as_array().unwrap();
    numbers.iter().map(|p| (p.as_f64().unwrap() as f32).to_bits()).collect()
}

/// How many swaps to make: the tests make few, the full number is asked for by `STARPLE_SWAPS=1000`.
pub(crate) fn swaps(few: usize) -> usize {
    std::env::var("STARPLE_SWAPS").map_or(few, |count| count.parse().expect("STARPLE_SWAPS: a number"))
}

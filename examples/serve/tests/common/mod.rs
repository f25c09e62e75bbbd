//! Models that are quick to make, and a client.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starple::data::{Encoder, Table, UnknownDomain};
use starple::serve::Predictor;
use starple::{Star, StarConfig};
use starple_serve::model::{Model, TOY_GIVEN, toy_schema};
use starple_serve::server::Running;

pub(crate) const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/toy.csv");

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

/// A client of a service, which also reaches what its operator reaches.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Client {
    pub(crate) fn new(running: &Running) -> Self {
        Self::at(running.address, running.admin)
    }

    pub(crate) fn at(address: SocketAddr, admin: SocketAddr) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, address, admin }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Code and text of the answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut answer = self.agent.get(format!("http://{}{path}", self.address)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Code and JSON of the answer.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.post_to(self.address, path, body)
    }

    /// The same of `POST /reload`, where the operator reaches it.
    pub(crate) fn reload(&self) -> (u16, Value) {
        self.post_to(self.admin, "/reload", "")
    }

    fn post_to(&self, address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
        let mut answer = self.agent.post(format!("http://{address}{path}")).send(body).unwrap();
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

/// A connection that says what it is told, byte by byte, and no more.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // Longer than any limit in a test.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    /// One whose request is under way: its header was read, and the service asks for the body.
    pub(crate) fn half_a_body(address: SocketAddr, announced: usize, sent: &str) -> Self {
        let mut raw = Self::new(address);
        raw.say(&format!(
            "POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {announced}\r\n\r\n"
        ));
        let mut answer = [0; 25];
        raw.0.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        raw.say(sent);
        raw
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// All that comes until the service closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = Vec::new();
        match self.0.read_to_end(&mut text) {
            Ok(_) => {}
            // A service that closes before it has read everything resets the connection.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it was never closed"),
        }
        String::from_utf8(text).unwrap()
    }
}

/// Looks again and again until it holds, for as long as a test may take.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The value of a line of `/metrics`.
pub(crate) fn metric(client: &Client, name: &str) -> u64 {
    let text = client.get("/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

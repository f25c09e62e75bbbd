//! From the JSON of a request to its scores: one spelling for an id, numbers that are too large, calibration by domain.

mod common;

use std::sync::Arc;

use common::{Client, encoder, metric, model, request};
use serde_json::{Value, json};
use starple::data::{Encoder, Format, Schema, Table, UnknownDomain};
use starple::serve::{Calibration, Predictor};
use starple::{Ple, PleConfig, Star, StarConfig};
use starple_serve::limits::Limits;
use starple_serve::model::{Loader, Model};
use starple_serve::server::Running;
use starple_serve::state::State;

fn serve(loader: Loader) -> (Running, Client) {
    let running = Running::start(&State::new(loader, Limits::default()), 1);
    let client = Client::new(&running);
    (running, client)
}

/// A model of a log whose ids a data frame wrote: integers as floats, booleans with a capital.
fn typed() -> Model {
    let schema = Schema::builder().categorical("brand").categorical("new").bag("tags", "|").numeric("price");
    let schema = schema.domain("page").label("click").build().unwrap();
    let log = "brand,new,tags,price,page,click\n19.0,True,7.0|8.0,1,1.0,1\n3.0,False,9.0,2,2.0,0\n007,True,,3,1.0,0\n";
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap().on_unknown_domain(UnknownDomain::Shared);
    let config = StarConfig::builder(encoder.layout()).embedding_dim(4).embedding_std(0.5).hidden([8]);
    let star = Star::new(config.build().unwrap());
    Model::new(Predictor::builder(encoder, star).given(["new"]).build().unwrap(), "typed")
}

#[test]
fn an_id_is_the_same_in_every_spelling() {
    let (running, client) = serve(Arc::new(|| Ok(typed())));
    let score = |domain: &str, new: &str, brand: &str| {
        let body = format!(
            r#"{{"domain":{domain},"given":{{"new":{new}}},"candidates":[{{"brand":{brand},"tags":"7","price":1}}]}}"#
        );
        let (code, answer) = client.post("/predict", &body);
        assert_eq!(code, 200, "{answer}");
        answer["probabilities"]["click"][0].as_f64().unwrap()
    };
    let known = score(r#""1""#, "true", "19");
    for brand in ["19.0", "1.9e1", "19.00", r#""19""#, r#""19.0""#] {
        assert_eq!(score(r#""1""#, "true", brand), known, "{brand}");
    }
    for new in [r#""true""#, r#""True""#] {
        assert_eq!(score(r#""1""#, new, "19"), known, "{new}");
    }
    assert_eq!(score(r#""1.0""#, "true", "19"), known);
    let series = |feature: &str| format!(r#"starple_unknown_values_total{{feature="{feature}"}}"#);
    let counts = || ["brand", "new", "tags"].map(|feature| metric(&client, &series(feature)));
    assert_eq!(counts(), [0, 0, 0]);
    assert_eq!(metric(&client, "starple_unknown_domains_total"), 0);
    // What it must not be taken for.
    for other in ["3", "20", "19.5", r#""019""#, r#""007""#] {
        assert_ne!(score(r#""1""#, "true", other), known, "{other}");
    }
    assert_ne!(score(r#""1""#, "false", "19"), known);
    // 20, 19.5 and 019.
    assert_eq!(counts(), [3, 0, 0]);
    assert_ne!(score(r#""3""#, "true", "19"), known);
    assert_eq!(metric(&client, "starple_unknown_domains_total"), 1);
    running.stop();
}

#[test]
fn unknown_values_are_counted_by_feature() {
    let (running, client) = serve(Arc::new(|| Ok(typed())));
    let body = json!({
        "domain": "1",
        "given": { "new": "maybe" },
        "candidates": [
            { "brand": "nothing", "tags": "7|10|11", "price": null },
            { "brand": 19, "tags": "", "price": 4 },
            { "brand": "no", "tags": "9", "price": 4 },
        ],
    });
    for round in 1..=2 {
        assert_eq!(client.post("/predict", &body.to_string()).0, 200);
        let counts = ["brand", "new", "tags"]
            .map(|feature| metric(&client, &format!(r#"starple_unknown_values_total{{feature="{feature}"}}"#)));
        assert_eq!(counts, [2 * round, round, 2 * round]);
    }
    // Of requests that are refused nothing is counted but the domain.
    let mut wrong = body.clone();
    wrong["candidates"][2]["price"] = "cheap".into();
    assert_eq!(client.post("/predict", &wrong.to_string()).0, 422);
    assert_eq!(metric(&client, r#"starple_unknown_values_total{feature="brand"}"#), 4);
    // A number has no vocabulary.
    assert!(!client.get("/metrics").1.contains(r#"feature="price""#));
    running.stop();
}

#[test]
fn an_unknown_domain_is_counted_where_it_is_an_error_too() {
    let encoder = encoder();
    let (running, client) = serve(Arc::new(move || Ok(model(&encoder, 0))));
    let mut body = request(1);
    body["domain"] = "nowhere".into();
    assert_eq!(client.post("/predict", &body.to_string()).0, 422);
    assert_eq!(metric(&client, "starple_unknown_domains_total"), 1);
    running.stop();
}

/// A model of several numbers, which together overflow it if all are too large.
fn gated() -> Model {
    let schema = Schema::builder().categorical("user").numeric("age").numeric("price").domain("page");
    let schema = ["a", "b", "c", "d", "e", "f", "g"].into_iter().fold(schema, |schema, name| schema.numeric(name));
    let schema = schema.label("click").label("buy").build().unwrap();
    let log = "user,age,price,a,b,c,d,e,f,g,page,click,buy\n\
               u1,-1,1,1,1,1,1,1,1,1,x,1,0\nu2,1,-1,-1,-1,-1,-1,-1,-1,-1,y,0,1\n";
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
    let ple = Ple::new(PleConfig::builder(encoder.layout()).embedding_dim(4).build().unwrap());
    Model::new(Predictor::builder(encoder, ple).given(["age"]).build().unwrap(), "gated")
}

#[test]
fn no_score_is_sent_that_is_not_finite() {
    let (running, client) = serve(Arc::new(|| Ok(gated())));
    let ask = |price: &str| {
        let numbers = |x: &str| ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!(r#""{name}":{x}"#)).join(",");
        let candidate = |x: &str| format!(r#"{{"user":"u1","price":{x},{}}}"#, numbers(x));
        let body =
            format!(r#"{{"domain":"x","given":{{"age":1}},"candidates":[{},{}]}}"#, candidate("1"), candidate(price));
        client.post("/predict", &body)
    };
    let mut refused = 0;
    for price in ["3.4e38", "-3.4e38", "1e38", "3.5e38", "1e300", "-1.7e308"] {
        let (code, answer) = ask(price);
        if code == 200 {
            let scores = answer["probabilities"]["click"].as_array().unwrap();
            assert!(scores.iter().all(|p| p.as_f64().is_some_and(f64::is_finite)), "{price}: {answer}");
        } else {
            let text = answer["error"].as_str().unwrap();
            assert_eq!(code, 422, "{answer}");
            // What 32 bits hold, and the model does not: the input is named. What they do not hold: the value.
            let held = price.parse::<f64>().unwrap().abs() <= f64::from(f32::MAX);
            let named = if held { "its largest input is \"" } else { "column \"price\": found \"" };
            assert!(text.starts_with("candidates:2: ") && text.contains(named), "{text}");
            refused += 1;
        }
    }
    assert!(refused > 0, "numbers of which the model makes none");
    assert_eq!(ask("1e400").0, 400, "JSON of a number beyond all floats");
    assert_eq!(ask("2.5").0, 200);
    running.stop();
}

/// Probabilities of the request's candidates in this domain.
fn scores(client: &Client, domain: &str) -> Vec<f64> {
    let mut body = request(4);
    body["domain"] = domain.into();
    let (code, answer) = client.post("/predict", &body.to_string());
    assert_eq!(code, 200, "{answer}");
    answer["probabilities"]["click"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect()
}

#[test]
fn every_domain_is_served_by_its_own_calibration() {
    let encoder = encoder().on_unknown_domain(UnknownDomain::Shared);
    let domains = encoder.layout().domains.clone();
    let curve =
        |place: usize| json!({ "platt": { "slope": 1.0 + 0.25 * place as f64, "intercept": 0.5 - place as f64 } });
    // The last domain has no curve of its own, as if its rows had been too few.
    let own = |d: usize| if d + 1 < domains.len() { curve(d + 1) } else { Value::Null };
    let task = |name: &str| json!({ "task": name, "pooled": curve(0), "domains": (0..domains.len()).map(own).collect::<Vec<_>>() });
    let calibration = json!({ "domains": domains, "tasks": [task("click"), task("cart")] });
    let calibration: Calibration = serde_json::from_value(calibration).unwrap();
    let model = |calibration: Option<Calibration>| {
        let predictor =
            Predictor::builder(encoder.clone(), common::star(&encoder, 0)).given(starple_serve::model::TOY_GIVEN);
        let predictor = match calibration {
            Some(calibration) => predictor.calibration(calibration),
            None => predictor,
        };
        Model::new(predictor.build().unwrap(), "calibrated")
    };
    let (plain, plain_client) = serve({
        let predictor = model(None).predictor;
        Arc::new(move || Ok(Model::new(predictor.clone(), "plain")))
    });
    let (calibrated, client) = serve({
        let predictor = model(Some(calibration)).predictor;
        Arc::new(move || Ok(Model::new(predictor.clone(), "calibrated")))
    });
    for (d, domain) in domains.iter().map(String::as_str).chain(["nowhere"]).enumerate() {
        // By hand: σ(slope·z + intercept), where σ(z) is the model's own.
        let place = if d + 1 < domains.len() { d + 1 } else { 0 };
        let (slope, intercept) = (1.0 + 0.25 * place as f64, 0.5 - place as f64);
        for (p, found) in scores(&plain_client, domain).into_iter().zip(scores(&client, domain)) {
            let z = (p / (1.0 - p)).ln();
            let expected = 1.0 / (1.0 + (-(slope * z + intercept)).exp());
            assert!((found - expected).abs() < 1e-5, "{domain}: {found}, by its own curve {expected}");
        }
    }
    plain.stop();
    calibrated.stop();
}

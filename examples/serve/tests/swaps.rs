//! Models change while eight readers score: every score is one model's, wholly, and it is the model that is named.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use common::{Client, bits, encoder, model, request, swaps};
use starple::serve::PredictorCache;
use starple_serve::limits::Limits;
use starple_serve::model::Loader;
use starple_serve::server::Running;
use starple_serve::state::State;

const READERS: usize = 8;
const CANDIDATES: usize = 70;

/// The request's probabilities, as bits, of both models' only task `click`.
fn expected() -> [Vec<u32>; 2] {
    let encoder = encoder();
    let text = request(CANDIDATES).to_string();
    [0, 1].map(|seed| {
        let model = model(&encoder, seed);
        let request: starple_serve::api::Request = serde_json::from_str(&text).unwrap();
        let candidates = request.candidates.iter().map(starple_serve::api::Cells::raw);
        let mut cache = PredictorCache::default();
        let scores = model.predictor.score(&request.domain, request.given.raw(), candidates, &mut cache).unwrap();
        scores.column(0).iter().map(|p| p.to_bits()).collect()
    })
}

#[test]
fn readers_of_a_swapped_predictor_see_one_model_at_a_time() {
    let (encoder, expected) = (encoder(), expected());
    assert!(expected[0].iter().zip(&expected[1]).all(|(a, b)| a != b), "every score tells the models apart");
    let models = [0, 1].map(|seed| Arc::new(model(&encoder, seed)));
    let served = ArcSwap::new(Arc::clone(&models[0]));
    let text = request(CANDIDATES).to_string();
    let (done, seen) = (AtomicBool::new(false), [0, 1].map(AtomicUsize::new));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let request: starple_serve::api::Request = serde_json::from_str(&text).unwrap();
                let mut cache = PredictorCache::default();
                while !done.load(Ordering::Relaxed) {
                    let model = served.load_full();
                    let candidates = request.candidates.iter().map(starple_serve::api::Cells::raw);
                    let given = request.given.raw();
                    let scores = model.predictor.score(&request.domain, given, candidates, &mut cache).unwrap();
                    let which = usize::from(model.version == "seed-1");
                    let column = scores.column(0);
                    let bits = column.iter().map(|p| p.to_bits());
                    assert!(
                        bits.eq(expected[which].iter().copied()),
                        "a score of another model than {}",
                        model.version
                    );
                    seen[which].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let reads = || seen[0].load(Ordering::Relaxed) + seen[1].load(Ordering::Relaxed);
        for swap in 1..=swaps(100) {
            // Somebody reads between any two swaps, or it would not be a test.
            let before = reads();
            served.store(Arc::clone(&models[swap % 2]));
            while reads() == before {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) > 0), "both models were read");
}

#[test]
fn clients_of_a_reloaded_service_see_one_model_at_a_time() {
    let (encoder, expected) = (encoder(), expected());
    let loads = AtomicUsize::new(0);
    let loader: Loader = Arc::new(move || Ok(model(&encoder, loads.fetch_add(1, Ordering::Relaxed) as u64 % 2)));
    let limits = Limits { timeout: std::time::Duration::from_secs(60), ..Limits::default() };
    let running = Running::start(&State::new(loader, limits), 2);
    let body = request(CANDIDATES).to_string();
    let (done, seen) = (AtomicBool::new(false), [0, 1].map(AtomicUsize::new));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let client = Client::new(&running);
                while !done.load(Ordering::Relaxed) {
                    let (code, answer) = client.post("/predict", &body);
                    assert_eq!(code, 200, "{answer}");
                    let which = usize::from(answer["version"] == "seed-1");
                    assert_eq!(bits(&answer, "click"), expected[which], "a score of another model than it names");
                    seen[which].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let client = Client::new(&running);
        for swap in 1..=swaps(40) {
            let (code, answer) = client.reload();
            assert_eq!((code, answer["version"].as_str()), (200, Some(["seed-0", "seed-1"][swap % 2])));
        }
        done.store(true, Ordering::Relaxed);
    });
    running.stop();
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) > 0), "both models answered");
}

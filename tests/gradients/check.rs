//! Gradients against differences.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::reference::Values;

/// The relative error allowed on every tensor.
const TOLERANCE: f64 = 1e-3;

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A matrix of values in ±1.
pub(crate) fn random(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
}

/// Values in f64.
pub(crate) fn wide(values: &Array2<f32>) -> Array2<f64> {
    values.mapv(f64::from)
}

/// That outputs agree with the reference.
pub(crate) fn same(name: &str, ours: &Array2<f32>, reference: &Array2<f64>) {
    assert_eq!(ours.dim(), reference.dim(), "{name}");
    for (index, (&ours, &reference)) in ours.iter().zip(reference).enumerate() {
        let error = (f64::from(ours) - reference).abs();
        assert!(error <= 1e-5 * (1.0 + reference.abs()), "{name}: entry {index}: {ours}, reference {reference}");
    }
}

/// That every tensor in `gradients` is the derivative of `loss` with respect to the value of the same name.
///
/// Each is compared along its own direction, along random directions, and entry by entry for a few entries.
pub(crate) fn derivatives(
    what: &str,
    values: &Values,
    gradients: &BTreeMap<String, ArrayD<f64>>,
    loss: impl Fn(&Values) -> f64,
) {
    let mut rng = rng(99);
    let square = |gradient: &ArrayD<f64>| gradient.iter().map(|g| g * g).sum::<f64>();
    // A bias before a batch normalisation has no gradient; ours is then what rounding leaves of the others.
    let rounding = 1e-6 * gradients.values().map(square).sum::<f64>().sqrt();
    for (name, gradient) in gradients {
        let norm = square(gradient).sqrt();
        let at = |direction: &ArrayD<f64>| {
            let length = square(direction).sqrt();
            let step = 1e-5 / length;
            let moved = |step: f64| {
                let mut moved = values.clone();
                moved.0.get_mut(name).unwrap().scaled_add(step, direction);
                loss(&moved)
            };
            (moved(step) - moved(-step)) / (2.0 * step)
        };
        let close = |kind: &str, direction: &ArrayD<f64>, scale: f64| {
            let (difference, ours) = (at(direction), (gradient * direction).sum());
            let error = (difference - ours).abs();
            assert!(
                error <= TOLERANCE * scale + rounding,
                "{what}: {name} along {kind}: {ours} but the difference is {difference}"
            );
        };
        if norm > 0.0 {
            close("the gradient", gradient, norm * norm);
        }
        let count = gradient.len() as f64;
        for _ in 0..2 {
            let direction = gradient.mapv(|_| rng.random_range(-1.0..1.0));
            close("a random direction", &direction, norm);
        }
        for _ in 0..4 {
            let entry = rng.random_range(0..gradient.len());
            let mut direction = gradient.mapv(|_| 0.0);
            *direction.iter_mut().nth(entry).unwrap() = 1.0;
            let own = gradient.iter().nth(entry).unwrap().abs();
            close(&format!("entry {entry}"), &direction, own.max(norm / count.sqrt()));
        }
    }
}

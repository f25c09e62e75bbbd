//! The planted model: hidden vectors and weights.

use ndarray_rand::rand_distr::StandardNormal;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::columns::Columns;
use super::config::SyntheticConfigBuilder;
use super::{Stream, stream};

/// Hidden vectors and weights, drawn from the seed.
pub(super) struct Truth {
    latent: usize,
    /// By field, then by bag: the vectors of its values, concatenated.
    vectors: Vec<Vec<f64>>,
    /// `weights[domain][task]`: both blocks, scaled by their share of the signal.
    weights: Vec<Vec<Vec<f64>>>,
}

impl Truth {
    pub(super) fn draw(settings: &SyntheticConfigBuilder) -> Self {
        let vectors = settings
            .tables()
            .enumerate()
            .map(|(table, values)| {
                let mut rng = stream(settings.seed, Stream::Latent, table);
                let mut vectors = normals(&mut rng, values * settings.latent);
                standardise(&mut vectors, settings.latent, |value| popularity(settings.popularity, value));
                vectors
            })
            .collect();

        let shares = [1.0 - settings.interaction, settings.interaction];
        let columns_of = settings.columns_of_features();
        let importances: Vec<_> = (0..settings.domains.len()).map(|domain| importances(settings, domain)).collect();
        let mut weights = vec![vec![Vec::new(); settings.tasks.len()]; settings.domains.len()];
        for (block, (length, share)) in settings.blocks().into_iter().zip(shares).enumerate() {
            let scale = settings.signal * share.sqrt();
            for (domain, tasks) in weights.iter_mut().enumerate() {
                let mut block_weights = match scale {
                    // A block with share 0 may be too short for orthogonal weights.
                    0.0 => vec![vec![0.0; length]; tasks.len()],
                    _ => domain_weights(settings, domain, block, length),
                };
                if scale > 0.0 && settings.importance_shift > 0.0 {
                    for weights in &mut *block_weights {
                        weigh(weights, &columns_of[block], &importances[domain]);
                    }
                }
                for (task, block_weights) in tasks.iter_mut().zip(block_weights) {
                    task.extend(block_weights.iter().map(|weight| scale * weight));
                }
            }
        }
        Self { latent: settings.latent, vectors, weights }
    }

    /// The features of a row, `[φ, ψ]`.
    pub(super) fn features(&self, columns: &Columns, row: usize, features: &mut Vec<f64>) {
        features.clear();
        let fields = columns.ids.len();
        for (vectors, ids) in self.vectors.iter().zip(&columns.ids) {
            features.extend_from_slice(self.vector(vectors, ids[row]));
        }
        for (vectors, bag) in self.vectors[fields..].iter().zip(&columns.bags) {
            let ids = bag.row(row);
            features.extend((0..self.latent).map(|entry| {
                let sum: f64 = ids.iter().map(|&id| self.vector(vectors, id)[entry]).sum();
                sum / ids.len().max(1) as f64
            }));
        }
        features.extend(columns.numeric.iter().map(|column| column.standardised(row)));
        for f in 0..fields {
            for g in f + 1..fields {
                for entry in 0..self.latent {
                    features.push(features[f * self.latent + entry] * features[g * self.latent + entry]);
                }
            }
        }
    }

    /// The logit without its intercept.
    pub(super) fn score(&self, domain: usize, task: usize, features: &[f64]) -> f64 {
        dot(&self.weights[domain][task], features)
    }

    fn vector<'a>(&self, vectors: &'a [f64], id: u32) -> &'a [f64] {
        let start = id as usize * self.latent;
        &vectors[start..start + self.latent]
    }
}

/// The popularity of a field's value before the domains' shifts, not normalised.
pub(super) fn popularity(exponent: f64, value: usize) -> f64 {
    ((value + 1) as f64).powf(-exponent)
}

/// One block of `θ_{d,t} = √(1 − own) · S_t + √own · O_{d,t}` for every task t.
fn domain_weights(settings: &SyntheticConfigBuilder, domain: usize, block: usize, length: usize) -> Vec<Vec<f64>> {
    let each = settings.tasks.len() + 1;
    let mut basis = Vec::with_capacity(2 * each);
    orthonormal(&mut stream(settings.seed, Stream::SharedWeights, block), each, length, &mut basis);
    orthonormal(&mut stream(settings.seed, Stream::OwnWeights, 2 * domain + block), each, length, &mut basis);
    let (shared, own) = basis.split_at(each);

    // Vectors √ρ·c + √(1−ρ)·e_t over an orthonormal c, e_1, e_2, … have length 1 and the cosine ρ with each other.
    let (common, apart) = (settings.task_correlation.sqrt(), (1.0 - settings.task_correlation).sqrt());
    let (share_shared, share_own) = ((1.0 - settings.own).sqrt(), settings.own.sqrt());
    (1..each)
        .map(|task| {
            let entry = |basis: &[Vec<f64>], i: usize| common * basis[0][i] + apart * basis[task][i];
            (0..length).map(|i| share_shared * entry(shared, i) + share_own * entry(own, i)).collect()
        })
        .collect()
}

/// The importance of each field, bag and numeric column in a domain.
fn importances(settings: &SyntheticConfigBuilder, domain: usize) -> Vec<f64> {
    let columns = settings.categorical.len() + settings.bags.len() + settings.numeric.len();
    let normals = normals(&mut stream(settings.seed, Stream::Importance, domain), columns);
    normals.into_iter().map(|normal| (settings.importance_shift * normal).exp()).collect()
}

/// Multiplies each weight by the importance of its columns, and scales the vector to length 1.
fn weigh(weights: &mut [f64], columns: &[Vec<usize>], importances: &[f64]) {
    for (weight, columns) in weights.iter_mut().zip(columns) {
        *weight *= columns.iter().map(|&column| importances[column]).product::<f64>();
    }
    let norm = dot(weights, weights).sqrt();
    for weight in &mut *weights {
        *weight /= norm;
    }
}

/// Appends `count` random unit vectors that are orthogonal to each other and to those already there (Gram–Schmidt).
fn orthonormal(rng: &mut ChaCha8Rng, count: usize, length: usize, basis: &mut Vec<Vec<f64>>) {
    for _ in 0..count {
        let mut vector = normals(rng, length);
        // Twice: the first pass leaves rounding errors.
        for _ in 0..2 {
            for other in basis.iter() {
                let along = dot(&vector, other);
                vector.iter_mut().zip(other).for_each(|(entry, other)| *entry -= along * other);
            }
            let norm = dot(&vector, &vector).sqrt();
            for entry in &mut vector {
                *entry /= norm;
            }
        }
        basis.push(vector);
    }
}

/// Standardises every entry of the vectors to mean 0 and variance 1, with these weights of the values.
fn standardise(vectors: &mut [f64], latent: usize, weight: impl Fn(usize) -> f64) {
    for entry in 0..latent {
        let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
        for (value, vector) in vectors.chunks_exact(latent).enumerate() {
            total += weight(value);
            mean += weight(value) * vector[entry];
        }
        mean /= total;
        for (value, vector) in vectors.chunks_exact_mut(latent).enumerate() {
            vector[entry] -= mean;
            square += weight(value) * vector[entry] * vector[entry];
        }
        let std = (square / total).sqrt();
        vectors.chunks_exact_mut(latent).for_each(|vector| vector[entry] /= std);
    }
}

fn normals(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
    rng.sample_iter(StandardNormal).take(count).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::synthetic::SyntheticConfig;

    fn builder() -> SyntheticConfigBuilder {
        SyntheticConfig::builder()
            .domain_count(3)
            .task("click", 0.2)
            .task("cart", 0.1)
            .task("buy", 0.1)
            .categorical("user", 40)
            .categorical("item", 30)
            .categorical("hour", 24)
            .task_correlation(0.3)
    }

    fn truth(builder: SyntheticConfigBuilder) -> Truth {
        Truth::draw(builder.build().unwrap().settings())
    }

    #[test]
    fn tasks_have_the_cosine_that_was_asked_for() {
        let signal = 1.5;
        for own in [0.0, 0.4, 1.0] {
            let truth = truth(builder().own(own).signal(signal));
            for tasks in &truth.weights {
                for (t, task) in tasks.iter().enumerate() {
                    for (o, other) in tasks.iter().enumerate() {
                        let cosine = dot(task, other) / (signal * signal);
                        assert_relative_eq!(cosine, if t == o { 1.0 } else { 0.3 }, epsilon = 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn own_is_the_share_that_a_domain_has_for_itself() {
        let shared = truth(builder().own(0.0).signal(1.0));
        let half = truth(builder().own(0.4).signal(1.0));
        for domain in 0..3 {
            // The same function in every domain at 0; the cosine with it falls as the root of what is left.
            assert_eq!(shared.weights[domain], shared.weights[0]);
            let cosine = dot(&half.weights[domain][1], &shared.weights[0][1]);
            assert_relative_eq!(cosine, 0.6_f64.sqrt(), epsilon = 1e-12);
        }
        assert!(dot(&half.weights[0][0], &half.weights[1][0]) < 0.9);
    }

    #[test]
    fn interaction_is_a_share_of_the_signal() {
        let truth = truth(builder().interaction(0.25).signal(2.0));
        let weights = &truth.weights[2][0];
        assert_eq!(weights.len(), 12 + 12);
        assert_relative_eq!(dot(&weights[..12], &weights[..12]), 3.0, epsilon = 1e-12);
        assert_relative_eq!(dot(&weights[12..], &weights[12..]), 1.0, epsilon = 1e-12);
    }

    #[test]
    fn importance_multiplies_the_weights_of_a_column_in_a_domain() {
        let builder = |shift: f64| {
            let fields = ["user", "item", "hour"];
            let builder = SyntheticConfig::builder().rows(2000).domain_count(500).domain_tail(0.0).task("click", 0.2);
            let builder = fields.into_iter().fold(builder, |builder, field| builder.categorical(field, 9));
            let builder = builder.bag("tags", 9, 3).numeric("age", 0.0, 1.0, 2).latent(2);
            builder.own(0.0).interaction(0.25).signal(2.0).importance_shift(shift)
        };
        // What each feature is made of: three fields, the bag, the number, and the pairs of fields.
        let linear = [0, 0, 1, 1, 2, 2, 3, 3, 4];
        let pairs = [[0, 1], [0, 1], [0, 2], [0, 2], [1, 2], [1, 2]];
        let (shifted, alike) = (truth(builder(0.7)), truth(builder(0.0)));
        let mut logs = Vec::new();
        for (shifted, alike) in shifted.weights.iter().zip(&alike.weights) {
            let (shifted, alike) = (&shifted[0], &alike[0]);
            assert_eq!(shifted.len(), linear.len() + pairs.len());
            // The signal and its shares stay.
            assert_relative_eq!(dot(&shifted[..9], &shifted[..9]), 3.0, epsilon = 1e-12);
            assert_relative_eq!(dot(&shifted[9..], &shifted[9..]), 1.0, epsilon = 1e-12);
            let by: Vec<f64> = shifted.iter().zip(alike).map(|(shifted, alike)| shifted / alike).collect();
            let column = |column| by[linear.iter().position(|&of| of == column).unwrap()];
            for (by, of) in by.iter().zip(linear) {
                assert_relative_eq!(*by, column(of), max_relative = 1e-9);
            }
            // Up to what gives the pairs' block its length.
            let length = by[9] / (column(0) * column(1));
            for (by, [f, g]) in by[9..].iter().zip(pairs) {
                assert_relative_eq!(*by, length * column(f) * column(g), max_relative = 1e-9);
            }
            logs.push((column(0) / column(4)).ln());
        }
        // The logarithm of the quotient of two importances: mean 0, variance 2 · 0.7².
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let std = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected = 0.7 * 2.0_f64.sqrt();
        assert!(mean.abs() < 4.0 * expected / n.sqrt(), "{mean}");
        assert!((std / expected - 1.0).abs() < 4.0 / (2.0 * n).sqrt(), "{std}");
    }

    #[test]
    fn hidden_vectors_are_standard_under_popularity() {
        let truth = truth(builder().popularity(1.0));
        let user = &truth.vectors[0];
        let total: f64 = (1..=40).map(|rank| 1.0 / f64::from(rank)).sum();
        for entry in 0..4 {
            let moment = |power: i32| {
                (0..40).map(|value| user[value * 4 + entry].powi(power) / (value + 1) as f64).sum::<f64>() / total
            };
            assert_relative_eq!(moment(1), 0.0, epsilon = 1e-12);
            assert_relative_eq!(moment(2), 1.0, epsilon = 1e-12);
        }
    }
}

//! The distance of STAR's domains from the shared network.

use starple::data::Layout;
use starple::net::Net;
use starple::nn::{Linear, PartitionedNorm, StarLinear};

use super::Heat;

/// The distance of each domain of a STAR from the shared network: for every layer (rows) and domain (columns)
/// `‖W*_d − W‖ / ‖W‖`, the Frobenius norm of the domain's change relative to that of the shared weights.
///
/// | row | value |
/// |---|---|
/// | `layers.I.weight` | `‖W*_d − W‖ / ‖W‖` |
/// | `layers.I.bias` | `‖b*_d − b‖ / ‖b‖` |
/// | `norm.gamma` | `‖γ ⊙ γ_d − γ‖ / ‖γ‖`, if there is a Partitioned Normalization |
/// | `norm.beta` | `‖β_d‖ / ‖β‖`, likewise |
/// | `all weights` | `√(Σ_layers ‖W*_d − W‖²) / √(Σ_layers ‖W‖²)` |
///
/// 0 is the shared network itself, where every domain starts. A value is undefined if the shared tensor is 0, as biases are
/// at the start. `W*_d` and `b*_d` are those of [`StarLinear::combined`](starple::nn::StarLinear::combined): for a gated combination,
/// with an open gate. The auxiliary network is left out: domains share it, except for an embedding.
///
/// # Panics
/// If `layout` is not that of the net.
pub fn star_distance(net: &Net, layout: &Layout) -> Heat {
    let domains = 0..layout.domains.len();
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    let mut add = |name: String, of: &dyn Fn(usize) -> Distance| {
        rows.push(name);
        values.push(domains.clone().map(|d| of(d).ratio()).collect());
    };
    let layers: Vec<&StarLinear> = net.all().collect();
    let combined: Vec<Vec<Linear>> =
        layers.iter().map(|layer| domains.clone().map(|d| layer.combined(d)).collect()).collect();
    let weight = |i: usize, d: usize| Distance::between(&combined[i][d].weight, &layers[i].shared.weight);
    for (i, layer) in layers.iter().enumerate() {
        add(format!("layers.{i}.weight"), &|d| weight(i, d));
        add(format!("layers.{i}.bias"), &|d| Distance::between(&combined[i][d].bias, &layer.shared.bias));
    }
    if let Some(PartitionedNorm { gamma, beta, domain, .. }) = net.get::<PartitionedNorm>("norm") {
        add("norm.gamma".into(), &|d| Distance::between(&(gamma * &domain[d].gamma), gamma));
        add("norm.beta".into(), &|d| Distance::between(&(beta + &domain[d].beta), beta));
    }
    add("all weights".into(), &|d| (0..layers.len()).map(|i| weight(i, d)).fold(Distance::default(), Distance::and));
    Heat {
        title: "How far each domain is from the shared network".into(),
        unit: "‖W*_d − W‖ / ‖W‖".into(),
        rows,
        columns: layout.domains.clone(),
        values,
    }
}

/// Two sums of squares.
#[derive(Clone, Copy, Default)]
struct Distance {
    change: f64,
    shared: f64,
}

impl Distance {
    fn between<'a>(own: impl IntoIterator<Item = &'a f32>, shared: impl IntoIterator<Item = &'a f32>) -> Self {
        let mut sums = Self::default();
        for (&own, &shared) in own.into_iter().zip(shared) {
            let (own, shared) = (f64::from(own), f64::from(shared));
            sums.change += (own - shared).powi(2);
            sums.shared += shared.powi(2);
        }
        sums
    }

    fn and(self, other: Self) -> Self {
        Self { change: self.change + other.change, shared: self.shared + other.shared }
    }

    fn ratio(self) -> Option<f64> {
        (self.shared > 0.0).then(|| (self.change / self.shared).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use starple::nn::{Combination, DomainLinear};
    use starple::{Star, StarConfig};

    /// Two numbers in, one hidden layer of two, one logit; domains `search` and `feed`.
    fn star(combination: Combination, norm: bool) -> Star {
        let layout = Layout {
            numeric: vec!["age".into(), "price".into()],
            domains: vec!["search".into(), "feed".into()],
            tasks: vec!["click".into()],
            ..Layout::default()
        };
        let mut star = Star::new(
            StarConfig::builder(&layout).hidden([2]).combination(combination).partitioned_norm(norm).build().unwrap(),
        );
        let mut layers: Vec<&mut StarLinear> = star.net_mut().all_mut().collect();
        layers[0].shared = Linear { weight: array![[1.0, 2.0], [0.0, 2.0]], bias: array![3.0, 4.0] };
        layers[1].shared = Linear { weight: array![[4.0], [0.0]], bias: array![0.0] };
        star
    }

    #[test]
    fn the_distance_by_hand() {
        let mut star = star(Combination::Product, true);
        let net = star.net_mut();
        {
            let DomainLinear::Product(feed) = net.get_mut::<StarLinear>(("layers", 0)).unwrap().domain.member_mut(1)
            else {
                panic!("a product")
            };
            // W ⊙ W_d − W = [[2, 0], [0, -1]]: of square 5, and ‖W‖² = 9.
            feed.weight = array![[3.0, 1.0], [9.0, 0.5]];
            feed.bias = array![0.0, 1.0];
        }
        {
            let DomainLinear::Product(feed) = net.get_mut::<StarLinear>(("layers", 1)).unwrap().domain.member_mut(1)
            else {
                panic!("a product")
            };
            // [[-8], [0]]: of square 64, and ‖W‖² = 16.
            feed.weight = array![[-1.0], [1.0]];
            feed.bias = array![7.0];
        }
        let norm = net.get_mut::<PartitionedNorm>("norm").unwrap();
        norm.gamma = array![3.0, 4.0];
        norm.domain.member_mut(1).gamma = array![1.0, 1.5];
        norm.domain.member_mut(1).beta = array![1.0, 1.0];

        let heat = star_distance(star.net(), star.layout());
        assert_eq!(heat.columns, ["search", "feed"]);
        let expected = [
            ("layers.0.weight", Some(0.0), Some((5.0_f64 / 9.0).sqrt())),
            ("layers.0.bias", Some(0.0), Some(0.2)),
            ("layers.1.weight", Some(0.0), Some(2.0)),
            // Nothing shared to measure it by.
            ("layers.1.bias", None, None),
            ("norm.gamma", Some(0.0), Some(0.4)),
            ("norm.beta", None, None),
            ("all weights", Some(0.0), Some((69.0_f64 / 25.0).sqrt())),
        ];
        assert_eq!(heat.rows, expected.map(|(row, ..)| row));
        for (row, search, feed) in expected {
            assert_eq!(heat.value(row, "search"), search, "{row}");
            match (heat.value(row, "feed"), feed) {
                (Some(ours), Some(feed)) => assert!((ours - feed).abs() < 1e-12, "{row}: {ours}, not {feed}"),
                (ours, feed) => assert_eq!(ours, feed, "{row}"),
            }
        }
    }

    #[test]
    fn a_gate_is_measured_open() {
        let mut star = star(Combination::SigmoidGate, false);
        let first = star.net_mut().get_mut::<StarLinear>(("layers", 0)).unwrap();
        let DomainLinear::SigmoidGate(feed) = first.domain.member_mut(1) else { panic!("a gate") };
        feed.own.weight = array![[0.0, 0.0], [1.5, 0.0]];
        feed.gate.bias = array![-9.0, -9.0];
        let heat = star_distance(star.net(), star.layout());
        assert_eq!(heat.value("layers.0.weight", "feed"), Some(0.5));
        assert_eq!(heat.value("norm.gamma", "feed"), None, "there is no normalisation");
    }
}
